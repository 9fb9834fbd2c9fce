"""A passport as one file: an uncompressed tar, written and read from its beginning to its end, in flat memory."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import IO, Any
from uuid import UUID

from provisioning.models import Resource, ResourceKind
from provisioning.providers.bucket import own_place
from provisioning.providers.objects import BITE, Opened, keys_after, opened
from provisioning.workflows.passports.format import (
    FORMAT,
    MANIFEST,
    VERSION,
    Counted,
    File,
    Told,
    content_name,
    counted,
    manifest,
    part_name,
)
from provisioning.workflows.passports.tables import said_of, tables
from tenants.errors import TenureError
from tenants.models import Tenant


class Spoiled(TenureError):
    """The file is no passport, or not the one that was written."""

    code = "PASSPORT_SPOILED"
    cure = "Export the tenant again, or fetch the file again: some byte of it is not as it was."


@dataclass(frozen=True, slots=True)
class Written:
    """What a passport holds, and the SHA-256 of its manifest: who knows that one, knows all the others."""

    sha256: str
    tables: int
    rows: int
    objects: int
    size: int


def write(tenant: Tenant, path: Path, *, passport: UUID) -> Written:
    """The whole passport into a new file, which is not there if anything went wrong.

    Raises FileExistsError, ServerUnavailable, StoreUnreachable, ….
    """
    unfinished = path.with_name(f"{path.name}.part")
    try:
        path.open("xb").close()
        unfinished.touch(mode=0o600)
        with tarfile.open(unfinished, "w", format=tarfile.PAX_FORMAT) as tar:
            text = _written(tenant, tar, str(passport))
        unfinished.replace(path)
    except FileExistsError:
        raise
    except BaseException:
        unfinished.unlink(missing_ok=True)
        path.unlink(missing_ok=True)
        raise
    counts = json.loads(text)["counts"]
    return Written(
        sha256(text).hexdigest(), counts["tables"], counts["rows"], counts["objects"], counts["object_bytes"]
    )


def check(path: Path) -> Written:
    """Read it all and compare every checksum and count with its manifest. Raises Spoiled, naming the first that is off.

    What it says is that the file is as it was written, not by whom: compare the manifest's SHA-256 for that.
    """
    with counted() as list_of_contents:
        seen: dict[str, File] = {}
        text = b""
        try:
            with tarfile.open(path, "r|") as tar:
                for member in tar:
                    tar.members.clear()  # type: ignore[attr-defined]  # or the archive would remember each
                    body = tar.extractfile(member)
                    if body is None:
                        raise Spoiled(f"{member.name} is no file.")
                    if member.name == MANIFEST:
                        text = body.read()
                    elif member.name.startswith("content/"):
                        list_of_contents.add(f"{member.name} {_read(body)[0]}\n".encode())
                    else:
                        keep = list_of_contents if member.name.startswith("objects/") else None
                        seen[member.name] = _looked_at(member.name, body, keep)
        except (tarfile.TarError, EOFError) as error:
            raise Spoiled(f"{path} cannot be read to its end: {error}") from error
        if list_of_contents.file.tell():
            raise Spoiled("Its last objects are in no list.")
    return _judged(text, seen)


def _written(tenant: Tenant, tar: tarfile.TarFile, passport: str) -> bytes:
    def put(name: str, file: IO[bytes]) -> None:
        size = file.seek(0, 2)
        file.seek(0)
        _add(tar, name, file, size)

    context = tenant.context()
    at, files = tables(context, put)
    place = own_place(context, Resource.objects.of(tenant.pk, ResourceKind.BUCKET).handle)
    after, number, size = "", 0, 0
    while keys := keys_after(place, after):
        after = keys[-1]
        with counted() as told:
            for key in keys:
                if (found := opened(place, key)) is None:
                    continue
                number += 1
                size += found.size
                read = _Hashed(found)
                _add(tar, content_name(number), read, found.size)
                told.add(
                    Told(
                        key=key,
                        version=found.version,
                        size=found.size,
                        sha256=read.sha256,
                        type=found.type,
                        modified_at=found.modified_at.isoformat(),
                        file=content_name(number),
                    ).line()
                )
            if told.lines:
                files.append(told.told(part_name(sum(not file.is_table for file in files) + 1)))
                put(files[-1].name, told.file)
    text = manifest(passport=passport, tenant=said_of(tenant), snapshot_at=at, files=files, objects_bytes=size)
    _add(tar, MANIFEST, BytesIO(text), len(text))
    return text


def _add(tar: tarfile.TarFile, name: str, file: Any, size: int) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = size, 0o600
    tar.addfile(member, file)
    tar.members.clear()  # type: ignore[attr-defined]  # it would remember each


class _Hashed:
    """An object as the file that tarfile wants, hashed as it passes."""

    def __init__(self, found: Opened) -> None:
        self._found, self._hash = found, sha256()

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()

    def read(self, size: int) -> bytes:
        bite = self._found.read(size)
        self._hash.update(bite)
        return bite


def _read(body: IO[bytes]) -> tuple[str, int, int]:
    """SHA-256, bytes, lines."""
    digest, size, lines = sha256(), 0, 0
    while bite := body.read(BITE):
        digest.update(bite)
        size += len(bite)
        lines += bite.count(b"\n")
    return digest.hexdigest(), size, lines


def _looked_at(name: str, body: IO[bytes], contents: Counted | None) -> File:
    """A file of the passport as it is; the contents of objects came before their list, in its order."""
    if contents is None:
        return File(name, *_read(body))
    with _from_start(contents) as before:
        digest, size, lines = sha256(), 0, 0
        for line in body:
            digest.update(line)
            size += len(line)
            lines += 1
            try:
                told = json.loads(line)
                expected = f"{told['file']} {told['sha256']}\n".encode()
            except (ValueError, KeyError, TypeError) as error:
                raise Spoiled(f"{name}: line {lines} says nothing of an object.") from error
            if before.readline() != expected:
                raise Spoiled(f"{told['file']} is not what {name} says of it.")
        if before.readline():
            raise Spoiled(f"There is more content before {name} than it tells of.")
    return File(name, digest.hexdigest(), size, lines)


@contextmanager
def _from_start(contents: Counted) -> Iterator[IO[bytes]]:
    """To be read now; empty afterwards, for the contents of the next list."""
    contents.file.seek(0)
    yield contents.file
    contents.file.seek(0)
    contents.file.truncate()


def _judged(text: bytes, seen: dict[str, File]) -> Written:
    try:
        told = json.loads(text)
        if (told["format"], told["v"]) != (FORMAT, VERSION):
            raise Spoiled(f"It is {told['format']} {told['v']}; this reads {FORMAT} {VERSION}.")
        files = [File.of(each) for each in told["files"]]
        counts = told["counts"]
    except (ValueError, KeyError, TypeError) as error:
        raise Spoiled(f"There is no {MANIFEST} that can be read.") from error
    for file in files:
        there = seen.pop(file.name, None)
        if there is None:
            raise Spoiled(f"{file.name} is missing.")
        if (there.sha256, there.size, there.lines) != (file.sha256, file.size, file.lines):
            raise Spoiled(f"{file.name} is not what the manifest says of it.")
    if seen:
        raise Spoiled(f"The manifest does not know {', '.join(sorted(seen))}.")
    found = {
        "tables": sum(file.is_table for file in files),
        "rows": sum(file.lines for file in files if file.is_table),
        "objects": sum(file.lines for file in files if not file.is_table),
    }
    for what, number in found.items():
        if counts.get(what) != number:
            raise Spoiled(f"The manifest counts {counts.get(what)} {what}, and there are {number}.")
    return Written(
        sha256(text).hexdigest(), found["tables"], found["rows"], found["objects"], counts.get("object_bytes", 0)
    )
