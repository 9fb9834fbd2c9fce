"""Personal values beside the audit log: deleted, then unreadable for whoever has a copy. The chains stay and verify."""

from typing import Literal

from provisioning.erasure.stores import Budget, Enumeration, Kind, Lease, Progress, Scope
from provisioning.errors import Transient
from tenants import audit
from tenants.audit import Actor, PayloadKeysAway

ENGINE = Actor("system", "engine", "the engine")
ACTOR = "actor"  # the kind of an identifier that is `user:7`: whoever acted on tenants, not a tenant's own member


class PayloadKeysUnreachable(Transient):
    """The keyring does not answer, so the keys of personal values cannot be destroyed yet."""

    code = "KEYRING_UNREACHABLE"


class AuditPayloads:
    """Of a tenant: every value in its chain. Of a person: what they typed, in all chains, if they acted on tenants."""

    store = "audit_payload"
    phase = 8
    scopes: frozenset[Kind] = frozenset({"tenant", "subject"})
    reach: Literal["logical", "cryptographic", "expiry"] = "cryptographic"

    def freeze(self, scope: Scope, lease: Lease) -> None:
        """Nothing to do: who writes after the erasure writes under another key."""

    def enumerate(self, scope: Scope) -> Enumeration:
        """Empty: what is there is found by the chain, which stays."""
        return Enumeration(self.store, {})

    def erase(self, scope: Scope, found: Enumeration, cursor: str | None, budget: Budget, lease: Lease) -> Progress:
        lease()
        tenants = (scope.tenant_id,) if scope.kind == "tenant" else ()
        people = () if scope.kind == "tenant" else _people(scope)
        try:
            done = audit.erase(request=scope.request_id, actor=ENGINE, tenants=tenants, people=people)
        except PayloadKeysAway as error:
            raise PayloadKeysUnreachable from error
        return Progress(deleted=done.payloads + done.keys, done=True)


def _people(scope: Scope) -> tuple[str, ...]:
    return tuple(each.value for each in scope.identifiers if each.kind == ACTOR)
