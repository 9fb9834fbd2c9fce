"""The small migration: two columns and an index."""

from benchmarks.ledger.migrations import first

__path__ = [*first.__path__, *__path__]
