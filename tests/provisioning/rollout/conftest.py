from collections.abc import Callable, Iterator
from functools import partial

import pytest

from controlplane.stack.embedded import Stack
from provisioning.databases import drift
from provisioning.models import Release
from provisioning.rollout.drift import Target
from tenants.models import Pool
from tests.pools import pool_apart
from tests.provisioning.rollout.building import PlainReplayer, changed_by_hand, next_release, remove_schemas, replaying

Change = Callable[[str, str], Target]


@pytest.fixture
def change(house: None, stack: Stack) -> Change:
    """What a person with the owner's rights does: any SQL to a target, `{0}` being its schema."""

    return partial(changed_by_hand, stack)


@pytest.fixture
def own_pool(house: None, stack: Stack) -> Iterator[Pool]:
    """A pool of this test's own, which the test may spoil."""
    with pool_apart(stack) as pool:
        yield pool


@pytest.fixture(autouse=True)
def _nothing_known() -> None:
    """What this process learned of shapes is in no control database but the one it was learned with."""
    drift._known.clear()


@pytest.fixture
def replayer(house: None) -> Iterator[PlainReplayer]:
    """A control plane whose only pool is none of a rollout's business, and which replays plain SQL."""
    Pool.objects.update(ready_at=None)
    plain = PlainReplayer()
    with replaying(plain):
        yield plain
    remove_schemas()


@pytest.fixture
def release(replayer: PlainReplayer) -> Release:
    return next_release()
