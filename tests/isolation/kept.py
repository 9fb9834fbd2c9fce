"""Attacks on what is kept beside rows: cache entries, encrypted values, log lines, the audit log."""

import io
import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from uuid import UUID, uuid4

from django.core.cache import caches
from django.db import connections
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory
from django.views.decorators.cache import cache_page

from tenants.context import TenantContext, tenant_scope
from tenants.isolation.connections import alias_of
from tenants.isolation.logs import JsonLines, TenantFilter
from tests.isolation.arena import POOLED, Arena
from tests.isolation.attack import Attempt
from tests.pair import Pair
from tests.tenants.isolation.vault import Entry, pooled_vaults, vaults


def as_tenant(context: TenantContext, act: Callable[[], object]) -> object:
    with tenant_scope(context):
        return act()


# --- AT-50 to AT-52 ---------------------------------------------------------------------------------------------------


@contextmanager
def stored(arena: Arena) -> Iterator[None]:
    """globex keeps something under a name that everybody uses."""
    with tenant_scope(arena.globex):
        caches["default"].set("menu", arena.canary)
    yield
    with tenant_scope(arena.globex):
        caches["default"].delete("menu")


def guess_keys(arena: Arena) -> Iterable[Attempt]:
    cache, globex = caches["default"], arena.globex
    life = f"{globex.key}:{globex.incarnation.hex}"
    for key in ("menu", f"{life}::1:menu", f":{life}::1:menu", f"../{life}::1:menu", "*menu"):
        yield Attempt(key, "^None$", partial(as_tenant, arena.acme, partial(cache.get, key)))
        yield Attempt(f"many: {key}", "^{}$", partial(as_tenant, arena.acme, partial(cache.get_many, [key])))
    yield Attempt("other version", "^None$", partial(as_tenant, arena.acme, lambda: cache.get("menu", version=2)))
    yield Attempt("delete", "^False$", partial(as_tenant, arena.acme, lambda: cache.delete("menu")))


def keeps_own(arena: Arena) -> bool:
    return as_tenant(arena.acme, lambda: caches["default"].get("k")) == arena.own


def clear_all(arena: Arena) -> Iterable[Attempt]:
    cache = caches["default"]
    yield Attempt("clear", "^None$", partial(as_tenant, arena.acme, cache.clear))
    yield Attempt("its own are gone", "^None$", partial(as_tenant, arena.acme, lambda: cache.get("k")))
    for what, act in {"get": lambda: cache.get("menu"), "clear": cache.clear, "set": lambda: cache.set("k", 1)}.items():
        yield Attempt(f"{what} without a scope", "^NoTenant ", act)
    as_tenant(arena.acme, lambda: cache.set("k", arena.own))


def share_pages(arena: Arena) -> Iterable[Attempt]:
    """A page and a part of one, kept under the same name for both, as where no host is part of it."""

    @cache_page(60, key_prefix=arena.canary[-8:])
    def page(_request: HttpRequest) -> HttpResponse:
        return HttpResponse(arena.canary if asked_by[-1] == arena.globex else arena.own)

    asked_by = [arena.globex]

    def visited(context: TenantContext) -> object:
        asked_by.append(context)
        return as_tenant(context, lambda: page(RequestFactory().get("/", headers={"Host": "localhost"})).content)

    part = partial(caches["default"].get_or_set, "menu", lambda: arena.own)
    before = as_tenant(arena.globex, lambda: caches["default"].get("k"))
    visited(arena.globex)
    yield Attempt("a page", f"^b'{arena.own}'$", partial(visited, arena.acme))
    yield Attempt("a part", f"^'{arena.own}'$", partial(as_tenant, arena.acme, part))
    as_tenant(arena.globex, lambda: cleared_pages(before, arena))


def cleared_pages(before: object, arena: Arena) -> None:
    caches["default"].clear()
    caches["default"].set("k", before, timeout=None)
    caches["default"].set("menu", arena.canary)


# --- AT-80, AT-83 -----------------------------------------------------------------------------------------------------

ROW = UUID("00000000-0000-4000-8000-0000000000a1")


@contextmanager
def vaulted(arena: Arena) -> Iterator[None]:
    """A table with encrypted columns; both have a row of the same id."""
    made = (
        pooled_vaults(arena.stack, arena.acme)
        if arena.place in POOLED
        else vaults(arena.stack, Pair(arena.acme, arena.globex, arena.key))
    )
    with made:
        for context in (arena.acme, arena.globex):
            with arena.superuser(context) as superuser:
                superuser.execute(f"GRANT SELECT ON {context.schema}.vault_entry TO tenure_verifier".encode())
            with tenant_scope(context):
                Entry.objects.create(id=ROW, title=context.slug, note=arena.word(context))
        yield


