"""Registering a cluster: checked first, its URL sealed and never shown again."""

import os
from collections.abc import Iterator

import psycopg
import pytest
from django.test import Client
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from controlplane.stack.embedded import Stack
from tenants.models import AuditEntry, Cluster

REGISTER = "/admin/tenants/cluster/register/"


@pytest.fixture
def url(stack: Stack) -> Iterator[str]:
    """Of another shared database: one is one cluster's."""
    role = conninfo_to_dict(os.environ["CLUSTER_URL"])["user"]
    with psycopg.connect(stack.superuser_url, autocommit=True) as superuser:
        superuser.execute(f"CREATE DATABASE local_2 OWNER {role}")
        superuser.execute("REVOKE ALL ON DATABASE local_2 FROM PUBLIC")
        yield make_conninfo(os.environ["CLUSTER_URL"], dbname="local_2")
        superuser.execute("DROP DATABASE local_2 WITH (FORCE)")


def test_a_server_is_checked_and_taken_into_the_register(ops: Client, url: str) -> None:
    answer = ops.post(REGISTER, {"name": "local-2", "region": "local", "url": url, "capacity": "12"})
    cluster = Cluster.objects.get(name="local-2")
    assert (answer.status_code, answer["Location"]) == (302, f"/admin/tenants/cluster/{cluster.pk}/")
    assert (cluster.capacity, cluster.state) == (12, "open")
    assert url not in ops.get(answer["Location"]).content.decode()
    assert AuditEntry.objects.filter(public__action="cluster.registered").count() == 2  # with the one of the house


def test_a_server_that_is_away_is_refused_and_its_url_not_echoed(ops: Client) -> None:
    url = "postgresql://role:hunter2@127.0.0.1:1/nothing"
    answer = ops.post(REGISTER, {"name": "away", "region": "local", "url": url})
    assert answer.status_code == 422
    assert "hunter2" not in answer.content.decode()
    assert not Cluster.objects.filter(name="away").exists()


def test_registering_takes_the_permission_to_add(viewer: Client) -> None:
    assert viewer.get(REGISTER).status_code == 403
    assert "Register a cluster" not in viewer.get("/admin/tenants/cluster/").content.decode()
