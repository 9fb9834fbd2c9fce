"""The session of a SQL injection: it reads, writes and counts nothing of globex's. `-s` shows it."""

from collections.abc import Callable

from examples.projects.models import Project
from tenants.context import tenant_scope
from tests.isolation.arena import Arena, Place, state_of
from tests.isolation.attack import CANARY
from tests.isolation.session import held


def test_a_session_with_a_sql_injection(arena_of: Callable[[Place], Arena]) -> None:
    arena = arena_of(Place.POOL)
    with tenant_scope(arena.globex):
        assert [project.name for project in Project.objects.all()] == [arena.canary]
    before = state_of(arena.globex)
    shown = {}
    print(f"\nacme's project is {arena.own}. globex's is {arena.canary}, in the same table.")  # noqa: T201  the session is to be read
    for what, typed, answer in held(arena):
        print(f"\n-- {what}" if what else "")  # noqa: T201  the session is to be read
        print(f"> {typed}\n  {answer.splitlines()[0]}")  # noqa: T201  the session is to be read
        shown[typed] = answer
    print(f"\nglobex's things are as they were: {state_of(arena.globex) == before}")  # noqa: T201  the session is to be read
    assert not [typed for typed, answer in shown.items() if CANARY.search(answer)]
    assert state_of(arena.globex) == before
    assert shown[arena.own] == shown["x' OR true --"] == f"[('{arena.own}',)]"
