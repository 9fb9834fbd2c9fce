"""The server ends our sessions between any two messages to it; whoever comes next finishes."""

from collections.abc import Callable
from itertools import count
from typing import Any

import psycopg
import pytest

from provisioning.databases.replaying import Arrived, RunnerEnded, Stand, Target, markers, walking, where
from provisioning.databases.replaying.running import Runner
from provisioning.databases.replaying.sessions import Straight
from provisioning.errors import Transient
from provisioning.models import ReleasePath
from tests.provisioning.databases.replaying.conftest import Books, Look

pytestmark = pytest.mark.long

END = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = 'tenure:replay'"
COUNT_UP = """
def count_up(apps, schema_editor):
    from django.db.models import F
    apps.get_model("{app}", "Book").objects.update(pages=F("pages") + 1)
"""
YEAR = 'migrations.AddField("Book", "year", models.IntegerField(null=True))'
CONCURRENT = """
    postgres.AddIndexConcurrently("Book", models.Index(fields=["title"], name="book_title")),
    postgres.AddIndexConcurrently("Book", models.Index(fields=["pages"], name="book_pages"))
"""
POSTGRES = "from django.contrib.postgres import operations as postgres"
DIE_ONCE = """
def die(apps, schema_editor):
    import os, signal
    if apps.get_model("{app}", "Book").objects.filter(title="one").exists():
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def dies_at(monkeypatch: pytest.MonkeyPatch, superuser: psycopg.Connection) -> Callable[[int], None]:
    """Every session of a replay is ended before its so manyth message; 0: none is."""
    counted = count(1)
    fatal = 0

    def dying(act: Callable[..., Any]) -> Callable[..., Any]:
        def sent(*given: Any, **named: Any) -> Any:
            if next(counted) == fatal:
                superuser.execute(END)
            return act(*given, **named)

        return sent

    for kind in (Straight, Runner):
        for name in ("send", "enter", "python"):
            monkeypatch.setattr(kind, name, dying(getattr(kind, name)))

    def set_to(number: int) -> None:
        nonlocal counted, fatal
        counted, fatal = count(1), number

    return set_to


def killed_everywhere(books: Books, target: Target, path: ReleasePath, dies_at: Callable[[int], None]) -> int:
    """Killed before its first message, then before its second, …; from the first on again wherever it got further.

    Ends when the replay was not killed. How often it was.
    """
    kills, number, before = 0, 1, None
    while True:
        dies_at(number)
        try:
            outcome = books.replay(target, path)
        except Transient:
            kills += 1
        else:
            assert isinstance(outcome, Arrived)
            return kills
        with books.connected(target) as connection:
            reached = markers.of(connection, target.schema)
            stand = where(connection, target, path).stand
        assert stand == (Stand.BETWEEN if reached else Stand.SOURCE)
        number, before = (number + 1 if reached == before else 1), reached


@pytest.mark.timeout(400)
def test_a_kill_between_any_two_messages_leaves_no_row_counted_twice_or_never(
    books: Books, dies_at: Callable[[int], None], rows: Look, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(walking, "TENANTS_AT_ONCE", 1)
    for each in books.tenants:
        rows(books).add(each.context, "one", pages=1)
    books.write("migrations.RunPython(count_up)", head=COUNT_UP)
    books.write(YEAR)
    books.write('migrations.RunSQL("UPDATE {table} SET pages = pages * 10")')
    path = books.published()
    for target in books.targets():
        assert killed_everywhere(books, target, path, dies_at) >= 3
        assert books.stand(target, path) == Stand.TARGET
    for each in books.tenants:
        assert rows(books).of(each.context, "title, pages, year") == [("one", 20, None)]


@pytest.mark.timeout(400)
def test_statements_outside_of_a_transaction_are_taken_up_again(
    in_schemas: Books, dies_at: Callable[[int], None], rows: Look
) -> None:
    in_schemas.write(f"{CONCURRENT}, {YEAR}", head=POSTGRES, atomic=False)
    path = in_schemas.published()
    for target in in_schemas.targets():
        assert killed_everywhere(in_schemas, target, path, dies_at) >= 3
        assert in_schemas.stand(target, path) == Stand.TARGET


def test_an_index_that_a_kill_left_half_made_is_made_anew(in_schemas: Books, rows: Look) -> None:
    in_schemas.write(CONCURRENT, head=POSTGRES, atomic=False)
    path = in_schemas.published()
    target = in_schemas.targets()[0]
    rows(in_schemas).ask(target, "CREATE INDEX book_title ON {book} (title)")
    rows(in_schemas).ask(target, "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'book_title'::regclass")
    assert isinstance(in_schemas.replay(target, path), Arrived)
    assert rows(in_schemas).ask(
        target, "SELECT indisvalid FROM pg_index WHERE indexrelid = 'book_title'::regclass"
    ) == [(True,)]


def test_a_runner_that_is_killed_is_started_again(in_schemas: Books, rows: Look) -> None:
    for each in in_schemas.tenants:
        rows(in_schemas).add(each.context, "one")
    in_schemas.write("migrations.RunPython(die)", head=DIE_ONCE)
    path = in_schemas.published()
    target = in_schemas.targets()[0]
    with pytest.raises(RunnerEnded):
        in_schemas.replay(target, path)
    assert in_schemas.stand(target, path) == Stand.SOURCE
    rows(in_schemas).ask(target, "UPDATE {book} SET title = 'two'")
    assert isinstance(in_schemas.replay(target, path), Arrived)


def test_an_index_is_made_concurrently_in_a_pool(in_pool: Books) -> None:
    in_pool.write(f"{CONCURRENT}, {YEAR}", head=POSTGRES, atomic=False)
    path = in_pool.published()
    (target,) = in_pool.targets()
    assert isinstance(in_pool.replay(target, path), Arrived)
    assert in_pool.stand(target, path) == Stand.TARGET
