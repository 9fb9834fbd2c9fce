"""A workflow for the engine's own tests: it builds a house of files, so that what it did is seen from outside the database.

The input says which step misbehaves and how. Each call of a body leaves a line in `calls`, outside of the inventory.
"""

import os
import signal
import threading
from collections import Counter

from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from uuid import UUID

from django.db.models import F

from provisioning.engine.workflow import AT_ONCE, Again, Done, Outcome, Step, StepContext, Workflow
from provisioning.errors import Permanent, StaleFence, Transient
from provisioning.models import Pool
from tenants.models import Tenant


@dataclass(frozen=True)
class House:
    """`site` is a folder of this run's own. `trouble` maps `[undo/]step` to what goes wrong there, every time."""

    site: str
    trouble: dict[str, str] = field(default_factory=dict)
    counted: UUID | None = None  # a tenant whose `version` counts the visits of the atomic step


def _act_up(ctx: StepContext) -> None:
    site = Path(ctx.input.site)
    undo = "undo/" if ctx.direction == "undo" else ""
    with (site / "calls").open("a") as calls:
        calls.write(f"{undo}{ctx.step}\n")
    match ctx.input.trouble.get(f"{undo}{ctx.step}"):
        case "transient":
            raise Transient("The mixer is stuck.", retry_after=timedelta(milliseconds=-1))
        case "transient until the lights go on" if not (site / "lights").exists():
            raise Transient("It is dark.")
        case "permanent":
            raise Permanent("The ground is too soft.")
        case "bug":
            raise ZeroDivisionError("customer row 4711")
        case "stale fence":
            raise StaleFence
        case "exit":
            os._exit(1)
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "hang":
            threading.Event().wait()
        case "wait":
            (site / "waits").touch()
            raise Transient("Another day.", retry_after=timedelta(hours=1))
        case "wait for the lights" if not (site / "lights").exists():
            raise Transient("It is dark.", retry_after=timedelta(hours=1))


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
    _act_up(ctx)
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
        return Again(timedelta(milliseconds=1), {"built": 4}, note="the plaster dries")
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
    pool=Pool.OPERATIONS,
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
    pool=Pool.OPERATIONS,
    input=House,
    steps=(
        Step(name="foundation", do=put_up, undo=take_down),
        Step(name="sign", do=count, undo=count_back, atomic=True, pivot=True),
        Step(name="move in", do=move_in),
    ),
)
"""Has a pivot: once the contract is being signed it only goes forward."""

WORKFLOWS = {workflow.key: workflow for workflow in (BUILD, SELL)}

WHOLE = sorted(
    ["foundation.left", "foundation.right", "walls.0", "walls.1", "walls.2", "roof.left", "roof.right"],
)


def inventory(site: Path) -> list[str]:
    """What stands there, whoever put it up."""
    return sorted(item.name for item in site.iterdir() if item.name not in {"calls", "lights", "waits"})


def calls(site: Path) -> Counter[str]:
    """How often each body was called."""
    log = site / "calls"
    return Counter(log.read_text().splitlines()) if log.exists() else Counter()
