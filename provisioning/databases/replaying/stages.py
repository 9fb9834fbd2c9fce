"""One stage of a walk: in one transaction, outside of any, or once for each tenant.

What opens a transaction and what closes it travels with the acts, so that a stage without Python takes one round trip.
Two more are made only where the shape is of a kind that nobody has judged yet.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

from psycopg import sql

from provisioning.databases import ddl, pooling
from provisioning.databases.pooling.syntax import names, statements
from provisioning.databases.replaying.errors import ALREADY_THERE, UNJUDGED, Refused, UnsafeInPool, error_of
from provisioning.databases.replaying.expecting import Expected
from provisioning.databases.replaying.sending import joined
from provisioning.databases.replaying.sessions import Session, Straight
from provisioning.databases.replaying.targets import Target
from provisioning.databases.replaying.walks import SETTLE, Act, Kind, Stage, Walk
from provisioning.databases.servers import Connection, run
from tenants.context import TenantContext
from tenants.findings import Severity
from tenants.isolation.tickets import ERASE, USE

OPENING = Act(Kind.DDL, "", ("", "before the first migration"), 0, "")
ARRIVAL = Act(Kind.DDL, "", ("", "after the last migration"), 0, "")

_STANCE = f"SET LOCAL ROLE {ddl.OWNER}; SET LOCAL search_path = {{schema}};\n"
_INDEX = "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(%s)"
_DOORS = f"SELECT tenant, incarnation, open FROM {ddl.GUARD}.placement WHERE tenant = ANY (%s)"


@dataclass(frozen=True, slots=True)
class Bound:
    """One target on one walk, and what every stage of it needs to know."""

    target: Target
    walk: Walk
    expected: Expected
    lock_timeout: timedelta

    def named(self, text: str) -> str:
        return self.walk.named(text, self.target.schema)

    @property
    def stance(self) -> str:
        """The owner, in the schema: said again after whatever may have changed it."""
        return _STANCE.format(schema=self.target.schema)

    @property
    def begin(self) -> str:
        return f"BEGIN; SET LOCAL lock_timeout = {self._milliseconds};\n"

    @property
    def patience(self) -> str:
        """How long to wait for a lock, until RESET."""
        return f"SET lock_timeout = {self._milliseconds};\n"

    @property
    def by_hand(self) -> str:
        """The same outside of a transaction, until RESET."""
        return f"{self.patience} SET ROLE {ddl.OWNER}; SET search_path = {self.target.schema};"

    @property
    def _milliseconds(self) -> int:
        return int(self.lock_timeout.total_seconds() * 1_000)


class AlreadyThere(Exception):
    """Found by a stage's own check: somebody else has brought the target along."""


class Unjudged(Exception):
    """Nobody has seen a shape with this stamp before."""


def together(session: Session, bound: Bound, stage: Stage, *, opening: str, arriving: bool) -> None:
    """The stage in one transaction, which `opening` begins as the provisioning role. All of it, or nothing.

    `arriving`: it is the last one, so migrations are recorded and the shape is judged before the commit. Raises
    AlreadyThere, LockTimeout, StatementFailed, ShapeDiffers, StandsElsewhere, Overtaken, or ServerUnavailable.
    """
    target = bound.target
    with _whole(session):
        text = _acted(session, bound, bound.begin + opening + bound.stance, stage.acts)
        arrival = bound.walk.arrival if arriving else ""
        if target.pooled:
            _send(session, bound, *text, arrival)
            _check_and_grant(session, target)
            text, arrival = (bound.stance, []), ""
        if not arriving:
            _send(session, bound, *text, "COMMIT")
            return
        demand = bound.expected.demand(target.schema)
        if demand and _is_as_demanded(
            session, bound, text, f"{arrival}RESET ROLE; SAVEPOINT judging; {demand}; COMMIT"
        ):
            return
        if demand:
            text, arrival = ("ROLLBACK TO judging;", []), ""
        answer = _send(session, bound, *text, f"{arrival}{bound.stance}{bound.expected.question(target.schema)}")
        bound.expected.judge(target.schema, answer, lambda: session.lines(target.schema))
        _send(session, bound, "COMMIT")


def each(
    session: Session, bound: Bound, stage: Stage, opening: str, tenants: Sequence[tuple[TenantContext, str]]
) -> None:
    """The stage's acts for each of these tenants, as that tenant, in one transaction. Raises as `together`.

    With each tenant comes the purpose it is entered for.
    """
    with _whole(session):
        _send(session, bound, bound.begin + opening + bound.stance)
        for tenant, purpose in tenants:
            try:
                session.enter(tenant, purpose)
            except Refused as refused:
                raise _failed(bound, refused, [OPENING]) from refused
            head, acts = _acted(session, bound, bound.stance, stage.acts)
            _send(session, bound, head, acts, SETTLE)
        _send(session, bound, "COMMIT")


