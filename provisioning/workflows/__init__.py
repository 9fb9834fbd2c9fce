"""The literal table of everything Tenure can do to a tenant, or to all of them.

Old versions stay listed while a run of theirs is open.
"""

from provisioning.engine.workflow import Workflow
from provisioning.rollout.lanes import LANE
from provisioning.rollout.rehearsing import REHEARSE
from provisioning.rollout.repairing import REPAIR
from provisioning.rollout.workflow import ROLLOUT
from provisioning.workflows.delete import DELETE
from provisioning.workflows.erase import ERASE, ERASE_AGAIN
from provisioning.workflows.erase_looks import CHECK_ERASURE, PLAN_ERASURE
from provisioning.workflows.export import EXPORT
from provisioning.workflows.onboard import ONBOARD
from provisioning.workflows.replay_erasure import REPLAY_ERASURE
from provisioning.workflows.resume import RESUME
from provisioning.workflows.rotate_credentials import ROTATE_CREDENTIALS
from provisioning.workflows.suspend import SUSPEND
from provisioning.workflows.undelete import UNDELETE

WORKFLOWS: dict[tuple[str, int], Workflow] = {
    workflow.key: workflow
    for workflow in (
        *(ONBOARD, ROTATE_CREDENTIALS, SUSPEND, RESUME, DELETE, UNDELETE, EXPORT),
        *(PLAN_ERASURE, ERASE, ERASE_AGAIN, CHECK_ERASURE, REPLAY_ERASURE),
        *(ROLLOUT, LANE, REHEARSE, REPAIR),
    )
}
