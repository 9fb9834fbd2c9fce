"""A tenant's passport in its own bucket, below `tenure-export/<id of the operation>/`: see docs/passport.md.

# Note [Rows go in one piece, objects in chunks]
A snapshot ends with the session that has it. So a worker that dies among the tables begins them again, at a later
moment, and whatever it had written is written anew; objects have no such moment, and go on after the last chunk.
The manifest comes last, and then all that it names is read back: a request of a dead worker may land late. Until it is
there, nothing below the folder is a passport.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import timedelta
from hashlib import sha256
from io import BytesIO
from time import monotonic
from typing import IO, Any
from uuid import UUID

from provisioning.engine.telling import ENGINE
from provisioning.engine.workflow import AT_ONCE, LONGEST_TIMEOUT, Again, Done, Outcome, Step, StepContext, Workflow
from provisioning.errors import Permanent, Transient
from provisioning.models import Queue, ResourceKind
from provisioning.providers.bucket import Place, own_place
from provisioning.providers.objects import FOLDER, discard, keys_after, opened, put
from provisioning.workflows.passports.format import MANIFEST, File, Told, as_json, counted, manifest, part_name
from provisioning.workflows.passports.tables import said_of, tables
from provisioning.workflows.resources import context_of, handle_of
from tenants import events
from tenants.audit import AuditAction, ObjectType
from tenants.audit import write as audit
from tenants.events import EventType
from tenants.models import Tenant

CHUNK = 500  # objects
CHUNK_S = 20.0  # and not much longer: a pause or a deploy waits for it
LIST_OF_TABLES = "tables.json"  # what the manifest will say of them, until it does


class FileMissing(Transient):
    """Something of the passport is not in the bucket, where it was written a moment ago."""

    code = "PASSPORT_FILE_MISSING"


class FileDiffers(Permanent):
    """Something of the passport is in the bucket, and is not what was written."""

    code = "PASSPORT_FILE_DIFFERS"
    cure = "Somebody else writes below tenure-export/, or the store does not keep what it is given. Export again."


@dataclass(frozen=True, slots=True)
class ExportInput:
    """Whose passport."""

    tenant_id: UUID


def write_tables(ctx: StepContext) -> Outcome:
    """Every table at one moment, and the list of them. See Note [Rows go in one piece, objects in chunks]."""

    def into_bucket(name: str, file: IO[bytes]) -> None:
        ctx.check()
        put(_place(ctx), _folder(ctx) + name, file)

    at, files = tables(context_of(ctx), into_bucket)
    text = as_json([asdict(file) for file in files])
    into_bucket(LIST_OF_TABLES, BytesIO(text))
    return Done({"snapshot_at": at.isoformat(), "tables": len(files), "sha256": sha256(text).hexdigest()})


def list_objects(ctx: StepContext) -> Outcome:
    """A chunk of the tenant's objects is read, hashed and listed. The content stays where it is."""
    so_far = ctx.cursor or {"after": "", "parts": 0, "objects": 0, "bytes": 0}
    place, until = _place(ctx), monotonic() + CHUNK_S
    keys = keys_after(place, so_far["after"], limit=CHUNK)
    if not keys:
        return Done({name: so_far[name] for name in ("parts", "objects", "bytes")})
    with counted() as told:
        size = 0
        for key in keys:
            size += _tell(place, key, told.add)
            last = key
            if monotonic() > until:
                break
        parts = so_far["parts"]
        if told.lines:
            parts += 1
            ctx.check()
            put(place, _folder(ctx) + part_name(parts), told.file)
    objects = so_far["objects"] + told.lines
    cursor = {"after": last, "parts": parts, "objects": objects, "bytes": so_far["bytes"] + size}
    return Again(AT_ONCE, cursor=cursor, note=f"{objects} objects listed")


def write_manifest(ctx: StepContext) -> Outcome:
    """From the list of tables, and the lists of objects as they are in the bucket."""
    ofs, objects = ctx.outputs["write tables"], ctx.outputs["list objects"]
    text = _whole(ctx, LIST_OF_TABLES)
    if sha256(text).hexdigest() != ofs["sha256"]:
        raise FileDiffers(f"{LIST_OF_TABLES} is not what was written.")
    files = [File.of(each) for each in json.loads(text)]
    files += [_as_it_is(ctx, part_name(number)) for number in range(1, objects["parts"] + 1)]
    made = manifest(
        passport=str(ctx.run_id),
        tenant=said_of(Tenant.objects.get(pk=ctx.tenant_id)),
        snapshot_at=ofs["snapshot_at"],
        files=files,
        objects_bytes=objects["bytes"],
    )
    ctx.check()
    put(_place(ctx), _folder(ctx) + MANIFEST, BytesIO(made))
    counts = json.loads(made)["counts"]
    if counts["objects"] != objects["objects"]:
        raise FileDiffers(f"The lists tell of {counts['objects']} objects; {objects['objects']} were read.")
    return Done({"folder": _folder(ctx), "sha256": sha256(made).hexdigest(), **counts})


