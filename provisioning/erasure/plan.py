"""What would be erased, counted by those who never delete: the very words that one person freezes and another approves.

A document is plain JSON: `v, request, scope, due_at, stores, catalog, holds, blockers`, and once it is frozen
`proposed_by` and `nth`. No identifier is in it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from uuid import UUID

from django.core.serializers.json import DjangoJSONEncoder

from provisioning.erasure import holds
from provisioning.erasure.looking import Look, look
from provisioning.erasure.persons import HOLD_ROWS
from provisioning.erasure.registry import Registry
from provisioning.erasure.scoping import kind_of, scope_of
from provisioning.models import ErasureRequest, RecordHold
from tenants.findings import Finding, Severity

Document = dict[str, Any]
MAY_DIFFER = 100  # items; fewer than these, or 5 %, is a day's work of a living tenant
MAY_DIFFER_PART = 0.05


def count(request: ErasureRequest, registry: Registry) -> Document:
    """Look into every store, and write down what is there and what stands in the way. Raises Transient."""
    registry.plant(request.tenant_id)
    scope, kind = scope_of(request), kind_of(request)
    looks = [look(verifier, scope, planning=True) for verifier in registry.verifiers_of(kind)]
    held = list(holds.held_records(request))
    document = {
        "v": 1,
        "request": str(request.pk),
        "scope": {
            "kind": kind,
            "tenant": str(request.tenant_id),
            "incarnation": str(request.incarnation),
            "identifiers": len(scope.identifiers),
        },
        "due_at": request.due_at,
        "stores": [_store(seen) for seen in sorted(looks, key=lambda seen: seen.store)],
        "catalog": _catalog(looks),
        "holds": [{"store": each.store, "locator": each.place, "ground": each.ground} for each in held],
        "blockers": [finding.as_json() for finding in _blockers(request, registry, looks, held)],
    }
    plain: Document = json.loads(canonical(document))
    return plain


def frozen(document: Mapping[str, Any], *, proposed_by: UUID, nth: int) -> tuple[Document, bytes]:
    """The document as one person puts it before another, and its digest of 32 bytes. `nth` tells proposals apart."""
    signed = {**document, "proposed_by": str(proposed_by), "nth": nth}
    return signed, digest(signed)


def digest(document: Mapping[str, Any]) -> bytes:
    return hashlib.sha256(canonical(document)).digest()


def canonical(value: Any) -> bytes:
    """Sorted keys, no spaces, UTF-8."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, cls=DjangoJSONEncoder)
    return text.encode()


def drift(approved: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Why an approval of the one is none of the other, in words; empty while it holds."""
    why = [f"{each['subject']}: {each['message']}" for each in now["blockers"]]
    was, is_now = _numbers(approved), _numbers(now)
    stores = {store for store, _locator in was}
    for store, locator in sorted(is_now.keys() - was.keys()):
        why.append(f"{locator} of {store} is new." if store in stores else f"The store {store} is new.")
    for place in sorted(was.keys() | is_now.keys()):
        before, after = was.get(place, 0), is_now.get(place, 0)
        if abs(after - before) > max(MAY_DIFFER, MAY_DIFFER_PART * before):
            why.append(f"{place[1]} holds {after}, not {before}.")
    if approved["catalog"] != now["catalog"]:
        why.append("The catalog of what there is to erase has changed.")
    if fresh := [hold["locator"] for hold in now["holds"] if hold not in approved["holds"]]:
        why.append(f"Held since: {', '.join(fresh)}.")
    if approved["scope"] != now["scope"]:
        why.append("It is about somebody else now.")
    return why


def _numbers(document: Mapping[str, Any]) -> dict[tuple[str, str], int]:
    return {
        (store["store"], tally["locator"]): tally["n"] or 0
        for store in document["stores"]
        for tally in store["tallies"]
        if tally["action"] != "expire"
    }


def _store(seen: Look) -> Document:
    coverage = seen.coverage
    return {
        "store": seen.store,
        "tallies": [
            {
                "locator": tally.locator,
                "n": tally.n,
                "quality": tally.quality,
                "action": tally.action,
                "ground": tally.ground,
                "until": tally.until,
            }
            for tally in sorted(seen.tallies or (), key=lambda tally: tally.locator)
        ],
        "covered": len(coverage.covered) if coverage else 0,
        "waived": [_waiver(waiver) for waiver in coverage.waived] if coverage else [],
        "residue": [{"what": each.what, "until": each.until} for each in seen.residue],
    }


def _waiver(waiver: Any) -> Document:
    return {"locator": waiver.locator, "reason": waiver.reason, "owner": waiver.owner, "expires": waiver.expires}


def _catalog(looks: Iterable[Look]) -> str:
    """The fingerprint of everything that was found to be a place, in any store."""
    places = {
        seen.store: sorted(
            [*seen.coverage.covered, *seen.coverage.unclassified, *(each.locator for each in seen.coverage.waived)]
        )
        for seen in looks
        if seen.coverage is not None
    }
    return "sha256:" + digest(places).hex()


def _blockers(
    request: ErasureRequest, registry: Registry, looks: Iterable[Look], held: Iterable[RecordHold]
) -> Iterator[Finding]:
    if number := holds.open_holds(request.tenant_id):
        said = f"{number} legal holds keep the whole tenant."
        yield _blocker(
            "erasure.legal_hold", "tenant", said, "Nothing to do: it is planned anew once they are released."
        )
    yield from registry.missing(request.tenant_id, kind_of(request))
    spares = {e.store for e in registry.erasers_of(kind_of(request)) if getattr(e, "spares_held", False)}
    for hold in held:
        # A tenant's rows move to an archive; nothing else of it outlives what it is in.
        if hold.store not in (HOLD_ROWS if request.kind == "tenant" else spares):
            said = f"{hold.locator} is held, and erasing {hold.store} would take it along."
            yield _blocker("erasure.held", hold.store, said, "Release the hold, or move what it keeps elsewhere.")
    for seen in looks:
        yield from seen.blockers
        if not seen.seen:
            what = ", ".join(seen.errors) or (seen.control.method if seen.control else "its control never ran")
            said = f"Nobody knows what is in {seen.store}: {what}."
            yield _blocker("erasure.unknown", seen.store, said, "Give its verifier its role and control record back.")
        for locator in seen.coverage.unclassified if seen.coverage else ():
            said = f"Nobody erases {locator}."
            yield _blocker("erasure.unclassified", seen.store, said, "Classify it, or sign a waiver for it.")


def _blocker(code: str, subject: str, message: str, hint: str) -> Finding:
    return Finding(code, Severity.ERROR, subject, message, hint)
