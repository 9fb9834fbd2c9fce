"""What the audit log refuses."""

from tenants.errors import TenureError


class AuditBodyError(TenureError):
    """An audit entry may hold words from the lists of tenants/actions.py, UUIDs and whole numbers, and nothing else."""

    code = "AUDIT_BODY_NOT_CLOSED"
    cure = "Pass ids instead of names; if a word is missing, add it to its list in tenants/actions.py."


class AuditOutsideTransaction(TenureError):
    """An audit entry is written in the transaction of the change it tells of, or a crash parts the two."""

    code = "AUDIT_OUTSIDE_TRANSACTION"
    cure = "Wrap the change and audit.write in one `transaction.atomic()`, with audit.write last."


class PayloadKeysAway(TenureError):
    """Nobody can hand out the keys that seal personal values of the audit log, or the keyring does not answer."""

    code = "UNAVAILABLE"
    cure = "Try again in a moment. If it lasts, look at the keyring database (KEYRING_URL)."


class PayloadKeyGone(TenureError):
    """The key that sealed this entry's personal values was taken for erasure at the same moment."""

    code = "UNAVAILABLE"
    cure = "Nothing was written. Do it again."


class PayloadTampered(TenureError):
    """A sealed value of the audit log does not open, or is not what its entry committed to."""

    code = "AUDIT_PAYLOAD_TAMPERED"
    cure = "Compare with a backup; then find out who wrote to the table."
