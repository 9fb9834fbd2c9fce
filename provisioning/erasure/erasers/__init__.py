"""Everything that can delete, a file a store. Never imports a verifier: what deletes must not count."""

from provisioning.erasure.erasers.database import Database
from provisioning.erasure.erasers.pool_rows import PoolRows
from provisioning.erasure.erasers.roles import Roles
from provisioning.erasure.erasers.schema import Schema
from provisioning.erasure.stores import Eraser

ERASERS: tuple[Eraser, ...] = (PoolRows(), Schema(), Database(), Roles())
