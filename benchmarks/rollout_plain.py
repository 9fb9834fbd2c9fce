"""What a rollout cannot be faster than: its statements alone, over two connections, one transaction a schema.

As in the onboarding benchmark one text over an open connection, so three round trips with BEGIN and COMMIT. Nothing is
looked at, locked or compared.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import psycopg
from psycopg import sql

CONNECTIONS = 2


def sent(url: str, schemas: Sequence[str], text: str, placeholder: str) -> float:
    """Seconds until every schema has the text, in which `placeholder` stands for its name."""
    opened = [psycopg.connect(url, autocommit=True) for _each in range(CONNECTIONS)]

    def send(number: int) -> None:
        for schema in schemas[number::CONNECTIONS]:
            with opened[number].transaction():
                opened[number].execute(sql.SQL(text.replace(placeholder, schema)))

    with ThreadPoolExecutor(CONNECTIONS) as threads:
        before = time.perf_counter()
        list(threads.map(send, range(CONNECTIONS)))
        seconds = time.perf_counter() - before
    for each in opened:
        each.close()
    return seconds
