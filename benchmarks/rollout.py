"""`make bench NAME=rollout`: a migration over a whole fleet, against django-tenants and against its statements alone.

One run on one server for each fleet: Wagtail in 300 schemas, the example application in 2,000, each with one small app
more, whose table the migrations change (two columns and an index; then Python over every row). django-tenants migrates
with its own command, whole, by its standard and its multiprocessing executor with two processes. Plain SQL sends the
same statements over two connections, one transaction a schema. Ours is a whole rollout: a frozen plan, a canary and
two waves, a row for each target, stamps compared, driven by two worker processes and a sweeper as `make run` starts
them, from the approval until it has succeeded. Ours and plain SQL take turns. Then a pool of 10,000 tenants.

ROLLOUT_SCHEMAS, ROLLOUT_SMALL, ROLLOUT_POOLED, ROLLOUT_TURNS, ROLLOUT_ROWS (of each tenant, in the table that changes)
and ROLLOUT_PARTS (of `wagtail,example,pool`) make it smaller, for a try.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median
from typing import Any

from benchmarks import ledger, report, rollout_plain, wagtail
from benchmarks.onboarding import peer_database, servers
from benchmarks.rollout_parts import Ask, driven, part, published
from benchmarks.rollout_peer import Peer
from benchmarks.rollout_tenants import FLEET, SAMPLED
from controlplane.stack import embedded

SCHEMAS = int(os.environ.get("ROLLOUT_SCHEMAS", "300"))
SMALL = int(os.environ.get("ROLLOUT_SMALL", "2000"))
POOLED = int(os.environ.get("ROLLOUT_POOLED", "10000"))
TURNS = int(os.environ.get("ROLLOUT_TURNS", "3"))
ROWS = int(os.environ.get("ROLLOUT_ROWS", "20"))
PARTS = os.environ.get("ROLLOUT_PARTS", "wagtail,example,pool").split(",")
EXAMPLE = ("django.contrib.contenttypes", "django.contrib.auth", "examples.projects")

Seconds = dict[str, list[float]]


def main() -> None:
    report.parts("rollout", PARTS, PART)


def wagtail_fleet() -> dict[str, float]:
    with fleet(wagtail.APPS, SCHEMAS) as (stack, releases, peer):
        with driven(stack, wagtail.APPS) as ask:
            seconds = small(ask, releases, peer)
        seconds |= of_peer(peer, releases)
        with driven(stack, wagtail.APPS) as ask:
            rollout = ask(to=releases[ledger.DATA]["release"], labels=FLEET)
        data = {"multiprocessing": [peer.migrated(ledger.DATA, "multiprocessing")], "rollout": [rollout["seconds"]]}
    told(f"Two columns and an index, {SCHEMAS:,} schemas of Wagtail", seconds, SCHEMAS)
    told(f"Python over {ROWS} rows of each, {SCHEMAS:,} schemas of Wagtail", data, SCHEMAS)
    compared = ratios(seconds, SCHEMAS)
    return compared | {
        "data_multiprocessing_vs_rollout": report.ratio(data["multiprocessing"], data["rollout"]),
        "data_rollout_ms_a_target": round(1_000 * data["rollout"][0] / SCHEMAS, 2),
    }


def example_fleet() -> dict[str, float]:
    with fleet(EXAMPLE, SMALL) as (stack, releases, peer):
        there, back = releases[ledger.COLUMNS]["release"], releases[ledger.FIRST]["release"]
        with driven(stack, EXAMPLE) as ask:
            few = ask(to=there, labels=SAMPLED)
            ask(to=back, labels=SAMPLED)
        with driven(stack, EXAMPLE) as ask:
            many = ask(to=there, labels=FLEET)
            ask(to=back, labels=FLEET)
            seconds = small(ask, releases, peer)
        seconds |= of_peer(peer, releases)
    told(f"Two columns and an index, {SMALL:,} schemas of the example application", seconds, SMALL)
    megabytes = [round(each["memory_kb"] / 1024) for each in (few, many)]
    print(
        f"The largest worker process: {megabytes[0]} MB over {min(SCHEMAS, SMALL)} targets, {megabytes[1]} over {SMALL}"
    )
    memory = {"worker_memory_2000_vs_300": round(many["memory_kb"] / few["memory_kb"], 2)}
    return {f"example_{name}": value for name, value in ratios(seconds, SMALL).items()} | memory


def pool() -> dict[str, float]:
    with servers() as stack:
        published(stack, EXAMPLE, ledger.FIRST)
        part(stack, EXAMPLE, "rollout_tenants", "0", "0", str(ROWS))
        part(stack, EXAMPLE, "rollout_pool", str(POOLED), str(ROWS))
        names = [published(stack, EXAMPLE, each)["release"] for each in (ledger.COLUMNS, ledger.DATA)]
        with driven(stack, EXAMPLE) as ask:
            columns, data = (ask(to=name, labels=FLEET)["seconds"] for name in names)
    title = f"One pool of {POOLED:,} tenants with {ROWS} rows each"
    report.table(title, {"two columns and an index": [columns], "Python over every row": [data]}, unit="s")
    return {"pool_s": round(columns, 2), "pool_data_ms_a_tenant": round(1_000 * data / POOLED, 2)}


@contextmanager
def fleet(apps: tuple[str, ...], number: int) -> Iterator[tuple[embedded.Stack, dict[str, Any], Peer]]:
    """So many schemas of ours and of django-tenants on one server, and the releases by their place in the ledger."""
    with servers() as stack, peer_database(stack) as url:
        releases = {ledger.FIRST: published(stack, apps, ledger.FIRST)}
        part(stack, apps, "rollout_tenants", str(number), str(min(number, SCHEMAS)), str(ROWS))
        releases |= {each: published(stack, apps, each) for each in (ledger.COLUMNS, ledger.DATA)}
        peer = Peer(url, {"TENANT_APPS": ",".join((*apps, ledger.APP))})
        peer.furnish(number, ROWS)
        yield stack, releases, peer


def small(ask: Ask, releases: dict[str, Any], peer: Peer) -> Seconds:
    """Plain SQL and ours in turns, there and back again; ours is there at the end."""
    first, columns = releases[ledger.FIRST], releases[ledger.COLUMNS]
    seconds: Seconds = {"plain": [], "rollout": [], "replaying": []}
    for turn in range(TURNS):
        if turn:
            ask(to=first["release"], labels=FLEET)
        seconds["plain"].append(rollout_plain.sent(peer.url, peer.schemas, columns["there"], columns["placeholder"]))
        rollout_plain.sent(peer.url, peer.schemas, columns["back"], columns["placeholder"])
        rollout = ask(to=columns["release"], labels=FLEET)
        seconds["rollout"].append(rollout["seconds"])
        seconds["replaying"].append(rollout["replaying"])
    return seconds


def of_peer(peer: Peer, releases: dict[str, Any]) -> Seconds:
    """Its command by both executors; the schemas have the columns at the end."""
    columns = releases[ledger.COLUMNS]
    multiprocessing = peer.migrated(ledger.COLUMNS, "multiprocessing")
    rollout_plain.sent(peer.url, peer.schemas, columns["back"], columns["placeholder"])
    standard = peer.migrated(ledger.COLUMNS, "standard")
    return {"multiprocessing": [multiprocessing], "standard": [standard], "starting": [peer.started()]}


def told(title: str, seconds: Seconds, number: int) -> None:
    names = {
        "standard": "django-tenants, standard executor",
        "multiprocessing": "django-tenants, multiprocessing, 2 processes",
        "starting": "of that, Python and Django starting",
        "plain": "plain SQL, 2 connections",
        "rollout": "ours, from the approval to the end",
        "replaying": "of that, replaying, all lanes together",
    }
    report.table(title, {said: seconds[name] for name, said in names.items() if name in seconds}, unit="s")
    each = ", ".join(f"{name} {1_000 * median(all_of) / number:.2f}" for name, all_of in seconds.items())
    print(f"ms a target: {each}")


def ratios(seconds: Seconds, number: int) -> dict[str, float]:
    rollout = seconds["rollout"]
    return {
        "multiprocessing_vs_rollout": report.ratio(seconds["multiprocessing"], rollout),
        "standard_vs_rollout": report.ratio(seconds["standard"], rollout),
        "rollout_vs_plain_sql": report.ratio(rollout, seconds["plain"]),
        "rollout_ms_a_target": round(1_000 * median(rollout) / number, 2),
        "plain_sql_ms_a_schema": round(1_000 * median(seconds["plain"]) / number, 2),
        "multiprocessing_ms_a_schema": round(1_000 * median(seconds["multiprocessing"]) / number, 2),
    }


PART = {"wagtail": wagtail_fleet, "example": example_fleet, "pool": pool}

if __name__ == "__main__":
    main()
