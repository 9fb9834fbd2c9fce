"""Where held records are once their tenant is gone: copied behind the fence, sealed under a key that nothing else has.

# Note [Filled before the bar, and thrown away with it]
An archive is filled when the doors are shut, so that nobody writes behind the copy, and before anything is destroyed.
Who dies in between leaves an archive without a date, which the next attempt empties and fills anew; an operation that
is undone throws it away, key first. Records of one row are opened from the tenant's own encrypted fields on the way:
the keys of those die with the tenant.
"""

from __future__ import annotations

import base64
import json
import re
import secrets
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import AbstractContextManager, closing
from itertools import islice
from typing import Any, Final
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.db.models import Q
from django.db.models.functions import Now

from provisioning.databases.erasing.fields import opened_value, sealed_columns
from provisioning.databases.erasing.places import Place, places_of
from provisioning.databases.passport import Snapshot, snapshot
from provisioning.erasure.errors import HeldNowhere, HoldFindsNothing, InvalidErasure
from provisioning.erasure.persons import HOLD_ROWS
from provisioning.erasure.stores import Lease
from provisioning.models import CLOSED, ArchivedRecords, ErasureRequest, HoldArchive, RecordHold
from provisioning.models.erasure_states import REPLAYED
from provisioning.providers import keys
from tenants.context import tenant_scope
from tenants.isolation.crypto import NONCE_BYTES, Tampered
from tenants.isolation.fields import EncryptedField

