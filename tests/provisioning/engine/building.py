"""Workflows for the engine's own tests: they build houses of files, so that their effects are seen from outside.

The input says which step misbehaves and how. Each call of a body leaves a line in `calls`, outside of the inventory.
"""

import os
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Protocol
from uuid import UUID

from django.db import connection
from django.db.models import F

from provisioning.engine import control
from provisioning.engine.workflow import AT_ONCE, Again, Done, Outcome, Step, StepContext, Workflow
from provisioning.errors import Permanent, StaleFence, Transient
from provisioning.models import Queue, Run
from tenants.audit import Actor
from tenants.models import Tenant

BOB = Actor("user", "7", "Bob")


class Trouble(Protocol):
    def __call__(self, ctx: StepContext, *, first: bool) -> None:
        """Misbehave; `first` in the first call of this body."""


@dataclass(frozen=True)
class House:
    """`site` is a folder of this run's own. `trouble` maps `[undo/]step` to what goes wrong there, every time."""

    site: str
    trouble: dict[str, str] = field(default_factory=dict)
    counted: UUID | None = None  # a tenant whose `version` counts the visits of the atomic step


def _act_up(ctx: StepContext) -> None:
    """Note the call, then do what the input's `trouble` says."""
    site, here = Path(ctx.input.site), f"{'undo/' if ctx.direction == 'undo' else ''}{ctx.step}"
    with (site / "calls").open("a") as log:
        log.write(f"{here}\n")
    if trouble := ctx.input.trouble.get(here):
        first = calls(site)[here] == 1
        TROUBLE[trouble](ctx, first=first)


def _transient(ctx: StepContext, *, first: bool) -> None:
    raise Transient("The mixer is stuck.")


def _transient_once(ctx: StepContext, *, first: bool) -> None:
    if first:
        raise Transient("The mixer is stuck.")


def _wait_for_lights(ctx: StepContext, *, first: bool) -> None:
    if not (Path(ctx.input.site) / "lights").exists():
        raise Transient("It is dark.", retry_after=timedelta(hours=1))


def _permanent(ctx: StepContext, *, first: bool) -> None:
    raise Permanent("The ground is too soft.")


def _permanent_once(ctx: StepContext, *, first: bool) -> None:
    if first:
        raise Permanent("The ground is too soft.")


def _bug(ctx: StepContext, *, first: bool) -> None:
    raise ZeroDivisionError("customer row 4711")


def _stale_fence(ctx: StepContext, *, first: bool) -> None:
    raise StaleFence


def _exit(ctx: StepContext, *, first: bool) -> None:
    os._exit(1)


def _exit_once(ctx: StepContext, *, first: bool) -> None:
    if first:
        os._exit(1)


def _hang(ctx: StepContext, *, first: bool) -> None:
    threading.Event().wait()


