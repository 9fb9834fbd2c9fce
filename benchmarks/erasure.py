"""`make bench NAME=erasure`: what erasing with care costs, against plain DELETE and against plain boto3.

One durable server for each part. Rows: a tenant of a pool, ERASURE_ROWS rows over ERASURE_TABLES tables in chains of
five, beside ERASURE_NEIGHBOURS tenants. Ours is the eraser of `pool_rows`, called as the workflow calls it: frozen,
in chunks of its budget, a lease looked at before each batch, a record in the control database after each chunk, and
the planner's statistics at the end. Plain is what a careful engineer sends by hand: a superuser's `DELETE … WHERE
tenant_id = …`, one a table, leaves first, each a transaction. Meanwhile a process of an application of ours reads rows
of the neighbours by key, through the isolation kit, and is timed before and during.

Objects: a bucket of ERASURE_OBJECTS keys, half of them with a second version. Ours is the eraser of `bucket`, called in
the same way. Plain lists the versions and deletes a page of 1,000 in one call, then the bucket.

Both take turns, ERASURE_ROUNDS times, each over a tenant that was just filled. ERASURE_PARTS is of `rows,objects`.
"""

from __future__ import annotations

import os
from statistics import median

from benchmarks import report
from benchmarks.onboarding import run, servers

ROWS = os.environ.get("ERASURE_ROWS", "500000")
TABLES = os.environ.get("ERASURE_TABLES", "50")
NEIGHBOURS = os.environ.get("ERASURE_NEIGHBOURS", "100")
OBJECTS = os.environ.get("ERASURE_OBJECTS", "20000")
ROUNDS = os.environ.get("ERASURE_ROUNDS", "3")
PARTS = os.environ.get("ERASURE_PARTS", "rows,objects").split(",")


def main() -> None:
    report.parts("erasure", PARTS, PART)


def rows() -> dict[str, float]:
    with servers() as stack:
        seen = run(stack, "erasure_rows", ROWS, TABLES, NEIGHBOURS, ROUNDS, SUPERUSER_URL=stack.superuser_url)
    said = {
        "plain DELETE, leaves first": seen["plain"],
        "ours, whole": seen["ours"],
        "of that, statistics": seen["statistics"],
    }
    report.table(f"{int(ROWS):,} rows of one tenant in {TABLES} tables, {NEIGHBOURS} neighbours", said, unit="s")
    reads = {
        "before": seen["p95_before"],
        "while we erase": seen["p95_during"],
        "while plain DELETE runs": seen["p95_plain"],
    }
    report.table("A neighbour's read by key, 95th percentile", reads)
    ratios = [during / before for before, during in zip(seen["p95_before"], seen["p95_during"], strict=True)]
    return {
        "rows_vs_plain_delete": report.ratio(seen["ours"], seen["plain"]),
        "neighbour_p95_during_vs_before": round(median(ratios), 2),
    }


def objects() -> dict[str, float]:
    with servers() as stack:
        seen = run(stack, "erasure_objects", OBJECTS, ROUNDS)
    said = {"plain boto3, 1,000 a call": seen["plain"], "ours": seen["ours"]}
    report.table(f"{int(OBJECTS):,} objects, half of them in two versions", said, unit="s")
    return {"objects_vs_plain_boto3": report.ratio(seen["ours"], seen["plain"])}


PART = {"rows": rows, "objects": objects}

if __name__ == "__main__":
    main()
