"""Wagtail's own history, rolled out release by release in every tier, beside Django's `migrate` on a plain schema.

From the oldest to the newest in one leap: every migration, with rows from before. `make wagtail-history` walks through
all releases, and rows are changed between each two.
"""

import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from benchmarks import wagtail
from controlplane.stack.embedded import Stack
from provisioning.databases import blueprint, guard
from provisioning.databases.fingerprint import difference, shape
from provisioning.databases.servers import Connection, connect, run
from provisioning.models import Release
from tenants.models import Pool, Tenant
from tenants.states import Tier
from tests.fleet import BILLING, onboarded
from tests.pools import pool_apart
from tests.provisioning.rollout.building import approved, driven, states
from tests.wagtail import history, rows
from tests.wagtail.authoring import written

CHOSEN = os.environ.get("WAGTAIL_STOPS", "")
STOPS = tuple(history.RELEASES) if CHOSEN == "all" else tuple(CHOSEN.split()) or history.ENDS

pytestmark = [
    pytest.mark.long,
    pytest.mark.drawn(1, among="other people's applications"),
    pytest.mark.wagtail,
    pytest.mark.timeout(300 + 60 * len(STOPS)),
]


@dataclass
class Plain:
    """The same rows in a database that Django itself migrates."""

    url: str
    history: history.History
    began: datetime = field(default_factory=lambda: datetime.now(UTC))

    def migrate(self) -> None:
        said = subprocess.run(
            (sys.executable, "-m", "django", "migrate", "--settings=tests.wagtail.plain", "--verbosity=0"),
            env={
                **os.environ,
                "PLAIN_URL": self.url,
                "TENANT_SETTINGS": self.history.settings,
                "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
            },
            capture_output=True,
            text=True,
            check=False,
        )
        assert said.returncode == 0, said.stderr[-3_000:]

    @contextmanager
    def inside(self) -> Iterator[Connection]:
        with psycopg.connect(self.url, options="-c timezone=UTC") as connection:
            yield connection


@pytest.fixture
def wagtail_history(tmp_path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch) -> history.History:
    monkeypatch.syspath_prepend(tmp_path)
    made = history.History(tmp_path)
    settings.TENANT_APPS = list(wagtail.APPS)
    settings.MIGRATION_MODULES = made.modules
    monkeypatch.setenv("TENANT_SETTINGS", made.settings)
    return made


@pytest.fixture
def plain(stack: Stack, wagtail_history: history.History) -> Iterator[Plain]:
    name = f"plain_{secrets.token_hex(4)}"
    with psycopg.connect(stack.superuser_url, autocommit=True) as superuser:
        superuser.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        superuser.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(sql.Identifier(name)))
        yield Plain(f"{stack.superuser_url.rsplit('/', 1)[0]}/{name}", wagtail_history)
        superuser.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@contextmanager
def inside(tenant: Tenant) -> Iterator[Connection]:
    """As the owner of the tenant's tables, in a pool as the tenant."""
    context = tenant.context()
    placed = tenant.placements.get(active=True)
    with connect(placed.cluster, database=context.database) as connection, connection.transaction():
        if context.tier == Tier.POOL:
            guard.enter(connection, context)
        run(connection, sql.SQL("SET LOCAL search_path = {}").format(sql.Identifier(context.schema)))
        run(connection, "SET LOCAL timezone = 'UTC'")
        yield connection


def published(version: str, plain: Plain) -> Release:
    """The release, with `plain` on it as well."""
    plain.history.go_to(version)
    plain.migrate()
    release = blueprint.publish(f"wagtail-{version}", actor=BILLING)
    assert release.pool_refusals == []
    return release


def write(version: str, plain: Plain, tenants: list[Tenant]) -> None:
    """What editors have written by then: the same in each tenant, and in the plain schema."""
    with plain.inside() as connection:
        connection.execute(written(version, "acme").encode())
    for tenant in tenants:
        with inside(tenant) as connection:
            connection.execute(written(version, "acme").encode())


def rolled_out(release: Release) -> None:
    rollout = driven(approved(release, waves=[{"percent": 100}]))
    failures = list(rollout.targets.exclude(error=None).values_list("error", flat=True))
    assert failures == [], release
    assert rollout.state == "succeeded", (release, rollout.pause_reason, rollout.pause_detail)
    assert states(rollout) == {"succeeded": 3}


def refuse_other_rows(version: str, plain: Plain, tenants: list[Tenant]) -> None:
    with plain.inside() as connection:
        wanted, leading = rows.read(connection, since=plain.began), rows.references(connection)
    for tenant in tenants:
        with inside(tenant) as connection:
            found = rows.read(connection, since=plain.began)
        if tenant.slug.startswith("pool"):
            lines = list(rows.differing(rows.renumbered(wanted, leading), rows.renumbered(found, leading)))
        else:
            lines = list(rows.differing(wanted, found))
        assert not lines, f"{tenant.slug} at {version}:\n" + "\n".join(lines)


def shape_of(tenant: Tenant) -> list[str]:
    with inside(tenant) as connection:
        return shape(connection, tenant.context().schema)


def test_each_tenant_ends_as_django_itself_would_have_left_it(house: None, stack: Stack, plain: Plain) -> None:
    release = published(STOPS[0], plain)
    with pool_apart(stack) as pool:
        Pool.objects.exclude(pk=pool.pk).update(ready_at=None)  # of another application, and none of this fleet's
        tenants = [onboarded(f"{tier}-acme", tier) for tier in Tier] + [onboarded("pool-globex", Tier.POOL)]
        refuse_other_rows(STOPS[0], plain, tenants)
        write(STOPS[0], plain, tenants)
        refuse_other_rows(STOPS[0], plain, tenants)
        for version in STOPS[1:]:
            release = published(version, plain)
            rolled_out(release)
            refuse_other_rows(version, plain, tenants)
            write(version, plain, tenants)
        assert plain.history.lacks() == []
        assert set(Tenant.objects.values_list("release", flat=True)) == {release.name}
        with pool_apart(stack):
            born = {tier: shape_of(onboarded(f"{tier}-fresh", tier)) for tier in Tier}
        for tenant in tenants:
            assert difference(born[Tier(tenant.context().tier)], shape_of(tenant)) == []
