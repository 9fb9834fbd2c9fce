"""Paths between releases: how a target on one becomes one on another, recorded once from Django and proven."""

from provisioning.databases.paths.keeping import BeingRecorded, path_between
from provisioning.databases.paths.summary import StepSummary, statements_per_migration
from provisioning.databases.paths.weight import weigh
from provisioning.databases.paths.weights import Weight

__all__ = ["BeingRecorded", "StepSummary", "Weight", "path_between", "statements_per_migration", "weigh"]
