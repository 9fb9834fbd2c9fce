"""Run what a path says, before anybody else does: in plain tables, and compiled in pooled ones.

# Note [What is proven of a path]
Django's own walk shows that the migrations lead to the target's shape. That the acts do, which is what is replayed, is
shown by running them: the `ddl` ones over a copy without rows, in a schema and, compiled, in a pool with the catalog
check after each migration. Rows are each tenant's own, so `dml` and `python` can only be proven where they are run: the
replay compares shapes in the same transaction.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from postgast import pg_query_pb2 as tree

from provisioning.databases.fingerprint import difference, shape
from provisioning.databases.paths.acts import DDL, Act, Step
from provisioning.databases.pooling import trial
from provisioning.databases.pooling.catalog import names_in, views_in
from provisioning.databases.pooling.compiler import compiled
from provisioning.databases.pooling.errors import CannotPool
from provisioning.databases.pooling.syntax import definition, statements
from provisioning.databases.pooling.trial import Refusal
from provisioning.databases.servers import Connection, run
from provisioning.models import Release

_REPORT = "Report this with the migration: recording should have known."
_APART = "Make the change an operation of its own (RunSQL, or Django's), with the Python before or after it."
_NOT_POOLED = "Its tenants live in the schema or database tier; see the release for each statement in question."


def differing(target: Release, found: list[str], what: str) -> list[Refusal]:
    """That a schema, of which `what` speaks, has not got the target's shape; nothing if it has."""
    lines = difference(target.shape, found)
    return [_said(f"{what}: {'; '.join(lines[: trial.SAID])}.", _REPORT)] if lines else []


def replayed(connection: Connection, source: Release, target: Release, steps: list[Step]) -> list[Refusal]:
    """Why the acts do not lead to the target's shape, in a schema of this scratch database; nothing if they do."""
    schema, at = f"{target.placeholder}_r", f"a copy of {source}"
    try:
        with trial.as_owner(connection):
            with connection.transaction():
                run(connection, f"{source.script}\n{source.finish}".replace(source.placeholder, schema))
            with trial.inside(connection, schema):
                for step in steps:
                    at = step.label
                    with _transaction(connection, step):
                        for text in (text for act in step.acts for text in _of_shape(act)):
                            run(connection, text.replace(target.placeholder, schema))
    except trial.REFUSED_BY_SERVER as error:
        return [_said(f"{at}: PostgreSQL refuses what was recorded: {error.diag.message_primary or error}.", _REPORT)]
    return differing(target, shape(connection, schema), "Replayed without rows, it ends in another shape")


def pooled(
    connection: Connection, source: Release, target: Release, steps: list[Step]
) -> tuple[list[dict[str, Any]], list[Refusal]]:
    """The migrations as a pool takes them, tried in a schema of this scratch database; or why it cannot."""
    if unpoolable := [each for each in (source, target) if not each.pool_script]:
        names = " and ".join(str(each) for each in unpoolable)
        return [], [_said(f"The release {names} cannot be pooled.", _NOT_POOLED)]
    if refusals := list(_changed_by_python(steps)):
        return [], refusals
    schema = f"{target.placeholder}_p"
    trial.put_up_guard(connection)
    migrations = []
    try:
        with trial.as_owner(connection):
            with connection.transaction():
                run(connection, source.pool_script.replace(source.placeholder, schema))
            with trial.inside(connection, schema):
                for step in steps:
                    with _transaction(connection, step):
                        acts = list(_compiled(connection, schema, target.placeholder, step))
                    migrations.append(step.row(acts))
                    if any(act["kind"] == DDL for act in acts):
                        trial.refuse_faults(connection, schema, step.label)
    except CannotPool as refusal:
        return [], [trial.row(refusal)]
    lines = difference(target.pool_shape, shape(connection, schema))
    if lines:
        reason = f"Compiled, it ends in another shape than a pool of {target}: {'; '.join(lines[: trial.SAID])}."
        return [], [_said(reason, trial.REPORT)]
    return migrations, []


def _compiled(connection: Connection, schema: str, placeholder: str, step: Step) -> Iterator[dict[str, Any]]:
    """The acts of a step for a pool, each run as it is made: the next name depends on those that are there."""
    for act in step.acts:
        if act.kind != DDL:
            yield act.row()
            continue
        text = compiled(
            act.text, taken=lambda: names_in(connection, schema), views=lambda: views_in(connection, schema)
        )
        if text:
            trial.execute(connection, text.replace(placeholder, schema), step.label)
            yield {**act.row(), "text": text, "unforced": read_across(text)}


def read_across(text: str) -> list[str]:
    """Tables whose rows of all tenants a compiled statement looks at: a foreign key's, whose check row security holds.

    See Note [A foreign key is checked over all tenants] in pooling/altering.py. Of a key that is checked later the
    other table is not known here.
    """
    found = []
    for statement in statements(text):
        for command in statement.node.cmds if statement.kind == "alter_table_stmt" else ():
            subtype, constraint = command.alter_table_cmd.subtype, definition(command.alter_table_cmd).constraint
            if subtype == tree.AT_ValidateConstraint:
                found.append(statement.node.relation.relname)
            elif subtype == tree.AT_AddConstraint and constraint.contype == tree.CONSTR_FOREIGN:
                found += [statement.node.relation.relname, constraint.pktable.relname]
    return list(dict.fromkeys(found))


def _changed_by_python(steps: list[Step]) -> Iterator[Refusal]:
    for step in steps:
        for act in step.acts:
            for text in act.changes:
                said = f"{step.label}: {act.operation} changes tables, and in a pool it runs once for each tenant."
                yield {"statement": text, "reason": said, "instead": _APART}


def _of_shape(act: Act) -> list[str]:
    return [act.text] if act.kind == DDL else act.changes


def _transaction(connection: Connection, step: Step) -> AbstractContextManager[Any]:
    return connection.transaction() if step.atomic else nullcontext()


def _said(reason: str, instead: str) -> Refusal:
    return {"statement": "", "reason": reason, "instead": instead}
