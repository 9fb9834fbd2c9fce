"""Why an erasure is refused, goes back, or stops."""

from provisioning.errors import Permanent, Transient
from tenants.errors import StateConflict, TenureError


class InvalidErasure(TenureError):
    """What was asked for is no erasure request. `metadata["field"]` names the field."""

    code = "VALIDATION_FAILED"
    cure = "Correct the field, and ask again."


class SamePerson(TenureError):
    """Whoever requested or proposed an erasure does not approve it as well."""

    code = "SAME_PERSON"
    cure = "Ask somebody else to read the plan and approve it. No setting allows otherwise: the database keeps it so."


class LegalHold(Permanent):
    """A law keeps this tenant's data for now. `metadata["holds"]` says how many holds are open."""

    code = "LEGAL_HOLD"
    cure = "Nothing to do: once the hold is released, the request is planned anew by itself."


class PastTheBar(StateConflict):
    """The erasure has begun to destroy: it only goes forward."""

    cure = "Let it finish; the certificate will say what is gone."


class PlanBlocked(StateConflict):
    """The plan has blockers, or was not counted yet. `metadata["blockers"]` names them."""

    cure = "Remove what stands in the way; the request is planned anew by itself."


class PlanDrifted(Permanent):
    """What would be erased now is not what was approved: the approval is void. `metadata["why"]` says what changed."""

    code = "PLAN_CHANGED"
    cure = "Read the new plan, propose it, and have it approved."


class NoLongerWanted(Permanent):
    """The request was cancelled, or went back to planning, while its operation was under way."""

    code = "ERASURE_STOPPED"
    cure = "Nothing to do: what the operation had changed is taken back."


class StillDirty(Permanent):
    """Erasers have come to their end and something is still there. `metadata["stores"]` names where."""

    code = "STORES_NOT_CLEAN"
    cure = "Read the verdicts of these stores, remove the cause, and retry the operation."


class Collateral(Permanent):
    """More went than was there: somebody else's data may be among it. `metadata["store"]` names the store."""

    code = "COLLATERAL"
    cure = "Stop and look: compare the store with its last backup before anything else is erased there."


class StoresFailed(Transient):
    """Some stores could not be erased to their end. The others were; `metadata["stores"]` names these."""

    code = "STORES_FAILED"


class CannotSee(Transient):
    """A verifier could not look into its store, or not prove that it can. Unknown is never clean."""

    code = "VERDICT_UNKNOWN"
    cure = "It is tried again by itself. If it lasts, give the verifier its role and its control record back."


class CertificateRefused(Permanent):
    """No certificate: a store is not clean, or nobody ever looked into it. `metadata["stores"]` names them."""

    code = "CERTIFICATE_REFUSED"
    cure = "Put the store's eraser and verifier back into their lists, then retry the operation."


class HoldFindsNothing(Permanent):
    """A hold names records that are not there. `metadata["hold"]` is its id."""

    code = "HOLD_FINDS_NOTHING"
    cure = "Release the hold, or name the place where the records are; the request is planned anew."


class HoldIncomplete(Permanent):
    """The archive of a hold has not as many records as its place. `metadata["hold"]` is its id."""

    code = "HOLD_INCOMPLETE"
    cure = "Nothing was destroyed, and the archive is thrown away. Find out who wrote there, and start again."


class HeldNowhere(TenureError):
    """The records of a hold are in no archive: the tenant is not erased yet, or they went when they were released."""

    code = "HELD_NOWHERE"
    cure = "Before the erasure export the tenant; afterwards nothing brings them back."
