"""The one with a data operation: Python, over every row of a tenant."""

from benchmarks.ledger.migrations import columns

__path__ = [*columns.__path__, *__path__]
