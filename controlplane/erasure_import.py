"""Erasure requests from a CSV file: a request a row. A bad row is told by its number and stops no other.

Nothing of a row is repeated in an answer: it names people.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from provisioning import lifecycle
from provisioning.models import Basis, DeadlinePolicy, ErasureKind, ErasureRequest, ErasureState
from tenants.actions import Actor
from tenants.errors import TenureError
from tenants.models import Tenant

COLUMNS = ("tenant", "scope", "basis", "policy", "received_at", "grace_days", "time_zone", "identifiers")
REQUIRED = ("tenant", "scope")
MOST_BYTES = 1024 * 1024
CHOICES: Mapping[str, list[str]] = {
    "scope": ErasureKind.values,
    "basis": Basis.values,
    "policy": DeadlinePolicy.values,
}


class BadErasureFile(TenureError):
    """The file is no list of erasure requests."""

    code = "BAD_FILE"
    cure = f"Give a CSV file in UTF-8 whose first line has some of: {', '.join(COLUMNS)}."


class BadRow(TenureError):
    """One field of a row is not as it should be; the text names the field and never what is in it."""

    code = "BAD_ROW"


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of one row. `number` counts from 1, the header included."""

    number: int
    what: Literal["accepted", "present", "merged", "problem"]
    request: ErasureRequest | None = None
    problem: str = ""


def import_requests(content: bytes, *, actor: Actor) -> Iterator[Taken]:
    """One answer a row, in order. The same file again meets the requests that it made. Raises BadErasureFile.

    A row's key is a keyed hash of the file and its number: a plain one of a short file would fall to a dictionary.
    """
    rows = _rows(content)
    file = lifecycle.keyed_hash(b"file", content).hex()
    return (_taken(number, row, key=f"{file}:{number}", actor=actor) for number, row in rows)


def _rows(content: bytes) -> list[tuple[int, Mapping[str, Any]]]:
    if len(content) > MOST_BYTES:
        raise BadErasureFile(f"The file has more than {MOST_BYTES:,} bytes.", cure="Cut it into several.")
    try:
        reader = csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True)
        names = reader.fieldnames or ()
        if unknown := len(set(names) - set(COLUMNS)):
            raise BadErasureFile(f"{unknown} columns mean nothing here.")
        if missing := [name for name in REQUIRED if name not in names]:
            raise BadErasureFile(f"These columns are missing: {', '.join(missing)}.")
        return [(reader.line_num, row) for row in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise BadErasureFile("The file cannot be read as CSV in UTF-8.") from error


def _taken(number: int, row: Mapping[str, Any], *, key: str, actor: Actor) -> Taken:
    present = ErasureRequest.objects.filter(caller=str(actor), key=key).first()
    if present is not None:
        return Taken(number, "present", present)
    try:
        tenant, wish = _tenant(row), _wish(row)
        made = lifecycle.request_erasure(tenant=tenant, wish=wish, actor=actor, key=key)
    except TenureError as error:
        return Taken(number, "problem", problem=f"{error} {error.cure}".strip())
    return Taken(number, "merged" if made.state == ErasureState.MERGED else "accepted", made)


def _tenant(row: Mapping[str, Any]) -> Tenant:
    if None in row or None in row.values():
        raise BadRow("The number of columns differs from the header's.")
    tenant: Tenant | None = Tenant.objects.select_related("plan").filter(slug=row["tenant"].strip()).first()
    if tenant is None:
        raise BadRow("tenant: there is none of this slug.")
    return tenant


def _wish(row: Mapping[str, str]) -> lifecycle.ErasureWish:
    given: dict[str, Any] = {name: text.strip() for name, text in row.items() if text and text.strip()}
    del given["tenant"]
    for name, words in CHOICES.items():
        if given.get(name, words[0]) not in words:
            raise BadRow(f"{name}: it is none of {', '.join(words)}.")
    kind = given.pop("scope", None)
    if kind is None:
        raise BadRow("scope: it is empty.")
    return lifecycle.ErasureWish(kind=kind, **_read(given))


def _read(given: dict[str, Any]) -> dict[str, Any]:
    try:
        if "received_at" in given:
            at = datetime.fromisoformat(given["received_at"])
            given["received_at"] = at if at.tzinfo else at.replace(tzinfo=UTC)
        if "grace_days" in given:
            given["grace"] = timedelta(days=int(given.pop("grace_days")))
    except ValueError:
        raise BadRow("received_at is like 2026-11-25T09:00:00Z, and grace_days a whole number.") from None
    if "identifiers" in given:
        given["identifiers"] = identifiers_of(given["identifiers"].split(";"))
    return given


def identifiers_of(pairs: list[str]) -> tuple[lifecycle.ErasureIdentifier, ...]:
    """From `email=…`, one each. Raises BadRow."""
    found = [pair.partition("=") for pair in pairs if pair.strip()]
    if not all(equals and value.strip() for _kind, equals, value in found):
        raise BadRow("identifiers: each is a kind, an equals sign and a value, such as email=…")
    return tuple(lifecycle.ErasureIdentifier(kind.strip(), value.strip()) for kind, _equals, value in found)
