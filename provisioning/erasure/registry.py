"""Every store that can hold a tenant's data, who deletes and who counts there, and which may not be missing.

What is missing from ERASERS or VERIFIERS is found here, as the list below does not depend on theirs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from provisioning.erasure import controls, persons, proofs
from provisioning.erasure.erasers import ERASERS
from provisioning.erasure.stores import Eraser, Identifier, Kind, Scope, Verifier
from provisioning.erasure.verifiers import VERIFIERS
from tenants.findings import Finding, Severity
from tenants.models import Placement
from tenants.states import Tier

EVERYWHERE = frozenset({"bucket", "cache", "queues", "control_rows", "audit_payload"})
OF_TENANTS = EVERYWHERE | {"keys", "roles", "hold_archive"}
REQUIRED: Mapping[tuple[Kind, Tier], frozenset[str]] = {
    ("tenant", Tier.POOL): OF_TENANTS | {"pool_rows"},
    ("tenant", Tier.SCHEMA): OF_TENANTS | {"schema"},
    ("tenant", Tier.DATABASE): OF_TENANTS | {"database"},
    ("subject", Tier.POOL): EVERYWHERE | {"pool_rows"},
    ("subject", Tier.SCHEMA): EVERYWHERE | {"schema"},
    ("subject", Tier.DATABASE): EVERYWHERE | {"database"},
}
"""Stores that every request must have a verdict for, by scope and by each tier the tenant ever lived in."""


def no_more(_scope: Scope) -> Mapping[str, Any]:
    return {}


def nothing(_tenant_id: UUID) -> None:
    """No control is missing."""


def nobody(_scope: Scope) -> tuple[Identifier, ...]:
    return ()


@dataclass(frozen=True, slots=True)
class Registry:
    """Erasers, verifiers, and the stores that may not be missing from either. Tests bring a small one of their own.

    `proofs` gives a certificate what no single store tells: `needles`, `collateral`, `audit`, `keys`. `plant` makes the
    controls that verifiers want to find; `names` finds what else names a person, before the rows that know it go.
    """

    erasers: tuple[Eraser, ...] = ERASERS
    verifiers: tuple[Verifier, ...] = VERIFIERS
    required: Mapping[tuple[Kind, Tier], frozenset[str]] = field(default_factory=lambda: REQUIRED)
    proofs: Callable[[Scope], Mapping[str, Any]] = no_more
    plant: Callable[[UUID], None] = nothing
    names: Callable[[Scope], tuple[Identifier, ...]] = nobody

    def erasers_of(self, kind: Kind) -> tuple[Eraser, ...]:
        """In the order of their phases. A store that is erased in two phases has two entries."""
        return tuple(sorted((e for e in self.erasers if kind in e.scopes), key=lambda eraser: eraser.phase))

    def entries_of(self, store: str, kind: Kind) -> tuple[Eraser, ...]:
        """Those of one store."""
        return tuple(eraser for eraser in self.erasers_of(kind) if eraser.store == store)

    def stores_of(self, kind: Kind) -> list[str]:
        """What is erased, by the phase in which each begins."""
        return list(dict.fromkeys(eraser.store for eraser in self.erasers_of(kind)))

    def verifiers_of(self, kind: Kind) -> tuple[Verifier, ...]:
        return tuple(verifier for verifier in self.verifiers if kind in verifier.scopes)

    def verifier(self, store: str, kind: Kind) -> Verifier | None:
        return next((verifier for verifier in self.verifiers_of(kind) if verifier.store == store), None)

    def required_of(self, tenant_id: UUID, kind: Kind) -> frozenset[str]:
        """Of every tier the tenant ever had a placement in: a move may have left rows behind."""
        tiers = Placement.objects.filter(tenant=tenant_id).values_list("tier", flat=True).distinct()
        return frozenset().union(*(self.required.get((kind, Tier(tier)), frozenset()) for tier in tiers))

    def missing(self, tenant_id: UUID, kind: Kind) -> Iterator[Finding]:
        """Stores that nobody erases, or that nobody counts: each blocks the plan by name."""
        erased = {eraser.store for eraser in self.erasers_of(kind)}
        counted = {verifier.store for verifier in self.verifiers_of(kind)}
        wanted = self.required_of(tenant_id, kind) | erased | counted
        for store in sorted(wanted - erased):
            yield _missing("erasure.no_eraser", store, f"Nobody erases {store}.")
        for store in sorted(wanted - counted):
            yield _missing("erasure.no_verifier", store, f"Nobody counts {store}.")


def _missing(code: str, store: str, said: str) -> Finding:
    return Finding(code, Severity.CRITICAL, store, said, "Put it back into the list of its package.")


REGISTRY = Registry(proofs=proofs.of, plant=controls.plant, names=persons.files_named)
