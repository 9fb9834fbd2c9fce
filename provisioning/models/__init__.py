from provisioning.models.certificates import ErasureCertificate
from provisioning.models.keyring import DataKey
from provisioning.models.ledger import LedgerMark, Tombstone
from provisioning.models.paths import ReleasePath
from provisioning.models.rehearsals import Rehearsal, RehearsalState
from provisioning.models.releases import ClusterRelease, RecordedMigration, Release
from provisioning.models.resources import Claim, Handle, Provider, Resource, ResourceKind, Secret
from provisioning.models.rollouts import (
    OPEN_TARGETS,
    OVER,
    PauseReason,
    Rollout,
    RolloutState,
    RolloutTarget,
    TargetState,
)
from provisioning.models.runs import (
    ENDED,
    HOLDING,
    Control,
    Direction,
    EventKind,
    IdempotencyKey,
    Queue,
    QueuePulse,
    Run,
    RunEvent,
    RunLimit,
    RunState,
    RunStep,
    StepState,
)
from provisioning.models.signing import EvidenceKey, SigningKey
from provisioning.models.stamps import AdoptedDrift, KnownStamp

__all__ = [
    "ENDED",
    "HOLDING",
    "OPEN_TARGETS",
    "OVER",
    "AdoptedDrift",
    "Claim",
    "ClusterRelease",
    "Control",
    "DataKey",
    "Direction",
    "ErasureCertificate",
    "EventKind",
    "EvidenceKey",
    "Handle",
    "IdempotencyKey",
    "KnownStamp",
    "LedgerMark",
    "PauseReason",
    "Provider",
    "Queue",
    "QueuePulse",
    "RecordedMigration",
    "Rehearsal",
    "RehearsalState",
    "Release",
    "ReleasePath",
    "Resource",
    "ResourceKind",
    "Rollout",
    "RolloutState",
    "RolloutTarget",
    "Run",
    "RunEvent",
    "RunLimit",
    "RunState",
    "RunStep",
    "Secret",
    "SigningKey",
    "StepState",
    "TargetState",
    "Tombstone",
]
