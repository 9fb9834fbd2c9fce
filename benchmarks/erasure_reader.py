"""Part of the erasure benchmark: an application of ours that reads rows of its tenants by key, in scopes of their own.

The first line it reads says who they are. Then it reads, PACE_S apart, and is asked by a line for the seconds of what
it read since the last one.
"""

from __future__ import annotations

import json
import random
import sys
import time
from collections import deque
from threading import Thread
from typing import Any

import django

from benchmarks.isolation_rival import our_scopes

PACE_S = 0.004


def main() -> None:
    django.setup()
    given = json.loads(sys.stdin.readline())
    seen: deque[float] = deque()
    Thread(target=reading, args=(given, seen), daemon=True).start()
    for _line in sys.stdin:
        taken = [seen.popleft() for _one in range(len(seen))]
        print(json.dumps(taken), flush=True)


def reading(given: dict[str, Any], seen: deque[float]) -> None:
    from django.db import connection

    scope = our_scopes(given["tenants"], given["port"])
    while True:
        text = f"SELECT * FROM load_{random.randrange(given['tables'])} WHERE id = %s"
        before = time.perf_counter()
        with scope(), connection.cursor() as cursor:
            cursor.execute(text, (random.randint(1, given["rows"]),))
            assert len(cursor.fetchall()) == 1
        seen.append(time.perf_counter() - before)
        time.sleep(PACE_S)


if __name__ == "__main__":
    main()
