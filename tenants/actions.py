"""The words of the audit log, each list closed: what happened, with what outcome, to what kind of thing, by whom."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal


class AuditAction(StrEnum):
    """Everything that can be said to have happened."""

    TENANT_CREATED = "tenant.created"
    TENANT_UPDATED = "tenant.updated"
    TENANT_STATE_CHANGED = "tenant.state_changed"
    TENANT_SUSPENDED = "tenant.suspended"
    TENANT_RESUMED = "tenant.resumed"
    TENANT_DELETED = "tenant.deleted"
    TENANT_UNDELETED = "tenant.undeleted"
    TENANT_EXPORTED = "tenant.exported"
    SCHEDULE_MADE = "schedule.made"
    SCHEDULE_CANCELLED = "schedule.cancelled"
    SCHEDULE_FIRED = "schedule.fired"
    HOLD_PLACED = "hold.placed"
    HOLD_RELEASED = "hold.released"
    OPERATION_STARTED = "operation.started"
    OPERATION_PAUSED = "operation.paused"
    OPERATION_RESUMED = "operation.resumed"
    OPERATION_RETRIED = "operation.retried"
    OPERATION_SKIPPED = "operation.skipped"
    OPERATION_UNDO_REQUESTED = "operation.undo_requested"
    OPERATION_CANCEL_REQUESTED = "operation.cancel_requested"
    OPERATION_FORCE_COMPLETED = "operation.force_completed"
    OPERATION_SUCCEEDED = "operation.succeeded"
    OPERATION_FAILED = "operation.failed"
    OPERATION_CANCELLED = "operation.cancelled"
    OPERATION_PARKED = "operation.parked"
    CREDENTIALS_HANDED_OUT = "credentials.handed_out"
    CREDENTIALS_ROTATED = "credentials.rotated"
    DATA_KEYS_HANDED_OUT = "data_keys.handed_out"
    DATA_KEY_ROTATED = "data_key.rotated"
    DATA_KEY_DESTROYED = "data_key.destroyed"
    TOKEN_MINTED = "token.minted"  # noqa: S105  an action's word, not a secret
    SIGNING_KEY_ROTATED = "signing_key.rotated"
    RESOURCE_VERIFIED = "resource.verified"
    API_KEY_CREATED = "api_key.created"
    API_KEY_REVOKED = "api_key.revoked"
    CLUSTER_REGISTERED = "cluster.registered"
    CLUSTER_CHANGED = "cluster.changed"
    POOL_CHANGED = "pool.changed"
    PLAN_CREATED = "plan.created"
    PLAN_CHANGED = "plan.changed"
    RELEASE_PUBLISHED = "release.published"
    DRIFT_ADOPTED = "drift.adopted"
    DRIFT_REPAIRED = "drift.repaired"
    ROLLOUT_PROPOSED = "rollout.proposed"
    ROLLOUT_REHEARSED = "rollout.rehearsed"
    ROLLOUT_OVERRIDDEN = "rollout.overridden"
    ROLLOUT_APPROVED = "rollout.approved"
    ROLLOUT_PAUSED = "rollout.paused"
    ROLLOUT_RESUMED = "rollout.resumed"
    ROLLOUT_RETRIED = "rollout.retried"
    ROLLOUT_CANCELLED = "rollout.cancelled"
    ROLLOUT_SUCCEEDED = "rollout.succeeded"
    ROLLOUT_TARGET_SKIPPED = "rollout.target_skipped"
    ERASURE_REQUESTED = "erasure.requested"
    ERASURE_IDENTIFYING = "erasure.identifying"
    ERASURE_IDENTITY_PROVED = "erasure.identity_proved"
    ERASURE_PLANNING = "erasure.planning"
    ERASURE_BLOCKED = "erasure.blocked"
    ERASURE_PROPOSED = "erasure.proposed"
    ERASURE_APPROVED = "erasure.approved"
    ERASURE_VOIDED = "erasure.voided"
    ERASURE_REJECTED = "erasure.rejected"
    ERASURE_CANCELLED = "erasure.cancelled"
    ERASURE_MERGED = "erasure.merged"
    ERASURE_EXTENDED = "erasure.extended"
    ERASURE_FREEZING = "erasure.freezing"
    ERASURE_STARTED = "erasure.started"
    ERASURE_CHECKING = "erasure.checking"
    ERASURE_SETTLED = "erasure.settled"
    ERASURE_COMPLETED = "erasure.completed"
    ERASURE_REGRESSED = "erasure.regressed"
    ERASURE_RECHECK_ASKED = "erasure.recheck_asked"
    ERASURE_RECHECKED = "erasure.rechecked"
    ERASURE_REPLAYED = "erasure.replayed"
    ERASURE_KEY_DESTROYED = "erasure.key_destroyed"
    RECORDS_HELD = "records.held"
    RECORDS_RELEASED = "records.released"
    RECORDS_OPENED = "records.opened"
    USER_CREATED = "user.created"
    AUDIT_VERIFIED = "audit.verified"
    PAYLOAD_ERASED = "payload.erased"
    KEY_DESTROYED = "key.destroyed"
    EVIDENCE_KEY_ROTATED = "evidence_key.rotated"
    CERTIFICATE_ISSUED = "certificate.issued"
    CERTIFICATE_WITHDRAWN = "certificate.withdrawn"
    CONTEXT_KEY_ROTATED = "context_key.rotated"
    ISOLATION_REFUSED_DATABASE = "isolation.refused.database"
    ISOLATION_REFUSED_STORAGE = "isolation.refused.storage"
    ISOLATION_REFUSED_CACHE = "isolation.refused.cache"
    ISOLATION_REFUSED_TASK = "isolation.refused.task"
    ISOLATION_REFUSED_HOST = "isolation.refused.host"
    ISOLATION_REFUSED_TOKEN = "isolation.refused.token"  # noqa: S105  an action's word, not a secret
    ISOLATION_REFUSED_FIELD = "isolation.refused.field"


class Outcome(StrEnum):
    """DONE it happened; REQUESTED it was accepted and is under way; REFUSED it was not allowed; FAILED it was tried."""

    DONE = "done"
    REQUESTED = "requested"
    REFUSED = "refused"
    FAILED = "failed"


class ObjectType(StrEnum):
    """What an entry may be about."""

    TENANT = "tenant"
    OPERATION = "operation"
    RESOURCE = "resource"
    SECRET = "secret"  # noqa: S105  a type's word, not a secret
    DATA_KEY = "data_key"
    TOKEN = "token"  # noqa: S105  a type's word, not a secret
    SIGNING_KEY = "signing_key"
    DOMAIN = "domain"
    PLACEMENT = "placement"
    SCHEDULE = "schedule"
    HOLD = "hold"
    API_KEY = "api_key"
    CLUSTER = "cluster"
    POOL = "pool"
    PLAN = "plan"
    RELEASE = "release"
    ROLLOUT = "rollout"
    ERASURE_REQUEST = "erasure_request"
    USER = "user"
    AUDIT_CHAIN = "audit_chain"
    CERTIFICATE = "certificate"
    PROCESS = "process"


COUNTS = frozenset(
    "attempts bytes chains checkpoints credentials duration_s entries findings objects payloads rows scopes steps "
    "targets tenants version wave".split()
)
"""What may be counted in an entry. `duration_s` is a life time of credentials in seconds."""

PERSONAL = frozenset({"actor_name", "reason"})
"""What may be sealed beside an entry: the name a person went by, and what they typed. See tenants/audit/payloads.py."""

SYSTEM_ACTORS = frozenset({"engine", "isolation", "setup", "supervisor", "sweeper"})
ActorKind = Literal["api_key", "user", "command", "system"]


@dataclass(frozen=True, slots=True)
class Actor:
    """Who did it. `id` is a UUID or a whole number as text; for a command its name, for the system its part.

    `name` is for screens alone: it is in no log, no entry and no `str()`. `principal` owns an API key: one person may
    have two of those.
    """

    kind: ActorKind
    id: str
    name: str
    principal: str = ""

    def __str__(self) -> str:
        return f"{self.kind}:{self.id}"

    @property
    def answerable(self) -> str:
        """Whom two acts are compared by where the same person must not do both: `principal:billing`, or `user:5`."""
        return f"principal:{self.principal}" if self.principal else str(self)
