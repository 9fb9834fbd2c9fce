"""What a workflow is: a named, versioned, literal list of steps; and what a step's body is given and gives back."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from datetime import timedelta
from functools import cached_property
from types import UnionType
from typing import Any, Final, Literal, TypeAlias, get_args, get_origin, get_type_hints
from uuid import UUID

from django.core.serializers.json import DjangoJSONEncoder
from django.db.models import Model

from provisioning.engine import rows
from provisioning.engine.fence import checked, fenced_transaction
from provisioning.models import Claim, Direction, Queue, Run, RunStep, StepState

LONGEST_TIMEOUT = timedelta(hours=1)  # longer work goes in chunks: see Again

AT_ONCE: Final = timedelta(0)
"""Go on under the same lease: the next chunk of a long job."""


@dataclass(frozen=True, slots=True)
class Done:
    """The step's effect is there. `output` is kept (16 kB of JSON at most) and shown to later steps: never a secret.

    `also` writes control rows in the transaction that records the step: exactly once, and only while the lease is ours.
    So are `rows`, each with its changes, which need no transaction for themselves: one statement records it all.
    """

    output: dict[str, Any] = field(default_factory=dict)
    also: Callable[[], object] | None = None
    rows: tuple[tuple[Model, rows.Changes], ...] = ()


@dataclass(frozen=True, slots=True)
class Again:
    """Call the step again `after` this long, with this `cursor`. AT_ONCE is the next chunk; else the lease is freed.

    `note` is what a progress bar shows. It is progress: attempts and crashes start from 0.
    """

    after: timedelta
    cursor: dict[str, Any] | None = None
    note: str = ""


Outcome: TypeAlias = Done | Again


@dataclass(frozen=True)
class StepContext:
    """What a body knows: whose run it is, with what input, and how far it got. `row` and `run` are the engine's own."""

    run: Run
    row: RunStep
    input: Any
    known: dict[str, Any] = field(default_factory=dict)
    """What bodies have read of the control rows and may read once: it lasts until a step of the run writes any."""

    @property
    def run_id(self) -> UUID:
        return self.run.pk

    @property
    def tenant_id(self) -> UUID:
        """The tenant of the run. Raises LookupError for a run without one."""
        if self.run.tenant_id is None:
            raise LookupError(f"{self.run} is about no tenant.")
        return self.run.tenant_id

    @property
    def step(self) -> str:
        return self.row.name

    @property
    def direction(self) -> Direction:
        return Direction(self.row.direction)

    @property
    def fence(self) -> int:
        """Rises with every claim of any run: write it where an older worker must be refused."""
        if self.run.fence is None:
            raise LookupError(f"{self.run} was never claimed.")
        return self.run.fence

    @property
    def token(self) -> str:
        """For third parties that know idempotency keys: 64 hex digits, the same for every try of this step."""
        return hashlib.sha256(f"{self.run.pk}:{self.step}:{self.direction}".encode()).hexdigest()

    @property
    def claim(self) -> Claim:
        """What a provider needs to act on this step's behalf."""
        return Claim(run_id=self.run_id, fence=self.fence, token=self.token)

    @property
    def cursor(self) -> dict[str, Any] | None:
        """What the last Again of this step kept."""
        cursor: dict[str, Any] | None = self.row.cursor
        return cursor

    @property
    def crashed(self) -> bool:
        """Whether a worker ever died in this step's `do`: a request of its may land later still."""
        return self.run.steps.filter(name=self.step, direction=Direction.DO, crashes__gt=0).exists()

    @cached_property
    def outputs(self) -> dict[str, dict[str, Any]]:
        """What the steps that succeeded so far gave, by name."""
        done = self.run.steps.filter(direction=Direction.DO, state=StepState.SUCCEEDED)
        return dict(done.values_list("name", "output"))

    def control(self) -> AbstractContextManager[None]:
        """A transaction for control rows that commits only while the lease is ours. Keep it short: it locks the run."""
        self.known.clear()
        return fenced_transaction(self.run)

    def check(self) -> None:
        """Call before each request that cannot be taken back. Raises LeaseLost when another worker has the run."""
        checked(self.run)


Body: TypeAlias = Callable[[StepContext], Outcome]


class WorkflowMistake(TypeError):
    """A workflow's table contradicts itself."""