def held(arena: Arena, context: TenantContext, column: str = "note") -> bytes:
    """From the table's file, or from a backup of it."""
    mine = f"AND tenant_id = '{context.tenant_id}'" if arena.place in POOLED else ""
    with arena.superuser(context) as superuser:
        query = f"SELECT {column} FROM {context.schema}.vault_entry WHERE id = '{ROW}' {mine}"
        ((value,),) = superuser.execute(query.encode()).fetchall()
        return bytes(value)


def move_values(arena: Arena) -> Iterable[Attempt]:
    theirs, own = held(arena, arena.globex), held(arena, arena.acme)

    def opened(value: bytes, row: UUID, column: str) -> object:
        with tenant_scope(arena.acme):
            if row != ROW:
                Entry.objects.create(id=row, title=str(row))
            with connections[alias_of(arena.acme)].cursor() as cursor:
                cursor.execute(f"UPDATE vault_entry SET {column} = %s WHERE id = %s", [value, row])
            return getattr(Entry.objects.get(pk=row), column)

    for what, value in (("globex's", theirs), ("globex's, named as acme's", own[:17] + theirs[17:])):
        yield Attempt(what, "^(UnknownKey|ValueTampered) ", partial(opened, value, ROW, "note"))
    yield Attempt("in another row", "^ValueTampered ", partial(opened, own, uuid4(), "note"))
    yield Attempt("in another column", "^ValueTampered ", partial(opened, own, ROW, "second_note"))
    yield Attempt("a cut tag", "^ValueTampered ", partial(opened, own[:-1], ROW, "note"))
    yield Attempt("of no form", "^ValueTampered ", partial(opened, b"x" + own[1:], ROW, "note"))


def opens_own(arena: Arena) -> bool:
    with vaulted(arena), tenant_scope(arena.acme):
        return bool(Entry.objects.get(pk=ROW).note == arena.own)


def compare_indexes(arena: Arena) -> Iterable[Attempt]:
    """acme knows a text that globex may have, and its index, from a backup."""

    def equal() -> object:
        with tenant_scope(arena.acme):
            Entry.objects.filter(pk=ROW).delete()
            Entry.objects.create(id=ROW, title="guess", note=arena.canary)
        return held(arena, arena.acme, "note_index") == held(arena, arena.globex, "note_index")

    yield Attempt("the index of a guess", "^False$", equal)


def finds_own(arena: Arena) -> bool:
    with vaulted(arena), tenant_scope(arena.acme):
        return Entry.objects.filter(note_index=arena.own).count() == 1


# --- AT-90, AT-93 -----------------------------------------------------------------------------------------------------


def logged(arena: Arena, *, text: str) -> str:
    """What the application's log holds after an error in acme's task that quotes `text`."""
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.addFilter(TenantFilter())
    handler.setFormatter(JsonLines())
    library = logging.getLogger(f"library.{uuid4().hex}")
    library.propagate = False
    library.addHandler(handler)
    with tenant_scope(arena.acme):
        try:
            raise ValueError(text)  # noqa: TRY301
        except ValueError as error:
            library.exception("Task failed with %s: %s", text, error, extra={"text": text})
    return written.getvalue()


def quote_in_log(arena: Arena) -> Iterable[Attempt]:
    stamped = f'"tenant_slug": "{arena.acme.slug}"|{arena.acme.slug}'
    yield Attempt("an error that quotes globex", stamped, partial(logged, arena, text=f"{arena.canary} of globex"))


def logs_own(arena: Arena) -> bool:
    return arena.acme.slug in logged(arena, text="anything")


def rewrite_audit(arena: Arena) -> Iterable[Attempt]:
    def tried(text: str) -> object:
        with connections["default"].cursor() as cursor:
            cursor.execute(text)
            return cursor.rowcount

    for text in ("UPDATE audit_entry SET body = body", "DELETE FROM audit_entry", "TRUNCATE audit_entry"):
        yield Attempt(text, "42501 permission denied for table audit_entry", partial(tried, text))


def reads_audit(_arena: Arena) -> bool:
    with connections["default"].cursor() as cursor:
        cursor.execute("SELECT count(*) FROM audit_entry")
        return bool(cursor.fetchone()[0])
