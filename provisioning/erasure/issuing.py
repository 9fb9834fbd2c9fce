"""Issue certificates, keep them, supersede them and withdraw them. What one looks like is certificate.py's.

A certificate comes about in one transaction with its audit entry, and only if it would verify: the rules are applied
before the signature. It is never edited. A final one takes the place of the live one; what a later sweep finds
withdraws all certificates of the request, and the signed status list says so.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet
from django.db.models.functions import Now
from django.utils import timezone

from provisioning.erasure import certificate
from provisioning.erasure.holds import family_of
from provisioning.erasure.stores import Tally, Verdict
from provisioning.models import ErasureCertificate, ErasureRequest
from provisioning.providers import evidence_keys
from provisioning.providers.evidence_keys import Use
from tenants.audit import Actor, AuditAction, ObjectType
from tenants.audit import write as audit
from tenants.errors import StateConflict, TenureError

State = ErasureCertificate.State


class NotCertified(TenureError):
    """The erasure is not proved: there is no certificate while anything is dirty or unknown."""

    code = "ERASURE_NOT_CERTIFIED"
    cure = "Read what is named, remove it, and check again."


def store_line(
    store: str,
    *,
    planned: int,
    deleted: int,
    absent: int,
    verdict: Verdict,
    vantage: str,
    detail: Mapping[str, int] | None = None,
) -> dict[str, Any]:
    """One store's line: what was planned and deleted, and what its verifier saw. Counts of items."""
    remaining = sum(tally.n or 0 for tally in verdict.remaining)
    return {
        "store": store,
        "planned": planned,
        "deleted": deleted,
        "absent": absent,
        "retained": sum(tally.n or 0 for tally in _retained(verdict)),
        "remaining": remaining,
        "verdict": verdict.status,
        "vantage": vantage,
        "control": verdict.control.method,
        "covered": len(verdict.coverage.covered),
        "waived": len(verdict.coverage.waived),
        "evidence": verdict.evidence,
        **({"detail": dict(detail)} if detail else {}),
    }


def retained_lines(verdicts: Sequence[Verdict]) -> list[dict[str, Any]]:
    """What stays in the stores, each with its ground and its date."""
    return [
        {"locator": tally.locator, "n": tally.n or 0, "ground": tally.ground, "until": _moment(tally.until)}
        for verdict in verdicts
        for tally in _retained(verdict)
    ]


def residue_lines(verdicts: Sequence[Verdict]) -> list[dict[str, Any]]:
    """What stays elsewhere, and until when: once each, what has no date first, then by date."""
    found = {residue.what: residue for verdict in verdicts for residue in verdict.residue}
    dated = sorted(found.values(), key=lambda residue: (_moment(residue.until) or "", residue.what))
    return [{"what": each.what, "why": each.why, "until": _moment(each.until)} for each in dated]


def waived_lines(verdicts: Sequence[Verdict]) -> list[dict[str, Any]]:
    """What nobody erases, because somebody signed for that."""
    return [
        {"what": waiver.locator, "reason": f"{waiver.reason}; signed for by {waiver.owner}, until {waiver.expires:%F}"}
        for verdict in verdicts
        for waiver in verdict.coverage.waived
    ]


@dataclass(frozen=True, slots=True)
class Draft:
    """A certificate that is signed and not kept yet. `former` is the one whose place it takes."""

    id: UUID
    request: UUID
    stage: str
    former: UUID | None
    issued_at: datetime
    signed: bytes = field(repr=False)

    @property
    def document(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.signed)
        return document


def issue(
    document: Mapping[str, Any], *, request: UUID, stage: ErasureCertificate.Stage, actor: Actor
) -> ErasureCertificate:
    """Sign and keep one, at once. Raises as `draft`."""
    return keep(draft(document, request=request, stage=stage), actor=actor)


