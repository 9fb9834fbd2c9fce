"""A tenant's passport: all of its rows and objects, nothing of a neighbour's, and every byte of it counted."""

import json
import tarfile
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from provisioning import lifecycle
from provisioning.databases import guard
from provisioning.databases.pooling import SHARED_TABLES
from provisioning.databases.servers import connect
from provisioning.databases.tiers import TenantDatabase
from provisioning.models import Direction, Resource, RunState
from provisioning.providers.bucket import Place, own_place
from provisioning.providers.s3 import s3_client
from tenants.audit import AuditAction
from tenants.context import TenantContext
from tenants.models import AuditEntry, Cluster, Event, Tenant
from tenants.states import Tier
from tests.fleet import BILLING, done, driven, onboarded

CANARIES = {"acme": "zebra-acme", "globex": "okapi-globex"}


def place_of(context: TenantContext) -> Place:
    return own_place(context, Resource.objects.get(tenant=context.tenant_id, kind="bucket").handle)


def lived_in(slug: str, tier: Tier) -> Tenant:
    """A tenant whose canary is in rows and in objects."""
    tenant = onboarded(slug, tier)
    word, place = CANARIES[slug], place_of(tenant.context())
    with connect(Cluster.objects.get(), database=tenant.context().database) as connection, connection.transaction():
        if tier == Tier.POOL:
            guard.enter(connection, tenant.context())
        else:
            connection.execute("SET LOCAL ROLE tenure_owner")
        connection.execute("SELECT set_config('search_path', %s, true)", (tenant.context().schema,))
        connection.execute(
            "INSERT INTO projects_project (name, description, created_at) VALUES (%s, %s, now())",
            (f'{word} \u2028 \\ "1"', "one\ntwo\ttab"),
        )
    for key, content in {"b/../file": word.encode(), "a": b"x" * 3_000_000, "tenure-export/older/a": b""}.items():
        s3_client().put_object(Bucket=place.bucket, Key=place.prefix + key, Body=content)
    s3_client().put_object(Bucket=place.bucket, Key=f"{place.prefix}a", Body=b"the latest")
    return tenant


def exported(tenant: Tenant) -> dict[str, Any]:
    """What the operation says of the passport that it put into the bucket."""
    run = driven(lifecycle.export_tenant(tenant=tenant, reason="they asked", actor=BILLING, key=str(uuid4())))
    assert run.state == RunState.SUCCEEDED, (run.state, run.error)
    told: dict[str, Any] = run.steps.get(name="write manifest", direction=Direction.DO).output
    return told


def files_below(place: Place, folder: str) -> dict[str, bytes]:
    page = s3_client().list_objects_v2(Bucket=place.bucket, Prefix=place.prefix + folder)
    keys = [each["Key"] for each in page["Contents"]]
    bodies = (s3_client().get_object(Bucket=place.bucket, Key=key)["Body"].read() for key in keys)
    return dict(zip((key.removeprefix(place.prefix + folder) for key in keys), bodies, strict=True))


def in_tar(path: Path) -> dict[str, bytes]:
    with tarfile.open(path) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]


def rows(files: dict[str, bytes], table: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in files[f"tables/{table}.ndjson"].splitlines()]


@pytest.mark.parametrize("tier", Tier)
def test_a_passport_holds_all_of_one_tenant_and_nothing_of_another(house: None, tier: Tier, tmp_path: Path) -> None:
    acme, globex = lived_in("acme", tier), lived_in("globex", tier)
    told = exported(acme)
    shut = done(lifecycle.suspend, acme)
    written = lifecycle.export_to_file(tenant=shut, path=tmp_path / "acme.tar", reason="they asked", actor=BILLING)
    assert lifecycle.check_passport(tmp_path / "acme.tar") == written
    bucket = files_below(place_of(acme.context()), told["folder"])
    file = in_tar(tmp_path / "acme.tar")
    for files in (bucket, file):
        manifest = json.loads(files.pop("manifest.json"))
        assert {each["name"]: each["sha256"] for each in manifest["files"]} == {
            name: sha256(content).hexdigest() for name, content in files.items() if not name.startswith("content/")
        }
        assert (manifest["tenant"]["slug"], manifest["tenant"]["tier"]) == ("acme", str(tier))
        (project,) = rows(files, "projects_project")
        assert (project["name"], project["description"]) == ('zebra-acme \u2028 \\ "1"', "one\ntwo\ttab")
        assert len(rows(files, "projects_tag")) == 4
        objects = [json.loads(line) for line in files["objects/000001.ndjson"].splitlines()]
        assert [each["key"] for each in objects] == ["a", "b/../file"]
        assert objects[0]["sha256"] == sha256(b"the latest").hexdigest()
        assert all(each["version"] for each in objects)
        whole = b"".join(files.values())
        assert CANARIES["globex"].encode() not in whole
        assert globex.pk.hex.encode() not in whole
        assert str(globex.pk).encode() not in whole
    assert file["content/000000001"] == b"the latest"
    assert {name: bucket[name] for name in bucket if name.startswith("tables/")} == {
        name: file[name] for name in file if name.startswith("tables/")
    }
    assert (told["rows"], told["objects"], told["object_bytes"]) == (written.rows, written.objects, written.size)
    shared = sum(len(rows(file, table)) for table in SHARED_TABLES) if tier == Tier.POOL else 0
    handle = Resource.objects.get(tenant=acme, kind="database").handle
    assert written.rows - shared == TenantDatabase().count(acme.context(), handle)  # as the verifier counts
    ready = Event.objects.get(tenant=acme, type="tenant.export_ready").data
    assert ready == {"folder": told["folder"], "sha256": told["sha256"]}
    assert AuditEntry.objects.filter(public__action=AuditAction.TENANT_EXPORTED).count() == 2
