import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from controlplane.stack.embedded import Stack
from tenants.models import Cluster, Pool
from tenants.states import Tier
from tests.pools import pool_apart
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
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: Any) -> "Shelf":
    """A small tenant application of this test's own: `write` a migration, and publish."""
    made = new_shelf(tmp_path, monkeypatch)
    settings.TENANT_APPS = ["django.contrib.contenttypes", made.name]
    return made


def new_shelf(folder: Path, monkeypatch: pytest.MonkeyPatch) -> "Shelf":
    """Without a migration, below `folder`."""
    name = f"shelf_{secrets.token_hex(4)}"
    (folder / name / "migrations").mkdir(parents=True)
    for package in (name, f"{name}/migrations"):
        (folder / package / "__init__.py").touch()
    monkeypatch.syspath_prepend(folder)
    return Shelf(name, folder / name / "migrations")


class Shelf:
    def __init__(self, name: str, folder: Path) -> None:
        self.name, self.folder = name, folder

    def write(self, migration: str, operations: str, *, before: str = "", head: str = "") -> Path:
        """`operations` is Python; `head` stands above the class; `before` names the migration it follows."""
        path = self.folder / f"{migration}.py"
        dependencies = [(self.name, before)] if before else []
        path.write_text(
            "from django.db import migrations, models\n"
            f"{head}\n"
            "class Migration(migrations.Migration):\n"
            f"    dependencies = {dependencies}\n"
            f"    operations = [{operations}]\n"
        )
        return path