def alone(session: Straight, bound: Bound, stage: Stage) -> None:
    """One act that PostgreSQL wants outside of a transaction. A kill in the middle leaves it to be done again."""
    (act,) = stage.acts
    connection = session.connection
    try:
        _send(session, bound, bound.by_hand)
        if _is_to_do(connection, bound, act):
            _send_alone(session, bound, act)
    finally:
        if not connection.closed:
            run(connection, "RESET ROLE; RESET search_path; RESET lock_timeout")


def said(session: Session, bound: Bound, text: str) -> None:
    """Before any act. Raises as `together`."""
    _send(session, bound, text)


def admitted(connection: Connection, tenants: Sequence[TenantContext]) -> list[tuple[TenantContext, str]]:
    """Those of the tenants who have rows here, and for what purpose the guard lets us enter."""
    found = {row[:2]: row[2] for row in run(connection, _DOORS, [each.tenant_id for each in tenants])}
    return [
        (each, USE if found[each.tenant_id, each.incarnation] else ERASE)
        for each in tenants
        if (each.tenant_id, each.incarnation) in found
    ]


def _is_as_demanded(session: Session, bound: Bound, text: tuple[str, list[Act]], ending: str) -> bool:
    """Send the last of a transaction. False: it stands at its savepoint, and somebody has to look at the shape."""
    try:
        _send(session, bound, *text, ending)
    except Unjudged:
        return False
    return True


@contextmanager
def _whole(session: Session) -> Iterator[None]:
    try:
        yield
    except BaseException:
        session.roll_back()
        raise


def _acted(session: Session, bound: Bound, head: str, acts: Sequence[Act]) -> tuple[str, list[Act]]:
    """Run the acts up to the last that is Python. What is still to be sent comes back: a head, and acts."""
    waiting: list[Act] = []
    for act in acts:
        if act.kind is not Kind.PYTHON:
            waiting.append(act)
            continue
        if head or waiting:
            _send(session, bound, head, waiting)
        try:
            session.python(act)
        except Refused as refused:
            raise _failed(bound, refused, [act]) from refused
        head, waiting = bound.stance, []
    return head, waiting


def _send(session: Session, bound: Bound, head: str, acts: Sequence[Act] = (), *tail: str) -> str | None:
    """One round trip. See Note [How a refused act is found]."""
    parts = joined([head, *(act.text for act in acts)]) if acts or tail else head
    try:
        return session.send(bound.named("".join((parts, *tail))))
    except Refused as refused:
        raise _failed(bound, refused, [OPENING, *acts, ARRIVAL]) from refused


def _send_alone(session: Session, bound: Bound, act: Act) -> None:
    """Nothing stands beside it: two statements in one text are a transaction."""
    try:
        session.send(bound.named(act.text))
    except Refused as refused:
        raise _failed(bound, refused, [act]) from refused


def _failed(bound: Bound, refused: Refused, acts: Sequence[Act]) -> Exception:
    refusal = refused.refusal
    if refusal.sqlstate == ALREADY_THERE:
        return AlreadyThere()
    if refusal.sqlstate == UNJUDGED:
        return Unjudged()
    act = acts[min(refusal.done, len(acts) - 1)]
    return error_of(
        refusal,
        subject=bound.target.schema,
        migration=act.name.strip("."),
        operation=act.operation,
        statement=bound.named(act.text),
    )


def _check_and_grant(session: Session, target: Target) -> None:
    """A pool's objects are granted one by one, when the catalog check has passed them."""
    assert isinstance(session, Straight)  # noqa: S101  no DDL of a pool is Python's
    run(session.connection, "RESET ROLE; SET LOCAL search_path = pg_catalog")
    for finding in pooling.grant(session.connection, target.schema, target.role):
        if finding.severity in {Severity.ERROR, Severity.CRITICAL}:
            raise UnsafeInPool(finding.message, finding=finding.code)


def _is_to_do(connection: Connection, bound: Bound, act: Act) -> bool:
    """Whether an index is still to be made or dropped. One that a kill left half-made is cleared away first."""
    for statement in statements(bound.named(act.text)):
        if statement.kind == "index_stmt" and statement.node.idxname:
            name = sql.Identifier(bound.target.schema, statement.node.idxname).as_string()
            match run(connection, _INDEX, name):
                case [(True,)]:
                    return False
                case [(False,)]:
                    run(connection, sql.SQL("DROP INDEX CONCURRENTLY {}").format(sql.SQL(name)))
                case _:
                    return True
        if statement.kind == "drop_stmt":
            dropped = [names(each.list.items)[-1] for each in statement.node.objects]
            there = [sql.Identifier(bound.target.schema, each).as_string() for each in dropped]
            return any(run(connection, _INDEX, name) for name in there)
    return True