def changed_nothing(_ctx: StepContext) -> Outcome:
    """Undo nothing: the step made nothing."""
    return Done()


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One effect, and how to take it back. See "The step contract": a body may be killed anywhere and is called again.

    `changes_nothing`: there is nothing to take back. `atomic`: it writes control rows only, in the transaction that
    records it: exactly once. `pivot`: after its start the run only goes forward. `skippable`: a person may skip it.
    `timeout` bounds one call of the body, `deadline` the step from its first start. `exhausted` says what happens
    after `attempts` Transient failures in a row.
    """

    name: str
    do: Body
    undo: Body | None = None
    changes_nothing: bool = False
    atomic: bool = False
    pivot: bool = False
    skippable: bool = False
    timeout: timedelta = timedelta(seconds=60)
    deadline: timedelta = timedelta(hours=1)
    exhausted: Literal["park", "undo"] = "park"
    attempts: int = 8

    def __post_init__(self) -> None:
        if not timedelta(0) < self.timeout <= LONGEST_TIMEOUT:
            raise WorkflowMistake(f"Step {self.name!r}: a timeout is at most one hour. Do the work in chunks: Again.")
        if self.changes_nothing and self.undo:
            raise WorkflowMistake(f"Step {self.name!r} changes nothing, yet has an undo. Drop one of them.")

    def body(self, direction: str) -> Body:
        """What to call in this direction."""
        return self.do if direction == Direction.DO else (self.undo or changed_nothing)


@dataclass(frozen=True, kw_only=True)
class Workflow:
    """A literal list of steps. `input` is a frozen dataclass of JSON values and UUIDs.

    The version rises when names, order or pivot of the steps change; old versions stay listed while a run needs them.
    """

    name: str
    version: int
    queue: Queue
    input: type[Any]
    steps: tuple[Step, ...]

    def __post_init__(self) -> None:
        names = [step.name for step in self.steps]
        pivots = [position for position, step in enumerate(self.steps) if step.pivot]
        if not names or len(set(names)) != len(names):
            raise WorkflowMistake(f"Workflow {self.name!r}: it needs steps, and each needs a name of its own.")
        if len(pivots) > 1:
            raise WorkflowMistake(f"Workflow {self.name!r}: one pivot at most.")
        if not is_dataclass(self.input):
            raise WorkflowMistake(f"Workflow {self.name!r}: the input must be a dataclass.")
        for step in self.steps[: pivots[0]] if pivots else self.steps:
            if step.undo is None and not step.changes_nothing:
                raise WorkflowMistake(
                    f"Workflow {self.name!r}: step {step.name!r} may be undone, so it needs an `undo`, "
                    "or say `changes_nothing=True`."
                )

    @cached_property
    def digest(self) -> str:
        """SHA-256 of what must not change under one version: names, order and pivot."""
        shape = "\n".join(f"{step.name}{' (pivot)' if step.pivot else ''}" for step in self.steps)
        return hashlib.sha256(shape.encode()).hexdigest()

    def __getitem__(self, name: str) -> Step:
        return self.steps[self.position(name)]

    def position(self, name: str) -> int:
        """Where the step of this name stands. Raises KeyError."""
        for position, step in enumerate(self.steps):
            if step.name == name:
                return position
        raise KeyError(name)

    @property
    def key(self) -> tuple[str, int]:
        return (self.name, self.version)

    def dump(self, value: Any) -> dict[str, Any]:
        """The input as a row keeps it. Raises TypeError if it is not this workflow's dataclass."""
        if not isinstance(value, self.input):
            raise TypeError(f"Workflow {self.name!r} wants {self.input.__name__}, not {type(value).__name__}.")
        kept: dict[str, Any] = json.loads(json.dumps(asdict(value), cls=DjangoJSONEncoder))
        return kept

    def load(self, row: Mapping[str, Any]) -> Any:
        """The dataclass again. Fields that the row lacks take their defaults: old rows meet new code at a deploy."""
        return self.input(**{name: _typed(hint, row[name]) for name, hint in self._hints.items() if name in row})

    @cached_property
    def _hints(self) -> dict[str, Any]:
        hints = get_type_hints(self.input)
        return {field.name: hints[field.name] for field in fields(self.input)}


def _typed(hint: Any, value: Any) -> Any:
    """What JSON forgot: UUIDs and tuples."""
    kinds = get_args(hint) if get_origin(hint) is UnionType else (hint,)
    if value is not None and UUID in kinds:
        return UUID(value)
    return tuple(value) if isinstance(value, list) and get_origin(hint) is tuple else value


Workflows: TypeAlias = Mapping[tuple[str, int], Workflow]
