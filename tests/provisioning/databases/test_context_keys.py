"""The key that signs tickets is exchanged while applications go on; nobody is refused before `finish`."""

import os
from collections.abc import Iterator
from datetime import timedelta
from io import StringIO
from typing import Any
from uuid import uuid4

import pytest
from django.conf import settings
from django.core.management import call_command
from django.core.management.base import CommandError
from django.utils import timezone
from psycopg.errors import InsufficientPrivilege

from provisioning.databases import context_keys, guard, roles, signing
from provisioning.databases.clusters import register_cluster
from provisioning.databases.context_keys import RUN_OUT, Standing, State
from provisioning.databases.servers import connect, run, sealed_url
from provisioning.databases.signing import ContextSecretGone, mark
from provisioning.databases.tiers import LoginRole
from provisioning.providers.credentials import SHORTEST_S
from tenants.isolation.tickets import ContextKey, mint
from tenants.models import AuditEntry, Cluster
from tenants.states import Tier
from tests.fleet import BILLING
from tests.provisioning.databases.conftest import MakeTenant
from tests.provisioning.databases.making import Made

NEW_SECRET = bytes(range(32))


@pytest.fixture
def acme(tenant: MakeTenant, cluster: Cluster) -> Iterator[Made]:
    """In a pool. The cluster outlives the control database of a test, so its keys are put back."""
    yield tenant("acme", Tier.POOL)
    cluster.refresh_from_db()
    cluster.context_version, cluster.context_secret = 1, ""
    cluster.save()
    signing.forget(cluster)
    with connect(cluster) as connection:
        guard.install(connection, cluster=cluster, database=cluster.database)
        guard.keep_version(connection, version="1")


def enters(acme: Made, key: ContextKey) -> bool:
    """Whether an application that holds this key gets in."""
    role, password = LoginRole().login(acme.context)
    with roles.log_in(acme.context, role, password) as session:
        try:
            run(session, guard.ENTER, *mint(acme.context, key))
        except InsufficientPrivilege as error:
            if "forged ticket" not in str(error):
                raise
            return False
    return True


def begun() -> Standing:
    (standing,) = context_keys.begin(actor=BILLING)
    return standing


def run_out() -> None:
    """As if it were later."""
    Cluster.objects.update(context_since=timezone.now() - RUN_OUT - timedelta(seconds=1))


def test_both_keys_are_good_until_it_is_finished(acme: Made, cluster: Cluster) -> None:
    former = guard.context_key(acme.context)
    standing = begun()
    assert (standing.state, standing.signs, standing.good) == (State.BEGUN, 2, ("1", "2"))
    latter = guard.context_key(acme.context)
    assert (former.version, latter.version) == ("1", "2")
    assert enters(acme, former)
    assert enters(acme, latter)
    run_out()
    (finished,) = context_keys.finish(actor=BILLING)
    assert (finished.state, finished.good) == (State.FINISHED, ("2",))
    assert not enters(acme, former)
    assert enters(acme, latter)
    assert acme.findings() == []
    told = AuditEntry.objects.filter(public__action="context_key.rotated").order_by("seq")
    assert [(each.public["outcome"], each.public["counts"]) for each in told] == [
        ("requested", {"version": 2}),
        ("done", {"version": 2}),
    ]


def test_it_is_not_finished_while_credentials_from_before_are_good(acme: Made) -> None:
    former = guard.context_key(acme.context)
    begun()
    (early,) = context_keys.finish(actor=BILLING)
    assert early.state == State.TOO_EARLY
    assert enters(acme, former)
    (finished,) = context_keys.finish(actor=BILLING, at_once=True)
    assert finished.state == State.FINISHED
    assert not enters(acme, former)


