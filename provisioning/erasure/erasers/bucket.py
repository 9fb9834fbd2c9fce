"""A tenant's objects: every version, delete marker and unfinished upload, and then the bucket, if it is its own.

# Note [One pass, and then a look]
A page is deleted where it was listed and the next one is asked for behind it, so that what the store refuses to give
up does not hide what comes after. What a crash forgets of the position is only listed again. At the end of the pass
the store is asked whether anything is left: its answers to deletes prove nothing.

# Note [The newest last]
A store that loses the newest version of a key has to find out which is the newest now. Taken from the oldest on, the
newest goes last and nothing has to be found: 1.0 s instead of 1.9 s for 800 versions of 400 keys (SeaweedFS 4.48).
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from time import monotonic
from typing import Any, Literal
from uuid import UUID

from provisioning.erasure.stores import Budget, Enumeration, Identifier, Kind, Lease, Progress, Scope
from provisioning.providers.bucket import PAGE, NotOwnBucket, Place
from provisioning.providers.s3 import BucketMissing, s3_client, s3_errors
from tenants.findings import Finding, Severity
from tenants.models import Placement
from tenants.placement import SENTINEL, bucket_name, pool_bucket, tenant_key

GONE = frozenset({"NoSuchKey", "NoSuchVersion", "NoSuchUpload"})
BATCH = PAGE // 2  # in one request: a store that is busy takes some milliseconds a key, and we wait 10 s
RETRY_S = 60.0  # until what was refused is asked again: a lock ends by its date, a policy by a person
OBJECT_KEY = "object_key"
"""The kind of identifier that is a file's name, as a row had it, and not something to search for in names."""

Wanted = Callable[[str], bool]


class BucketEraser:
    """A person's objects are those whose names hold one of the identifiers, and those that an identifier of the kind
    `object_key` names, as the person's rows did.
    """

    store = "bucket"
    phase = 3
    scopes: frozenset[Kind] = frozenset({"tenant", "subject"})
    reach: Literal["logical", "cryptographic", "expiry"] = "logical"

    def freeze(self, scope: Scope, lease: Lease) -> None:
        """Nothing of its own: a tenant that is being erased is suspended, and so is its storage."""

    def enumerate(self, scope: Scope) -> Enumeration:
        """`{"places": ["t-…", "p-…/t_…/"]}`, and of a person `{"keys": [key]}`, without the prefix of a pool."""
        places = list(places_of(scope.tenant_id))
        items: dict[str, Any] = {"places": [str(place) for place in places]}
        if scope.kind == "subject":
            wanted = names(scope.identifiers, ())
            keys = {item["Key"][len(place.prefix) :] for place in places for item in _listed(place)}
            items["keys"] = sorted(key for key in keys if wanted(key))
        return Enumeration(self.store, items)

    def erase(self, scope: Scope, found: Enumeration, cursor: str | None, budget: Budget, lease: Lease) -> Progress:
        """One stretch of a pass over all places. Raises NotOwnBucket, StoreRefused or StoreUnreachable."""
        at = _At(**json.loads(cursor)) if cursor else _At()
        wanted = names(scope.identifiers, found.items.get("keys", ())) if scope.kind == "subject" else _everything
        sweep = _Sweep(wanted, budget, lease, left=at.left)
        places = list(places_of(scope.tenant_id))
        while at.place < len(places):
            place = _own(places[at.place], scope.tenant_id)
            with suppress(BucketMissing):
                if (rest := sweep.versions(place, at)) is not None:
                    return sweep.progress(cursor=rest)
                sweep.uploads(place)
                if scope.kind == "tenant":
                    sweep.close(place)
            at = _At(place=at.place + 1)
        return sweep.progress(cursor=None)


@dataclass(frozen=True, slots=True)
class _At:
    """Where a pass stands: in which place, and behind which key and version. `left`: it will take another one."""

    place: int = 0
    key: str = ""
    version: str = ""
    left: bool = False


