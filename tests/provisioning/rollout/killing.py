"""The table of workflows for workers that are killed: with a replayer, as every worker has one."""

from provisioning.rollout import seams
from provisioning.workflows import WORKFLOWS
from tests.provisioning.rollout.building import PlainReplayer

seams.replayer = PlainReplayer()

__all__ = ["WORKFLOWS"]
