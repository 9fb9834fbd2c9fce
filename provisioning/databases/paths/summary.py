"""What a path asks of a target, migration by migration, before anybody walks it."""

from dataclasses import dataclass
from typing import Any

from provisioning.databases.paths.acts import DDL, DML, PYTHON
from provisioning.databases.paths.weight import made_by, weigh
from provisioning.databases.paths.weights import Weight
from provisioning.models import ReleasePath


@dataclass(frozen=True, slots=True)
class StepSummary:
    """One migration: acts by kind, and the weight of its `ddl` on tables that were there before the path, in order."""

    migration: str
    atomic: bool
    unapply: bool
    ddl: int
    dml: int
    python: int
    weights: tuple[Weight, ...]


def statements_per_migration(path: ReleasePath, *, pooled: bool) -> list[StepSummary]:
    """In the order in which they are walked; of a pool if `pooled`, where `dml` and `python` count once a tenant."""
    made: set[str] = set()
    return [_summary(step, made) for step in (path.pool_migrations if pooled else path.migrations)]


def _summary(step: dict[str, Any], made: set[str]) -> StepSummary:
    """`made` is what the steps so far have made."""
    texts = [act["text"] for act in step["acts"] if act["kind"] == DDL]
    made.update(table for text in texts for table in made_by(text))
    counts = {kind: sum(act["kind"] == kind for act in step["acts"]) for kind in (DDL, DML, PYTHON)}
    return StepSummary(
        migration=f"{step['app']}.{step['name']}",
        atomic=step["atomic"],
        unapply=step["unapply"],
        **counts,
        weights=tuple(weight for text in texts for weight in weigh(text) if weight.table not in made),
    )
