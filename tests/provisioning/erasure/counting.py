"""An erasure of one store, driven to its end or killed on the way, and the verdict over what is left."""

import time
from uuid import uuid4

from provisioning.erasure.stores import Budget, Enumeration, Eraser, Identifier, Scope, Verdict, Verifier, judge
from tenants.context import TenantContext
from tenants.models import Tenant


class Killed(BaseException):
    """Stands for SIGKILL: no handler of ours catches it."""


def scope_of(tenant: TenantContext | Tenant, *identifiers: Identifier, subject: bool = False) -> Scope:
    tenant_id = tenant.pk if isinstance(tenant, Tenant) else tenant.tenant_id
    return Scope("subject" if subject else "tenant", tenant_id, tenant.incarnation, uuid4(), identifiers)


def erased(
    eraser: Eraser, scope: Scope, *, found: Enumeration | None = None, items: int = 1_000, dies_at: int | None = None
) -> int:
    """How many went. Raises Killed at destructive call number `dies_at`."""
    leases: list[None] = []

    def lease() -> None:
        leases.append(None)
        if len(leases) == dies_at:
            raise Killed

    found, cursor, deleted = found or eraser.enumerate(scope), None, 0
    for _call in range(100):
        progress = eraser.erase(scope, found, cursor, Budget(items, time.monotonic() + 60), lease)
        deleted, cursor = deleted + progress.deleted, progress.cursor
        if progress.done:
            return deleted
        assert not progress.failed, progress.failed
    raise AssertionError("It goes on and on.")


def verdict(verifier: Verifier, scope: Scope) -> Verdict:
    return judge(
        retained=0,
        counted=verifier.count(scope),
        control=verifier.control(scope),
        coverage=verifier.coverage(scope),
        residue=verifier.residue(scope),
    )


def total(verifier: Verifier, scope: Scope) -> int:
    return sum(tally.n or 0 for tally in verifier.count(scope))
