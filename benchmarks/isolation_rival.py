"""Part of the isolation benchmark: one rival, in a process and under settings of its own.

The first line it reads says who it is. Each further line is `operation times`; it answers with a line of JSON: seconds
of each. An operation that is several statements is one transaction; a lone one is left to Django's autocommit.
"""

from __future__ import annotations

import json
import random
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from itertools import cycle
from typing import TYPE_CHECKING, Any
from uuid import UUID

import django
from django.db import transaction

from benchmarks.isolation_rows import CATEGORIES, ORDERS, PRODUCTS, id_among

if TYPE_CHECKING:
    from tenants.context import TenantContext

Scope = Callable[[], AbstractContextManager[Any]]
READS = WRITES = 10
LIST = 50


def main() -> None:
    django.setup()
    given = json.loads(sys.stdin.readline())
    scope, operations = scope_of(given), made_operations(given.get("several", 1))
    for line in sys.stdin:
        name, times = line.split()
        print(json.dumps([timed(scope, operations[name]) for _turn in range(int(times))]), flush=True)


def timed(scope: Scope, operation: Callable[[], object]) -> float:
    """The scope is opened and closed each time, as by a request."""
    before = time.perf_counter()
    with scope():
        operation()
    return time.perf_counter() - before


def made_operations(several: int) -> dict[str, Callable[[], object]]:
    """All on the rows of one, though they lie among those of several."""
    from benchmarks.store.models import Line, Product

    def one_of(count: int) -> int:
        return id_among(random.randint(1, count), several, (several + 1) // 2)

    def read() -> object:
        return Product.objects.get(pk=one_of(PRODUCTS))

    def insert() -> object:
        order, product = one_of(ORDERS), one_of(PRODUCTS)
        return Line.objects.create(order_id=order, product_id=product, quantity=1, price="9.99")

    def listed() -> None:
        rows = list(Product.objects.filter(category_id=one_of(CATEGORIES)).order_by("name")[:LIST])
        assert len(rows) == LIST

    def update() -> None:
        assert Product.objects.filter(pk=one_of(PRODUCTS)).update(stock=random.randint(1, 99)) == 1

    def join() -> None:
        lines = Line.objects.select_related("order__customer", "product__category")
        assert len(lines.filter(order_id=one_of(ORDERS)).order_by("pk")[:5]) == 5

    def in_transaction(act: Callable[[], object], times: int) -> Callable[[], None]:
        def several() -> None:
            with transaction.atomic():
                for _turn in range(times):
                    act()

        return several

    return {
        "read1": read,
        "read10": in_transaction(read, READS),
        "list": listed,
        "list_atomic": in_transaction(listed, 1),
        "insert1": insert,
        "insert10": in_transaction(insert, WRITES),
        "update1": update,
        "join5": join,
    }


def scope_of(given: dict[str, Any]) -> Scope:
    """What a request of this rival opens."""
    if "plain" in given:
        return nullcontext
    if "schema" in given:
        from django_tenants.utils import schema_context

        return lambda: schema_context(given["schema"])
    if "unsigned" in given:
        from tenants.isolation import connections

        connections.POOLED_ENGINE = "benchmarks.rivals.unsigned"  # here alone
    return our_scopes(given["tenants"], given["port"])


def our_scopes(tenants: list[dict[str, Any]], port: int) -> Scope:
    """Several tenants take turns, each with a transaction."""
    from tenants.context import tenant_scope
    from tenants.isolation import credentials
    from tenants.isolation.credentials import Credentials

    answers: dict[TenantContext, Credentials] = {}
    for each in tenants:
        each["credentials"]["database"]["port"] = port
        answers[context_of(each["context"])] = Credentials.from_json(each["credentials"])

    class Told:
        def credentials(self, context: TenantContext) -> Credentials:
            return answers[context]

    credentials.register(Told())
    turns = cycle(answers)
    return lambda: tenant_scope(next(turns))


def context_of(given: dict[str, Any]) -> TenantContext:
    from tenants.context import TenantContext
    from tenants.states import Tier

    ids = {name: UUID(given[name]) if given[name] else None for name in ("tenant_id", "incarnation", "pool_id")}
    return TenantContext(**{**given, **ids, "tier": Tier(given["tier"])})


if __name__ == "__main__":
    main()
