"""Erasing: the doors are shut, stock is taken, the bar is crossed; then phase by phase, and a check.

# Note [What a workflow of erasing is, and what it is not]
A grace, an approval, a soak and the days of looking again are dates in the request's row: no operation runs meanwhile
and no tenant is locked. An operation is one round through the phases, or one look. A round that ends dirty ends as an
operation, too: the next round is another (`erase again`), which begins right of the bar.
"""

from __future__ import annotations

from datetime import timedelta

from provisioning.engine.workflow import Body, Step, Workflow
from provisioning.erasure.erasers.once_more import AGAIN
from provisioning.erasure.registry import REGISTRY, Registry
from provisioning.models import Queue
from provisioning.workflows.erase_freezing import (
    EraseInput,
    archive,
    close,
    compare,
    cross,
    go_back,
    open_again,
    take_stock,
    throw_away,
)
from provisioning.workflows.erase_phases import KEYS, check, erase, gate

OUTSIDE, DERIVED, ROWS, AUDIT = 3, 4, 5, 8  # phases; what stands above AUDIT is control residue
HOURS_4 = timedelta(hours=4)


def phases(registry: Registry) -> tuple[Step, ...]:
    """From disabled keys to the check. What rows name goes before the rows, and once more behind late writers."""

    def step(name: str, do: Body) -> Step:
        return Step(name=name, do=do, timeout=timedelta(minutes=30), deadline=HOURS_4)

    return (
        step("disable keys", erase(registry, phases=range(OUTSIDE))),
        step("erase outside stores", erase(registry, phases=(OUTSIDE,))),
        step("erase queues and caches", erase(registry, phases=(DERIVED,))),
        step("erase rows", erase(registry, phases=(ROWS,))),
        step("erase outside stores again", erase(registry, phases=(AGAIN,))),
        step("gate", gate(registry)),
        step("destroy keys", erase(registry, phases=(KEYS,))),
        step("erase audit payloads", erase(registry, phases=(AUDIT,))),
        step("erase control residue", erase(registry, phases=range(AUDIT + 1, 100))),
        step("check", check(registry)),
    )


def erasing(registry: Registry) -> tuple[Workflow, Workflow]:
    """`erase`, and `erase again` for the rounds after the first; tests build theirs over small registries."""
    long = timedelta(minutes=30)
    return (
        Workflow(
            name="erase",
            version=1,
            queue=Queue.OPERATIONS,
            input=EraseInput,
            steps=(
                Step(name="compare plan", do=compare(registry), undo=go_back, timeout=long),
                Step(name="close the doors", do=close(registry), undo=open_again, timeout=long),
                Step(name="archive held records", do=archive, undo=throw_away, timeout=long, deadline=HOURS_4),
                # Its rows are written over by the next stock.
                Step(name="take stock", do=take_stock(registry), changes_nothing=True, timeout=long, deadline=HOURS_4),
                Step(name="cross the bar", do=cross, pivot=True, deadline=timedelta(days=30)),
                *phases(registry),
            ),
        ),
        Workflow(
            name="erase again",
            version=1,
            queue=Queue.OPERATIONS,
            input=EraseInput,
            steps=(
                Step(name="take stock", do=take_stock(registry), pivot=True, timeout=long, deadline=HOURS_4),
                *phases(registry),
            ),
        ),
    )


ERASE, ERASE_AGAIN = erasing(REGISTRY)
