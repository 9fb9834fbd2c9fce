"""What is left of personal values beside the audit log, by the entries that committed to them and by their keys."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any, LiteralString
from uuid import UUID

from django.conf import settings
from django.utils import timezone

from provisioning.erasure.stores import Control, Coverage, Kind, Residue, Scope, Tally
from provisioning.erasure.verifiers.looking import is_runtime, looking_into
from tenants.findings import Finding
from tenants.models import Tenant

ROWS, KEYS = "control:audit_payload", "keyring:data_key"
KEYRING_BACKUPS = timedelta(days=7)  # the most that docs/production.md allows
ACTOR = "actor"

# Of entries: those in the tenant's chain, or by these people in any.
OURS = "(e.chain = %(chain)s OR e.public ->> 'actor' = ANY(%(people)s))"
LEFT = f"SELECT count(*) FROM audit_payload p JOIN audit_entry e ON e.entry = p.entry WHERE {OURS}"
COMMITTED = f"""
SELECT DISTINCT (c.value ->> 0)::uuid FROM audit_entry e, jsonb_each(e.public -> 'commits') AS c WHERE {OURS}
"""
SEES = """
SELECT has_table_privilege('audit_payload', 'SELECT') AND NOT row_security_active('audit_payload'),
       (SELECT count(*) FROM audit_entry WHERE chain = %(chain)s),
       coalesce((SELECT size FROM audit_chain WHERE chain = %(chain)s), 0)
"""


class AuditPayloads:
    """Counts rows in the control database, and keys in the keyring that still open something."""

    store = "audit_payload"
    scopes: frozenset[Kind] = frozenset({"tenant", "subject"})

    def coverage(self, scope: Scope) -> Coverage:
        return Coverage(covered=(ROWS, KEYS))

    def blockers(self, scope: Scope) -> Iterator[Finding]:
        yield from ()

    def count(self, scope: Scope) -> tuple[Tally, ...]:
        """The sealed values, which are deleted, and their keys, which are shredded."""
        ((left,),) = _asked(settings.VERIFIER_URL, LEFT, _of(scope))
        committed = [key for (key,) in _asked(settings.VERIFIER_URL, COMMITTED, _of(scope))]
        ((living,),) = _asked(
            settings.KEYRING_VERIFIER_URL,
            "SELECT count(*) FROM data_key WHERE key_id = ANY(%(keys)s) AND wrapped IS NOT NULL",
            {"keys": committed},
        )
        return (Tally(ROWS, left), Tally(KEYS, living, action="shred"))

    def control(self, scope: Scope) -> Control:
        """The tenant's own chain is seen whole: as many entries as its row says, by the role that counts."""
        with looking_into(settings.VERIFIER_URL) as connection:
            if is_runtime(connection, "default"):
                return Control(ok=False, method="the verifier has the role that erases: set VERIFIER_URL")
        ((sees, entries, size),) = _asked(settings.VERIFIER_URL, SEES, {"chain": _chain(scope)})
        method = (
            f"audit_payload readable past row security: {'yes' if sees else 'no'}; {entries} of {size} entries seen"
        )
        return Control(ok=bool(sees) and entries == size > 0, method=method)

    def residue(self, scope: Scope) -> tuple[Residue, ...]:
        until = timezone.now() + KEYRING_BACKUPS
        return (Residue("keyring backups", "they hold the destroyed keys until they run out", until),)


def _of(scope: Scope) -> dict[str, Any]:
    if scope.kind == "tenant":
        return {"chain": _chain(scope), "people": []}
    return {"chain": None, "people": [each.value for each in scope.identifiers if each.kind == ACTOR]}


def _chain(scope: Scope) -> UUID:
    chain: UUID = Tenant.objects.values_list("audit_chain", flat=True).get(pk=scope.tenant_id)
    return chain


def _asked(url: str, query: LiteralString, names: dict[str, Any]) -> list[tuple[Any, ...]]:
    with looking_into(url) as connection:
        return connection.execute(query, names).fetchall()
