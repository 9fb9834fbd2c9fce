"""What must always be there for a verifier to see: permanent things of Tenure's own, one kind in each store.

`plant` makes what is missing; it is called whenever an erasure is planned. Verifiers read the names and nothing else
here: a control that is gone makes their verdict unknown, never clean.
"""

import json
import secrets
from contextlib import suppress
from uuid import UUID, uuid4

from django.conf import settings
from redis import Redis

from provisioning.models import DataKey
from provisioning.providers.cache import cache_errors
from provisioning.providers.keys import keyring_errors
from provisioning.providers.s3 import BucketMissing, s3_client, s3_errors
from tenants.isolation.crypto import KEY_BYTES, seal
from tenants.models import Placement
from tenants.placement import pool_bucket, tenant_key

CONTROL_ID = UUID("c0117201-0000-4000-8000-000000000001")
"""Stands for a tenant wherever one is looked for by its id. No tenant has it: it is no random UUID."""

BUCKETS = "tenure-control-"  # and random characters: names of buckets are everybody's
PREFIX = "tenure-control/"  # in a pool's bucket, beside the tenants' prefixes
KEY, UPLOAD = f"{PREFIX}known", f"{PREFIX}unfinished"
CACHE_KEY = f"{tenant_key(CONTROL_ID)}:control"
QUEUE, UNACKED = "tenure.control", "tenure.control.unacked"
KEY_PURPOSE = "control"


def plant(tenant_id: UUID) -> None:
    """Make what is missing of the controls that verifying this tenant's erasure needs. Raises Transient, Permanent."""
    _bucket()
    for pool_id in Placement.objects.filter(tenant_id=tenant_id, pool__isnull=False).values_list("pool_id", flat=True):
        with suppress(BucketMissing):
            _objects(pool_bucket(pool_id))
    _cache()
    if settings.BROKER_URL.startswith("redis"):
        _queue()
    _key()


def _bucket() -> None:
    client = s3_client()
    with s3_errors("look for", BUCKETS):
        there = next((each["Name"] for each in client.list_buckets()["Buckets"] if _is_control(each["Name"])), None)
    name = there or f"{BUCKETS}{uuid4().hex}"
    with s3_errors("set up", name):
        if there is None:
            client.create_bucket(Bucket=name)
            client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
        if not client.list_multipart_uploads(Bucket=name, Prefix=UPLOAD).get("Uploads"):
            client.create_multipart_upload(Bucket=name, Key=UPLOAD)
    _objects(name)


def _is_control(bucket: str) -> bool:
    return bucket.startswith(BUCKETS)


def _objects(bucket: str) -> None:
    """One version, and a delete marker upon it."""
    client = s3_client()
    with s3_errors("plant a control in", bucket):
        page = client.list_object_versions(Bucket=bucket, Prefix=KEY, MaxKeys=2)
        if not page.get("Versions"):
            client.put_object(Bucket=bucket, Key=KEY, Body=b"")
        if not page.get("DeleteMarkers"):
            client.delete_object(Bucket=bucket, Key=KEY)


def _cache() -> None:
    with cache_errors(), Redis.from_url(settings.CACHE_URL, socket_connect_timeout=2, socket_timeout=5) as client:
        client.set(CACHE_KEY, "1")


def _queue() -> None:
    """A message in a queue that nobody consumes, and one that is held by a worker that does not exist."""
    message = {"body": "", "headers": {"tenure": f"1.{CONTROL_ID.hex}.{CONTROL_ID.hex}.control"}, "properties": {}}
    with cache_errors(), Redis.from_url(settings.BROKER_URL, socket_connect_timeout=2, socket_timeout=5) as client:
        if not client.llen(QUEUE):
            client.rpush(QUEUE, json.dumps(message))
        client.hset(UNACKED, "control", json.dumps([message, "", QUEUE]))


def _key() -> None:
    key_id = uuid4()
    sealed = seal(secrets.token_bytes(KEY_BYTES), purpose=f"data_key.{KEY_PURPOSE}", owner=f"{key_id}|{CONTROL_ID}")
    fresh = DataKey(key_id=key_id, purpose=KEY_PURPOSE, owner_ref=CONTROL_ID, wrapped=sealed)
    with keyring_errors():
        DataKey.objects.bulk_create([fresh], ignore_conflicts=True)  # at most one is active
