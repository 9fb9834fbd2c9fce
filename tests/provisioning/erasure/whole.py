"""A tenant with something of its own in every store, erased by the workflows and stores as they are, and looked for."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from uuid import UUID, uuid4

import psycopg
from django.conf import settings
from django.core.cache import cache
from django.core.files.base import ContentFile
from django.db.models.functions import Now
from redis import Redis

from controlplane.stack.embedded import Stack
from examples.projects.models import Document, Member, Project, Tag
from provisioning import lifecycle
from provisioning.databases.servers import connect, run
from provisioning.erasure import verbs
from provisioning.erasure.collateral import hashes_of
from provisioning.erasure.registry import REGISTRY, Registry
from provisioning.models import ErasureRequest, ErasureState, Queue, Release
from provisioning.providers.s3 import s3_client
from tenants.context import TenantContext, tenant_scope
from tenants.models import Cluster, Pool, Tenant
from tenants.placement import bucket_name, pool_bucket, tenant_key
from tenants.states import Tier
from tests import databases
from tests.fleet import onboarded
from tests.provisioning.erasure.small import ALICE, House, approve, housed, stopped

Found = set[tuple[str, str]]
KEPT_ID: Final = frozenset(
    {
        *("tenants_tenant", "tenants_placement", "tenants_event", "audit_entry"),
        *("provisioning_resource", "provisioning_run", "provisioning_erasurerequest", "provisioning_erasureplan"),
        *("provisioning_erasurecertificate", "tombstone", "data_key", "tenure.fence"),
    }
)
"""Tables in which the random id of an erased tenant stays: the skeleton, and the evidence."""
NOT_COVERED: Final = frozenset({"object-store.log"})
"""The store's own log of requests: the certificate says that it does not cover it."""


def stored(tenant: Tenant, registry: Registry = REGISTRY) -> House:
    return housed(tenant, (), registry)


def place_of(tenant: Tenant) -> tuple[str, str]:
    """Bucket, and what the tenant's keys there begin with."""
    placed = tenant.placements.get(active=True)
    if placed.pool_id is not None:
        return pool_bucket(placed.pool_id), f"{tenant_key(tenant.pk)}/"
    return bucket_name(tenant.pk), ""


def know_pools_of_other_tests() -> None:
    """The cluster outlives the control databases that know its pools, and one that nobody knows blocks every plan."""
    cluster = Cluster.objects.get()
    known = {"cluster": cluster, "release": Release.objects.get(current=True).name, "state": Pool.State.CLOSED}
    with connect(cluster) as connection:
        schemas = run(connection, r"SELECT nspname::text FROM pg_namespace WHERE nspname LIKE 'pool\_%'")
    for (schema,) in schemas:
        if not Pool.objects.filter(schema=schema).exists():
            Pool.objects.create(schema=schema, sealed_password=b"", ready_at=Now(), **known)


def filled(slug: str, tier: Tier) -> Tenant:
    """Onboarded; its name and labels and all that it has speak of `slug`, which is a word of nobody else's."""
    know_pools_of_other_tests()
    tenant = onboarded(slug, tier)
    Tenant.objects.filter(pk=tenant.pk).update(name=f"{slug} & Sons", labels={"owner": f"coyote@{slug}.example"})
    tenant.refresh_from_db()
    fill(tenant)
    return tenant


def fill(tenant: Tenant) -> None:
    """Rows in every table, files, versions, a delete marker, half an upload, cached values, a waiting message."""
    who = tenant.slug
    with tenant_scope(tenant.context()):
        member = Member.objects.create(name=f"Member of {who}", email=f"coyote@{who}.example")
        project = Project.objects.create(name=f"{who} project", description=f"of coyote@{who}.example")
        project.tags.add(Tag.objects.create(name=f"{who} tag"))
        project.members.add(member)
        made = Document.objects.create(project=project, title=f"{who} paper", size=3)
        made.file.save(f"{who}.txt", ContentFile(f"paper of {who}".encode()))
        cache.set(f"{who}:greeting", f"hello {who}", timeout=None)  # however long the erasure takes
    client, (bucket, prefix) = s3_client(), place_of(tenant)
    for body in (b"one", b"two"):
        client.put_object(Bucket=bucket, Key=f"{prefix}{who}/versions", Body=body)
    client.delete_object(Bucket=bucket, Key=f"{prefix}{who}/versions")
    client.create_multipart_upload(Bucket=bucket, Key=f"{prefix}{who}/half")
    wait_for_a_worker(tenant)


def wait_for_a_worker(tenant: Tenant) -> None:
    """A message of the tenant's application, as Celery leaves it in the broker."""
    header = f"1.{tenant.pk.hex}.{tenant.incarnation.hex}.signature"
    message = {"body": "", "headers": {"tenure": header, "id": str(uuid4())}, "properties": {}}
    with Redis.from_url(settings.BROKER_URL) as broker:
        broker.lpush("applications", json.dumps(message))


def approved(small: House, request: ErasureRequest | None = None, **more: Any) -> ErasureRequest:
    """Asked for by one person and approved by another."""
    request = small.swept(small.proved(request or small.asked(**more)))
    assert request.state == ErasureState.PLANNING, request.counted and request.counted["blockers"]
    return approve(verbs.propose_erasure(request, actor=ALICE, key=str(uuid4())))


