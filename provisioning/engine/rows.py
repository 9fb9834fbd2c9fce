"""Rows written and read in one round trip each, for what is repeated: one onboarding does so some forty times.

A queryset's `update` and `refresh_from_db` are two statements where `written` is one, and a queryset takes three times
as long to say anything. Names of tables and columns are those of the models; `where` is a literal of our code. Values
are parameters, and the server keeps each statement prepared.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from functools import lru_cache
from typing import Any, TypeVar

from django.db import DEFAULT_DB_ALIAS, connection, connections
from django.db.backends.postgresql.base import ServerBindingCursor
from django.db.backends.utils import CursorWrapper
from django.db.models import Model

Row = TypeVar("Row", bound=Model)

NOW = timedelta(0)
"""As the value of a column of times: the database's clock. Any timedelta there is that clock plus so much."""


IDLE_LIMIT = "set_config('idle_in_transaction_session_timeout', %s, true), "


Changes = Mapping[str, object]


def written(
    row: Model,
    where: str,
    conditions: Sequence[object],
    changes: Changes,
    *,
    then: Sequence[tuple[Model, Changes]] = (),
    idle_s: float | None = None,
) -> bool:
    """Write `changes` to the row if `where` holds as well, and bring `row` up to date. False: it does not hold.

    `then` are other rows and their changes: one after the other, in the same statement, if that row was written. They
    are not read. For `idle_s` see `locked`.
    """
    text, values = _update(row, changes)
    texts = [f"{text} AND {where} RETURNING {_columns(type(row))}"]
    parameters = [*values, *conditions]
    for number, (other, changed) in enumerate(then):
        text, values = _update(other, changed, after=f"written_{number}")
        texts.append(f"{text} RETURNING 1")
        parameters += values
    named = ", ".join(f"written_{number} AS ({text})" for number, text in enumerate(texts))
    if idle_s is not None:
        statement = f"WITH {named} SELECT {IDLE_LIMIT}{_columns(type(row))} FROM written_0"
        return _filled(row, statement, (*parameters, _milliseconds(idle_s)), skip=1)
    statement = f"WITH {named} SELECT {_columns(type(row))} FROM written_0" if then else texts[0]
    return _filled(row, statement, parameters)


def found(model: type[Row], where: str, conditions: Sequence[object]) -> Row | None:
    """The first row of `model` that `where`, with its ORDER BY, names; or None."""
    return _made(model, answer(_select(model, where, ""), conditions))


def listed(model: type[Row], where: str, conditions: Sequence[object], *, using: str = DEFAULT_DB_ALIAS) -> list[Row]:
    """All of them."""
    with prepared(using) as cursor:
        cursor.execute(_select(model, where, ""), conditions)  # type: ignore[arg-type]  # as in answer
        found = cursor.fetchall()
    names = _names(model)
    return [model.from_db(using, names, _loaded(model, values)) for values in found]


def answer(statement: str, parameters: Sequence[object] | Mapping[str, object]) -> tuple[Any, ...] | None:
    """The first row of a statement that is a literal of our code, or None."""
    with prepared() as cursor:
        cursor.execute(statement, parameters)  # type: ignore[arg-type]  # UUIDs too: psycopg adapts them
        row: tuple[Any, ...] | None = cursor.fetchone()
    return row


def given(model: type[Row], function: str, arguments: Sequence[object]) -> Row | None:
    """The row that a function of the database gives, or None."""
    return _made(model, answer(f"SELECT {_columns(model)} FROM {function}", arguments))


def locked(row: Model, where: str, conditions: Sequence[object], *, idle_s: float) -> bool:
    """Lock the row if `where` holds as well, and bring `row` up to date. False, and no lock, when it does not.

    PostgreSQL ends the session if the transaction then idles for `idle_s` seconds.
    """
    statement = _select(type(row), f"id = %s AND {where} FOR NO KEY UPDATE", IDLE_LIMIT)
    return _filled(row, statement, (_milliseconds(idle_s), row.pk, *conditions), skip=1)


def prepared(using: str = DEFAULT_DB_ALIAS) -> CursorWrapper:
    """As a connection's `cursor()`, but one whose statements the server prepares, as often as the settings say."""
    connection = connections[using]
    connection.ensure_connection()
    cursor: CursorWrapper = connection._prepare_cursor(ServerBindingCursor(connection.connection))  # type: ignore[attr-defined, call-arg]  # noqa: SLF001
    return cursor


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.0f}ms"


def _made(model: type[Row], values: Sequence[Any] | None) -> Row | None:
    if values is None:
        return None
    return model.from_db(DEFAULT_DB_ALIAS, _names(model), _loaded(model, values))


def _filled(row: Model, statement: str, parameters: Sequence[object], *, skip: int = 0) -> bool:
    """Run a statement that gives one row of this model behind `skip` other columns."""
    values = answer(statement, parameters)
    if values is None:
        return False
    for name, value in zip(_names(type(row)), _loaded(type(row), values[skip:]), strict=True):
        setattr(row, name, value)
    return True


def _loaded(model: type[Model], values: Sequence[Any]) -> list[Any]:
    """A value for each column of the model."""
    return [
        value if load is None or value is None else load(value)
        for load, value in zip(_loads(model), values, strict=True)
    ]


def _update(row: Model, changes: Changes, *, after: str = "") -> tuple[str, tuple[object, ...]]:
    """The statement as far as the row's id, and its values; `after` is what else must have given a row."""
    model = type(row)
    timed = frozenset(name for name, value in changes.items() if isinstance(value, timedelta))
    values = (value if name in timed else _dumped(model, name, value) for name, value in changes.items())
    return _update_text(model, tuple(changes), timed, after), (*values, row.pk)


@lru_cache(maxsize=256)
def _update_text(model: type[Model], names: tuple[str, ...], timed: frozenset[str], after: str) -> str:
    settings = ", ".join(
        f"{_column(model, name)} = {'statement_timestamp() + %s' if name in timed else '%s'}" for name in names
    )
    table = model._meta.db_table  # noqa: SLF001
    source = f" FROM {after}" if after else ""
    return f"UPDATE {table} SET {settings}{source} WHERE {table}.id = %s"


@lru_cache(maxsize=64)
def _select(model: type[Model], where: str, before: str) -> str:
    return f"SELECT {before}{_columns(model)} FROM {model._meta.db_table} WHERE {where}"  # noqa: SLF001


@lru_cache(maxsize=16)
def _columns(model: type[Model]) -> str:
    return ", ".join(f'"{field.column}"' for field in model._meta.concrete_fields)  # noqa: SLF001


def _column(model: type[Model], name: str) -> str:
    return f'"{model._meta.get_field(name).column}"'  # type: ignore[union-attr]  # noqa: SLF001  concrete fields only


def _dumped(model: type[Model], name: str, value: object) -> Any:
    field = model._meta.get_field(name)  # noqa: SLF001
    return field.get_db_prep_save(value, connection)  # type: ignore[union-attr]  # as above


@lru_cache(maxsize=16)
def _names(model: type[Model]) -> tuple[str, ...]:
    """The attribute of each column."""
    return tuple(field.attname for field in model._meta.concrete_fields)  # noqa: SLF001


@lru_cache(maxsize=16)
def _loads(model: type[Model]) -> tuple[Callable[[Any], Any] | None, ...]:
    """What makes a Python value of what psycopg gives, for each column that needs it."""

    def load(field: Any) -> Callable[[Any], Any] | None:
        if not hasattr(field, "from_db_value"):
            return None
        return lambda value: field.from_db_value(value, None, connection)

    return tuple(load(field) for field in model._meta.concrete_fields)  # noqa: SLF001