def test_each_verb_may_be_run_again(acme: Made) -> None:
    assert list(context_keys.finish(actor=BILLING)) == []
    assert begun() == begun()
    run_out()
    assert [each.state for each in context_keys.finish(actor=BILLING)] == [State.FINISHED]
    assert list(context_keys.finish(actor=BILLING)) == []
    assert [each.state for each in context_keys.plan()] == [State.SETTLED]


def test_a_begin_that_was_killed_half_way_is_taken_up(acme: Made, cluster: Cluster) -> None:
    """The database had the key, and the row did not say so yet."""
    cluster.context_version = 2
    with connect(cluster) as connection:
        guard.add_version(connection, cluster=cluster, database=cluster.database, signs=signing.of(cluster))
    assert (begun().signs, enters(acme, guard.context_key(acme.context))) == (2, True)


def test_a_cluster_that_is_away_is_named_and_left_as_it_was(acme: Made, cluster: Cluster) -> None:
    away = Cluster(pk=uuid4(), name="away", region="local", database="nothing", capacity=1, public_host="127.0.0.1")
    away.sealed_url = sealed_url("postgresql://nobody@127.0.0.1:1/nothing", away)
    away.save()
    states = {each.cluster: each.state for each in context_keys.begin(actor=BILLING)}
    assert states == {"away": State.AWAY, cluster.name: State.BEGUN}
    away.refresh_from_db()
    assert (away.context_version, away.context_since) == (1, None)
    with pytest.raises(CommandError, match="away"):
        call_command("rotate_context_key", "begin", stdout=StringIO())


def test_another_secret_takes_over_without_a_gap(acme: Made, cluster: Cluster, settings: Any) -> None:
    former = guard.context_key(acme.context)
    settings.TENURE_CONTEXT_SECRET_FORMER, settings.TENURE_CONTEXT_SECRET = settings.TENURE_CONTEXT_SECRET, NEW_SECRET
    signing.forget(cluster)
    assert guard.context_key(acme.context) == former  # a restart alone changes nothing
    begun()
    latter = guard.context_key(acme.context)
    assert enters(acme, former)
    assert enters(acme, latter)
    settings.TENURE_CONTEXT_SECRET_FORMER = b""
    signing.forget(cluster)
    assert guard.context_key(acme.context) == latter
    settings.TENURE_CONTEXT_SECRET = bytes(32)
    signing.forget(cluster)
    with pytest.raises(ContextSecretGone) as gone:
        guard.context_key(acme.context)
    assert "TENURE_CONTEXT_SECRET_FORMER" in gone.value.cure


def test_a_registered_cluster_remembers_which_secret_signs(cluster: Cluster) -> None:
    assert cluster.context_secret == mark(settings.TENURE_CONTEXT_SECRET)


def test_a_database_with_tenants_in_pools_is_no_second_clusters(acme: Made) -> None:
    """Or their tickets would be forged ones from then on."""
    with pytest.raises(guard.SignedOtherwise, match="not signed as those of second"):
        register_cluster(name="second", url=os.environ["CLUSTER_URL"], region="local", actor=BILLING)
    assert not Cluster.objects.filter(name="second").exists()
    assert acme.findings() == []


def test_credentials_last_no_longer_than_is_waited_for() -> None:
    assert timedelta(seconds=SHORTEST_S) <= context_keys.HANDED_OUT_FOR


def test_the_command_says_where_it_stands(acme: Made, cluster: Cluster) -> None:
    out = StringIO()
    for verb in ("plan", "begin", "plan", "finish"):
        call_command("rotate_context_key", verb, now=verb == "finish", stdout=out)
    lines = out.getvalue().splitlines()
    assert lines[0] == f"{cluster.name}: version 1 signs."
    assert lines[1].startswith(f"{cluster.name}: version 2 signs of 1, 2. To be finished from ")
    assert lines[2] == "Next: manage.py rotate_context_key finish. It waits until it may."
    assert lines[3] == lines[1]
    assert lines[4] == f"{cluster.name}: only version 2 is good. Sessions ended: 0."
