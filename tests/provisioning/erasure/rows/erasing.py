"""A request's worth of erasing, without the request: freeze, erase in small bites, count."""

import time
from collections.abc import Iterable
from uuid import uuid4

from provisioning.erasure.erasers import ERASERS
from provisioning.erasure.stores import Budget, Eraser, Identifier, Scope, Tally, Verdict, Verifier, judge
from provisioning.erasure.verifiers import VERIFIERS
from tests.provisioning.databases.making import Made

STORES = ("pool_rows", "schema", "database", "roles")


class Killed(BaseException):
    """The worker is gone: no code of ours catches this."""


def nobody_stops() -> None:
    """A lease that is held."""


def all_of(made: Made) -> Scope:
    return Scope("tenant", made.context.tenant_id, made.context.incarnation, uuid4())


def one_of(made: Made, **identifiers: str) -> Scope:
    named = tuple(Identifier(kind, value) for kind, value in identifiers.items())
    return Scope("subject", made.context.tenant_id, made.context.incarnation, uuid4(), named)


def eraser_of(store: str) -> Eraser:
    return next(each for each in ERASERS if each.store == store)


def verifier_of(store: str) -> Verifier:
    return next(each for each in VERIFIERS if each.store == store)


def erased(scope: Scope, stores: Iterable[str] = STORES, *, bite: int = 3, lease: object = nobody_stops) -> int:
    """How many items went, all stores together."""
    erasers, gone = [eraser_of(store) for store in stores], 0
    chosen = [each for each in erasers if scope.kind in each.scopes]
    for each in chosen:
        each.freeze(scope, lease)  # type: ignore[arg-type]  # the test's own
    for each in sorted(chosen, key=lambda one: one.phase):
        found, cursor, done = each.enumerate(scope), None, False
        while not done:
            budget = Budget(items=bite, until=time.monotonic() + 30)
            progress = each.erase(scope, found, cursor, budget, lease)  # type: ignore[arg-type]
            gone, cursor, done = gone + progress.deleted, progress.cursor, progress.done
            assert not progress.failed, progress.failed
    return gone


def counted(scope: Scope, stores: Iterable[str] = STORES) -> dict[str, int | None]:
    """What is left, by locator."""
    found: dict[str, int | None] = {}
    for store in stores:
        if scope.kind in verifier_of(store).scopes:
            found |= {tally.locator: tally.n for tally in verifier_of(store).count(scope) if tally.n != 0}
    return found


def judged(store: str, scope: Scope, *, retained: int = 0) -> Verdict:
    """The verdict, on the tables that this test made: other tests may have left theirs on the cluster."""
    verifier = verifier_of(store)
    return judge(retained=retained, counted=verifier.count(scope), control=verifier.control(scope), coverage=None)


def named(tallies: Iterable[Tally]) -> dict[str, int | None]:
    return {tally.locator.rpartition("/")[2]: tally.n for tally in tallies if tally.n != 0}
