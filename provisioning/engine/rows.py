"""Write a row and have it as it is then, in one round trip: the engine does so some thirty times for one tenant.

A queryset's `update` and `refresh_from_db` say the same in two statements, and take several times as long to say it.
Names of tables and columns are those of the models; `where` is a literal of the engine's code. Values are parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from functools import lru_cache
from typing import Any, TypeVar

from django.db import connection
from django.db.models import Model

Row = TypeVar("Row", bound=Model)

NOW = timedelta(0)
"""As the value of a column of times: the database's clock. Any timedelta there is that clock plus so much."""


Changes = Mapping[str, object]


def written(
    row: Model,
    where: str,
    conditions: Sequence[object],
    changes: Changes,
    *,
    beside: tuple[Model, Changes] | None = None,
) -> bool:
    """Write `changes` to the row if `where` holds as well, and bring `row` up to date. False: it does not hold.

    `beside` is another row and its changes, written in the same statement and not read.
    """
    text, values = _update(row, changes)
    statement = f"{text} AND {where} RETURNING {_columns(type(row))}"
    if beside is not None:
        first, before = _update(*beside)
        statement, values = f"WITH beside AS ({first}) {statement}", (*before, *values)
    return _filled(row, statement, (*values, *conditions))


def written_then(row: Row, changes: Changes, where: str, conditions: Sequence[object]) -> Row | None:
    """Write `changes` to the row, without reading it, and give the first other row that `where` names, or None."""
    text, values = _update(row, changes)
    other = type(row)()
    statement = f"WITH written AS ({text}) {_select(type(row), where, '')}"
    return other if _filled(other, statement, (*values, *conditions)) else None


def found(model: type[Row], where: str, conditions: Sequence[object]) -> Row | None:
    """The first row of `model` that `where`, with its ORDER BY, names; or None."""
    row = model()
    return row if _filled(row, _select(model, where, ""), conditions) else None


def given(model: type[Row], function: str, arguments: Sequence[object]) -> Row | None:
    """The row that a function of the database gives, or None."""
    row = model()
    return row if _filled(row, f"SELECT {_columns(model)} FROM {function}", arguments) else None


def locked(row: Model, where: str, conditions: Sequence[object], *, idle_s: float) -> bool:
    """Lock the row if `where` holds as well, and bring `row` up to date. False, and no lock, when it does not.

    PostgreSQL ends the session if the transaction then idles for `idle_s` seconds.
    """
    limit = "set_config('idle_in_transaction_session_timeout', %s, true), "
    statement = _select(type(row), f"id = %s AND {where} FOR NO KEY UPDATE", limit)
    return _filled(row, statement, (f"{idle_s * 1000:.0f}ms", row.pk, *conditions), skip=1)


def _filled(row: Model, statement: str, parameters: Sequence[object], *, skip: int = 0) -> bool:
    """Run a statement that gives one row of this model behind `skip` other columns."""
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)  # type: ignore[arg-type]  # UUIDs too: psycopg adapts them
        values = cursor.fetchone()
    if values is None:
        return False
    for (name, load), value in zip(_loads(type(row)), values[skip:], strict=True):
        setattr(row, name, value if load is None or value is None else load(value))
    row._state.adding, row._state.db = False, connection.alias  # noqa: SLF001  as Model.from_db does
    return True


def _update(row: Model, changes: Changes) -> tuple[str, tuple[object, ...]]:
    """The statement as far as the row's id, and its values."""
    model = type(row)
    timed = frozenset(name for name, value in changes.items() if isinstance(value, timedelta))
    values = (value if name in timed else _dumped(model, name, value) for name, value in changes.items())
    return _update_text(model, tuple(changes), timed), (*values, row.pk)


@lru_cache(maxsize=256)
def _update_text(model: type[Model], names: tuple[str, ...], timed: frozenset[str]) -> str:
    settings = ", ".join(
        f"{_column(model, name)} = {'statement_timestamp() + %s' if name in timed else '%s'}" for name in names
    )
    return f"UPDATE {model._meta.db_table} SET {settings} WHERE id = %s"  # noqa: SLF001


@lru_cache(maxsize=64)
def _select(model: type[Model], where: str, before: str) -> str:
    return f"SELECT {before}{_columns(model)} FROM {model._meta.db_table} WHERE {where}"  # noqa: SLF001


@lru_cache(maxsize=8)
def _columns(model: type[Model]) -> str:
    return ", ".join(f'"{field.column}"' for field in model._meta.concrete_fields)  # noqa: SLF001


def _column(model: type[Model], name: str) -> str:
    return f'"{model._meta.get_field(name).column}"'  # type: ignore[union-attr]  # noqa: SLF001  concrete fields only


def _dumped(model: type[Model], name: str, value: object) -> Any:
    field = model._meta.get_field(name)  # noqa: SLF001
    return field.get_db_prep_save(value, connection)  # type: ignore[union-attr]  # as above


@lru_cache(maxsize=8)
def _loads(model: type[Model]) -> tuple[tuple[str, Callable[[Any], Any] | None], ...]:
    """The attribute of each column, and what makes a Python value of what psycopg gives, where that is needed."""

    def load(field: Any) -> Callable[[Any], Any] | None:
        if not hasattr(field, "from_db_value"):
            return None
        return lambda value: field.from_db_value(value, None, connection)

    return tuple((field.attname, load(field)) for field in model._meta.concrete_fields)  # noqa: SLF001
