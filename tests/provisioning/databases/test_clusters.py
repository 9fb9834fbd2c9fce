import os
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connections
from psycopg import sql
from psycopg.conninfo import make_conninfo

from provisioning.databases.clusters import (
    ClusterElsewhere,
    NoCapacity,
    change_cluster,
    choose_cluster,
    register_cluster,
    release_placement,
    reserve,
)
from provisioning.databases.ddl import DEDICATED_SCHEMA
from provisioning.databases.fitness import ClusterUnfit, check_cluster
from provisioning.databases.servers import ServerUnavailable, url_of
from provisioning.models import RunLimit
from tenants.models import AuditEntry, Cluster, Placement, Plan, Tenant
from tenants.states import Tier
from tests.fleet import BILLING


@pytest.fixture
def newcomer(superuser: psycopg.Connection) -> Iterator[str]:
    """A role that may log in and nothing else, to the cluster's database; its URL."""
    superuser.execute("DROP ROLE IF EXISTS newcomer")
    superuser.execute("CREATE ROLE newcomer LOGIN PASSWORD 'hidden-word'")
    superuser.execute("GRANT CONNECT ON DATABASE tenure_cluster TO newcomer")
    yield make_conninfo(os.environ["CLUSTER_URL"], user="newcomer", password="hidden-word")
    superuser.execute("REVOKE CONNECT ON DATABASE tenure_cluster FROM newcomer")
    superuser.execute("DROP ROLE newcomer")


def another(name: str, *, like: Cluster, **fields: object) -> Cluster:
    """A second entry of the register; the same server, which placement does not look at."""
    values = {"region": like.region, "capacity": 10, "database": like.database, "public_host": "localhost", **fields}
    return Cluster.objects.create(name=name, sealed_url=b"", **values)


def wanting(slug: str) -> Tenant:
    plan = Plan.objects.get(tier=Tier.SCHEMA)
    return Tenant.objects.create(slug=slug, name=slug, principal="billing", plan=plan, region="local")


def test_what_a_role_lacks_is_named_with_its_cure(newcomer: str) -> None:
    with pytest.raises(ClusterUnfit) as unfit:
        check_cluster(newcomer)
    assert "the role newcomer lacks CREATEROLE, CREATEDB, BYPASSRLS" in str(unfit.value)
    assert "does not own tenure_cluster" in str(unfit.value)
    assert "ALTER ROLE newcomer CREATEROLE CREATEDB BYPASSRLS;" in unfit.value.cure
    assert "GRANT pg_signal_backend TO newcomer;" in unfit.value.cure


def test_a_url_that_leads_nowhere_is_told_without_its_password() -> None:
    with pytest.raises(ServerUnavailable) as away:
        check_cluster("postgresql://someone:hidden-word@127.0.0.1:1/nowhere")
    assert "refused" in str(away.value)
    assert "hidden-word" not in str(away.value)


def test_a_url_without_a_database_is_refused() -> None:
    with pytest.raises(ClusterUnfit, match="names no database"):
        check_cluster("postgresql://someone@127.0.0.1:1/")


def test_a_database_that_is_open_to_every_role_is_doubtful(house: None, superuser: psycopg.Connection) -> None:
    assert check_cluster(os.environ["CLUSTER_URL"]) == []
    superuser.execute("GRANT CONNECT ON DATABASE postgres TO PUBLIC")
    try:
        (finding,) = check_cluster(os.environ["CLUSTER_URL"])
        assert (finding.code, finding.subject) == ("DATABASE_OPEN_TO_ALL", "postgres")
    finally:
        superuser.execute("REVOKE CONNECT ON DATABASE postgres FROM PUBLIC")


def test_registering_again_changes_what_is_given_and_keeps_the_rest(house: None, cluster: Cluster) -> None:
    url = os.environ["CLUSTER_URL"]
    register_cluster(name=cluster.name, url=url, region="local", actor=BILLING, capacity=7, max_running=2)
    again, _findings = register_cluster(
        name=cluster.name, url=url, region="local", actor=BILLING, public_host="db.example.org"
    )
    assert (again.pk, again.capacity, again.max_running) == (cluster.pk, 7, 2)
    assert (again.public_host, url_of(again)) == ("db.example.org", url)
    assert RunLimit.objects.get(key=f"cluster:{cluster.name}").max_running == 2
    assert url.encode() not in bytes(again.sealed_url)


