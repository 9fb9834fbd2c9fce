"""Secrets at rest: sealed under the master key, bound to what they are for and whose they are.

# Note [The sealed form names its key]
`1 ‖ key id (8) ‖ nonce (12) ‖ AES-256-GCM` under the master key of the environment, or
`2 ‖ length (2, big endian) ‖ data key wrapped by KMS ‖ nonce (12) ‖ AES-256-GCM` under a data key made for this one
secret. The first byte tells the forms apart, so that secrets of both open side by side while an installation moves
from one to the other. The key id is a hash of the master key: without it, a key that was exchanged and a secret that
was tampered with would look the same to the operator, and they have different cures.
"""

import os
import secrets
import struct
from functools import lru_cache
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from boto3.session import Session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.conf import settings

from tenants.errors import TenureError

if TYPE_CHECKING:
    from mypy_boto3_kms import KMSClient

LOCAL, KMS = b"\x01", b"\x02"
KEY_BYTES, KEY_ID_BYTES, NONCE_BYTES, TAG_BYTES = 32, 8, 12, 16
KMS_REFUSALS = frozenset(
    {"AccessDeniedException", "DisabledException", "NotFoundException", "KMSInvalidStateException"}
)


class SealError(TenureError):
    """A sealed secret cannot be used."""

    code = "SEAL_ERROR"


class NoMasterKey(SealError):
    """There is no master key to seal and open secrets with."""

    code = "NO_MASTER_KEY"
    cure = "Set TENURE_MASTER_KEY (`openssl rand -base64 32` makes one) or TENURE_MASTER_KEY_KMS."


class WrongKey(SealError):
    """The secret was sealed under another master key than the one that is set."""

    code = "WRONG_MASTER_KEY"
    cure = "Set the master key this installation sealed its secrets with; secrets under a lost key are lost."


class Tampered(SealError):
    """The sealed bytes were changed, cut, or moved here from another tenant or another use."""

    code = "SEALED_SECRET_TAMPERED"
    cure = "Restore the row from a backup, or rotate the secret; then find out who wrote to the table."


class MasterKeyRefused(SealError):
    """AWS KMS refuses the master key to this installation."""

    code = "MASTER_KEY_REFUSED"
    cure = "Enable the KMS key of TENURE_MASTER_KEY_KMS and allow kms:Encrypt and kms:Decrypt to this identity."


class MasterKeyUnreachable(SealError):
    """AWS KMS does not answer. Nothing was lost; try again."""

    code = "MASTER_KEY_UNREACHABLE"
    cure = "Check the network path to KMS; work that waits for the key is tried again by itself."


def seal(plaintext: bytes, *, purpose: str, owner: str) -> bytes:
    """Encrypt `plaintext` so that it opens only for the same `purpose` and `owner`.

    `purpose` is a fixed word of the code ("cluster.url"), `owner` the id of the row it belongs to. Uses KMS when
    TENURE_MASTER_KEY_KMS is set, else TENURE_MASTER_KEY. Raises NoMasterKey, MasterKeyRefused, MasterKeyUnreachable.
    """
    if key_arn := _kms_key():
        data_key = secrets.token_bytes(KEY_BYTES)
        wrapped = _kms_encrypt(key_arn, data_key, purpose=purpose, owner=owner)
        head = KMS + struct.pack(">H", len(wrapped)) + wrapped
    else:
        data_key = _master_key()
        head = LOCAL + _key_id(data_key)
    nonce = secrets.token_bytes(NONCE_BYTES)
    return head + nonce + AESGCM(data_key).encrypt(nonce, plaintext, _bound_to(head, purpose, owner))


