"""Suspended, resumed, deleted, undeleted: what every door says of it, and that nothing is lost."""

from contextlib import ExitStack, closing
from datetime import timedelta
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from botocore.exceptions import ClientError
from django.http import HttpResponse
from django.test import RequestFactory
from django.utils import timezone

from provisioning import lifecycle
from provisioning.databases import roles
from provisioning.databases.door import inside_as
from provisioning.databases.servers import connect
from provisioning.databases.tiers import LoginRole
from provisioning.errors import KeyReused
from provisioning.models import Resource, Run, RunState
from provisioning.providers.credentials import StorageCredentials, vend
from provisioning.workflows.leaving import DeletionProtected
from tenants.context import TenantContext
from tenants.errors import NotAdmitted, StateConflict
from tenants.isolation.directory import admitted
from tenants.isolation.middleware import TenantHostMiddleware
from tenants.models import AuditEntry, Event, Plan, Tenant
from tenants.states import DeleteReason, TenantState, Tier
from tests.fleet import BILLING, PLANS, accepted, done, driven, onboarded

pytestmark = pytest.mark.long

OWN_ROLE = "pool-own-role"
TIERS = {**{str(tier): (tier, PLANS[tier]) for tier in Tier}, "pool with roles": (Tier.POOL, OWN_ROLE)}


@pytest.fixture(autouse=True)
def hosts(settings: Any) -> None:
    settings.ALLOWED_HOSTS = [".localhost"]


def at_host(slug: str) -> int:
    request = RequestFactory().get("/", HTTP_HOST=f"{slug}.localhost")
    return int(TenantHostMiddleware(lambda _request: HttpResponse())(request).status_code)


def session_of(context: TenantContext) -> psycopg.Connection:
    """As its application holds one: in a pool nobody has entered yet."""
    return roles.log_in(context, *LoginRole().login(context))


def tags(connection: psycopg.Connection, context: TenantContext, add: str = "") -> int:
    """How many it sees in a transaction of its own, after it has added one."""
    with connection.transaction():
        if context.pool_id is not None:
            roles.enter(connection, context)
        if add:
            connection.execute("INSERT INTO projects_tag (name) VALUES (%s)", (add,))
        ((found,),) = connection.execute("SELECT count(*) FROM projects_tag").fetchall()
    return int(found)


def vended(context: TenantContext) -> StorageCredentials:
    return vend(context, Resource.objects.get(tenant=context.tenant_id, kind="storage_credentials").handle)


def stored(credentials: StorageCredentials) -> str:
    """What the store says to who holds a session: the content, or the code of its refusal."""
    client, key = credentials.client(), f"{credentials.prefix}report"
    try:
        client.list_objects_v2(Bucket=credentials.bucket, Prefix=credentials.prefix)
        client.put_object(Bucket=credentials.bucket, Key=f"{credentials.prefix}other", Body=b"")
        return client.get_object(Bucket=credentials.bucket, Key=key)["Body"].read().decode()
    except ClientError as error:
        return error.response["Error"]["Code"]


def shut_out(context: TenantContext) -> None:
    """Nobody comes in as the tenant with what an application may hold."""
    with pytest.raises((psycopg.OperationalError, psycopg.errors.InsufficientPrivilege)), ExitStack() as stack:
        tags(stack.enter_context(closing(session_of(context))), context)


@pytest.fixture
def two(house: None, request: pytest.FixtureRequest) -> tuple[Tenant, Tenant]:
    """acme and globex in one tier; in a pool they share it."""
    tier, plan = TIERS[request.param]
    if plan == OWN_ROLE:
        Plan.objects.filter(name=PLANS[Tier.POOL]).update(own_role=True)
    return onboarded("acme", tier), onboarded("globex", tier)


@pytest.mark.parametrize("two", TIERS, indirect=True)
def test_suspended_it_is_refused_at_every_door_and_resumed_it_finds_everything_again(
    two: tuple[Tenant, Tenant],
) -> None:
    (acme, globex) = two
    ours, theirs = acme.context(), globex.context()
    storage, neighbours_storage = vended(ours), vended(theirs)
    for each in (storage, neighbours_storage):
        each.client().put_object(Bucket=each.bucket, Key=f"{each.prefix}report", Body=b"kept")
    with closing(session_of(ours)) as idle, closing(session_of(ours)) as busy, closing(session_of(theirs)) as neighbour:
        before = tags(idle, ours, add="ours")
        tags(busy, ours)
        busy.execute("BEGIN")
        if ours.pool_id:
            roles.enter(busy, ours)
        neighbour.execute("BEGIN")
        if theirs.pool_id:
            roles.enter(neighbour, theirs)
        suspended = done(lifecycle.suspend, acme)
        assert suspended.state == TenantState.SUSPENDED
        assert (at_host("acme"), at_host("globex")) == (403, 200)
        with pytest.raises(StateConflict):
            lifecycle.mint_token(tenant=suspended, subject="ada", scopes=(), actor=BILLING)
        with pytest.raises(StateConflict):
            lifecycle.hand_out_credentials(tenant=suspended, actor=BILLING)
        with pytest.raises(NotAdmitted):  # what a worker asks before each task
            admitted(acme.pk, acme.incarnation)
        assert (stored(storage), stored(vended(ours)), stored(neighbours_storage)) == (*["AccessDenied"] * 2, "kept")
        with pytest.raises(psycopg.Error):
            busy.execute("SELECT count(*) FROM projects_tag")
        with pytest.raises(psycopg.Error):
            tags(idle, ours)
        shut_out(ours)
        neighbour.execute("SELECT count(*) FROM projects_tag")  # its transaction went on all the while
    assert done(lifecycle.resume_tenant, suspended).state == TenantState.ACTIVE
    with closing(session_of(ours)) as connection:
        assert tags(connection, ours) == before
    assert (at_host("acme"), stored(storage)) == (200, "kept")
    assert set(acme.resources.values_list("shut_at", flat=True)) == {None}