def _lost_connection(ctx: StepContext, *, first: bool) -> None:
    """The server ends our session, as a restart would."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")


def _work_until_lights(ctx: StepContext, *, first: bool) -> None:
    """A long body: it is over when the test says so."""
    while not (Path(ctx.input.site) / "lights").exists():
        time.sleep(0.005)


def _too_much(ctx: StepContext, *, first: bool) -> None:
    bytearray(8 * 1024**5)


def _pause(ctx: StepContext, *, first: bool) -> None:
    """A person asks while the body runs."""
    if first:
        control.pause(Run.objects.get(pk=ctx.run_id), actor=BOB)


def _cancel(ctx: StepContext, *, first: bool) -> None:
    if first:
        control.cancel(Run.objects.get(pk=ctx.run_id), reason="not wanted any more", actor=BOB)


def _claimed(ctx: StepContext, *, first: bool) -> None:
    """Another worker takes the run over while the body runs."""
    Run.objects.filter(pk=ctx.run_id).update(fence=ctx.fence + 1_000_000)


TROUBLE: dict[str, Trouble] = {
    "transient": _transient,
    "transient once": _transient_once,
    "wait for lights": _wait_for_lights,
    "permanent": _permanent,
    "permanent once": _permanent_once,
    "bug": _bug,
    "stale fence": _stale_fence,
    "exit": _exit,
    "exit once": _exit_once,
    "hang": _hang,
    "work until lights": _work_until_lights,
    "lost connection": _lost_connection,
    "too much": _too_much,
    "pause": _pause,
    "cancel": _cancel,
    "claimed": _claimed,
}


def _inventory_name(ctx: StepContext) -> Path:
    return Path(ctx.input.site) / ctx.step.replace(" ", "-")


def survey(ctx: StepContext) -> Outcome:
    _act_up(ctx)
    return Done()


def put_up(ctx: StepContext) -> Outcome:
    """Observe, create, observe: half of it is one file, the whole is two."""
    _act_up(ctx)
    first, second = (_inventory_name(ctx).with_suffix(suffix) for suffix in (".left", ".right"))
    for half in (first, second):
        ctx.check()
        half.touch()
    return Done({"built": first.stem})


def take_down(ctx: StepContext) -> Outcome:
    _act_up(ctx)
    for suffix in (".left", ".right"):
        _inventory_name(ctx).with_suffix(suffix).unlink(missing_ok=True)
    return Done()


def count(ctx: StepContext) -> Outcome:
    """Control rows only, and not repeatable: exactly once, or the count is wrong."""
    _act_up(ctx)
    Tenant.objects.filter(pk=ctx.input.counted).update(version=F("version") + 1)
    return Done()


def count_back(ctx: StepContext) -> Outcome:
    """An atomic step has happened if, and only if, its row says so."""
    _act_up(ctx)
    if ctx.step in ctx.outputs:
        Tenant.objects.filter(pk=ctx.input.counted).update(version=F("version") - 1)
    return Done()


def raise_walls(ctx: StepContext) -> Outcome:
    """Three chunks, one after the other under one lease, then one wait."""
    _act_up(ctx)
    built = ctx.cursor["built"] if ctx.cursor else 0
    if built < 3:
        _inventory_name(ctx).with_suffix(f".{built}").touch()
        return Again(AT_ONCE, {"built": built + 1}, note=f"{built + 1} of 3 walls")
    if built == 3:
        return Again(timedelta(hours=1), {"built": 4}, note="the plaster dries")
    return Done({"walls": 3})


def tear_walls(ctx: StepContext) -> Outcome:
    _act_up(ctx)
    for wall in range(3):
        _inventory_name(ctx).with_suffix(f".{wall}").unlink(missing_ok=True)
    return Done()


def move_in(ctx: StepContext) -> Outcome:
    _act_up(ctx)
    _inventory_name(ctx).touch()
    return Done()


BUILD = Workflow(
    name="build",
    version=1,
    queue=Queue.OPERATIONS,
    input=House,
    steps=(
        Step(name="survey", do=survey, changes_nothing=True),
        Step(name="foundation", do=put_up, undo=take_down, skippable=True, attempts=3),
        Step(name="count", do=count, undo=count_back, atomic=True),
        Step(name="walls", do=raise_walls, undo=tear_walls),
        Step(name="roof", do=put_up, undo=take_down, exhausted="undo", attempts=2),
    ),
)
"""Can be undone to the end."""

SELL = Workflow(
    name="sell",
    version=1,
    queue=Queue.OPERATIONS,
    input=House,
    steps=(
        Step(name="foundation", do=put_up, undo=take_down),
        Step(name="sign", do=count, undo=count_back, atomic=True, pivot=True),
        Step(name="move in", do=move_in),
    ),
)
"""Has a pivot: once the contract is being signed it only goes forward."""

DIG = Workflow(
    name="dig",
    version=1,
    queue=Queue.OPERATIONS,
    input=House,
    steps=(Step(name="hole", do=put_up, undo=take_down, timeout=timedelta(milliseconds=500)),),
)
"""May not take longer than half a second a call."""

WORKFLOWS = {workflow.key: workflow for workflow in (BUILD, SELL, DIG)}

WHOLE = sorted(
    ["foundation.left", "foundation.right", "walls.0", "walls.1", "walls.2", "roof.left", "roof.right"],
)


def inventory(site: Path) -> list[str]:
    """What stands there, whoever put it up."""
    return sorted(item.name for item in site.iterdir() if item.name not in {"calls", "lights"})


def calls(site: Path) -> Counter[str]:
    """How often each body was called."""
    log = site / "calls"
    return Counter(log.read_text().splitlines()) if log.exists() else Counter()