def settled(small: House, request: ErasureRequest, *, passes: int = 5) -> ErasureRequest:
    """Driven to its live certificate."""
    for _pass in range(passes):
        if small.swept(request).state == ErasureState.SETTLING:
            return request
        if request.state == ErasureState.SCHEDULED:  # its doors are shut by another workflow
            lifecycle.advance(queue=Queue.OPERATIONS)
    raise AssertionError((request.state, stopped(request)))


def found_of(stack: Stack, words: tuple[str, ...]) -> Found:
    """(place, word) wherever one occurs: dumps of all databases, all buckets, the cache, the broker, and log files."""
    return {*in_databases(stack, words), *in_buckets(words), *in_caches(words), *in_logs(stack, words)}


def in_databases(stack: Stack, words: tuple[str, ...]) -> Found:
    """By the text of a dump, table by table; names of databases, schemas and roles as well."""
    databases.close_all()
    forms = {form: word for word in words for form in (word.lower(), word.lower().encode().hex())}
    found: Found = set()
    for name in _databases_of(stack):
        url = f"{stack.superuser_url.rsplit('/', 1)[0]}/{name}"
        found |= {("catalog", word) for form, word in forms.items() if form in name}
        table = "catalog"
        for line in _dumped(url):
            if line.startswith(("COPY ", "CREATE ", "ALTER ")):
                table = line.split()[1].removeprefix("public.") if line.startswith("COPY ") else "catalog"
            found |= {(table, word) for form, word in forms.items() if form in line.lower()}
    with psycopg.connect(stack.superuser_url) as server:
        roles = " ".join(str(name) for (name,) in server.execute("SELECT rolname FROM pg_roles").fetchall())
    return found | {("roles", word) for form, word in forms.items() if form in roles}


def _databases_of(stack: Stack) -> list[str]:
    """Those of this control plane; templates of other tests' are copies from before."""
    with psycopg.connect(stack.superuser_url) as server:
        rows = server.execute(
            "SELECT datname FROM pg_database WHERE datname IN ('tenure', 'tenure_keyring', 'tenure_cluster')"
            " OR (datname ~ '^t_[0-9a-f]{32}$' AND datallowconn) ORDER BY 1"
        )
        return [str(name) for (name,) in rows]


def _dumped(url: str) -> Iterator[str]:
    binary = Path(settings.PG_BIN) / "pg_dump"
    dump = subprocess.run([str(binary), url], check=True, capture_output=True, text=True)
    return iter(dump.stdout.splitlines())


def in_buckets(words: tuple[str, ...]) -> Found:
    names = list(objects_of())
    return {("buckets", word) for word in words for name in names if word.lower() in name.lower()}


def objects_of(bucket: str = "", prefix: str = "") -> Iterator[str]:
    """Every version, delete marker and unfinished upload, with its id and checksum."""
    client = s3_client()
    for each in [bucket] if bucket else [one["Name"] for one in client.list_buckets()["Buckets"]]:
        yield each
        kinds: tuple[Any, ...] = ("list_object_versions", "list_multipart_uploads")
        for kind in kinds:
            for page in client.get_paginator(kind).paginate(Bucket=each, Prefix=prefix):
                for part in ("Versions", "DeleteMarkers", "Uploads"):
                    for item in page.get(part, ()):
                        names = [str(item.get(key, "")) for key in ("Key", "VersionId", "UploadId", "ETag")]
                        yield "|".join((each, part, *names))


def in_caches(words: tuple[str, ...]) -> Found:
    """Cache and broker, by everything that the server dumps of each key."""
    found: Found = set()
    for url in {settings.CACHE_URL, settings.BROKER_URL}:
        with Redis.from_url(url) as first:
            numbers = [str(name).removeprefix("db") for name in first.info("keyspace")]
        for number in numbers:
            with Redis.from_url(f"{url.rsplit('/', 1)[0]}/{number}") as client:
                for key in client.scan_iter():
                    text = (key + b" " + (client.dump(key) or b"")).decode(errors="replace").lower()
                    found |= {("cache", word) for word in words if word.lower() in text}
    return found


def in_logs(stack: Stack, words: tuple[str, ...]) -> Found:
    """What servers and processes wrote; each file is a place."""
    logs = {path.name: path.read_text(errors="replace").lower() for path in (stack.folder / "logs").glob("*.log")}
    return {(name, word) for name, text in logs.items() for word in words if word.lower() in text}


def ids_of(tenant_id: UUID) -> tuple[str, ...]:
    return (tenant_id.hex, str(tenant_id))


def life_of(context: TenantContext, tenant: Tenant) -> tuple[Any, ...]:
    """All that a neighbour has, by its bytes."""

    with tenant_scope(context):
        greeting = cache.get(f"{tenant.slug}:greeting")
        papers = [bytes_of(document) for document in Document.objects.order_by("pk")]
    return hashes_of(context), sorted(objects_of(*place_of(tenant))), greeting, papers


def bytes_of(document: Document) -> bytes:
    with document.file.open("rb") as file:
        return bytes(file.read())
