"""What is brought along a path: a tenant's schema or database, or a pool with all who live in it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from uuid import UUID

from tenants.context import TenantContext
from tenants.states import Tier

Tenants = Callable[[UUID | None, int], Sequence[TenantContext]]
"""Asked for at most so many, in the order of their ids, of those after the given id. Fewer: there are no more."""


@dataclass(frozen=True, slots=True)
class Target:
    """`schema` is its name on `database` of the cluster of this name.

    `tenants` matters in pools alone, whose data is changed as the tenant it belongs to. `role` is the pool's group, to
    be granted what is new; elsewhere the owner's default privileges do that.
    """

    tier: Tier
    cluster: str
    database: str
    schema: str
    tenants: Sequence[TenantContext] | Tenants = ()
    role: str = ""

    @property
    def pooled(self) -> bool:
        return self.tier == Tier.POOL

    def after(self, last: UUID | None, limit: int) -> Sequence[TenantContext]:
        """The next tenants, in the order of their ids."""
        if callable(self.tenants):
            return self.tenants(last, limit)
        left = (each for each in self.tenants if last is None or each.tenant_id > last)
        return sorted(left, key=lambda each: each.tenant_id)[:limit]
