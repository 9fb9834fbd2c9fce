"""Bucket policies: each part of this package puts its own statements in, and leaves the others' as they are."""

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, TypeAlias

from provisioning.providers.s3 import BucketMissing, or_unset, s3_client, s3_errors

Statement: TypeAlias = dict[str, Any]
VERSION = "2012-10-17"  # of the policy language (IAM User Guide, "Version")


def statements(bucket: str) -> list[Statement]:
    """What the bucket's policy says now; nothing where it has none. Raises BucketMissing and what s3_errors does."""
    with s3_errors("read the policy of", bucket):
        text = or_unset(lambda: s3_client().get_bucket_policy(Bucket=bucket)["Policy"])
    return list(json.loads(text).get("Statement", [])) if text else []


def put(bucket: str, wanted: Mapping[str, Statement | None]) -> None:
    """Make the statements of these Sids as wanted, None being none of it."""
    before = statements(bucket)
    ours = [{"Sid": sid, **statement} for sid, statement in wanted.items() if statement is not None]
    after = [each for each in before if each.get("Sid") not in wanted] + ours
    with s3_errors("change the policy of", bucket):
        if after:
            s3_client().put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Version": VERSION, "Statement": after}))
        elif before:
            s3_client().delete_bucket_policy(Bucket=bucket)


def settled(bucket: str, wanted: Callable[[], Mapping[str, Statement | None]]) -> None:
    """The same for what others change at the same moment: `wanted` is read anew until it is what was written.

    S3 knows no compare-and-set of policies. Whoever changes what `wanted` reads calls this afterwards; so the last one
    to write has read everything, or reads once more and writes again. A bucket that is gone has nothing to say.
    """
    with suppress(BucketMissing):
        written = None
        while (now := wanted()) != written:
            put(bucket, now)
            written = now
