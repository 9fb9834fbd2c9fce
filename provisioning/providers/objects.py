"""A tenant's objects, as a passport reads and writes them: listed in order, streamed, and put below a folder.

Keys are relative to the tenant's place, so that they are the same in a bucket of its own and in a pool's.
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import IO, TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from provisioning.providers.bucket import PAGE, Place
from provisioning.providers.s3 import BucketMissing, error_code, s3_client, s3_errors
from tenants.placement import SENTINEL

if TYPE_CHECKING:
    from mypy_boto3_s3.type_defs import ObjectIdentifierTypeDef

FOLDER = "tenure-export/"
"""Passports lie below it, and are in none themselves."""
AFTER_FOLDER = "tenure-export0"  # the first key after all of them: "0" comes after "/"
BITE = 1 << 20  # bytes of an object in memory at a time


@dataclass(frozen=True, slots=True)
class Opened:
    """An object as it is now. `version` pins it; empty where the bucket keeps no versions."""

    place: Place
    key: str
    version: str
    size: int
    type: str
    modified_at: datetime
    body: Any

    def read(self, size: int = BITE) -> bytes:
        """The next bytes of its content; none at its end. Raises StoreUnreachable where it breaks off."""
        with s3_errors("read", self.place.bucket):
            bite: bytes = self.body.read(size)
        return bite

    def bites(self) -> Iterator[bytes]:
        while bite := self.read():
            yield bite


def keys_after(place: Place, after: str, *, limit: int = PAGE) -> list[str]:
    """At most `limit` keys that follow this one, in the order of their bytes; none is a passport's, or Tenure's."""
    found: list[str] = []
    client = s3_client()
    while not found:
        with s3_errors("list", place.bucket):
            start = {"StartAfter": place.prefix + after} if after else {}
            page = client.list_objects_v2(Bucket=place.bucket, Prefix=place.prefix, MaxKeys=limit, **start)  # type: ignore[arg-type]
        keys = [each["Key"].removeprefix(place.prefix) for each in page.get("Contents", ())]
        if not keys:
            break
        found = [key for key in keys if not key.startswith(FOLDER) and key != SENTINEL]
        after = AFTER_FOLDER if keys[-1].startswith(FOLDER) else keys[-1]
    return found


def opened(place: Place, key: str) -> Opened | None:
    """None when somebody has deleted it since it was listed."""
    with s3_errors("read from", place.bucket):
        try:
            reply = s3_client().get_object(Bucket=place.bucket, Key=place.prefix + key)
        except ClientError as error:
            if error_code(error) == "NoSuchKey":
                return None
            raise
    return Opened(
        place=place,
        key=key,
        version=reply.get("VersionId", ""),
        size=reply["ContentLength"],
        type=reply.get("ContentType", ""),
        modified_at=reply["LastModified"],
        body=reply["Body"],
    )


def put(place: Place, key: str, file: IO[bytes]) -> None:
    """The whole of a file, from its beginning, in parts where it is large."""
    file.seek(0)
    with s3_errors("write to", place.bucket):
        s3_client().upload_fileobj(file, place.bucket, place.prefix + key)


def discard(place: Place, below: str) -> int:
    """At most PAGE versions and markers of what begins with `below`, which lies in FOLDER. Returns how many went."""
    if not below.startswith(FOLDER) or below == FOLDER:
        raise ValueError("Only what belongs to one passport is discarded.")
    with suppress(BucketMissing), s3_errors("discard from", place.bucket):
        prefix = place.prefix + below
        page = s3_client().list_object_versions(Bucket=place.bucket, Prefix=prefix, MaxKeys=PAGE)
        doomed: list[ObjectIdentifierTypeDef] = [
            {"Key": item["Key"], "VersionId": item["VersionId"]}
            for item in (*page.get("Versions", ()), *page.get("DeleteMarkers", ()))
        ]
        if doomed:
            reply = s3_client().delete_objects(Bucket=place.bucket, Delete={"Objects": doomed})
            return len(reply.get("Deleted", ()))
    return 0
