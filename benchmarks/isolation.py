"""`make bench NAME=isolation`: what keeping tenants apart costs, through Django's ORM, against plain Django.

One run on one server. Plain Django, django-tenants, ours in the schema tier and in pools take turns in small rounds: a
point read, ten of them in a transaction, a list of fifty rows, an insert, ten in a transaction, an update, and a join
of five tables. All have the same 1,000 rows for the tenant that is measured; a pool has as many again for each other
tenant in it, and so has a second plain Django, which knows of no tenants: what tables of that size cost, whoever asks.
A pool prepares what is repeated, and plain Django does not; another plain Django is told to.
All connect over TCP on the loopback address, and PostgreSQL does not wait for the disk, which would hide the
differences. Then the onboarding of pools, on a server as durable as a real one.

ISOLATION_TENANTS, ISOLATION_ROUNDS, ISOLATION_BULK and ISOLATION_PARTS (of `queries,encryption,posts,bulk`) make it
smaller, for a try.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import median
from typing import Any

from tqdm import tqdm

from benchmarks import isolation_rows, report, store
from benchmarks.isolation_turns import TIMES, Rival, Seconds, count_flights, prepare_peers, take_turns
from benchmarks.onboarding import run, servers
from controlplane.stack import embedded

TENANTS = int(os.environ.get("ISOLATION_TENANTS", "10000"))
ROUNDS = int(os.environ.get("ISOLATION_ROUNDS", "60"))
BULK = int(os.environ.get("ISOLATION_BULK", "1000"))
POSTED = 15
PARTS = os.environ.get("ISOLATION_PARTS", "queries,encryption,posts,bulk").split(",")
STORE = ",".join(store.APPS)

CROWDED = f"plain Django, the rows of {TENANTS:,}"
PREPARING = "plain Django, which prepares"
PLAIN, PEER, PEER_LIMITED = "plain Django", "django-tenants", "django-tenants, TENANT_LIMIT_SET_CALLS"
SCHEMA, ALONE, UNSIGNED = "ours, schema tier", "ours, pool of 1 tenant", "the same with a setting that nobody signed"
POOL = f"ours, pool of {TENANTS:,} tenants"
SWITCHING = "the same, another tenant each time"
WORDS = ("read", "10 reads", "list of 50", "list in tx", "insert", "10 inserts", "update", "join of 5")


def main() -> None:
    report.parts("isolation", PARTS, PART)


def queries() -> dict[str, float]:
    with servers(durable=False) as stack:
        loaded = run(stack, "isolation_furnish", str(TENANTS), TENANT_APPS=STORE, SUPERUSER_URL=stack.superuser_url)
        rivals = rivals_of(stack, loaded)
        with tqdm(total=ROUNDS, desc="rounds", disable=None) as bar:
            seconds = take_turns(rivals, ROUNDS, bar.update)
        flights = count_flights(rivals, stack.ports.postgres)
    print(f"\nThrough Django's ORM: ms (medians of {ROUNDS} rounds), and that over plain Django's")
    print(f"The tenant that is measured has {isolation_rows.PER_TENANT:,} rows; a pool as many for each of the others")
    columns({name: [cell(seconds, name, each) for each in TIMES] for name in rivals})
    print("\nRound trips to the server")
    columns({name: [str(flights[name][each]) for each in TIMES] for name in rivals})
    return ratios(seconds) | trips(flights)


def rivals_of(stack: embedded.Stack, loaded: Mapping[str, Any]) -> dict[str, Rival]:
    port = stack.ports.postgres
    plain, crowded, peer = prepare_peers(stack.superuser_url, port, TENANTS)

    def ours(tenants: Sequence[Any], **more: Any) -> Rival:
        return Rival("ours", {"tenants": tenants, **more}, port)

    return {
        PLAIN: plain,
        PREPARING: replace(plain, prepares=True),
        CROWDED: crowded,
        PEER: peer,
        PEER_LIMITED: replace(peer, limits=True),
        SCHEMA: ours(loaded["schema"]),
        ALONE: ours(loaded["alone"]),
        UNSIGNED: ours(loaded["unsigned"], unsigned=True),
        POOL: ours(loaded["pool"][:1]),
        SWITCHING: ours(loaded["pool"]),
    }


def ratios(seconds: Seconds) -> dict[str, float]:
    """Those that have limits first; then each operation of each of ours."""

    def over(name: str, operation: str, rival: str) -> float:
        return report.ratio(seconds[name][operation], seconds[rival][operation])

    figures = {}
    for prefix, name in (("pool", POOL), ("schema", SCHEMA)):
        figures[f"{prefix}_read1_vs_django_tenants"] = over(name, "read1", PEER)
        figures |= {f"{prefix}_{operation}_vs_plain": over(name, operation, PLAIN) for operation in TIMES}
    for operation in TIMES:
        figures[f"pool_{operation}_vs_plain_of_as_many_rows"] = over(POOL, operation, CROWDED)
        figures[f"pool_{operation}_vs_plain_that_prepares"] = over(POOL, operation, PREPARING)
        figures[f"pool_of_1_{operation}_vs_plain"] = over(ALONE, operation, PLAIN)
        figures[f"pool_{operation}_vs_pool_of_1"] = over(POOL, operation, ALONE)
        figures[f"signed_{operation}_vs_unsigned"] = over(ALONE, operation, UNSIGNED)
        figures[f"django_tenants_{operation}_vs_plain"] = over(PEER, operation, PLAIN)
    figures["pool_switching_read1_vs_django_tenants"] = over(SWITCHING, "read1", PEER)
    return figures


def trips(flights: Mapping[str, Mapping[str, int]]) -> dict[str, float]:
    """What a scope adds to plain Django's round trips: the most for one operation, whatever its statements."""
    names = {"pool": POOL, "pool_switching": SWITCHING, "schema": SCHEMA, "django_tenants": PEER}
    return {
        f"{prefix}_extra_round_trips": max(flights[name][each] - flights[PLAIN][each] for each in TIMES)
        for prefix, name in names.items()
    }


