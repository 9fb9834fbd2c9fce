"""The pool compiler: a tenant application's own DDL, rewritten for tables that tenants share."""

from provisioning.databases.pooling.boundary import CHECK, COLUMN, POLICY, SHARED_TABLES, TENANT_ID, USING
from provisioning.databases.pooling.catalog import faults, names_in
from provisioning.databases.pooling.compiler import compiled, compiled_script, separated
from provisioning.databases.pooling.errors import CannotPool
from provisioning.databases.pooling.granting import grant

__all__ = [
    "CHECK",
    "COLUMN",
    "POLICY",
    "SHARED_TABLES",
    "TENANT_ID",
    "USING",
    "CannotPool",
    "compiled",
    "compiled_script",
    "faults",
    "grant",
    "names_in",
    "separated",
]
