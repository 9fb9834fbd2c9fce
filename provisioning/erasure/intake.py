"""A request comes in: checked, dated, sealed; or merged into the one that is open for the same person or tenant."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.db import IntegrityError, transaction
from django.db.models import F
from django.db.models.functions import Now
from django.utils import timezone

from provisioning.erasure import deadlines, identifiers, sealed
from provisioning.erasure.clock import clock
from provisioning.erasure.deadlines import Clock
from provisioning.erasure.errors import InvalidErasure
from provisioning.erasure.people import person_of
from provisioning.erasure.plan import canonical
from provisioning.erasure.stores import Identifier, Kind
from provisioning.errors import KeyReused
from provisioning.models import (
    ENDED_REQUESTS,
    Basis,
    DeadlinePolicy,
    ErasureKind,
    ErasureRequest,
    ErasureState,
)
from provisioning.models.erasure_states import SAYS
from tenants.actions import Actor
from tenants.models import Tenant
from tenants.states import TenantState

GRACE = {"tenant": timedelta(days=7), "subject": timedelta(days=1)}
MOST_GRACE = timedelta(days=365)


@dataclass(frozen=True, slots=True)
class ErasureWish:
    """What is asked for. `received_at` None: now; it may lie in the past, never in the future. `grace` None: as usual.

    `identifiers` name a person; a tenant's erasure has none. `contract_days` counts under the policy "contract" alone.
    """

    kind: Kind
    basis: Basis = Basis.CONTRACT_END
    policy: DeadlinePolicy = DeadlinePolicy.EU
    identifiers: tuple[Identifier, ...] = ()
    received_at: datetime | None = None
    grace: timedelta | None = None
    time_zone: str = "UTC"
    contract_days: int = deadlines.CONTRACT_DAYS


def request_erasure(*, tenant: Tenant, wish: ErasureWish, actor: Actor, key: str) -> ErasureRequest:
    """Accept a request, dated from its receipt. The same (actor, key) gives the one that exists.

    One open request a scope: a second is kept as `merged`, brings the first one's due date forward, and inherits none
    of its proofs. Raises InvalidErasure, deadlines.DeadlineInfeasible, KeyReused, Transient.
    """
    asked = fingerprint(wish, tenant)
    if (known := _earlier(actor, key, asked)) is not None:
        return known
    made = _row(tenant, wish, checked(wish, tenant), actor=actor, key=key, fingerprint=asked)
    try:
        return _accepted(made, actor=actor)
    except IntegrityError:
        # The same request through another door, or another for the same scope, at the same moment.
        if (known := _earlier(actor, key, asked)) is not None:
            return known
        return _accepted(made, actor=actor)


def checked(wish: ErasureWish, tenant: Tenant) -> tuple[Identifier, ...]:
    """Raises InvalidErasure."""
    if tenant.state == TenantState.ERASED:
        raise InvalidErasure(f"Tenant {tenant.public_id} is erased already.", field="tenant")
    if wish.kind == "subject" and wish.policy != DeadlinePolicy.EU:
        raise InvalidErasure("A person's request is due by law, not by contract.", field="policy")
    if wish.kind == "tenant" and wish.identifiers:
        raise InvalidErasure("A tenant's erasure names no person.", field="identifiers")
    if wish.received_at is not None and wish.received_at > timezone.now():
        raise InvalidErasure("It cannot have been received later than now.", field="received_at")
    if wish.grace is not None and not timedelta(0) <= wish.grace <= MOST_GRACE:
        raise InvalidErasure(f"A grace is 0 to {MOST_GRACE.days} days.", field="grace_days")
    if not 1 <= wish.contract_days <= MOST_GRACE.days:
        raise InvalidErasure(f"A contract gives 1 to {MOST_GRACE.days} days.", field="contract_days")
    try:
        ZoneInfo(wish.time_zone)
    except (ZoneInfoNotFoundError, ValueError):
        raise InvalidErasure(f"There is no time zone {wish.time_zone!r}.", field="time_zone") from None
    return identifiers.checked(wish.identifiers) if wish.kind == "subject" else ()


def fingerprint(wish: ErasureWish, tenant: Tenant) -> bytes:
    """Keyed: a plain hash of an address would fall to a dictionary."""
    named: Sequence[list[str]] = [[each.kind, each.value] for each in wish.identifiers]
    grace = None if wish.grace is None else int(wish.grace.total_seconds())
    asked = [wish.kind, wish.basis, wish.policy, named, wish.received_at, grace, wish.time_zone, wish.contract_days]
    return identifiers.keyed(b"request", tenant.pk.bytes, canonical(asked))


def _row(
    tenant: Tenant,
    wish: ErasureWish,
    named: tuple[Identifier, ...],
    *,
    actor: Actor,
    key: str,
    fingerprint: bytes,
) -> ErasureRequest:
    pk = uuid4()
    running, grace = dated(wish, tenant)
    return ErasureRequest(
        pk=pk,
        kind=ErasureKind(wish.kind),
        tenant=tenant,
        incarnation=tenant.incarnation,
        subject_digest=identifiers.reference(tenant.pk, named[0]) if named else None,
        identifiers=sealed.sealed_identifiers(pk, named) if named else None,
        kinds=[each.kind for each in named],
        basis=wish.basis,
        requested_by=person_of(actor).pk,
        caller=str(actor),
        key=key,
        fingerprint=fingerprint,
        policy=wish.policy,
        time_zone=wish.time_zone,
        received_at=running.received_at,
        due_at=running.due_at,
        grace=grace,
    )


def foreseen(wish: ErasureWish, tenant: Tenant) -> tuple[Clock, timedelta]:
    """The clock and the grace that such a request would have. Raises InvalidErasure, deadlines.DeadlineInfeasible."""
    checked(wish, tenant)
    return dated(wish, tenant)


def dated(wish: ErasureWish, tenant: Tenant) -> tuple[Clock, timedelta]:
    now = timezone.now()
    received = wish.received_at or now
    due = deadlines.due_at(
        received,
        zone=ZoneInfo(wish.time_zone),
        policy="eu" if wish.policy == DeadlinePolicy.EU else "contract",
        days=wish.contract_days,
    )
    running = clock(received, due, kind=wish.kind, tenant=tenant)
    # Only a grace that somebody asked for is refused; the usual one shrinks to what fits.
    if wish.grace is not None:
        return running, deadlines.feasible(wish.grace, running, now=now)
    return running, min(GRACE[wish.kind], running.longest_grace(now))


@transaction.atomic
def _accepted(made: ErasureRequest, *, actor: Actor) -> ErasureRequest:
    scope = ErasureRequest.objects.filter(tenant=made.tenant, kind=made.kind, subject_digest=made.subject_digest)
    open_ones = scope.filter(follows=None).exclude(state__in=ENDED_REQUESTS)
    if (first := open_ones.select_for_update(no_key=True).first()) is not None:
        return _merged(made, first, actor=actor)
    made.state = ErasureState.RECEIVED
    made.save(force_insert=True)
    made.refresh_from_db()
    made.say(*SAYS[ErasureState.RECEIVED], actor=actor)
    # Whoever may ask for a tenant's erasure at this door has the authority; a person must show that he is the one.
    made.to(ErasureState.PLANNING if made.kind == "tenant" else ErasureState.IDENTIFYING, actor=actor, look_at=Now())
    return made


def _merged(made: ErasureRequest, first: ErasureRequest, *, actor: Actor) -> ErasureRequest:
    """The row is kept as proof of receipt. Its identifiers stay its own: nobody has proved whose they are."""
    made.state, made.merged_into, made.reason = ErasureState.MERGED, first, "duplicate"
    made.finished_at = timezone.now()
    made.save(force_insert=True)
    made.refresh_from_db()
    earlier = made.due_at if first.notice_sent_at is None else max(made.due_at, first.notice_sent_at)
    if earlier < first.due_at:
        changed = {"due_at": earlier, "version": F("version") + 1}
        ErasureRequest.objects.filter(pk=first.pk).update(**changed)
    made.say(*SAYS[ErasureState.MERGED], actor=actor)
    return made


def _earlier(actor: Actor, key: str, asked: bytes) -> ErasureRequest | None:
    known = ErasureRequest.objects.filter(caller=str(actor), key=key).first()
    if known is not None and bytes(known.fingerprint) != asked:
        raise KeyReused(f"This key requested {known.public_id} before.", request=known.public_id)
    return known


def follow_up(former: ErasureRequest, *, actor: Actor, key: str, by: UUID) -> ErasureRequest:
    """A request for what a released hold had kept, under the original due date. Part of the caller's transaction."""
    pk = uuid4()
    named = sealed.opened_identifiers(former.pk, former.identifiers)
    made = ErasureRequest(
        pk=pk,
        kind=former.kind,
        tenant=former.tenant,
        incarnation=former.incarnation,
        subject_digest=former.subject_digest,
        identifiers=sealed.sealed_identifiers(pk, named) if named else None,
        kinds=former.kinds,
        basis=former.basis,
        requested_by=by,
        caller=str(actor),
        key=f"follow-up:{key}"[:255],
        fingerprint=former.fingerprint,
        policy=former.policy,
        time_zone=former.time_zone,
        received_at=former.received_at,
        due_at=former.due_at,
        grace=timedelta(0),
        identity_evidence=former.identity_evidence,
        follows=former,
    )
    made.save(force_insert=True)
    made.refresh_from_db()
    made.say(*SAYS[ErasureState.RECEIVED], actor=actor)
    made.to(ErasureState.PLANNING, actor=actor, look_at=Now())
    return made
