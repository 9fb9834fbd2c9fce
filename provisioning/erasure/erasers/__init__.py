"""Everything that can delete, a file a store. Never imports a verifier: what deletes must not count."""

from provisioning.erasure.erasers.audit_payload import AuditPayloads
from provisioning.erasure.stores import Eraser

ERASERS: tuple[Eraser, ...] = (AuditPayloads(),)
