"""Everything that can delete, a file a store. Never imports a verifier: what deletes must not count.

One entry a store. What late writers left in a store of phase 3 or 4 goes by calling its eraser once more in phase 6.
"""

from provisioning.erasure.erasers.audit_payload import AuditPayloads
from provisioning.erasure.erasers.bucket import BucketEraser
from provisioning.erasure.erasers.cache import CacheEraser
from provisioning.erasure.erasers.control_rows import ControlRowsEraser
from provisioning.erasure.erasers.database import Database
from provisioning.erasure.erasers.keys import KeysEraser
from provisioning.erasure.erasers.pool_rows import PoolRows
from provisioning.erasure.erasers.queues import QueuesEraser
from provisioning.erasure.erasers.roles import Roles
from provisioning.erasure.erasers.schema import Schema
from provisioning.erasure.stores import Eraser

ERASERS: tuple[Eraser, ...] = (
    BucketEraser(),
    QueuesEraser(),
    CacheEraser(),
    PoolRows(),
    Schema(),
    Database(),
    KeysEraser(),
    AuditPayloads(),
    Roles(),
    ControlRowsEraser(),
)
