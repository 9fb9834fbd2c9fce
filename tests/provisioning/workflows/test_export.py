"""A tenant's passport: all of its rows and objects, nothing of a neighbour's, and every byte of it counted."""

import json
import tarfile
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from provisioning import lifecycle
from provisioning.databases import guard
from provisioning.databases.pooling import SHARED_TABLES
from provisioning.databases.servers import connect
from provisioning.databases.tiers import TenantDatabase
from provisioning.engine.failpoint import Moment
from provisioning.models import Direction, Resource, RunState
from provisioning.providers.bucket import Place, own_place
from provisioning.providers.s3 import s3_client
from provisioning.workflows import export
from provisioning.workflows.passports.format import manifest
from tenants.audit import AuditAction
from tenants.context import TenantContext
from tenants.errors import StateConflict
from tenants.models import AuditEntry, Cluster, Event, Tenant
from tenants.states import TenantState, Tier
from tests.crashes.harness import KILLED, Workers
from tests.fleet import BILLING, done, driven, onboarded

pytestmark = pytest.mark.long

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
    for key, content in {
        'b/file "2" \u00e9': word.encode(),
        "a": b"x" * 3_000_000,
        "tenure-export/older/a": b"",
    }.items():
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
        assert [each["key"] for each in objects] == ["a", 'b/file "2" \u00e9']
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


def test_a_byte_that_is_not_as_it_was_is_found_wherever_it_is(house: None, tmp_path: Path) -> None:
    acme = lived_in("acme", Tier.POOL)
    path = tmp_path / "acme.tar"
    written = lifecycle.export_to_file(tenant=acme, path=path, reason="they asked", actor=BILLING)
    with pytest.raises(FileExistsError):
        lifecycle.export_to_file(tenant=acme, path=path, reason="they asked", actor=BILLING)
    whole = path.read_bytes()
    with tarfile.open(path) as tar:
        places = {member.name: member.offset_data for member in tar if member.size}
    for name, place in places.items():
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(lifecycle.PassportSpoiled, match=name):
            lifecycle.check_passport(path)
    path.write_bytes(whole)
    files = in_tar(path)
    for left_out in ("tables/projects_tag.ndjson", "content/000000002", "objects/000001.ndjson", "manifest.json"):
        with tarfile.open(path, "w") as tar:
            for name, content in files.items():
                if name != left_out:
                    member = tarfile.TarInfo(name)
                    member.size = len(content)
                    tar.addfile(member, BytesIO(content))
        with pytest.raises(lifecycle.PassportSpoiled):
            lifecycle.check_passport(path)
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(lifecycle.PassportSpoiled):
        lifecycle.check_passport(path)
    path.write_bytes(whole)
    assert lifecycle.check_passport(path) == written


@pytest.mark.crash
@pytest.mark.timeout(120)
def test_killed_between_two_chunks_it_ends_as_if_nothing_had_happened(house: None) -> None:
    acme = done(lifecycle.suspend, lived_in("acme", Tier.SCHEMA))
    place, found = place_of(acme.context()), list[dict[str, bytes]]()
    found.append(files_below(place, exported(acme)["folder"]))
    with Workers("provisioning.workflows.WORKFLOWS") as workers:
        for moment in (Moment.BODY_DONE, Moment.AFTER_RECORD):  # the chunk is written, and known, or not
            run = lifecycle.export_tenant(tenant=acme, reason="they asked", actor=BILLING, key=str(uuid4()))
            assert workers.fork(dies_at=f"list objects:{moment}").wait() == KILLED
            workers.drive_all()
            run.refresh_from_db()
            assert run.state == RunState.SUCCEEDED
            found.append(files_below(place, f"tenure-export/{run.pk}/"))
    manifests = [json.loads(files.pop("manifest.json")) for files in found]
    assert all(files == found[0] for files in found)
    its_own = ("id", "snapshot_at")
    alike = [{name: told for name, told in manifest.items() if name not in its_own} for manifest in manifests]
    assert all(manifest == alike[0] for manifest in alike)
    assert "tables.json" not in found[0]


def test_what_somebody_else_spoils_is_no_passport_and_who_is_erased_has_none(house: None, monkeypatch: Any) -> None:
    acme = lived_in("acme", Tier.POOL)
    place, written = place_of(acme.context()), manifest

    def spoiling(**told: Any) -> bytes:
        """Somebody else's late request lands while the manifest is written."""
        key = f"{place.prefix}tenure-export/{told['passport']}/tables/projects_tag.ndjson"
        s3_client().put_object(Bucket=place.bucket, Key=key, Body=b"late")
        return written(**told)

    monkeypatch.setattr(export, "manifest", spoiling)
    run = driven(lifecycle.export_tenant(tenant=acme, reason="they asked", actor=BILLING, key=str(uuid4())))
    assert run.error is not None
    assert (run.state, run.error["code"]) == (RunState.FAILED, "PASSPORT_FILE_DIFFERS")
    below = f"{place.prefix}tenure-export/{run.pk}/"
    left = s3_client().list_object_versions(Bucket=place.bucket, Prefix=below)
    assert ("Versions" in left, "DeleteMarkers" in left) == (False, False)
    assert s3_client().list_objects_v2(Bucket=place.bucket, Prefix=place.prefix)["KeyCount"] == 4  # a sentinel too
    Tenant.objects.filter(pk=acme.pk).update(state=TenantState.ERASING)
    acme.refresh_from_db()
    with pytest.raises(StateConflict):
        lifecycle.export_tenant(tenant=acme, reason="they asked", actor=BILLING, key=str(uuid4()))
    with pytest.raises(StateConflict):
        lifecycle.export_to_file(tenant=acme, path=Path("/nowhere"), reason="they asked", actor=BILLING)
