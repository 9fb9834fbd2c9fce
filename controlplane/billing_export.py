"""Tenants as a billing system exports them: CSV with a header line, or one JSON object a line (JSON Lines)."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from provisioning.lifecycle import TenantWish
from tenants.errors import TenureError

COLUMNS = ("slug", "name", "plan", "external_ref", "region", "tier", "labels")
REQUIRED = ("slug", "name", "plan")
LONGEST_LINE = 64 * 1024  # a line beyond this is not one tenant


class BadFile(TenureError):
    """The file is not a billing export."""

    code = "BAD_FILE"
    cure = f"Give a .csv with the header {', '.join(COLUMNS)} or a .jsonl with those keys."


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the file: a wish, or what is wrong with it. `number` counts from 1, the header included."""

    number: int
    wish: TenantWish | None
    problem: str = ""


def read(path: Path, *, principal: str) -> Iterator[Line]:
    """The file's lines in order, bad ones included. Raises BadFile when it is no export at all."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise BadFile(f"{path} cannot be read: {error}.") from error
    reader = csv_lines if path.suffix.lower() == ".csv" else json_lines
    for number, found in reader(text, path):
        yield found if isinstance(found, Line) else line_of(number, found, principal)


def csv_lines(text: str, path: Path) -> Iterator[tuple[int, Mapping[str, Any] | Line]]:
    reader = csv.DictReader(text.splitlines(), strict=True)
    if unknown := sorted(set(reader.fieldnames or ()) - set(COLUMNS)):
        raise BadFile(f"{path} has columns that mean nothing here: {', '.join(unknown)}.")
    if missing := [name for name in REQUIRED if name not in (reader.fieldnames or ())]:
        raise BadFile(f"{path} lacks the columns {', '.join(missing)}.")
    while True:
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield reader.line_num, Line(reader.line_num, None, f"Not a CSV line: {error}.")
            continue
        if None in row or None in row.values():
            yield reader.line_num, Line(reader.line_num, None, "The number of columns differs from the header's.")
            continue
        yield reader.line_num, {name: value for name, value in row.items() if value != ""}


def json_lines(text: str, path: Path) -> Iterator[tuple[int, Mapping[str, Any] | Line]]:
    if not text.strip():
        raise BadFile(f"{path} is empty.")
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            found = json.loads(line) if len(line) <= LONGEST_LINE else None
        except (json.JSONDecodeError, RecursionError) as error:
            yield number, Line(number, None, f"Not JSON: {error}.")
            continue
        if isinstance(found, dict):
            yield number, found
        else:
            yield number, Line(number, None, "A line is one JSON object of a tenant's fields.")


def line_of(number: int, found: Mapping[str, Any], principal: str) -> Line:
    """A wish from one line's fields, or the first thing wrong with them."""
    if unknown := sorted(set(found) - set(COLUMNS)):
        return Line(number, None, f"Unknown fields: {', '.join(map(repr, unknown))}. Known: {', '.join(COLUMNS)}.")
    if missing := [name for name in REQUIRED if not found.get(name)]:
        return Line(number, None, f"Missing: {', '.join(missing)}.")
    values = {name: value for name, value in found.items() if value is not None}
    labels = values.pop("labels", {})
    if isinstance(labels, str):
        labels = dict(pair.split("=", 1) for pair in labels.split(";") if "=" in pair)
    texts = [*values.values(), *labels.values()] if isinstance(labels, dict) else [None]
    if not all(isinstance(value, str) for value in texts):
        return Line(number, None, "Every field is text; labels are text by text (in CSV: key=value;key=value).")
    return Line(number, TenantWish(**values, labels=labels, principal=principal))


assert {*COLUMNS, "principal"} == {field.name for field in fields(TenantWish)}  # noqa: S101  the two lists are one
