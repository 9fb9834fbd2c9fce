"""The two halves of every store that holds a tenant's data: who deletes there, and who counts. They share nothing.

Plain data and one pure judgement; no Django. A verifier never calls itself clean: `judge` does, from what it saw.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, Protocol, TypeAlias
from uuid import UUID

from tenants.findings import Finding

Kind: TypeAlias = Literal["tenant", "subject"]
Status: TypeAlias = Literal["clean", "dirty", "unknown"]
Action: TypeAlias = Literal["delete", "blank", "shred", "retain", "expire"]
Lease: TypeAlias = Callable[[], None]
"""Called before each destructive request. Raises when another worker has the run, or the request is not erasing."""


@dataclass(frozen=True, slots=True)
class Identifier:
    """One value that names a person: `kind` is "email", "phone", "name", "user_id", …. Never logged, never printed."""

    kind: str
    value: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Held:
    """Records that a law keeps, named as the store's verifier names them; `until`: when somebody looks again."""

    store: str
    locator: str
    ground: str
    until: datetime


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose data: a whole tenant's, or one person's within a tenant, by sealed-at-rest identifiers.

    `held` stays where it is: an eraser that knows how says so by `spares_held = True`, and blocks the plan otherwise.
    Its verifier counts what is held with the action "retain".
    """

    kind: Kind
    tenant_id: UUID
    incarnation: UUID
    request_id: UUID
    identifiers: tuple[Identifier, ...] = ()
    held: tuple[Held, ...] = ()


@dataclass(frozen=True, slots=True)
class Tally:
    """How much is in one place. `locator` names a table, bucket or key pattern, never a value in it.

    `sentinel`: whether what was planted for the tenant was among what was counted; None: nothing is, in such a place.
    """

    locator: str
    n: int | None
    quality: Literal["exact", "estimate", "unknown"] = "exact"
    action: Action = "delete"
    ground: str = ""
    until: datetime | None = None
    sentinel: bool | None = None


@dataclass(frozen=True, slots=True)
class Enumeration:
    """What erase() must know and its own work destroys: JSON values, sealed at rest under the key of the request."""

    store: str
    items: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Budget:
    """How much one call may do: at most `items`, and not past `until` (monotonic seconds)."""

    items: int
    until: float


@dataclass(frozen=True, slots=True)
class Progress:
    """What one call did. `absent`: it was gone before. `failed` says what could not go, and why."""

    deleted: int = 0
    absent: int = 0
    retained: int = 0
    failed: tuple[Finding, ...] = ()
    cursor: str | None = None
    done: bool = False
    retry_after: float | None = None


@dataclass(frozen=True, slots=True)
class Waiver:
    """A place that somebody signed for not erasing."""

    locator: str
    reason: str
    owner: str
    expires: datetime


@dataclass(frozen=True, slots=True)
class Coverage:
    """Every place of the live catalog or listing: erased, signed for, or known to nobody (which blocks)."""

    covered: tuple[str, ...] = ()
    waived: tuple[Waiver, ...] = ()
    unclassified: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Control:
    """The proof that this verifier can see: what must be there was found, by the same means."""

    ok: bool
    method: str


@dataclass(frozen=True, slots=True)
class Residue:
    """What stays although all is erased, and until when: backups, logs, a key window."""

    what: str
    why: str
    until: datetime | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is known of a store. `evidence`: SHA-256 of the questions asked and the answers."""

    status: Status
    remaining: tuple[Tally, ...]
    control: Control
    coverage: Coverage
    residue: tuple[Residue, ...] = ()
    reasons: tuple[str, ...] = ()
    evidence: str = ""


class Eraser(Protocol):
    """Deletes in one store. Every method may be called again after a crash at any point; absent is success."""

    store: str
    phase: int
    scopes: frozenset[Kind]
    reach: Literal["logical", "cryptographic", "expiry"]

    def freeze(self, scope: Scope, lease: Lease) -> None:
        """Refuse new writers."""

    def enumerate(self, scope: Scope) -> Enumeration:
        """What is there, as far as erasing needs it. Empty is an answer; raises Transient when it cannot see."""

    def erase(self, scope: Scope, found: Enumeration, cursor: str | None, budget: Budget, lease: Lease) -> Progress:
        """One bounded chunk. Raises Transient or Permanent; a lost connection is never "gone"."""


class Verifier(Protocol):
    """Counts in one store, by other queries and another role than its eraser."""

    store: str
    scopes: frozenset[Kind]

    def coverage(self, scope: Scope) -> Coverage:
        """From the live catalog or a listing, never from a list in the code."""

    def blockers(self, scope: Scope) -> Iterable[Finding]:
        """What would make erasing fail or lie: object lock, prepared transaction, active slot."""

    def count(self, scope: Scope) -> tuple[Tally, ...]:
        """The same question before (plan) and after (check)."""

    def control(self, scope: Scope) -> Control:
        """Proof of sight, made now."""

    def residue(self, scope: Scope) -> tuple[Residue, ...]:
        """What stays, and until when."""


def judge(
    *,
    retained: int,
    counted: Sequence[Tally] | None,
    control: Control | None,
    coverage: Coverage | None,
    residue: Sequence[Residue] = (),
    errors: Sequence[str] = (),
    evidence: str = "",
) -> Verdict:
    """The verdict over one store. Whatever is not known makes it unknown, and unknown is never clean.

    `retained` is how many items may stay, by the plan. A tally whose action is "expire" is residue, not a remainder.
    """
    control = control or Control(ok=False, method="never ran")
    coverage = coverage or Coverage()
    counted = tuple(counted) if counted is not None else None
    reasons = [*errors]
    if counted is None:
        reasons.append("nothing was counted")
    if not control.ok:
        reasons.append(f"its control failed: {control.method}")
    live = tuple(tally for tally in counted or () if tally.action != "expire")
    reasons += [f"{tally.locator} was not counted exactly" for tally in live if tally.quality != "exact"]
    reasons += [f"nobody erases {locator}" for locator in coverage.unclassified]
    left = tuple(tally for tally in live if tally.n)
    if reasons:
        status: Status = "unknown"
    elif (over := sum(tally.n or 0 for tally in left)) != retained or any(t.action != "retain" for t in left):
        status = "dirty"
        reasons = [f"{tally.locator} still holds {tally.n}" for tally in left if tally.action != "retain"]
        reasons = reasons or [f"{over} items are retained, {retained} were planned"]
    else:
        status = "clean"
    return Verdict(status, left, control, coverage, tuple(residue), tuple(reasons), evidence)
