"""A bucket outside the databases, for what their owner must not be able to rewrite: signed checkpoints.

# Note [Write-once is tried, not believed]
Object Lock in COMPLIANCE mode cannot be lifted by anybody before its date (S3 User Guide, "Locking objects with Object
Lock"). Some stores take the header and forget it. So a probe is locked for a minute and its deletion tried: where that
works, the bucket is an ordinary one, and whoever verifies is told "not write-once".
"""

import os
from contextlib import suppress
from datetime import timedelta
from functools import lru_cache
from typing import Any

from botocore.exceptions import ClientError
from django.conf import settings
from django.utils import timezone

from provisioning.providers.s3 import DEFAULT_REGION, error_code, region, s3_client, s3_errors

PROBE = "probe"
PROBE_FOR = timedelta(minutes=1)
OURS = frozenset({"BucketAlreadyOwnedByYou"})
TAKEN = frozenset({"PreconditionFailed", "412"})


class WriteOnce:
    """One bucket. Every method raises StoreUnreachable or StoreRefused."""

    def __init__(self, bucket: str) -> None:
        self.bucket = bucket

    def __str__(self) -> str:
        return f"bucket {self.bucket}"

    def put(self, key: str, body: str) -> None:
        """Keep it under the key for TENURE_EVIDENCE_DAYS, if nothing is there; what is there stays as it is."""
        lock = self._lock(timedelta(days=settings.TENURE_EVIDENCE_DAYS)) if self.holds() else {}
        with s3_errors("write to", self.bucket):
            try:
                s3_client().put_object(Bucket=self.bucket, Key=key, Body=body.encode(), IfNoneMatch="*", **lock)
            except ClientError as error:
                if error_code(error) not in TAKEN:
                    raise

    def get(self, key: str) -> str:
        with s3_errors("read from", self.bucket):
            return s3_client().get_object(Bucket=self.bucket, Key=key)["Body"].read().decode()

    def newest(self, prefix: str) -> str | None:
        """The last key below a prefix, in the order of their names. None: there is none, or no bucket yet."""
        last = None
        if not self.is_there():
            return None
        with s3_errors("list", self.bucket):
            for page in s3_client().get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix):
                for found in page.get("Contents", ()):
                    last = found["Key"]
        return last

    def is_there(self) -> bool:
        with s3_errors("look for", self.bucket):
            try:
                s3_client().head_bucket(Bucket=self.bucket)
            except ClientError as error:
                if error_code(error) in {"404", "NoSuchBucket", "NotFound"}:
                    return False
                raise
        return True

    def holds(self) -> bool:
        """Whether the store keeps what it was told to keep, tried once by each process. Makes the bucket."""
        return _holds(self.bucket, settings.S3_ENDPOINT_URL, os.getpid())

    def _make(self) -> None:
        with s3_errors("create", self.bucket):
            place: dict[str, Any] = {}
            if (where := region()) != DEFAULT_REGION:
                place = {"CreateBucketConfiguration": {"LocationConstraint": where}}
            try:
                s3_client().create_bucket(Bucket=self.bucket, ObjectLockEnabledForBucket=True, **place)
            except ClientError as error:
                if error_code(error) not in OURS:
                    raise

    @staticmethod
    def _lock(long: timedelta) -> dict[str, Any]:
        return {"ObjectLockMode": "COMPLIANCE", "ObjectLockRetainUntilDate": timezone.now() + long}

    def _survives(self) -> bool:
        """Lock a probe, and try to delete that very version. A refusal to lock is an answer, too."""
        client = s3_client()
        with s3_errors("write to", self.bucket), suppress(ClientError):
            kept = client.put_object(Bucket=self.bucket, Key=PROBE, Body=b"", **self._lock(PROBE_FOR))
            with suppress(ClientError):
                client.delete_object(Bucket=self.bucket, Key=PROBE, VersionId=kept["VersionId"])
            client.head_object(Bucket=self.bucket, Key=PROBE, VersionId=kept["VersionId"])
            return True
        return False


@lru_cache(maxsize=4)
def _holds(bucket: str, _endpoint: str | None, _process: int) -> bool:
    store = WriteOnce(bucket)
    store._make()
    return store._survives()  # noqa: SLF001
