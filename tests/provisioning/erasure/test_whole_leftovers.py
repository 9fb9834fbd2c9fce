"""What must keep a certificate from being issued: somebody missing, somebody blind, and anything that is left."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from django.conf import settings as project
from django.db import connections
from redis import Redis

from controlplane.stack.embedded import Stack
from provisioning import lifecycle
from provisioning.engine import drive
from provisioning.erasure import payload, plan
from provisioning.erasure.errors import CertificateRefused
from provisioning.erasure.registry import REGISTRY
from provisioning.erasure.verifiers.pool_rows import PoolRows
from provisioning.models import (
    ArchivedRecords,
    DataKey,
    ErasureCertificate,
    ErasureRequest,
    ErasureStore,
    HoldArchive,
    Queue,
    RecordHold,
)
from provisioning.providers.s3 import s3_client
from provisioning.workflows.erase_sweep import sweep_erasures
from tenants.models import AuditEntry, Domain, Pool, Tenant
from tenants.placement import cache_sentinel, pool_role, tenant_key
from tenants.states import Tier
from tests.fleet import done, onboarded
from tests.provisioning.erasure.small import LONG_AGO, House
from tests.provisioning.erasure.whole import approved, filled, settled, stored, wait_for_a_worker

pytestmark = pytest.mark.drawn(1, among="whole erasures")

STORES = sorted({eraser.store for eraser in REGISTRY.erasers})
RUNTIME = "postgresql://{USER}:{PASSWORD}@{HOST}:{PORT}/{NAME}"
OF_A_POOL = {*STORES} - {"schema", "database"}


@pytest.fixture(autouse=True)
def no_soak(house: None, settings: Any) -> None:
    settings.TENURE_ERASURE_SOAK_S = 0


def test_no_certificate_while_somebody_is_missing_or_blind_or_anything_is_left(stack: Stack, settings: Any) -> None:
    acme = filled("acme-left-gmbh", Tier.POOL)
    done(lifecycle.suspend, onboarded("globex", Tier.POOL))
    with Redis.from_url(project.CACHE_URL) as cache:
        assert cache.delete(cache_sentinel(acme.pk))  # as if it were older than sentinels
    small = stored(acme)
    with table_made_by_hand(stack):
        request = small.swept(small.asked())
        assert ("erasure.unclassified", "pool_rows", "Nobody erases local-1:tenure_cluster/public.by_hand.") in [
            (each["code"], each["subject"], each["message"]) for each in (request.counted or {})["blockers"]
        ]
        assert request.state == "blocked"
    small.swept(request)
    checked_once(small, request := approved(small, request))
    each_store_is_wanted(request)

    blind = dataclasses.replace(
        REGISTRY, verifiers=(*others("pool_rows"), PoolRows(pool_role(Pool.objects.get(state="open").pk)))
    )
    whose, settings.VERIFIER_URL = settings.VERIFIER_URL, RUNTIME.format(**project.DATABASES["default"])
    looked_at_once(stored(acme, blind), request)
    settings.VERIFIER_URL = whose
    unknown = verdicts(request, "unknown")
    assert (request.state, request.attention) == ("checking", "VERDICT_UNKNOWN")
    assert set(unknown) == {"pool_rows", "control_rows", "audit_payload", "hold_archive"}
    assert not ErasureCertificate.objects.exists()

    plant(stack, acme)
    small.swept(request)
    assert (request.state, request.round, ErasureCertificate.objects.exists()) == ("erasing", 2, False)
    dirty = verdicts(request, "dirty", round=1)
    assert set(dirty) == OF_A_POOL
    assert all(reasons for reasons in dirty.values()), dirty
    assert request.fence["late_writes"] >= len(OF_A_POOL)
    settled(small, request)
    (paper,) = ErasureCertificate.objects.all()
    beside = json.loads(paper.document)["collateral"]
    assert (beside["neighbours_equal"], beside["neighbours_changed"]) == (1, 0)
    said = {line["store"]: line["control"].partition("; ")[2] for line in json.loads(paper.document)["stores"]}
    assert said["bucket"].endswith("its sentinel, seen before, is gone")  # by the first round, whose row had seen it
    assert said["cache"] == "no sentinel"


def checked_once(small: House, request: ErasureRequest) -> None:
    """Behind the first check, and before the second."""
    while small.swept(request).state == "scheduled":
        lifecycle.advance(queue=Queue.OPERATIONS)
    assert request.state == "checking"


def each_store_is_wanted(request: ErasureRequest) -> None:
    """Without its eraser, and without its verifier, each is named: for a plan, and where a certificate is made."""
    last = {row.store: row for row in request.stores.filter(round=1)}
    for store in STORES:
        for without, code in (
            (
                dataclasses.replace(REGISTRY, erasers=tuple(e for e in REGISTRY.erasers if e.store != store)),
                "no_eraser",
            ),
            (dataclasses.replace(REGISTRY, verifiers=others(store)), "no_verifier"),
        ):
            missing = [(each.code, each.subject) for each in without.missing(request.tenant_id, "tenant")]
            assert missing == [(f"erasure.{code}", store)]
            with pytest.raises(CertificateRefused, match=store):
                payload.refuse_unclean(request, without, last)
    bucketless = dataclasses.replace(REGISTRY, erasers=tuple(e for e in REGISTRY.erasers if e.store != "bucket"))
    blockers = plan.count(request, bucketless)["blockers"]
    assert [(each["code"], each["subject"]) for each in blockers] == [("erasure.no_eraser", "bucket")]


def others(store: str) -> tuple[Any, ...]:
    return tuple(each for each in REGISTRY.verifiers if each.store != store)


def looked_at_once(small: House, request: ErasureRequest) -> None:
    """One attempt of the second check, which is put off, not tried again at once."""
    ErasureRequest.objects.filter(pk=request.pk).update(look_at=LONG_AGO)
    sweep_erasures(small.workflows)
    check = small.workflows.check
    drive.advance(queue=Queue.OPERATIONS, workflows={check.key: check})
    request.refresh_from_db()


def verdicts(request: ErasureRequest, status: str, round: int = 1) -> dict[str, list[str]]:
    rows = ErasureStore.objects.filter(request=request, round=round, verdict=status)
    return {row.store: row.judged["reasons"] for row in rows}


@contextmanager
def table_made_by_hand(stack: Stack) -> Iterator[None]:
    with superuser(stack) as session:
        session.execute("CREATE TABLE public.by_hand (tenant_id uuid, email text)")
        session.execute(
            "GRANT USAGE ON SCHEMA public TO tenure_verifier; GRANT SELECT ON public.by_hand TO tenure_verifier"
        )
    try:
        yield
    finally:
        with superuser(stack) as session:
            session.execute("DROP TABLE public.by_hand; REVOKE USAGE ON SCHEMA public FROM tenure_verifier")


def superuser(stack: Stack) -> psycopg.Connection[Any]:
    return psycopg.connect(f"{stack.superuser_url.rsplit('/', 1)[0]}/tenure_cluster", autocommit=True)


def plant(stack: Stack, acme: Tenant) -> None:
    """One leftover of each kind, by whoever may write anywhere."""
    key, pool = tenant_key(acme.pk), Pool.objects.get(state="open")
    with superuser(stack) as session:
        session.execute(
            f"INSERT INTO {pool.schema}.projects_tag (tenant_id, name) VALUES ('{acme.pk}', 'left')".encode()
        )
    with psycopg.connect(os.environ["CLUSTER_URL"], autocommit=True) as ours:  # another's role is a person's to drop
        ours.execute(f"CREATE ROLE {key}".encode())
    s3_client().put_object(Bucket=f"p-{pool.pk.hex}", Key=f"{key}/left", Body=b"left")
    with Redis.from_url(project.CACHE_URL) as cache:
        cache.set(f"{key}:left", "left")
    wait_for_a_worker(acme)
    Domain.objects.create(tenant=acme, domain="left.acme.example")
    DataKey.objects.create(owner_ref=acme.pk, purpose="tenant", wrapped=b"from a backup")
    request = ErasureRequest.objects.filter(tenant=acme).latest("created_at")
    released = {"released_at": request.created_at, "released_by": request.requested_by}
    hold = RecordHold.objects.create(
        request=request, store="pool_rows", locator="t", ground="lifted", review_at=request.due_at,
        placed_by=request.requested_by, **released,
    )  # fmt: skip
    archive = HoldArchive.objects.create(hold=hold)
    ArchivedRecords.objects.create(archive=archive, part=0, records=1, sealed=b"from a backup")
    entries = AuditEntry.objects.filter(chain=acme.audit_chain).order_by("seq")
    entry = next(each for each in entries if each.public.get("commits"))
    field, (key_id, _mac) = next(iter(entry.public["commits"].items()))
    with connections["owner"].cursor() as cursor:
        cursor.execute(
            "INSERT INTO audit_payload (entry, field, key_id, sealed) VALUES (%s, %s, %s, %s)",
            [entry.entry, field, key_id, b"from a backup"],
        )
