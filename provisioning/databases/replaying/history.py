"""Django's own state of the models before each operation that is Python: reckoned once, used for every target.

Only the runner imports this: it needs an installation whose apps are the release's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from django.db.migrations import Migration
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState

Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Prepared:
    """One operation with the states on either side of it, rendered."""

    migration: Migration
    operation: Operation
    before: ProjectState
    after: ProjectState
    unapply: bool

    def run(self, editor: Any) -> None:
        act = self.operation.database_backwards if self.unapply else self.operation.database_forwards
        act(self.migration.app_label, editor, self.before, self.after)


class NotInstalled(Exception):
    """A migration of the walk is not among the files of this installation. Its name is the message."""


class _Loader(MigrationLoader):
    """The files on disk, seen from a database in which these migrations are applied."""

    def __init__(self, applied: Iterable[Key]) -> None:
        self._applied: dict[Key, Any] = dict.fromkeys(applied)
        super().__init__(None)

    @property
    def applied_migrations(self) -> dict[Key, Any]:
        return self._applied

    @applied_migrations.setter
    def applied_migrations(self, _none_without_a_connection: dict[Key, Any]) -> None:
        """Django's own idea of a loader without a connection is an empty database."""


def prepare(
    source: Iterable[Key], walked: Iterable[tuple[str, str, bool]], wanted: dict[Key, set[int]]
) -> dict[tuple[str, str, int], Prepared]:
    """The operations at the `wanted` positions, by migration and position.

    `walked` are the migrations in order, with whether each is unapplied. Raises NotInstalled.
    """
    applied = set(source)
    executor = MigrationExecutor(None)
    executor.loader = _Loader(applied)
    graph = executor.loader.graph
    plan = [migration for migration, _ in executor.migration_plan(graph.leaf_nodes(), clean_start=True)]
    found: dict[tuple[str, str, int], Prepared] = {}
    for app, name, unapply in walked:
        key = (app, name)
        if key in wanted:
            if key not in graph.nodes:
                raise NotInstalled(f"{app}.{name}")
            migration: Migration = graph.nodes[key]
            state = _before(executor, plan, applied, migration, unapply=unapply)
            for position, prepared in _around(migration, state, wanted[key], unapply=unapply):
                found[app, name, position] = prepared
        applied = applied - {key} if unapply else applied | {key}
    return found


def _before(
    executor: MigrationExecutor, plan: list[Migration], applied: set[Key], migration: Migration, *, unapply: bool
) -> ProjectState:
    """The state that Django reckons the migration from: backwards, what stood before it when it was applied."""
    state = ProjectState(real_apps=executor.loader.unmigrated_apps)
    for each in plan:
        if each is migration:
            if unapply:
                break
            continue
        if (each.app_label, each.name) in applied:
            each.mutate_state(state, preserve=False)
    return state


def _around(
    migration: Migration, state: ProjectState, wanted: set[int], *, unapply: bool
) -> Iterator[tuple[int, Prepared]]:
    for position, operation in enumerate(migration.operations):
        earlier = state.clone()
        operation.state_forwards(migration.app_label, state)
        if position in wanted:
            later = state.clone()
            before, after = (later, earlier) if unapply else (earlier, later)
            yield position, Prepared(migration, operation, _rendered(before), _rendered(after), unapply)


def _rendered(state: ProjectState) -> ProjectState:
    """RunPython would render a delayed state anew each time it runs; a second for Wagtail's."""
    state.clear_delayed_apps_cache()
    state.is_delayed = False
    state.apps  # noqa: B018  rendered by being asked for
    return state
