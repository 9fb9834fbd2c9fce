from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from psycopg import sql

from controlplane.stack.embedded import Stack
from provisioning.databases import blueprint
from provisioning.databases.replaying import Arrived, Lane, Shape, Stand, Target, Unfinished, replay, where
from provisioning.databases.servers import connect
from provisioning.models import Release, ReleasePath
from tenants.context import TenantContext
from tenants.models import Cluster, Pool
from tenants.placement import pool_group
from tenants.states import Tier
from tests.fleet import BILLING
from tests.pools import pool_apart
from tests.provisioning.databases.conftest import MakeTenant, Shelf
from tests.provisioning.databases.making import Made
from tests.provisioning.databases.replaying import by_hand

BOOK = """
    migrations.CreateModel("Book", [
        ("id", models.BigAutoField(primary_key=True)), ("title", models.CharField(max_length=50)),
        ("pages", models.IntegerField(default=1))])
"""
PATIENCE = timedelta(milliseconds=300)


@dataclass
class Books:
    """Tenants whose application has one table of books, and the way to the release that a test writes."""

    shelf: Shelf
    source: Release
    tier: Tier
    tenants: list[Made]
    pool: Pool | None
    lane: Lane
    later: list[str] = field(default_factory=list)

    @property
    def table(self) -> str:
        return f"{self.shelf.name}_book"

    def write(self, operations: str, *, head: str = "") -> None:
        """The next migration of the release that comes."""
        before = self.later[-1] if self.later else "0001_books"
        self.later.append(f"{len(self.later) + 2:04}_later")
        self.shelf.write(self.later[-1], operations.format(app=self.shelf.name, table=self.table), before=before, head=head)

    def published(self) -> ReleasePath:
        return by_hand.path(self.source, blueprint.publish(actor=BILLING))

    def targets(self) -> list[Target]:
        """One a tenant, and in a pool one for all of them."""
        contexts = [each.context for each in self.tenants]
        if self.pool is not None:
            first = contexts[0]
            group = pool_group(self.pool.pk)
            return [Target(self.tier, first.cluster, first.database, first.schema, tuple(contexts), group)]
        return [Target(self.tier, each.cluster, each.database, each.schema, (each,), each.key) for each in contexts]

    def replay(self, target: Target, path: ReleasePath, **more: Any) -> Arrived | Unfinished:
        expected = Shape.of(path.target, pooled=target.pooled)
        return replay(target, path, expected=expected, lane=self.lane, lock_timeout=PATIENCE, **more)

    def stand(self, target: Target, path: ReleasePath) -> Stand:
        with connect(Cluster.objects.get(), database=target.database) as connection:
            return where(connection, target, path).stand

    def superuser(self, target: Target, stack_url: str) -> psycopg.Connection:
        url = f"{stack_url.rsplit('/', 1)[0]}/{target.database}"
        return psycopg.connect(url, autocommit=True, options=f"-c search_path={target.schema}")


@dataclass
class Rows:
    """Reads and writes rows as the superuser, who is in nobody's way."""

    stack: Stack
    books: Books

    def ask(self, target: Target, query: str) -> list[tuple[Any, ...]]:
        with self.books.superuser(target, self.stack.superuser_url) as connection:
            cursor = connection.execute(sql.SQL(query.replace("{book}", self.books.table)))
            return cursor.fetchall() if cursor.description else []

    def add(self, tenant: TenantContext, title: str, pages: int = 1) -> None:
        """One book. In a pool it is the tenant's by its column."""
        pooled = tenant.tier == Tier.POOL
        columns, more = (", tenant_id", f", '{tenant.tenant_id}'") if pooled else ("", "")
        self.ask(self._of(tenant), f"INSERT INTO {{book}} (title, pages{columns}) VALUES ('{title}', {pages}{more})")

    def of(self, tenant: TenantContext, columns: str = "title, pages") -> list[tuple[Any, ...]]:
        mine = f" WHERE tenant_id = '{tenant.tenant_id}'" if tenant.tier == Tier.POOL else ""
        return self.ask(self._of(tenant), f"SELECT {columns} FROM {{book}}{mine} ORDER BY id")

    @staticmethod
    def _of(tenant: TenantContext) -> Target:
        return Target(tenant.tier, tenant.cluster, tenant.database, tenant.schema)


@pytest.fixture
def shelved(shelf: Shelf, house: None, tenant: MakeTenant, stack: Stack) -> Iterator[Callable[[Tier], Books]]:
    """Publishes the first release and makes two tenants of it."""
    lane, pools = Lane(), []

    def make(tier: Tier) -> Books:
        shelf.write("0001_books", BOOK)
        source = blueprint.publish(actor=BILLING)
        pool = None
        if tier == Tier.POOL:
            apart = pool_apart(stack)
            pools.append(apart)
            pool = apart.__enter__()
        made = [tenant(slug, tier) for slug in ("acme", "globex")]
        return Books(shelf, source, tier, made, pool, lane)

    yield make
    lane.close()
    for apart in pools:
        apart.__exit__(None, None, None)


@pytest.fixture(params=[Tier.SCHEMA, Tier.DATABASE, Tier.POOL], ids=str)
def books(request: pytest.FixtureRequest, shelved: Callable[[Tier], Books]) -> Books:
    """In each tier."""
    return shelved(request.param)


@pytest.fixture
def in_schemas(shelved: Callable[[Tier], Books]) -> Books:
    return shelved(Tier.SCHEMA)


@pytest.fixture
def in_pool(shelved: Callable[[Tier], Books]) -> Books:
    return shelved(Tier.POOL)


@pytest.fixture
def rows(stack: Stack) -> Callable[[Books], Rows]:
    return lambda books: Rows(stack, books)