def read_back(ctx: StepContext) -> Outcome:
    """Every file that the manifest names, by its checksum; then what only the writing needed goes."""
    text = _whole(ctx, MANIFEST)
    if sha256(text).hexdigest() != ctx.outputs["write manifest"]["sha256"]:
        raise FileDiffers(f"{MANIFEST} is not what was written.")
    files = [File.of(each) for each in json.loads(text)["files"]]
    number, until = (ctx.cursor or {"read": 0})["read"], monotonic() + CHUNK_S
    for file in files[number:]:
        there = _as_it_is(ctx, file.name)
        if (there.sha256, there.size, there.lines) != (file.sha256, file.size, file.lines):
            raise FileDiffers(f"{file.name} is not what was written.")
        number += 1
        if number < len(files) and monotonic() > until:
            return Again(AT_ONCE, cursor={"read": number}, note=f"{number} of {len(files)} files read back")
    while discard(_place(ctx), _folder(ctx) + LIST_OF_TABLES):
        ctx.check()
    return Done({"files": len(files)})


def tell(ctx: StepContext) -> Outcome:
    """Say so where integrations and auditors look."""
    made = ctx.outputs["write manifest"]
    events.record(
        EventType.TENANT_EXPORT_READY,
        tenant_id=ctx.tenant_id,
        operation=ctx.run_id,
        data={"folder": made["folder"], "sha256": made["sha256"]},
    )
    audit(
        AuditAction.TENANT_EXPORTED,
        actor=ENGINE,
        object=(ObjectType.TENANT, ctx.tenant_id),
        tenant=ctx.tenant_id,
        operation=ctx.run_id,
        counts={"rows": made["rows"], "objects": made["objects"]},
    )
    return Done()


def discard_passport(ctx: StepContext) -> Outcome:
    """Undo: nothing of it is left, in no version."""
    if gone := discard(_place(ctx), _folder(ctx)):
        return Again(AT_ONCE, note=f"{gone} files discarded")
    return Done()


def _tell(place: Place, key: str, add: Any) -> int:
    """The size of an object that is told of; 0 when it was deleted since it was listed."""
    if (found := opened(place, key)) is None:
        return 0
    digest = sha256()
    for bite in found.bites():
        digest.update(bite)
    add(
        Told(
            key=key,
            version=found.version,
            size=found.size,
            sha256=digest.hexdigest(),
            type=found.type,
            modified_at=found.modified_at.isoformat(),
        ).line()
    )
    return found.size


def _as_it_is(ctx: StepContext, name: str) -> File:
    """A file as the store gives it back."""
    found = opened(_place(ctx), _folder(ctx) + name)
    if found is None:
        raise FileMissing(f"{name} is not there.")
    digest, size, lines = sha256(), 0, 0
    for bite in found.bites():
        digest.update(bite)
        size += len(bite)
        lines += bite.count(b"\n")
    return File(name, digest.hexdigest(), size, lines)


def _whole(ctx: StepContext, name: str) -> bytes:
    found = opened(_place(ctx), _folder(ctx) + name)
    if found is None:
        raise FileMissing(f"{name} is not there.")
    return b"".join(found.bites())


def _place(ctx: StepContext) -> Place:
    return own_place(context_of(ctx), handle_of(ctx, ResourceKind.BUCKET))


def _folder(ctx: StepContext) -> str:
    return f"{FOLDER}{ctx.run_id}/"


EXPORT = Workflow(
    name="export",
    version=1,
    queue=Queue.OPERATIONS,
    input=ExportInput,
    steps=(
        Step(
            name="write tables",
            do=write_tables,
            undo=discard_passport,
            timeout=LONGEST_TIMEOUT,
            deadline=timedelta(hours=12),
        ),
        Step(
            name="list objects",
            do=list_objects,
            undo=discard_passport,
            timeout=LONGEST_TIMEOUT,
            deadline=timedelta(days=7),
        ),
        Step(name="write manifest", do=write_manifest, undo=discard_passport, timeout=timedelta(minutes=30)),
        Step(
            name="read it back",
            do=read_back,
            changes_nothing=True,
            timeout=LONGEST_TIMEOUT,
            deadline=timedelta(days=1),
        ),
        Step(name="tell", do=tell, atomic=True, pivot=True),
    ),
)
