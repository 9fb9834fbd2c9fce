"""Everything that can count what is there, a file a store. Never imports an eraser: what counts must not delete."""

from provisioning.erasure.stores import Verifier
from provisioning.erasure.verifiers.audit_payload import AuditPayloads

VERIFIERS: tuple[Verifier, ...] = (AuditPayloads(),)
