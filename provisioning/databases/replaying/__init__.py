"""Replay: bring one target (a tenant's schema, its database, or a pool) from one release to another along a path."""

from provisioning.databases.replaying.errors import (
    LockTimeout,
    MigrationMissing,
    Overtaken,
    RunnerEnded,
    ShapeDiffers,
    StandsElsewhere,
    StatementFailed,
    Trouble,
    UnsafeInPool,
    trouble_of,
)
from provisioning.databases.replaying.expecting import Expected, Shape, Stamped
from provisioning.databases.replaying.lanes import Lane
from provisioning.databases.replaying.places import Place, Stand, where
from provisioning.databases.replaying.targets import Target, Tenants
from provisioning.databases.replaying.walking import Arrived, Unfinished, replay

__all__ = [
    "Arrived",
    "Expected",
    "Lane",
    "LockTimeout",
    "MigrationMissing",
    "Overtaken",
    "Place",
    "RunnerEnded",
    "Shape",
    "ShapeDiffers",
    "Stamped",
    "Stand",
    "StandsElsewhere",
    "StatementFailed",
    "Target",
    "Tenants",
    "Trouble",
    "Unfinished",
    "UnsafeInPool",
    "replay",
    "trouble_of",
    "where",
]
