"""A small Django app beside the tenant application: what the rollout benchmark migrates is its table.

Each folder of its migrations is a release, with one migration more than the one before. LEDGER says how far an
installation has come.
"""

import os

APP = "benchmarks.ledger"
FIRST, COLUMNS, DATA = "first", "columns", "data"


def modules() -> dict[str, str]:
    """For MIGRATION_MODULES."""
    return {"ledger": f"{APP}.migrations.{os.environ.get('LEDGER', DATA)}"}
