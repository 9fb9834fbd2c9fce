"""Ask one verifier everything, within a time, and keep whatever goes wrong: silence and errors are answers, too.

# Note [Only codes are kept of errors]
The text of an error may quote the very value that is looked for (`Key (email)=(…)`). What is kept of one is its code,
or its class where it has none.
"""

from __future__ import annotations

import contextvars
import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from threading import Thread
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder
from django.db import connections

from provisioning.erasure.stores import Control, Coverage, Residue, Scope, Tally, Verdict, Verifier, judge
from tenants.errors import TenureError
from tenants.findings import Finding

WITHIN = timedelta(minutes=10)


@dataclass(slots=True)
class Look:
    """What one verifier saw. `tallies` is None where it never came to count."""

    store: str
    tallies: tuple[Tally, ...] | None = None
    coverage: Coverage | None = None
    control: Control | None = None
    residue: tuple[Residue, ...] = ()
    blockers: tuple[Finding, ...] = ()
    errors: list[str] = field(default_factory=list)

    @property
    def seen(self) -> bool:
        """Whether the count can be believed."""
        exact = all(tally.quality == "exact" or tally.action == "expire" for tally in self.tallies or ())
        return self.tallies is not None and exact and not self.errors and self.control is not None and self.control.ok

    @property
    def total(self) -> int:
        """Everything that is to go or to stay, without what dies by a date."""
        return sum(tally.n or 0 for tally in self.tallies or () if tally.action != "expire")

    @property
    def retained(self) -> int:
        return sum(tally.n or 0 for tally in self.tallies or () if tally.action == "retain")

    @property
    def sentinel(self) -> bool | None:
        """Whether the tenant's sentinel was among what was counted; None: this store has none."""
        seen = [tally.sentinel for tally in self.tallies or () if tally.sentinel is not None]
        return any(seen) if seen else None

    def verdict(self, *, retained: int) -> Verdict:
        """`retained` is how many may stay, by the plan."""
        return judge(
            retained=retained,
            counted=self.tallies,
            control=self.control,
            coverage=self.coverage,
            residue=self.residue,
            errors=self.errors,
            evidence=evidence(self),
        )


def evidence(look: Look) -> str:
    """`sha256:` and the hash of what was seen."""
    seen = {"tallies": look.tallies, "coverage": look.coverage, "control": look.control}
    plain = {"store": look.store, **{name: _plain(value) for name, value in seen.items()}}
    text = json.dumps(plain, cls=DjangoJSONEncoder, sort_keys=True)
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def look(verifier: Verifier, scope: Scope, *, planning: bool = False, within: timedelta = WITHIN) -> Look:
    """Everything the verifier can tell; with its blockers where a plan is made. Never raises."""
    seen = Look(verifier.store)

    def ask() -> None:
        seen.coverage = _answer(seen, lambda: verifier.coverage(scope))
        if planning:
            seen.blockers = _answer(seen, lambda: tuple(verifier.blockers(scope))) or ()
        counted = _answer(seen, lambda: tuple(verifier.count(scope)))
        seen.control = _answer(seen, lambda: verifier.control(scope))
        seen.residue = _answer(seen, lambda: tuple(verifier.residue(scope))) or ()
        seen.tallies = counted

    asking = Thread(target=_apart, args=(contextvars.copy_context(), ask), daemon=True)
    asking.start()
    asking.join(within.total_seconds())
    if asking.is_alive():  # it goes on into an object that nobody reads
        return Look(verifier.store, errors=["TIMEOUT"])
    return seen


def _apart(context: contextvars.Context, ask: Callable[[], None]) -> None:
    try:
        context.run(ask)
    finally:
        connections.close_all()  # a thread's own


def _answer(seen: Look, ask: Callable[[], Any]) -> Any:
    try:
        return ask()
    except TenureError as error:
        seen.errors.append(error.code)
    except Exception as error:  # noqa: BLE001  a verifier that breaks has not seen: the verdict is "unknown"
        seen.errors.append(type(error).__name__)
    return None


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [asdict(each) for each in value]
    return None if value is None else asdict(value)
