"""The audit log: one hash chain per tenant and one for the platform, appended to and never changed.

`write` appends, `erase` makes personal values unreadable, `verify` says whether the log is what was written.
"""

from tenants.actions import Actor, AuditAction, ObjectType, Outcome
from tenants.audit.body import PLATFORM_CHAIN, Entry, body_of, typed
from tenants.audit.erasing import Erased, erase, payloads_of
from tenants.audit.errors import (
    AuditBodyError,
    AuditOutsideTransaction,
    PayloadKeyGone,
    PayloadKeysAway,
    PayloadTampered,
)
from tenants.audit.reading import personal_of
from tenants.audit.report import SHOWN, Report, Wrong
from tenants.audit.verifying import GENESIS, entry_hash, verify
from tenants.audit.writing import write, write_together

__all__ = [
    "GENESIS",
    "PLATFORM_CHAIN",
    "SHOWN",
    "Actor",
    "AuditAction",
    "AuditBodyError",
    "AuditOutsideTransaction",
    "Entry",
    "Erased",
    "ObjectType",
    "Outcome",
    "PayloadKeyGone",
    "PayloadKeysAway",
    "PayloadTampered",
    "Report",
    "Wrong",
    "body_of",
    "entry_hash",
    "erase",
    "payloads_of",
    "personal_of",
    "typed",
    "verify",
    "write",
    "write_together",
]
