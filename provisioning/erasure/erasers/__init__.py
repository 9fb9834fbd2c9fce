"""Everything that can delete, a file a store. Never imports a verifier: what deletes must not count.

An entry a store. Those of phases 3 and 4 have another in phase 6, for what late writers left; keys are disabled first
of all and destroyed last.
"""

from provisioning.erasure.erasers.audit_payload import AuditPayloads
from provisioning.erasure.erasers.bucket import BucketEraser
from provisioning.erasure.erasers.cache import CacheEraser
from provisioning.erasure.erasers.control_rows import ControlRowsEraser
from provisioning.erasure.erasers.database import Database
from provisioning.erasure.erasers.hold_archive import HoldArchiveEraser
from provisioning.erasure.erasers.keys import KeysDisabler, KeysEraser
from provisioning.erasure.erasers.once_more import OnceMore
from provisioning.erasure.erasers.pool_rows import PoolRows
from provisioning.erasure.erasers.queues import QueuesEraser
from provisioning.erasure.erasers.roles import Roles
from provisioning.erasure.erasers.schema import Schema
from provisioning.erasure.stores import Eraser

ERASERS: tuple[Eraser, ...] = (
    KeysDisabler(),
    BucketEraser(),
    QueuesEraser(),
    CacheEraser(),
    PoolRows(),
    Schema(),
    Database(),
    OnceMore(BucketEraser()),
    OnceMore(QueuesEraser()),
    OnceMore(CacheEraser()),
    KeysEraser(),
    HoldArchiveEraser(),
    AuditPayloads(),
    Roles(),
    ControlRowsEraser(),
)