@dataclass(slots=True)
class _Sweep:
    """What one call does, and what it has done."""

    wanted: Wanted
    budget: Budget
    lease: Lease
    deleted: int = 0
    absent: int = 0
    refused: Counter[tuple[str, str]] = field(default_factory=Counter)
    left: bool = False

    def versions(self, place: Place, at: _At) -> str | None:
        """Delete versions and markers from `at` on. Returns where to go on when the budget is used up."""
        while True:
            size = min(PAGE, self.budget.items - self.deleted - self.absent - self.refused.total())
            if size <= 0 or monotonic() > self.budget.until:
                return json.dumps(asdict(replace(at, left=self.left)))
            page = _page(place, size, key=at.key, version=at.version)
            self._delete(place, [item for item in _items(page) if self.wanted(item["Key"][len(place.prefix) :])])
            if not page["IsTruncated"]:
                return None
            at = _At(at.place, page.get("NextKeyMarker", ""), page.get("NextVersionIdMarker", ""))

    def uploads(self, place: Place) -> None:
        """Abort unfinished uploads. Listed anew after each page: some stores give no position to go on from."""
        client, seen = s3_client(), set[str]()
        while True:
            with s3_errors("list unfinished uploads of", place.bucket):
                page = client.list_multipart_uploads(Bucket=place.bucket, Prefix=place.prefix)
            new = [each for each in page.get("Uploads", ()) if each["UploadId"] not in seen]
            for upload in new:
                seen.add(upload["UploadId"])
                if not self.wanted(upload["Key"][len(place.prefix) :]):
                    continue
                self.lease()
                with s3_errors("abort an upload to", place.bucket):
                    client.abort_multipart_upload(Bucket=place.bucket, Key=upload["Key"], UploadId=upload["UploadId"])
                self.deleted += 1
            if not new:
                return

    def close(self, place: Place) -> None:
        """Remove the own bucket, once the store says that it is empty: see providers/bucket.py's first Note.

        What is left was refused, now or earlier in this pass, or was written meanwhile: it takes another pass.
        """
        client = s3_client()
        with s3_errors("look into", place.bucket):
            uploads = client.list_multipart_uploads(Bucket=place.bucket, Prefix=place.prefix).get("Uploads", ())
        if _items(_page(place, 1)) or uploads:
            self.left = True
        elif not place.prefix:
            self.lease()
            with s3_errors("delete", place.bucket):
                client.delete_bucket(Bucket=place.bucket)

    def progress(self, cursor: str | None) -> Progress:
        failed = tuple(
            Finding(
                "bucket.kept",
                Severity.ERROR,
                place,
                f"The store answered {code} for {n} versions or markers.",
                "Look for object lock, a legal hold or a policy on the bucket; it is asked again by itself.",
            )
            for (place, code), n in self.refused.items()
        )
        another_pass = cursor is None and bool(failed or self.left)
        return Progress(
            self.deleted,
            self.absent,
            failed=failed,
            cursor=cursor,
            done=cursor is None and not another_pass,
            retry_after=RETRY_S if another_pass and not self.deleted else None,
        )

    def _delete(self, place: Place, doomed: list[dict[str, Any]]) -> None:
        if not doomed:
            return
        if any(not item["Key"].startswith(place.prefix) for item in doomed):
            raise NotOwnBucket(f"The store listed keys outside of {place}.")
        doomed.sort(key=lambda item: item["IsLatest"])  # see Note [The newest last]
        for batch in (doomed[n : n + BATCH] for n in range(0, len(doomed), BATCH)):
            objects: Any = [{"Key": item["Key"], "VersionId": item["VersionId"]} for item in batch]
            self.lease()
            with s3_errors("erase from", place.bucket):
                reply = s3_client().delete_objects(Bucket=place.bucket, Delete={"Objects": objects, "Quiet": True})
            codes = Counter(error.get("Code", "") for error in reply.get("Errors", ()))  # in an answer that says 200
            self.deleted += len(batch) - codes.total()
            for code, n in codes.items():
                if code in GONE:
                    self.absent += n
                else:
                    self.refused[str(place), code] += n


def places_of(tenant_id: UUID) -> Iterator[Place]:
    """Wherever objects of the tenant can be, by all placements it ever had. One that is not there is empty."""
    yield Place(bucket_name(tenant_id))
    pools = Placement.objects.filter(tenant_id=tenant_id, pool__isnull=False).order_by("pool_id")
    for pool_id in pools.values_list("pool_id", flat=True).distinct():
        yield Place(pool_bucket(pool_id), f"{tenant_key(tenant_id)}/")


def names(identifiers: tuple[Identifier, ...], keys: Any) -> Wanted:
    """Whether a key is one of `keys`, is named outright by an identifier, or holds one that is searched for.

    The tenant's sentinel is nobody's, whatever short word is searched for.
    """
    exact = {*keys, *(each.value for each in identifiers if each.kind == OBJECT_KEY)}
    needles = [each.value.lower() for each in identifiers if each.kind != OBJECT_KEY and each.value]
    return lambda key: key != SENTINEL and (key in exact or any(needle in key.lower() for needle in needles))


def _everything(_key: str) -> bool:
    return True


def _own(place: Place, tenant_id: UUID) -> Place:
    """Raises NotOwnBucket for a pool's bucket without exactly the tenant's prefix: everybody's objects would go."""
    own = f"{tenant_key(tenant_id)}/" if place.bucket != bucket_name(tenant_id) else ""
    if place.prefix != own:
        raise NotOwnBucket(f"{place} is not this tenant's alone.")
    return place


def _listed(place: Place) -> Iterator[dict[str, Any]]:
    """Every version, marker and unfinished upload there."""
    client, at = s3_client(), _At()
    with suppress(BucketMissing):
        while True:
            page = _page(place, PAGE, key=at.key, version=at.version)
            yield from _items(page)
            if not page["IsTruncated"]:
                break
            at = _At(0, page.get("NextKeyMarker", ""), page.get("NextVersionIdMarker", ""))
        with s3_errors("list unfinished uploads of", place.bucket):
            for uploads in client.get_paginator("list_multipart_uploads").paginate(
                Bucket=place.bucket, Prefix=place.prefix
            ):
                yield from map(dict, uploads.get("Uploads", ()))


def _page(place: Place, size: int, *, key: str = "", version: str = "") -> dict[str, Any]:
    behind: Any = {name: value for name, value in (("KeyMarker", key), ("VersionIdMarker", version)) if value}
    with s3_errors("list versions of", place.bucket):
        return dict(s3_client().list_object_versions(Bucket=place.bucket, Prefix=place.prefix, MaxKeys=size, **behind))


def _items(page: dict[str, Any]) -> list[dict[str, Any]]:
    return [*page.get("Versions", ()), *page.get("DeleteMarkers", ())]