def encryption() -> dict[str, float]:
    with servers(durable=False) as stack:
        seconds = run(stack, "isolation_encryption", DJANGO_SETTINGS_MODULE="benchmarks.rivals.ours")
    report.table("One field of 100 bytes", seconds, unit="µs")
    return {f"{what.replace(' ', '_')}_us": round(1e6 * median(each), 2) for what, each in seconds.items()}


def posts() -> dict[str, float]:
    with servers() as stack:
        seconds = run(stack, "isolation_posts", str(POSTED))
    report.table(
        "From POST to active, the example application", {f"{tier} tier": each for tier, each in seconds.items()}
    )
    return {"pool_vs_schema_post_to_active": report.ratio(seconds["pool"], seconds["schema"])}


def bulk() -> dict[str, float]:
    with servers() as stack:
        seconds = run(stack, "isolation_bulk", str(BULK))
    rate = BULK / seconds["seconds"][0]
    report.table(
        f"{BULK:,} tenants into one pool by the bulk command, three workers: {rate:.1f} a second",
        {"work on one, the first tenth": seconds["first"], "work on one, the last tenth": seconds["last"]},
    )
    return {
        "bulk_pool_tenants_per_second": round(rate, 2),
        "bulk_last_vs_first": report.ratio(seconds["last"], seconds["first"]),
    }


def cell(seconds: Seconds, name: str, operation: str) -> str:
    here, plain = seconds[name][operation], seconds[PLAIN][operation]
    return f"{1_000 * median(here):.2f} ({report.ratio(here, plain):.2f})"


def columns(rows: Mapping[str, Sequence[str]]) -> None:
    """A line per rival, a column per operation."""
    width = max(map(len, rows))
    for name, cells in {"": WORDS, **rows}.items():
        print(f"{name:{width}}", *(f"{each:>15}" for each in cells))


PART = {"queries": queries, "encryption": encryption, "posts": posts, "bulk": bulk}

if __name__ == "__main__":
    main()
