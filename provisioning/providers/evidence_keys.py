"""Keys that sign papers (Ed25519): their private halves are sealed under the master key, which no database holds.

# Note [Whose public key is believed]
Whoever can write to the control database could add a public key of their own and sign with it. So a key counts only
while its sealed half opens under the master key and belongs to the public one. Outside Tenure, a paper is verified with
a public key that was taken at another time, on another way: `manage.py evidence_key` prints it.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import sha256

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from django.db import connection, transaction
from django.db.models.functions import Now

from provisioning.models import EvidenceKey
from provisioning.providers.keys import keyring_errors
from tenants.audit import Actor, AuditAction, ObjectType
from tenants.audit import write as audit
from tenants.isolation.crypto import SealError, seal, unseal

Use = EvidenceKey.Use
KID_DIGITS = 16  # of the SHA-256; provisioning/erasure/certificate.py computes the same without us
LOCK = 0x7E2C1F63  # of pg_advisory_xact_lock: two processes make one first key


def signing(use: Use | str) -> tuple[str, Ed25519PrivateKey]:
    """The id and the private half of the key that signs now, made if there is none. KeyringUnreachable, KeyUnusable."""
    key = _current(use)
    if key is None:
        with transaction.atomic():
            _lock()
            key = _current(use) or _make(use)
    with keyring_errors():
        return key.kid, _opened(key.kid, key.use, bytes(key.sealed))


def public_keys(use: Use | str) -> dict[str, Ed25519PublicKey]:
    """By id, every key that has ever signed. See Note [Whose public key is believed]. Raises KeyringUnreachable."""
    found = {}
    for key in EvidenceKey.objects.filter(use=use):
        try:
            public = _opened(key.kid, key.use, bytes(key.sealed)).public_key()
        except SealError:
            continue
        if public.public_bytes_raw() == bytes(key.public) and kid_of(public) == key.kid:
            found[key.kid] = public
    return found


def as_pem(*, use: Use | str) -> bytes:
    """The public halves, the one that signs now first (made if there is none): a file to verify papers with."""
    signing(use)
    keys = public_keys(use)
    current = _current(use)
    ordered = sorted(keys, key=lambda kid: (current is None or kid != current.kid, kid))
    return b"".join(keys[kid].public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo) for kid in ordered)


def rotate(*, use: Use | str, actor: Actor) -> str:
    """A new key signs from now on; what the former one signed stays good. Returns the new id."""
    with transaction.atomic():
        _lock()
        former = list(EvidenceKey.objects.filter(use=use, retired_at=None).values_list("pk", flat=True))
        EvidenceKey.objects.filter(pk__in=former).update(retired_at=Now())
        key = _make(use)
        audit(AuditAction.EVIDENCE_KEY_ROTATED, actor=actor, object=(ObjectType.SIGNING_KEY, int(key.kid, 16)))
    return key.kid


def kid_of(public: Ed25519PublicKey) -> str:
    return sha256(public.public_bytes_raw()).hexdigest()[:KID_DIGITS]


def _current(use: Use | str) -> EvidenceKey | None:
    return EvidenceKey.objects.filter(use=use, retired_at=None).first()


def _make(use: Use | str) -> EvidenceKey:
    private = Ed25519PrivateKey.generate()
    kid = kid_of(private.public_key())
    return EvidenceKey.objects.create(
        kid=kid,
        use=use,
        public=private.public_key().public_bytes_raw(),
        sealed=seal(private.private_bytes_raw(), purpose=f"evidence_key.{use}", owner=kid),
    )


def _lock() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])


@lru_cache(maxsize=16)
def _opened(kid: str, use: str, sealed: bytes) -> Ed25519PrivateKey:
    """Kept by the process: opening one under KMS is a call over the network."""
    return Ed25519PrivateKey.from_private_bytes(unseal(sealed, purpose=f"evidence_key.{use}", owner=kid))