def draft(document: Mapping[str, Any], *, request: UUID, stage: str) -> Draft:
    """Sign one, to be kept in the transaction that makes it true. The request's valid one is superseded by it, and
    that of a request which it follows.

    `document` holds the keys of docs/certificates.md but `type`, `v`, `id`, `stage`, `request`, `supersedes`,
    `issued_at`, `status_url` and `signature`, which are given here. Raises NotCertified, KeyringUnreachable.
    """
    now, certificate_id = timezone.now().replace(microsecond=0), uuid4()
    _kid, private = evidence_keys.signing(Use.CERTIFICATE)
    former = _valid(request).values_list("pk", flat=True).first()
    whole = {
        **document,
        "id": str(certificate_id),
        "request": str(request),
        "stage": str(stage),
        "supersedes": None if former is None else str(former),
        "issued_at": now.isoformat(),
        "status_url": settings.TENURE_STATUS_URL,
    }
    try:
        signed = certificate.sign(whole, private)
    except certificate.Refused as error:
        raise NotCertified(f"No certificate for request {request}: {error}.") from error
    return Draft(certificate_id, request, str(stage), former, now, signed)


def keep(drafted: Draft, *, actor: Actor) -> ErasureCertificate:
    """The former one is superseded. Nothing here asks another server, so a caller's transaction may contain it.

    Raises StateConflict where another certificate came in between: sign once more.
    """
    with transaction.atomic():
        valid = _valid(drafted.request).select_for_update()
        if [each.pk for each in valid] != [each for each in (drafted.former,) if each is not None]:
            raise StateConflict(f"Another certificate of request {drafted.request} was issued at the same moment.")
        valid.update(state=State.SUPERSEDED, state_since=Now())
        made = ErasureCertificate.objects.create(
            pk=drafted.id,
            request=drafted.request,
            stage=drafted.stage,
            document=drafted.signed.decode(),
            issued_at=drafted.issued_at,
        )
        about = (ObjectType.CERTIFICATE, made.pk)
        audit(AuditAction.CERTIFICATE_ISSUED, actor=actor, object=about, request=drafted.request)
    return made


def _valid(request: UUID) -> QuerySet[ErasureCertificate]:
    """At most one: each that was issued took the place of the former."""
    return ErasureCertificate.objects.filter(request__in=family_of(request), state=State.VALID)


def withdraw(request: UUID, *, actor: Actor) -> int:
    """After a finding: no certificate of this request is good any more, the superseded included. Returns how many."""
    with transaction.atomic():
        good = ErasureCertificate.objects.select_for_update().filter(request=request).exclude(state=State.REGRESSED)
        ids = list(good.values_list("pk", flat=True))
        ErasureCertificate.objects.filter(pk__in=ids).update(state=State.REGRESSED, state_since=Now())
        for pk in ids:
            about = (ObjectType.CERTIFICATE, pk)
            audit(AuditAction.CERTIFICATE_WITHDRAWN, actor=actor, object=about, request=request)
    return len(ids)


def status_list() -> bytes:
    """Every certificate that is not valid any more, signed now. Raises KeyringUnreachable."""
    _kid, private = evidence_keys.signing(Use.CERTIFICATE)
    gone = ErasureCertificate.objects.exclude(state=State.VALID).values_list("pk", "state")
    now = timezone.now().replace(microsecond=0)
    return certificate.sign_status({str(pk): state for pk, state in gone}, issued_at=now.isoformat(), private=private)


def certificates_of(request: ErasureRequest) -> QuerySet[ErasureCertificate]:
    """All of a request's, the latest first: superseded and withdrawn ones are kept, too."""
    return ErasureCertificate.objects.filter(request=request.pk).order_by("-issued_at", "stage")


def public_key() -> bytes:
    """The public keys of all certificates, as a PEM file."""
    return evidence_keys.as_pem(use=Use.CERTIFICATE)


def _retained(verdict: Verdict) -> list[Tally]:
    return [tally for tally in verdict.remaining if tally.action == "retain"]


def _moment(value: datetime | None) -> str | None:
    return None if value is None else value.isoformat()
