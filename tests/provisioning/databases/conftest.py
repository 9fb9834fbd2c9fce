from collections.abc import Callable, Iterator
from contextlib import closing

import psycopg
import pytest

from controlplane.stack.embedded import Stack
from tenants.models import Cluster, Pool
from tenants.states import Tier
from tests.pool_by_hand import PoolByHand
from tests.pools import pool_apart
from tests.provisioning.databases.guarded import INSERT, Session, enter
from tests.provisioning.databases.making import Made, make_tenant

MakeTenant = Callable[..., Made]


@pytest.fixture
def cluster(house: None) -> Cluster:
    return Cluster.objects.get()


@pytest.fixture
def tenant(house: None) -> Iterator[MakeTenant]:
    """Makes tenants: database and role, by their providers. What a test makes is removed after it."""
    made: list[Made] = []

    def make(slug: str, tier: Tier = Tier.SCHEMA, *, role: bool = True, own_role: bool = False) -> Made:
        made.append(make_tenant(slug, tier, own_role=own_role))
        made[-1].provision(role=role)
        return made[-1]

    yield make
    for each in made:
        each.remove()


@pytest.fixture
def own_pool(house: None, stack: Stack) -> Iterator[Pool]:
    """A pool of this test's own, which the next tenants go to; the test may spoil it."""
    with pool_apart(stack) as pool:
        yield pool


@pytest.fixture
def superuser(stack: Stack) -> Iterator[psycopg.Connection]:
    """Sees and changes what it likes, on the cluster's shared database."""
    url = stack.superuser_url.rsplit("/", 1)[0] + "/tenure_cluster"
    with psycopg.connect(url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def session(by_hand: PoolByHand) -> Iterator[Session]:
    """The pool's login role. acme has a tag `a`, globex has `g`."""
    for context, name in ((by_hand.acme, "a"), (by_hand.globex, "g")):
        with closing(by_hand.login()) as writer, writer.transaction():
            enter(writer, context)
            writer.execute(INSERT, (name,))
    with closing(by_hand.login()) as opened:
        yield opened