def unseal(sealed: bytes, *, purpose: str, owner: str) -> bytes:
    """The plaintext of `seal`. Raises WrongKey, Tampered, NoMasterKey, MasterKeyRefused or MasterKeyUnreachable."""
    sealed = bytes(sealed)  # a BinaryField reads as memoryview
    match sealed[:1]:
        case b"\x01":
            head, rest = _cut(sealed, 1 + KEY_ID_BYTES)
            data_key = _master_key()
            if head[1:] != _key_id(data_key):
                raise WrongKey
        case b"\x02":
            (length,) = struct.unpack(">H", _cut(sealed[1:], 2)[0])
            head, rest = _cut(sealed, 3 + length)
            data_key = _kms_decrypt(_required_kms_key(), head[3:], purpose=purpose, owner=owner)
        case _:
            raise Tampered
    nonce, ciphertext = _cut(rest, NONCE_BYTES)
    try:
        return AESGCM(data_key).decrypt(nonce, ciphertext, _bound_to(head, purpose, owner))
    except InvalidTag as error:
        raise Tampered(f"The sealed {purpose} of {owner} does not open: changed, cut, or moved here.") from error


def _bound_to(head: bytes, purpose: str, owner: str) -> bytes:
    """What the tag covers beside the text. Each part carries its length: ("ab", "c") must not equal ("a", "bc")."""
    parts = (head, purpose.encode(), owner.encode())
    return b"tenure/seal\x00" + b"".join(struct.pack(">I", len(part)) + part for part in parts)


def _cut(value: bytes, at: int) -> tuple[bytes, bytes]:
    if len(value) < at:
        raise Tampered
    return value[:at], value[at:]


def _key_id(key: bytes) -> bytes:
    return sha256(b"tenure/master-key-id\x00" + key).digest()[:KEY_ID_BYTES]


def _master_key() -> bytes:
    key: bytes | None = getattr(settings, "TENURE_MASTER_KEY", None)
    if not key or len(key) != KEY_BYTES:
        raise NoMasterKey
    return key


def _kms_key() -> str:
    return getattr(settings, "TENURE_MASTER_KEY_KMS", "") or ""


def _required_kms_key() -> str:
    if not (key_arn := _kms_key()):
        raise WrongKey("The secret was sealed with AWS KMS, and TENURE_MASTER_KEY_KMS is not set.")
    return key_arn


def _kms() -> "KMSClient":
    return _kms_client(os.getpid())


@lru_cache(maxsize=1)
def _kms_client(_process: int) -> "KMSClient":
    """Region and credentials come from AWS's own variables; AWS_ENDPOINT_URL_KMS names another server.

    One per process: a client's connections do not survive a fork.
    """
    return Session().client("kms", config=Config(connect_timeout=3, read_timeout=5, retries={"total_max_attempts": 2}))


def _kms_encrypt(key_arn: str, data_key: bytes, *, purpose: str, owner: str) -> bytes:
    """Wrap a data key. The encryption context is authenticated, and shows in CloudTrail: it holds no secret."""
    try:
        reply = _kms().encrypt(
            KeyId=key_arn, Plaintext=data_key, EncryptionContext={"purpose": purpose, "owner": owner}
        )
    except (ClientError, BotoCoreError) as error:
        raise _translated(error) from error
    return reply["CiphertextBlob"]


def _kms_decrypt(key_arn: str, wrapped: bytes, *, purpose: str, owner: str) -> bytes:
    try:
        reply = _kms().decrypt(
            KeyId=key_arn, CiphertextBlob=wrapped, EncryptionContext={"purpose": purpose, "owner": owner}
        )
    except (ClientError, BotoCoreError) as error:
        raise _translated(error) from error
    return reply["Plaintext"]


def _translated(error: ClientError | BotoCoreError) -> SealError:
    """AWS KMS API reference, "Decrypt", "Errors"."""
    answer: dict[str, Any] = dict(error.response.get("Error", {})) if isinstance(error, ClientError) else {}
    code = answer.get("Code", "")
    if code == "InvalidCiphertextException":  # KMS answers the same for changed bytes and for another context
        return Tampered()
    if code == "IncorrectKeyException":
        return WrongKey()
    if code in KMS_REFUSALS:
        return MasterKeyRefused(code=code)
    return MasterKeyUnreachable(code=code or type(error).__name__)
