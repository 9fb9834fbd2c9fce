from collections.abc import Iterator

import pytest

from provisioning.models import Release
from tenants.models import Pool
from tests.provisioning.rollout.building import PlainReplayer, next_release, remove_schemas, replaying


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
