"""Why a rollout is refused."""

from provisioning.errors import Permanent
from tenants.errors import TenureError


class InvalidRollout(TenureError):
    """What was asked for is no rollout. `metadata["field"]` names the field."""

    code = "VALIDATION_FAILED"
    cure = "Correct the field, and propose it again."


class SamePerson(TenureError):
    """Whoever proposed a rollout does not approve it as well."""

    code = "SAME_PERSON"
    cure = (
        "Ask somebody else to read the plan and approve it; or set TENURE_SINGLE_OPERATOR where there is nobody else."
    )


class RolloutRefused(Permanent):
    """The release cannot be reached by everything that was chosen. `metadata["refusals"]` says why."""

    code = "ROLLOUT_REFUSED"
    cure = "Change the migration and publish again, or leave out what cannot get there."


class OlderStillRuns(RolloutRefused):
    """The release takes away what an older release still uses. `metadata["running"]` names who is on one."""

    code = "OLDER_RELEASE_RUNS"
    cure = "Roll the release that made room for it out to these first."


class TargetsTaken(TenureError):
    """Another rollout has not finished with some of the targets. `metadata["rollout"]` names it."""

    code = "OPERATION_IN_PROGRESS"
    cure = "Wait for it to end, or cancel it."


class NoPath(Permanent):
    """Nobody has recorded how to get from one release to the other."""

    code = "NO_PATH"
    cure = "Publish the releases in between, or roll out a release that follows the one they are on."


class RehearsalObjects(TenureError):
    """A rehearsal found what nobody should approve unread. `metadata["findings"]` says what."""

    code = "REHEARSAL_OBJECTS"
    cure = "Read the findings and change the release; or approve with a reason why they do not matter."