def test_the_audit_log_tells_of_a_registration_that_changes_something(house: None, cluster: Cluster) -> None:
    def told() -> int:
        return AuditEntry.objects.filter(public__action="cluster.registered").count()

    first, url = told(), os.environ["CLUSTER_URL"]
    for _start in range(2):
        register_cluster(name=cluster.name, url=url, region="local", actor=BILLING)
    assert told() == first
    changes: list[dict[str, Any]] = [
        {"capacity": 8},
        {"public_host": "db.example.org"},
        {"url": f"{url}?application_name=x"},
    ]
    for change in changes:
        register_cluster(**{"name": cluster.name, "url": url, "region": "local", "actor": BILLING, **change})
    assert told() == first + 3


def test_a_cluster_with_tenants_is_not_pointed_elsewhere(house: None, cluster: Cluster) -> None:
    reserve(wanting("acme"), Tier.SCHEMA)
    Cluster.objects.update(database="elsewhere")
    with pytest.raises(ClusterElsewhere):
        register_cluster(name=cluster.name, url=os.environ["CLUSTER_URL"], region="local", actor=BILLING)


def test_the_command_tells_the_cure(house: None, newcomer: str) -> None:
    with pytest.raises(CommandError, match="ALTER ROLE newcomer"):
        call_command("register_cluster", "second", url=newcomer, region="local", verbosity=0)
    assert not Cluster.objects.filter(name="second").exists()


def test_places_are_named_after_the_tenants_id(house: None, cluster: Cluster) -> None:
    acme, globex = wanting("acme"), wanting("globex")
    shared, own = reserve(acme, Tier.SCHEMA), reserve(globex, Tier.DATABASE)
    assert (shared.database, shared.schema) == ("tenure_cluster", f"t_{acme.pk.hex}")
    assert (own.database, own.schema) == (f"t_{globex.pk.hex}", DEDICATED_SCHEMA)


def test_a_tenant_that_has_a_place_keeps_it(house: None, cluster: Cluster) -> None:
    acme = wanting("acme")
    assert reserve(acme, Tier.SCHEMA).pk == reserve(acme, Tier.SCHEMA).pk


def test_the_least_full_open_cluster_of_the_region_is_chosen(house: None, cluster: Cluster) -> None:
    change_cluster(cluster=cluster, capacity=2, actor=BILLING)
    another("a-bigger", like=cluster, capacity=10)
    another("abroad", like=cluster, region="moon")
    another("closing", like=cluster, state="draining")
    placed = [reserve(wanting(f"tenant-{number}"), Tier.SCHEMA).cluster.name for number in range(12)]
    assert Counter(placed) == {cluster.name: 2, "a-bigger": 10}
    assert placed[:2] == ["a-bigger", cluster.name]


def test_why_no_cluster_fits_is_said_for_each(house: None, cluster: Cluster) -> None:
    change_cluster(cluster=cluster, capacity=1, actor=BILLING)
    reserve(wanting("acme"), Tier.SCHEMA)
    another("abroad", like=cluster, region="moon")
    another("closing", like=cluster, state="draining")
    another("shut", like=cluster, state="closed")
    with pytest.raises(NoCapacity) as full:
        choose_cluster(region="local")
    assert full.value.metadata["clusters"] == {
        "abroad": "in region moon",
        "closing": "draining",
        cluster.name: "full (1 of 1)",
        "shut": "closed",
    }


def test_a_place_given_back_is_free_again_and_leaves_its_row(house: None, cluster: Cluster) -> None:
    change_cluster(cluster=cluster, capacity=1, actor=BILLING)
    acme = wanting("acme")
    former = reserve(acme, Tier.SCHEMA)
    release_placement(acme, at=acme.created_at)
    reserve(wanting("globex"), Tier.SCHEMA)
    assert not Placement.objects.get(pk=former.pk).active


def test_capacity_holds_when_many_ask_at_once(house: None, cluster: Cluster) -> None:
    change_cluster(cluster=cluster, capacity=3, actor=BILLING)
    tenants = [wanting(f"tenant-{number}") for number in range(8)]

    def ask(tenant: Tenant) -> str:
        try:
            return reserve(tenant, Tier.SCHEMA).cluster.name
        except NoCapacity:
            return "none"
        finally:
            connections.close_all()

    with ThreadPoolExecutor(8) as pool:
        answers = Counter(pool.map(ask, tenants))
    assert answers == {cluster.name: 3, "none": 5}
    assert Placement.objects.filter(active=True).count() == 3


def test_a_role_is_refused_by_name_only_once(newcomer: str, superuser: psycopg.Connection) -> None:
    superuser.execute(sql.SQL("ALTER ROLE newcomer CREATEROLE CREATEDB BYPASSRLS"))
    with pytest.raises(ClusterUnfit) as unfit:
        check_cluster(newcomer)
    assert "lacks" not in str(unfit.value)
