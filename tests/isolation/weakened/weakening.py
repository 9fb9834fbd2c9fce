"""What a weakening is: one boundary taken away for real, what gets through then, and the boundary put back."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

import pytest
from psycopg import sql

from tenants.context import TenantContext
from tenants.isolation import credentials
from tests.isolation.arena import ALL, Arena, Place
from tests.isolation.attack import Shows


@dataclass(frozen=True, slots=True)
class Weakening:
    """`lets_through`: attacks by id, and how it is seen that they got through."""

    name: str
    weaken: Callable[[Arena], AbstractContextManager[object]]
    lets_through: Mapping[str, Shows]
    places: frozenset[Place] = ALL


@contextmanager
def patched(target: object, name: str, value: object) -> Iterator[None]:
    """A seam of the process, replaced."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(target, name, value)
        yield


@contextmanager
def changed(arena: Arena, weak: str, restored: str, *, at: TenantContext | None = None) -> Iterator[None]:
    """SQL of a superuser's in acme's database or in `at`'s, and what undoes it. `{…}` are names of this place."""
    names = {
        "schema": sql.Identifier(arena.acme.schema),
        "theirs": sql.Identifier(arena.globex.schema),
        "role": sql.Identifier(login_of(arena)),
        "database": sql.Identifier(arena.globex.database),
        "globex": sql.Identifier(arena.globex.key),
    }
    with arena.superuser(at) as superuser:
        superuser.execute(sql.SQL(weak).format(**names))
        try:
            yield
        finally:
            superuser.execute(sql.SQL(restored).format(**names))


def login_of(arena: Arena) -> str:
    """What acme logs in as: in a pool perhaps everybody's role."""
    return credentials.of(arena.acme).database.user
