"""Part of the isolation benchmark: what one encrypted field costs. Prints JSON, seconds of each."""

import json
import secrets
import time
from collections.abc import Callable
from uuid import uuid4

import django

TEXT = b"x" * 100  # bytes
ROUNDS, TIMES = 50, 400


def main() -> None:
    django.setup()
    from tenants.context import TenantContext, tenant_scope
    from tenants.isolation import envelope, keys
    from tenants.isolation.keys import DataKey, KeyState, TenantKeys
    from tenants.states import Tier

    class Made:
        def data_keys(self, _context: TenantContext) -> TenantKeys:
            active, index = (DataKey(uuid4(), KeyState.ACTIVE, secrets.token_bytes(32)) for _key in range(2))
            return TenantKeys.of([active], index)

    keys.register(Made())
    context = TenantContext(
        tenant_id=uuid4(),
        incarnation=uuid4(),
        slug="acme",
        tier=Tier.SCHEMA,
        cluster="local",
        database="local",
        schema="local",
    )
    cell = envelope.Cell("store_customer", "name", uuid4())
    with tenant_scope(context):
        sealed = envelope.encrypt(TEXT, cell)
        assert envelope.decrypt(sealed, cell) == TEXT
        seconds = {
            "encrypt": timed(lambda: envelope.encrypt(TEXT, cell)),
            "decrypt": timed(lambda: envelope.decrypt(sealed, cell)),
            "blind index": timed(lambda: envelope.blind_index(TEXT, "store_customer", "name")),
        }
    print(json.dumps(seconds))


def timed(act: Callable[[], object]) -> list[float]:
    """Of one call, by rounds of many."""
    seconds = []
    for _round in range(ROUNDS):
        before = time.perf_counter()
        for _turn in range(TIMES):
            act()
        seconds.append((time.perf_counter() - before) / TIMES)
    return seconds


if __name__ == "__main__":
    main()
