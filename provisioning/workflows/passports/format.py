"""What a passport looks like, version 1: docs/passport.md says it for people. Pure: no Django, database or network."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from hashlib import sha256
from tempfile import TemporaryFile
from typing import IO, Any

FORMAT, VERSION = "tenure.passport", 1
MANIFEST = "manifest.json"
SEALED = "sealed"
"""Encrypted fields are told as the database holds them. See Note [What is sealed stays sealed]."""

# Note [What is sealed stays sealed]
# Values of encrypted fields go out under the tenant's data key, which is handed out by a verb and a scope of its own
# (`tenants:keys`). Opened here, whoever may export and read files could read them without it; and a passport that is
# lost would give away what its owner thought worth a key. Take the keys beside the passport, before they are shredded.


@dataclass(frozen=True, slots=True)
class File:
    """One file of a passport. `lines` are rows, or objects it tells of; `columns`: (name, type) of a table."""

    name: str
    sha256: str
    size: int
    lines: int
    columns: tuple[tuple[str, str], ...] = ()

    @property
    def is_table(self) -> bool:
        return self.name.startswith("tables/")

    @classmethod
    def of(cls, members: dict[str, Any]) -> File:
        columns = tuple((str(name), str(kind)) for name, kind in members.get("columns", ()))
        return cls(members["name"], members["sha256"], int(members["size"]), int(members["lines"]), columns)


@dataclass(frozen=True, slots=True)
class Told:
    """One object, as its line has it. `file` is where its content is; empty where it lies in the bucket alone."""

    key: str
    version: str
    size: int
    sha256: str
    type: str
    modified_at: str
    file: str = ""

    def line(self) -> bytes:
        return as_json(asdict(self)) + b"\n"


class Counted:
    """Something that is written and hashed as it grows, in a file without a name. Memory stays flat."""

    def __init__(self) -> None:
        self.file: IO[bytes] = TemporaryFile()  # noqa: SIM115  closed by `counted`
        self.lines = self.size = 0
        self._hash = sha256()

    def add(self, line: bytes) -> None:
        self.file.write(line)
        self._hash.update(line)
        self.size += len(line)
        self.lines += 1

    def told(self, name: str, columns: Iterable[tuple[str, str]] = ()) -> File:
        return File(name, self._hash.hexdigest(), self.size, self.lines, tuple(columns))


@contextmanager
def counted() -> Iterator[Counted]:
    grown = Counted()
    try:
        yield grown
    finally:
        grown.file.close()


def table_name(table: str) -> str:
    return f"tables/{table}.ndjson"


def part_name(number: int) -> str:
    """Of the list of objects, from 1."""
    return f"objects/{number:06}.ndjson"


def content_name(number: int) -> str:
    """A number, not a key: a key may be anything, "../" included, and who unpacks a passport must not be led astray."""
    return f"content/{number:09}"


def manifest(
    *,
    passport: str,
    tenant: dict[str, str],
    snapshot_at: datetime | str,
    files: Iterable[File],
    objects_bytes: int,
) -> bytes:
    """The text of MANIFEST. `tenant` has id, slug, tier and release."""
    every = sorted(files, key=lambda file: (not file.is_table, file.name))
    tables = [file for file in every if file.is_table]
    counts = {
        "tables": len(tables),
        "rows": sum(file.lines for file in tables),
        "objects": sum(file.lines for file in every if not file.is_table),
        "object_bytes": objects_bytes,
    }
    told = {
        "format": FORMAT,
        "v": VERSION,
        "id": passport,
        "tenant": tenant,
        "snapshot_at": snapshot_at if isinstance(snapshot_at, str) else snapshot_at.isoformat(),
        "encrypted_fields": SEALED,
        "counts": counts,
        "files": [asdict(file) for file in every],
    }
    return json.dumps(told, indent=1, ensure_ascii=False).encode() + b"\n"


def as_json(value: Any) -> bytes:
    """In one line; ASCII, so that no reader takes a rare separator for the end of a line."""
    return json.dumps(value, separators=(",", ":")).encode()
