"""One person's rows, in whichever tier the tenant lives: found by its classification, changed as the tenant."""

import time

from provisioning.databases.erasing import changing, statistics
from provisioning.databases.erasing.places import inside
from provisioning.erasure.persons import home_of, person_of, policies_of
from provisioning.erasure.stores import Budget, Lease, Progress, Scope
from tenants.classification import OfPeople
from tenants.states import Tier

STATISTICS = "statistics"
BATCH = 5_000  # rows


def erase_person(scope: Scope, cursor: str | None, budget: Budget, lease: Lease, tier: Tier) -> Progress:
    """Batches until a look finds nothing left; then what the planner remembers of the tables that hold people."""
    if (place := home_of(scope, tier)) is None:
        return Progress(done=True)
    policies, gone = policies_of(scope, place), 0
    while cursor != STATISTICS:
        changed = changing.change(place, person_of(scope), policies, limit=min(BATCH, budget.items - gone), lease=lease)
        gone += changed.rows
        if not changed.rows:
            return Progress(deleted=gone, retained=changed.retained, cursor=STATISTICS)
        if gone >= budget.items or time.monotonic() >= budget.until:
            return Progress(deleted=gone)
    of_people = frozenset(table for table, word in policies.items() if isinstance(word, OfPeople))
    with inside(place) as connection:
        statistics.forget_values(connection, place.schema, lease=lease, tables=of_people)
    return Progress(cursor=STATISTICS, done=True)
