"""Part of the erasure benchmark: a bucket with versions, emptied by hand and by us in turns. Prints JSON."""

from __future__ import annotations

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tqdm import tqdm

from benchmarks import control
from benchmarks.erasure_chunks import erased
from benchmarks.isolation_furnish import onboarded

WRITERS = 8
PAGE = 1_000


def main(objects: int, rounds: int) -> None:
    control.furnish()
    seen: dict[str, list[float]] = {"plain": [], "ours": []}
    for turn in tqdm(range(rounds), desc="objects", unit="round", disable=None):
        for name in ("plain", "ours") if turn % 2 else ("ours", "plain"):
            tenant = onboarded("standard")
            bucket = filled(tenant, objects)
            before = time.perf_counter()
            if name == "ours":
                assert erased("bucket", tenant)["deleted"] >= objects
            else:
                emptied_by_hand(bucket)
            seen[name].append(time.perf_counter() - before)
    print(json.dumps(seen))


def filled(tenant: Any, objects: int) -> str:
    """Every second key has been written twice."""
    from provisioning.providers.s3 import s3_client
    from tenants.placement import bucket_name

    client, bucket = s3_client(), bucket_name(tenant.tenant_id)
    keys = [f"documents/2026/{number % 12:02}/{number:06}.txt" for number in range(objects)]
    with ThreadPoolExecutor(WRITERS) as writers:
        for written in (keys, keys[::2]):
            list(writers.map(lambda key: client.put_object(Bucket=bucket, Key=key, Body=key.encode()), written))
    return bucket


def emptied_by_hand(bucket: str) -> None:
    from provisioning.providers.s3 import s3_client

    client = s3_client()
    for page in client.get_paginator("list_object_versions").paginate(
        Bucket=bucket, PaginationConfig={"PageSize": PAGE}
    ):
        found = (*page.get("Versions", ()), *page.get("DeleteMarkers", ()))
        doomed: Any = [{"Key": each["Key"], "VersionId": each["VersionId"]} for each in found]
        if doomed:
            reply = client.delete_objects(Bucket=bucket, Delete={"Objects": doomed, "Quiet": True})
            assert not reply.get("Errors"), reply["Errors"][0]
    client.delete_bucket(Bucket=bucket)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