@pytest.mark.parametrize("two", ["pool"], indirect=True)
def test_who_is_inside_a_pool_is_known_by_its_mark(two: tuple[Tenant, Tenant]) -> None:
    """The pool's role is shared, and so says nothing. Whose transactions are ended is the mark's to say alone."""
    ours, theirs = two[0].context(), two[1].context()
    with closing(session_of(ours)) as inside, connect(two[0].placements.get().cluster) as superior:
        with inside.transaction():
            roles.enter(inside, ours)
            assert [each.pid for each in inside_as(superior, ours.tenant_id)] == [inside.info.backend_pid]
            assert not inside_as(superior, theirs.tenant_id)
        assert not inside_as(superior, ours.tenant_id)


def test_deleted_its_data_waits_for_the_purge_and_undeleted_it_is_whole_again(house: None) -> None:
    acme = onboarded("acme", Tier.POOL)
    Tenant.objects.filter(pk=acme.pk).update(deletion_protection=True)
    with pytest.raises(DeletionProtected, match="protected"):
        done(lifecycle.delete_tenant, acme)
    Tenant.objects.filter(pk=acme.pk).update(deletion_protection=False)
    acme = done(lifecycle.suspend, acme)
    deleted = done(lifecycle.delete_tenant, acme, delete_reason=DeleteReason.UNPAID, keep_days=0)
    assert (deleted.state, deleted.delete_reason) == (TenantState.DELETED, DeleteReason.UNPAID)
    assert at_host("acme") == 403
    shut_out(acme.context())
    again = lifecycle.delete_tenant(tenant=deleted, reason="twice", actor=BILLING, key=str(uuid4()))
    assert again == Run.objects.get(tenant=acme, workflow="delete")
    assert list(lifecycle.tenants_due_for_purge()) == [deleted]
    hold = lifecycle.place_hold(
        tenant=deleted, ground="A tax audit", review_on=timezone.now().date() + timedelta(days=90), actor=BILLING
    )
    assert (list(lifecycle.tenants_due_for_purge()), list(lifecycle.open_holds(deleted))) == ([], [hold])
    lifecycle.release_hold(hold=hold, reason="It is over.", actor=BILLING)
    with pytest.raises(StateConflict, match="released already"):
        lifecycle.release_hold(hold=hold, reason="Twice.", actor=BILLING)
    assert list(lifecycle.tenants_due_for_purge()) == [deleted]
    back = done(lifecycle.undelete, deleted)
    assert (back.state, back.purge_at, back.delete_reason) == (TenantState.ACTIVE, None, "")
    with closing(session_of(back.context())) as connection:
        assert tags(connection, back.context()) == 4
    told = Event.objects.filter(tenant=acme).exclude(type__startswith="operation.").order_by("sequence")
    assert list(told.values_list("type", flat=True))[2:] == ["tenant.suspended", "tenant.deleted", "tenant.undeleted"]
    said = AuditEntry.objects.filter(chain=acme.audit_chain).values_list("public__action", flat=True)
    assert {"tenant.suspended", "tenant.deleted", "tenant.undeleted", "hold.placed", "hold.released"} <= set(said)


def test_what_was_never_made_is_deleted_and_comes_back_as_the_failure_it_was(house: None) -> None:
    run = accepted("acme", Tier.POOL)
    lifecycle.cancel(run, reason="withdrawn", actor=BILLING)
    acme = Tenant.objects.get(slug="acme")
    acme.to(TenantState.FAILED)
    acme.placements.update(active=False, retired_at=timezone.now())
    deleted = done(lifecycle.delete_tenant, acme)
    assert done(lifecycle.undelete, deleted).state == TenantState.FAILED


def test_a_verb_is_refused_where_it_cannot_be_and_a_key_is_one_requests(house: None) -> None:
    acme = onboarded("acme", Tier.POOL)
    for verb in (lifecycle.resume_tenant, lifecycle.undelete):
        with pytest.raises(StateConflict):
            done(verb, acme)
    run = lifecycle.suspend(tenant=acme, reason="unpaid", actor=BILLING, key="k" * 16)
    assert lifecycle.suspend(tenant=acme, reason="unpaid", actor=BILLING, key="k" * 16) == run
    with pytest.raises(KeyReused):
        lifecycle.delete_tenant(tenant=acme, reason="unpaid", actor=BILLING, key="k" * 16)
    lifecycle.cancel(run, reason="It was paid.", actor=BILLING)
    assert (driven(run).state, Tenant.objects.get().state) == (RunState.CANCELLED, TenantState.ACTIVE)