PURPOSE: Final = "hold"
IN_A_PART: Final = 1_000  # rows
PART_BYTES: Final = 4_000_000  # a part ends with the row that reaches this
_TABLE = re.compile(r"[^:/ ]+:[^/ ]+/[^./ ]+\.(?P<table>[^ ]+)")
_KEY = re.compile(r"[0-9]{1,20}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
Write = Callable[[], AbstractContextManager[None]]


def refuse_place(request: ErasureRequest, *, store: str, locator: str, record: str, there: int | None) -> None:
    """Of a tenant only rows can be kept when the rest goes. `there`: how many were counted. Raises InvalidErasure."""
    if record and (request.kind != "tenant" or not _KEY.fullmatch(record)):
        raise InvalidErasure(
            "A single record is named by its key, a number or a UUID, where a whole tenant is erased.",
            cure="Leave it out to hold all of the place: any other text may name somebody.",
            field="record",
        )
    if request.kind != "tenant":
        return
    if not _is_archivable(store, locator):
        raise InvalidErasure(
            f"When a tenant is erased, only rows of tables can be moved to a hold archive, not {locator} of {store}.",
            cure="Hold the rows, or export the tenant first; a legal hold on the tenant keeps all of it.",
            field="locator",
        )
    if not there:
        raise InvalidErasure(f"There is nothing in {locator} to hold.", cure="Name another place.", field="locator")


def holdable(request: ErasureRequest, document: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(store, locator) of every place in a plan that a hold may name."""
    return [
        (each["store"], tally["locator"])
        for each in document["stores"]
        for tally in each["tallies"]
        if request.kind != "tenant" or (tally["n"] and _is_archivable(each["store"], tally["locator"]))
    ]


def fill(hold: RecordHold, *, incarnation: UUID, write: Write, lease: Lease) -> int:
    """Copy what is held into its archive; how many records. See Note [Filled before the bar, and thrown away with it].

    `incarnation` is the life that the tenant's doors know.
    Raises HoldFindsNothing, ServerUnavailable, ServerRefused, KeyringUnreachable.
    """
    with write():
        archive, _made = HoldArchive.objects.get_or_create(hold=hold)
    if archive.filled_at is not None:
        return archive.records
    with write():
        archive.parts.all().delete()
    records = 0
    place, name = _source(hold, incarnation)
    with snapshot(place.context) as seen, closing(_lines(seen, name, hold.record)) as lines:
        for part, some in enumerate(_parts(lines)):
            lease()
            sealed = _sealed(archive.pk, part, b"".join(some))
            with write():
                ArchivedRecords.objects.create(archive=archive, part=part, records=len(some), sealed=sealed)
            records += len(some)
    if not records:
        raise HoldFindsNothing(f"There is nothing in {hold.place} any more.", hold=str(hold.pk))
    with write():
        HoldArchive.objects.filter(pk=archive.pk).update(records=records, filled_at=Now())
    return records


def throw_away(request: ErasureRequest, *, write: Write) -> int:
    """Every archive of the request's holds: its key, then its records. Only while nothing is destroyed.

    Those of requests for the same that were closed before go as well: a person may have ended their operations.
    """
    closed = Q(hold__request__tenant=request.tenant_id, hold__request__state__in=CLOSED)
    stale = Q(hold__request=request) | closed & ~Q(hold__request__reason=REPLAYED)
    archives = list(HoldArchive.objects.filter(stale))
    for archive in archives:
        keys.destroy_key_of(archive.pk, PURPOSE)
        with write():
            archive.parts.all().delete()
            archive.delete()
    return len(archives)


def opened(hold: RecordHold) -> Iterator[bytes]:
    """Its records, a line of JSON each. Raises HeldNowhere, Tampered, keys.KeyDestroyed, keys.KeyringUnreachable."""
    archive = HoldArchive.objects.filter(hold=hold, filled_at__isnull=False).first()
    if archive is None:
        raise HeldNowhere(f"No archive holds {hold.place}.", hold=str(hold.pk))
    return _opened(archive)


def _opened(archive: HoldArchive) -> Iterator[bytes]:
    cipher = _cipher(archive.pk)
    for part in archive.parts.order_by("part").iterator(chunk_size=1):
        whole = bytes(part.sealed)
        try:
            text = cipher.decrypt(whole[:NONCE_BYTES], whole[NONCE_BYTES:], bound_to(archive.pk, part.part))
        except InvalidTag as error:
            raise Tampered(f"Part {part.part} of the archive {archive.pk} does not open.") from error
        yield from text.splitlines(keepends=True)


def bound_to(archive: UUID, part: int) -> bytes:
    return b"tenure/hold/1\x00" + archive.bytes + part.to_bytes(4, "big")


def _is_archivable(store: str, locator: str) -> bool:
    return store in HOLD_ROWS and _TABLE.fullmatch(locator) is not None


def _source(hold: RecordHold, incarnation: UUID) -> tuple[Place, str]:
    """The place that the tenant lives in, and the table there. Raises HoldFindsNothing."""
    matched = _TABLE.fullmatch(hold.locator)
    for place in places_of(hold.request.tenant_id, incarnation):
        if place.active and matched is not None and hold.locator == f"{place}.{matched['table']}":
            return place, matched["table"]
    raise HoldFindsNothing(f"{hold.locator} is no table of the place that the tenant lives in.", hold=str(hold.pk))


def _lines(seen: Snapshot, name: str, record: str) -> Generator[bytes]:
    """Of no table, nothing."""
    fields = sealed_columns().get(name, {})
    for table in seen.tables:
        if table.name == name:
            with closing(seen.lines(table, record=record)) as lines:
                for line in lines:
                    yield _readable(line, fields, seen) if fields else line


def _readable(line: bytes, fields: Mapping[str, EncryptedField], seen: Snapshot) -> bytes:
    """With encrypted fields opened: nobody could do that once the tenant's keys are gone."""
    row = json.loads(line)
    with tenant_scope(seen.tenant):
        for name, field in fields.items():
            if row.get(name) is not None:
                row[name] = opened_value(field, UUID(str(row[field.key.column])), base64.b64decode(row[name]))
    return json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def _parts(lines: Iterator[bytes]) -> Iterator[list[bytes]]:
    while some := list(_up_to(PART_BYTES, islice(lines, IN_A_PART))):
        yield some


def _up_to(size: int, lines: Iterator[bytes]) -> Iterator[bytes]:
    for line in lines:
        yield line
        if (size := size - len(line)) <= 0:
            return


def _sealed(archive: UUID, part: int, text: bytes) -> bytes:
    nonce = secrets.token_bytes(NONCE_BYTES)
    return nonce + _cipher(archive).encrypt(nonce, text, bound_to(archive, part))


def _cipher(archive: UUID) -> AESGCM:
    return AESGCM(keys.key_of(archive, PURPOSE)[1])
