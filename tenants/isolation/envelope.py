"""The form of an encrypted value, and what it is bound to.

`1 ‖ key id (16) ‖ nonce (12) ‖ AES-256-GCM`. The tag also covers tenant, table, column and primary key, so a value
that is copied to another row, column or tenant does not open there. The table is the model's, not where a tier keeps
it, and ids are unique per tenant: a move between tiers carries values over as they are.
"""

from __future__ import annotations

import secrets
import struct
from dataclasses import dataclass
from hashlib import sha256
from hmac import digest
from typing import NoReturn
from uuid import UUID

from cryptography.exceptions import InvalidTag

from tenants.context import TenantContext, current
from tenants.errors import TenureError
from tenants.isolation import keys
from tenants.isolation.keys import UnknownKey
from tenants.isolation.refusals import Layer, refused

FORM = b"\x01"
KEY_ID = slice(1, 17)
NONCE_BYTES, TAG_BYTES = 12, 16
HEAD_BYTES = 17
TEXT_FROM = HEAD_BYTES + NONCE_BYTES
SHORTEST = TEXT_FROM + TAG_BYTES  # of the empty text


class ValueTampered(TenureError):
    """The encrypted value was changed, cut, or moved here from another row, column or tenant."""

    code = "ENCRYPTED_VALUE_TAMPERED"
    cure = "Restore the row from a backup; then find out who wrote to the table."


@dataclass(frozen=True, slots=True)
class Cell:
    """Where a value lives: logical table, column, and the row's primary key."""

    table: str
    column: str
    row: UUID

    def __str__(self) -> str:
        return f"{self.table}.{self.column} of row {self.row}"


def encrypt(plaintext: bytes, cell: Cell) -> bytes:
    """For the open scope's tenant, under its active key. Raises as tenants.isolation.keys.of does."""
    scope = current()
    key = keys.of(scope).active
    head, nonce = FORM + key.id.bytes, secrets.token_bytes(NONCE_BYTES)
    return head + nonce + key.cipher.encrypt(nonce, plaintext, _bound_to(head, scope, cell))


def decrypt(value: bytes, cell: Cell) -> bytes:
    """The plaintext of `encrypt`, in the same tenant's scope. Raises ValueTampered, UnknownKey, KeyDestroyed, …."""
    scope = current()
    if len(value) < SHORTEST or value[:1] != FORM:
        _refuse(cell)
    try:
        cipher = keys.to_read(scope, key_id_of(value)).cipher
    except UnknownKey as error:
        refused(Layer.FIELD, "key of nobody here")
        raise UnknownKey(f"The value at {cell} names a data key that this tenant never had.") from error
    head, nonce, sealed = value[:HEAD_BYTES], value[HEAD_BYTES:TEXT_FROM], value[TEXT_FROM:]
    try:
        return cipher.decrypt(nonce, sealed, _bound_to(head, scope, cell))
    except InvalidTag:
        _refuse(cell)


def key_id_of(value: bytes) -> UUID:
    return UUID(bytes=value[KEY_ID])


def blind_index(plaintext: bytes, table: str, column: str) -> bytes:
    """HMAC-SHA256 under the tenant's second key: equal texts of one column and tenant are equal here, and only those.

    The column is in it, so that two columns do not tell which rows share a value.
    """
    return digest(keys.of(current()).index.opened(), _joined(table.encode(), column.encode(), plaintext), sha256)


def _bound_to(head: bytes, scope: TenantContext, cell: Cell) -> bytes:
    """What the tag covers beside the text."""
    where = (cell.table.encode(), cell.column.encode(), cell.row.bytes)
    return b"tenure/field\x00" + _joined(head, scope.tenant_id.bytes, *where)


def _joined(*parts: bytes) -> bytes:
    """Each part carries its length: ("ab", "c") must not equal ("a", "bc")."""
    return b"".join([struct.pack(">I", len(part)) + part for part in parts])


def _refuse(cell: Cell) -> NoReturn:
    refused(Layer.FIELD, "value does not open")
    raise ValueTampered(f"The value at {cell} does not open: changed, cut, or moved here.")
