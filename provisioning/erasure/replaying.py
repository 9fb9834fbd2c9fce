"""Erase once more what a restored database brought back, by the ledger alone: the request's rows may be gone.

# Note [Whom a tombstone names]
A tenant by its id. A person by keyed hashes: whoever has the rows can hash the values by which persons are told there,
and compare. What mentions a person in words is then found by those values, as in the first erasure. Names of a tenant
are read before they are blanked again, and sealed under a key of the run, for the verifiers.

# Note [In their order, one at a time]
A mark says "everything up to here". So what is certified first is replayed first, and the next one begins when the
mark of the last is written.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

from provisioning.databases import vantage
from provisioning.databases.erasing.people import Search
from provisioning.erasure import ledger, restored, sealed
from provisioning.erasure.looking import look
from provisioning.erasure.naming import identifiers_of
from provisioning.erasure.persons import files_named, home_of
from provisioning.erasure.registry import Registry
from provisioning.erasure.scoping import held_of
from provisioning.erasure.stores import Identifier, Kind, Scope, Verdict
from provisioning.models import ErasureRequest, Tombstone
from provisioning.models.erasure_states import AT_WORK
from tenants.classification import OfPeople, classified
from tenants.models import Tenant

NAMES = "names"


def due() -> Tombstone | None:
    """The first erasure that a database must be told again. Raises KeyringUnreachable."""
    stones = {stone.seq: stone for each in restored.behind() for stone in restored.replay_tombstones(each.place)}
    # Restored while at work, a request erases by itself, and marks the databases in the end.
    underway = set(ErasureRequest.objects.filter(state__in=AT_WORK).values_list("pk", flat=True))
    return next((stone for stone in sorted(stones.values(), key=restored.order) if stone.request not in underway), None)


def scope_of(stone: Tombstone, identifiers: Iterable[Identifier] = ()) -> Scope:
    """A tenant in the life that was closed. One person's tenant lives on, in the life it has now."""
    kind: Kind = "tenant" if stone.scope == Tombstone.Scope.TENANT else "subject"
    now = Tenant.objects.values_list("incarnation", flat=True).get(pk=stone.tenant_id)
    return Scope(kind, stone.tenant_id, now, stone.request, tuple(identifiers), held_of(stone.request))


def named(stone: Tombstone) -> tuple[Identifier, ...]:
    """What the restored rows say. See Note [Whom a tombstone names]. Raises Transient."""
    scope = scope_of(stone)
    if scope.kind == "tenant":
        return identifiers_of(stone.tenant_id)
    found = ledger.told_by(stone, _candidates(scope))
    return (*found, *files_named(scope_of(stone, found)))


def _candidates(scope: Scope) -> Iterable[Identifier]:
    """Every value by which rows of the tenant's are somebody's, under each kind that it may be."""
    if (place := home_of(scope)) is None:
        return
    policies = classified()
    with vantage.standing(place.cluster, database=place.database) as connection:
        search = Search.through(connection, place.context, policies)
        for table, word in policies.items():
            if table not in search.tables or not isinstance(word, OfPeople):
                continue
            for column in word.subject:
                for value in search.values(table, column):
                    yield from (Identifier(kind, value) for kind in word.kinds_of(column))


def kept(run_id: UUID, identifiers: Iterable[Identifier]) -> str:
    """Sealed for a row of the control database; `forget` makes it unreadable."""
    return base64.b64encode(sealed.sealed_identifiers(run_id, identifiers)).decode()


def opened(run_id: UUID, text: str) -> tuple[Identifier, ...]:
    return sealed.opened_identifiers(run_id, base64.b64decode(text))


def forget(run_id: UUID) -> None:
    sealed.destroy(run_id)


def verdicts(scope: Scope, registry: Registry) -> Mapping[str, Verdict]:
    """Of every verifier. What a law keeps was kept the first time too, and is taken as it is."""
    found: dict[str, Verdict] = {}
    for verifier in registry.verifiers_of(scope.kind):
        seen: Any = look(verifier, scope)
        found[verifier.store] = seen.verdict(retained=seen.retained)
    return found
