"""Everything that can count what is there, a file a store. Never imports an eraser: what counts must not delete."""

from provisioning.erasure.stores import Verifier
from provisioning.erasure.verifiers.audit_payload import AuditPayloads
from provisioning.erasure.verifiers.bucket import BucketVerifier
from provisioning.erasure.verifiers.cache import CacheVerifier
from provisioning.erasure.verifiers.control_rows import ControlRowsVerifier
from provisioning.erasure.verifiers.database import Database
from provisioning.erasure.verifiers.hold_archive import HoldArchiveVerifier
from provisioning.erasure.verifiers.keys import KeysVerifier
from provisioning.erasure.verifiers.pool_rows import PoolRows
from provisioning.erasure.verifiers.queues import QueuesVerifier
from provisioning.erasure.verifiers.roles import Roles
from provisioning.erasure.verifiers.schema import Schema

VERIFIERS: tuple[Verifier, ...] = (
    BucketVerifier(),
    QueuesVerifier(),
    CacheVerifier(),
    PoolRows(),
    Schema(),
    Database(),
    KeysVerifier(),
    HoldArchiveVerifier(),
    AuditPayloads(),
    Roles(),
    ControlRowsVerifier(),
)
