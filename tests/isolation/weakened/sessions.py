"""What sessions, threads and transactions are kept apart by, weakened."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from threading import local
from typing import Any

from provisioning.workflows import wishes
from tenants import context as scopes
from tenants.context import TenantContext
from tenants.isolation.db import base
from tenants.isolation.db.pooled import base as pooled
from tenants.isolation.db.pooled import flight
from tests.isolation.arena import ALL, POOLED, Arena, Place
from tests.isolation.attack import Shows
from tests.isolation.weakened.weakening import Weakening, changed, patched

ONLY_POOL = frozenset({Place.POOL})


def may_make_temporary(arena: Arena) -> AbstractContextManager[None]:
    on = f'ON DATABASE "{arena.acme.database}"'
    return changed(arena, f"GRANT TEMP {on} TO {{role}}", f"REVOKE TEMP {on} FROM {{role}}")


def not_wiped(_arena: Arena) -> AbstractContextManager[None]:
    """No DISCARD ALL where the tenant of a session changes."""

    def without_discard(*arguments: Any, discard: bool, **options: Any) -> Any:
        return flight.fly(*arguments, discard=False, **options)

    return patched(pooled, "fly", without_discard)


def sees_statistics(arena: Arena) -> AbstractContextManager[None]:
    """PostgreSQL as it comes; and where a role is one's own, the group that sees everybody's."""
    if arena.place is Place.POOL:
        weak, restored = "GRANT {} TO PUBLIC", "REVOKE {} FROM PUBLIC"
        rights = "SELECT ON pg_stat_activity", "EXECUTE ON FUNCTION pg_stat_get_activity(integer)"
        return changed(
            arena, "; ".join(weak.format(each) for each in rights), "; ".join(restored.format(each) for each in rights)
        )
    return changed(arena, "GRANT pg_read_all_stats TO {role} WITH INHERIT TRUE", "REVOKE pg_read_all_stats FROM {role}")


def reads_large_objects(arena: Arena) -> AbstractContextManager[None]:
    on = "EXECUTE ON FUNCTION lo_get(oid)"
    return changed(arena, f"GRANT {on} TO PUBLIC", f"REVOKE {on} FROM PUBLIC")


@contextmanager
def pathless(_arena: Arena) -> Iterator[None]:
    """Sessions that take their path from the role."""
    params = pooled.DatabaseWrapper._params

    def without_options(self: Any, *arguments: Any) -> dict[str, Any]:
        return {**params(self, *arguments), "options": ""}

    enter = b"SELECT $1::text, tenure_guard.enter($2, $3, $4, $5, $6, $7), $8::text"
    with ExitStack() as patches:
        patches.enter_context(patched(pooled.DatabaseWrapper, "_params", without_options))
        patches.enter_context(patched(pooled, "ENTER_IN_ZONE", enter))
        yield


@contextmanager
def unwatched(_arena: Arena) -> Iterator[None]:
    """A backend that does not look whose transaction is open."""
    with ExitStack() as patches:
        patches.enter_context(patched(base.DatabaseWrapper, "_admit", lambda self: self.scope()))
        patches.enter_context(patched(pooled.DatabaseWrapper, "check_still_ours", lambda _self: None))
        yield


class Sticky(local):
    """A thread-local "current tenant" that a scope does not take away again."""

    tenant: TenantContext | None = None

    def get(self) -> TenantContext | None:
        return self.tenant

    def set(self, tenant: TenantContext) -> None:
        self.tenant = tenant

    def reset(self, _token: None) -> None:
        pass


def remembered(_arena: Arena) -> AbstractContextManager[None]:
    return patched(scopes, "_scope", Sticky())


def unchecked_names(_arena: Arena) -> AbstractContextManager[None]:
    return patched(wishes, "checked_slug", lambda slug: slug)


WEAKENINGS = (
    Weakening("the right to temporary tables", may_make_temporary, {"AT-20": Shows.ANSWER}),
    Weakening("sessions that are not wiped", not_wiped, {"AT-21": Shows.ANSWER, "AT-22": Shows.CANARY}, ONLY_POOL),
    Weakening("statements shown to all", sees_statistics, {"AT-23": Shows.CANARY}),
    Weakening("large objects for all", reads_large_objects, {"AT-24": Shows.CANARY}, ONLY_POOL),
    Weakening("paths from the role", pathless, {"AT-25": Shows.ANSWER}, ONLY_POOL),
    Weakening("slugs that nobody checks", unchecked_names, {"AT-28": Shows.ANSWER}),
    Weakening("threads that remember", remembered, {"AT-30": Shows.CANARY}),
    Weakening("transactions that nobody watches", unwatched, {"AT-31": Shows.ANSWER}, POOLED),
    Weakening("transactions that nobody watches", unwatched, {"AT-31": Shows.CANARY}, ALL - POOLED),
)
