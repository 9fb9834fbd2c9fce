from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from psycopg import sql

from controlplane.stack.embedded import Stack
from provisioning.databases import blueprint
from provisioning.databases.paths import path_between
from provisioning.databases.replaying import Arrived, Lane, Shape, Stamped, Stand, Target, Unfinished, replay, where
from provisioning.databases.servers import Connection, connect
from provisioning.models import Release, ReleasePath
from tenants.context import TenantContext
from tenants.models import Cluster, Pool
from tenants.placement import pool_group
from tenants.states import Tier
from tests.fleet import BILLING
from tests.pools import pool_apart
from tests.provisioning.databases.conftest import MakeTenant
from tests.provisioning.databases.making import Made
from tests.shelf import Shelf

BOOK = """
    migrations.CreateModel("Book", [
        ("id", models.BigAutoField(primary_key=True)), ("title", models.CharField(max_length=50)),
        ("pages", models.IntegerField(default=1))])
"""
MakeBooks = Callable[..., "Books"]
PATIENCE = timedelta(milliseconds=300)


@dataclass
class Books:
    """Tenants whose application has one table of books, and the way to the release that a test writes."""

    shelf: Shelf
    source: Release
    tier: Tier
    tenants: list[Made]
    pools: list[Pool]
    lane: Lane
    later: list[str] = field(default_factory=list)
    known: set[str] = field(default_factory=set)

    @property
    def table(self) -> str:
        return f"{self.shelf.name}_book"

    def write(self, operations: str, *, head: str = "", atomic: bool = True) -> None:
        """The next migration of the release that comes."""
        before = self.later[-1] if self.later else "0001_books"
        self.later.append(f"{len(self.later) + 2:04}_later")
        named = [text.replace("{app}", self.shelf.name).replace("{table}", self.table) for text in (operations, head)]
        self.shelf.write(self.later[-1], named[0], before=before, head=named[1])
        if not atomic:
            path = self.shelf.folder / f"{self.later[-1]}.py"
            path.write_text(path.read_text() + "    atomic = False\n")

    def published(self) -> ReleasePath:
        path = path_between(self.source, blueprint.publish(actor=BILLING))
        assert path.refusals == path.pool_refusals == []
        return path

    def targets(self) -> list[Target]:
        """One a tenant, and in a pool one for all of them."""
        contexts = [each.context for each in self.tenants]
        if self.tier == Tier.POOL:
            return [self._pool(pool, [each for each in contexts if each.pool_id == pool.pk]) for pool in self.pools]
        return [Target(self.tier, each.cluster, each.database, each.schema, (each,), each.key) for each in contexts]

    def _pool(self, pool: Pool, living: list[TenantContext]) -> Target:
        where = (pool.cluster.name, pool.cluster.database, pool.schema)
        return Target(self.tier, *where, tuple(living), pool_group(pool.pk))

    def replay(self, target: Target, path: ReleasePath, **more: Any) -> Arrived | Unfinished:
        expected = Stamped(Shape.of(path.target, pooled=target.pooled), self.known)
        return replay(target, path, expected=expected, lane=self.lane, lock_timeout=PATIENCE, **more)

    def stand(self, target: Target, path: ReleasePath) -> Stand:
        with self.connected(target) as connection:
            return where(connection, target, path).stand

    def connected(self, target: Target) -> Connection:
        """As the provisioning role."""
        return connect(Cluster.objects.get(), database=target.database)

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
        self.ask(
            self.of_tenant(tenant), f"INSERT INTO {{book}} (title, pages{columns}) VALUES ('{title}', {pages}{more})"
        )

    def of(self, tenant: TenantContext, columns: str = "title, pages") -> list[tuple[Any, ...]]:
        mine = f" WHERE tenant_id = '{tenant.tenant_id}'" if tenant.tier == Tier.POOL else ""
        return self.ask(self.of_tenant(tenant), f"SELECT {columns} FROM {{book}}{mine} ORDER BY id")

    @staticmethod
    def of_tenant(tenant: TenantContext) -> Target:
        return Target(tenant.tier, tenant.cluster, tenant.database, tenant.schema)


@pytest.fixture
def shelved(shelf: Shelf, house: None, tenant: MakeTenant, stack: Stack) -> Iterator[MakeBooks]:
    """Publishes the first release and makes two tenants of it."""
    with ExitStack() as undo:
        lane = undo.enter_context(Lane())
        made: list[Books] = []

        def make(tier: Tier, times: int = 1) -> Books:
            shelf.write("0001_books", BOOK)
            (shelf.folder.parent / "models.py").touch()  # else Django makes no content types for it
            books = Books(shelf, blueprint.publish(actor=BILLING), tier, [], [], lane)
            made.append(books)
            for number in range(times):
                if tier == Tier.POOL:
                    books.pools.append(undo.enter_context(pool_apart(stack)))
                more = f"-{number}" if number else ""
                books.tenants += [tenant(f"{slug}{more}", tier) for slug in ("acme", "globex")]
            return books

        yield make
        for target in made[0].targets() if made else ():  # another pool of this name may come
            Rows(stack, made[0]).ask(target, f"DELETE FROM tenure.replay WHERE target = '{target.schema}'")


@pytest.fixture(params=[Tier.SCHEMA, Tier.DATABASE, Tier.POOL], ids=str)
def books(request: pytest.FixtureRequest, shelved: MakeBooks) -> Books:
    """In each tier."""
    return shelved(request.param)


@pytest.fixture
def in_schemas(shelved: MakeBooks) -> Books:
    return shelved(Tier.SCHEMA)


@pytest.fixture
def in_pool(shelved: MakeBooks) -> Books:
    return shelved(Tier.POOL)


@pytest.fixture
def rows(stack: Stack) -> "Look":
    return lambda books: Rows(stack, books)


Look = Callable[[Books], Rows]
