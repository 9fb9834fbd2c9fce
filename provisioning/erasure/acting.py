"""The frame of every act on a request: the key that makes a repeat harmless, the lock, and what is allowed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import IntegrityError, transaction

from provisioning.erasure.errors import PastTheBar
from provisioning.erasure.people import person_of
from provisioning.errors import KeyReused
from provisioning.models import LEFT_OF_THE_BAR, RIGHT_OF_THE_BAR, ErasureAct, ErasureRequest, ErasureState
from tenants.actions import Actor
from tenants.errors import StateConflict

_S = ErasureState
VERBS: dict[str, frozenset[ErasureState]] = {
    "prove_identity": frozenset({_S.IDENTIFYING}),
    "propose": frozenset({_S.PLANNING}),
    "approve": frozenset({_S.AWAITING_APPROVAL}),
    "reject": frozenset({_S.RECEIVED, _S.IDENTIFYING, _S.PLANNING, _S.BLOCKED, _S.AWAITING_APPROVAL}),
    "cancel": frozenset(LEFT_OF_THE_BAR),
    "extend": frozenset({*LEFT_OF_THE_BAR, _S.ERASING, _S.CHECKING}),
    "hold_records": frozenset(set(LEFT_OF_THE_BAR) - {_S.FREEZING}),
    "release_records": frozenset(_S) - {_S.FREEZING, _S.ERASING, _S.CHECKING},
    "recheck": frozenset({_S.SETTLING}),
}
"""Which states allow which verb. The same table answers what may be done and refuses what may not."""
ONCE = frozenset({"hold_records", "release_records"})  # these are offered by the records, not by the request


def actions_of_erasure(request: ErasureRequest) -> list[str]:
    return [verb for verb, states in VERBS.items() if request.state in states and verb not in ONCE]


class Repeated(Exception):
    """The very act was done before."""


@contextmanager
def acting(request: ErasureRequest, verb: str, *, actor: Actor, key: str) -> Iterator[ErasureRequest]:
    """The row locked and read afresh, the act allowed and remembered under (actor, key), in one transaction.

    Raises Repeated when it was done before, KeyReused for another act under the key, StateConflict, PastTheBar.
    """
    with transaction.atomic():
        held = ErasureRequest.objects.select_for_update(no_key=True).get(pk=request.pk)
        refuse_repeat(request, verb, actor=actor, key=key)
        allow(held, verb)
        act = ErasureAct(request=held, verb=verb, caller=str(actor), key=key, by=person_of(actor).pk)
        try:
            with transaction.atomic():
                act.save(force_insert=True)
        except IntegrityError:
            raise KeyReused from None
        yield held
    request.refresh_from_db()


def refuse_repeat(request: ErasureRequest, verb: str, *, actor: Actor, key: str) -> None:
    """Raises Repeated, or KeyReused."""
    known = ErasureAct.objects.filter(caller=str(actor), key=key).first()
    if known is None:
        return
    if (known.request_id, known.verb) != (request.pk, verb):
        raise KeyReused(f"This key was used to {known.verb} before.")
    request.refresh_from_db()
    raise Repeated


def allow(request: ErasureRequest, verb: str) -> None:
    if request.state in VERBS[verb]:
        return
    said = f"Erasure {request.public_id} is {request.state} and cannot be asked to {verb.replace('_', ' ')}."
    if verb == "cancel" and request.state in RIGHT_OF_THE_BAR:
        raise PastTheBar(said, state=request.state)
    allowed = actions_of_erasure(request)
    cure = f"What may be done now: {', '.join(allowed) or 'nothing'}."
    raise StateConflict(said, cure=cure, state=request.state, actions=allowed)
