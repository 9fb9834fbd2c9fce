"""What a certificate says, as a plain dict, before anybody signs it; and why there is none."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import Any
from uuid import uuid4

from django.utils import timezone

from provisioning.erasure import ledger
from provisioning.erasure.errors import CertificateRefused
from provisioning.erasure.registry import Registry
from provisioning.erasure.scoping import kind_of, scope_of
from provisioning.models import ErasureApproval, ErasureRequest, ErasureStore, Judged

TYPE, VERSION = "tenure.erasure-certificate", 1
VANTAGE = "tenure_verifier"  # in object store and cache: credentials that can list and look, and nothing else


def payload(request: ErasureRequest, registry: Registry, *, stage: str) -> dict[str, Any]:
    """The certificate of a request whose last check was clean; `stage` is "live" or "final".

    Raises CertificateRefused, naming each store that is missing, never ran, or is not clean.
    """
    rounds = list(ErasureStore.objects.filter(request=request).order_by("store", "round"))
    last = {row.store: row for row in rounds if row.round == request.round}
    refuse_unclean(request, registry, last)
    approval = ErasureApproval.objects.get(request=request, pk=request.approval_id or request.pk)
    # Neighbours are compared over the erasure, not over the month behind it, in which things happen to anybody.
    compared = {
        name: number
        for name, number in (request.certificate or {}).get("collateral", {}).items()
        if stage == "final" and name.startswith("neighbours_")
    }
    fence = {name: value for name, value in request.fence.items() if name != "neighbours"}
    former, proofs = request.certificate or {}, registry.proofs(scope_of(request))
    return {
        "type": TYPE,
        "v": VERSION,
        "id": str(uuid4()),
        "stage": stage,
        "supersedes": former.get("id"),
        "issued_at": _at(timezone.now()),
        "request": str(request.pk),
        "scope": {
            "kind": request.kind,
            "ref": f"t_{request.tenant_id.hex}",
            "incarnation": str(request.incarnation),
            "subject": bytes(request.subject_digest).hex() if request.subject_digest else None,
        },
        "basis": request.basis,
        "clock": {
            "policy": request.policy,
            "received_at": _at(request.received_at),
            "due_at": _at(request.extended_until or request.due_at),
            "extended": request.extended_until is not None,
        },
        "plan": {
            "digest": f"sha256:{bytes(approval.digest).hex()}",
            "proposed_by": str(approval.proposed_by),
            "approved_by": str(approval.approved_by),
            "approved_at": _at(approval.approved_at),
        },
        # What late writers left was erased by another round; behind this one's fence nothing was written.
        "fence": {**fence, "late_writes": 0, "late_before": fence.get("late_writes", 0)},
        "stores": [_store(row, [each for each in rounds if each.store == row.store]) for row in last.values()],
        "retained": [tally for row in last.values() for tally in _retained(row)],
        # By the time of a final one the dates of the live one are over; a verifier would name new ones each day.
        "residue": former["residue"] if stage == "final" else _residues(last.values()),
        "not_covered": _not_covered(last.values()),
        "recipients": [],
        "tombstone": ledger.named(request.tombstone),
        **proofs,
        "collateral": {**proofs.get("collateral", {}), **compared, "excess_deletes": sum(map(excess, rounds))},
    }


def refuse_unclean(request: ErasureRequest, registry: Registry, last: Mapping[str, ErasureStore]) -> None:
    kind = kind_of(request)
    missing = {finding.subject for finding in registry.missing(request.tenant_id, kind)}
    wanted = registry.required_of(request.tenant_id, kind) | {
        verifier.store for verifier in registry.verifiers_of(kind)
    }
    missing |= wanted - last.keys()
    missing |= {store for store, row in last.items() if row.verdict != Judged.CLEAN}
    if missing:
        names = sorted(missing)
        raise CertificateRefused(f"There is no clean verdict over {', '.join(names)}.", stores=names)


def settles_at(rows: Iterable[ErasureStore]) -> datetime | None:
    """The last date of everything that stays for a while."""
    dates = [_date(each["until"]) for row in rows for each in row.judged.get("residue", ())]
    return max((date for date in dates if date is not None), default=None)


def _store(last: ErasureStore, rounds: list[ErasureStore]) -> dict[str, Any]:
    """Planned in the first round, deleted in all of them; the sums hold, as whatever came later counts as planned."""
    deleted = sum(row.deleted for row in rounds)
    planned = max(rounds[0].planned or 0, deleted + last.retained)
    return {
        "store": last.store,
        "planned": planned,
        "deleted": deleted,
        "absent": planned - deleted - last.retained,
        "retained": last.retained,
        "remaining": last.remaining,
        "late": sum(row.late for row in rounds),
        "verdict": last.verdict,
        "vantage": VANTAGE,
        "control": last.judged["control"],
        "covered": last.judged["covered"],
        "waived": len(last.judged["waived"]),
        "evidence": last.judged["evidence"],
    }


def _retained(row: ErasureStore) -> list[dict[str, Any]]:
    return [
        {"locator": f"{row.store}:{left['locator']}", "n": left["n"], "ground": left["ground"], "until": left["until"]}
        for left in row.judged["left"]
    ]


def excess(row: ErasureStore) -> int:
    """How many more were deleted of what was there behind the fence than was counted there."""
    return max(0, row.deleted - row.late + row.retained - (row.planned or 0))


def _residues(rows: Iterable[ErasureStore]) -> list[dict[str, Any]]:
    """What stays for a while, with the last of the dates that its stores gave."""
    found: dict[str, dict[str, Any]] = {}
    for each in sorted(_kept_elsewhere(rows), key=lambda each: str(each["until"])):
        if each["until"] is not None:
            found[each["what"]] = {"what": each["what"], "why": each["why"], "until": each["until"]}
    return [found[what] for what in sorted(found)]


def _not_covered(rows: Collection[ErasureStore]) -> list[dict[str, Any]]:
    """What nobody erases: somebody signed for that, or it stays until somebody does something, without a date."""
    signed = [
        {"what": waiver["locator"], "reason": f"{waiver['reason']}, expires {waiver['expires']}"}
        for row in rows
        for waiver in row.judged["waived"]
    ]
    undated = {each["what"]: each["why"] for each in _kept_elsewhere(rows) if each["until"] is None}
    return [*signed, *({"what": what, "reason": undated[what]} for what in sorted(undated))]


def _kept_elsewhere(rows: Iterable[ErasureStore]) -> list[dict[str, Any]]:
    return [each for row in rows for each in row.judged["residue"]]


def _date(value: Any) -> datetime | None:
    return datetime.fromisoformat(value) if isinstance(value, str) else value


def _at(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")
