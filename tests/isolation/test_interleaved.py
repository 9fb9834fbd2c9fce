"""Two threads, two coroutines, 1,000 turns each way; and contexts that were tampered with at random: 4 places."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from asgiref.sync import sync_to_async
from django.db import connections
from hypothesis import given, settings
from hypothesis import strategies as st

from provisioning.databases import guard
from tenants.context import TenantContext, tenant_scope
from tenants.errors import TenureError
from tenants.isolation.task_headers import SECRET, Message, Origin, signed, verified
from tenants.isolation.tickets import ContextKey, mint
from tests.isolation.arena import POOLED, Arena, Place, injected
from tests.isolation.attack import CANARY, answer_of
from tests.isolation.contexts import NOT_YOURS, entered, own_key, set_to
from tests.isolation.sessions import names
from tests.tenants.isolation.test_tasks import KEY

pytestmark = pytest.mark.long

TURNS = 1_000
MADE_UP = settings(max_examples=60)


@pytest.mark.parametrize("place", Place)
class TestInterleaved:
    def test_two_threads(self, place: Place, arena_of: Callable[[Place], Arena]) -> None:
        """Each waits for the other at each turn, between opening its scope and asking."""
        arena = arena_of(place)
        both = threading.Barrier(2, timeout=60)

        def work(context: TenantContext) -> set[str]:
            seen = set()
            try:
                for _turn in range(TURNS // 2):
                    with tenant_scope(context):
                        both.wait()
                        seen |= set(names())
                return seen
            finally:
                connections.close_all()

        with ThreadPoolExecutor(2) as pool:
            seen = list(pool.map(work, (arena.acme, arena.globex)))
        assert seen == [{arena.own}, {arena.canary}]

    def test_two_coroutines(self, place: Place, arena_of: Callable[[Place], Arena]) -> None:
        """They take turns at each step, and share the thread in which the database is asked."""
        arena = arena_of(place)

        async def work(context: TenantContext) -> set[str]:
            seen = set()
            for _turn in range(TURNS // 2):
                with tenant_scope(context):
                    await asyncio.sleep(0)
                    seen |= set(await sync_to_async(names)())
            return seen

        async def both() -> list[set[str]]:
            try:
                return list(await asyncio.gather(work(arena.acme), work(arena.globex)))
            finally:
                await sync_to_async(connections.close_all)()

        assert asyncio.run(both()) == [{arena.own}, {arena.canary}]


@pytest.mark.parametrize("place", sorted(POOLED))
class TestTampered:
    """The control of each: what was not tampered with is taken."""

    @MADE_UP
    @given(at=st.integers(0, 32), with_=st.text("0123456789abcdef', ", max_size=40), cut=st.booleans())
    def test_a_context(self, place: Place, arena_of: Callable[[Place], Arena], at: int, with_: str, cut: bool) -> None:  # noqa: FBT001
        arena = arena_of(place)
        globex = arena.globex.tenant_id.hex
        whole = (globex[:at] + with_ + ("" if cut else globex[at:])).replace("'", "''")
        answer = answer_of(lambda: injected(arena.acme, set_to(f"'{whole}'")))
        assert NOT_YOURS in answer, answer

    @MADE_UP
    @given(part=st.integers(0, 5), noise=st.integers(1, 2**31), globex=st.booleans())
    def test_a_ticket(
        self,
        place: Place,
        arena_of: Callable[[Place], Arena],
        part: int,
        noise: int,
        globex: bool,  # noqa: FBT001
    ) -> None:
        arena = arena_of(place)
        ticket = list(mint(arena.globex if globex else arena.acme, own_key(arena)))
        value = ticket[part]
        if isinstance(value, bytes):
            at = noise % len(value)
            ticket[part] = value[:at] + bytes([value[at] ^ (1 + noise % 255)]) + value[at + 1 :]
        elif isinstance(value, int):
            ticket[part] = value + noise
        elif isinstance(value, str):
            ticket[part] = value + str(noise)
        else:
            ticket[part] = arena.globex.tenant_id if part == 2 else arena.globex.incarnation
        answer = answer_of(lambda: entered(arena, ticket))
        assert "42501 tenant context refused" in answer, answer
        assert not CANARY.search(answer)

    @MADE_UP
    @given(key=st.binary(min_size=32, max_size=32))
    def test_a_key(self, place: Place, arena_of: Callable[[Place], Arena], key: bytes) -> None:
        arena = arena_of(place)
        ticket = mint(arena.globex, ContextKey(own_key(arena).version, key))
        assert "42501 tenant context refused: forged" in answer_of(lambda: entered(arena, ticket))

    def test_nothing_tampered_with(self, place: Place, arena_of: Callable[[Place], Arena]) -> None:
        arena = arena_of(place)
        assert entered(arena, mint(arena.acme, guard.context_key(arena.acme))) == [(arena.own,)]


@MADE_UP
@given(at=st.integers(0, 200), with_=st.characters(max_codepoint=0x24F, exclude_categories=["Cs"]))
def test_a_task_header(
    at: int, with_: str, arena_of: Callable[[Place], Arena], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SECRET, KEY)
    acme = arena_of(Place.POOL).acme
    message = Message(task="shop.whose", id="1", group="", body=b"[]")
    header = signed(message, acme)
    assert verified(message, header) == Origin(acme.tenant_id, acme.incarnation)
    at %= len(header)
    edited = header[:at] + with_ + header[at + 1 :]
    if edited == header:
        return
    with pytest.raises(TenureError):
        verified(message, edited)
