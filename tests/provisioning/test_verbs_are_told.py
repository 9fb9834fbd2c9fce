"""Every verb of lifecycle.py is in this table, with its word of the audit log; a new one without fails.

That a verb writes its word when it runs is that verb's own test. This one keeps verbs and words from being forgotten.
"""

import inspect
import re
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

from provisioning import lifecycle
from provisioning.models import erasure_states
from tenants.actions import AuditAction

ROOT = Path(lifecycle.__file__).parent.parent
WORDS: dict[str, str] = {
    "adopt_drift": "DRIFT_ADOPTED",
    "approve_erasure": "ERASURE_APPROVED",
    "approve_rollout": "ROLLOUT_APPROVED",
    "begin_context_keys": "CONTEXT_KEY_ROTATED",
    "cancel": "OPERATION_CANCEL_REQUESTED",
    "cancel_erasure": "ERASURE_CANCELLED",
    "cancel_rollout": "ROLLOUT_CANCELLED",
    "cancel_schedule": "SCHEDULE_CANCELLED",
    "change_cluster": "CLUSTER_CHANGED",
    "change_pool": "POOL_CHANGED",
    "delete_tenant": "OPERATION_STARTED",
    "destroy_data_key": "DATA_KEY_DESTROYED",
    "export_tenant": "OPERATION_STARTED",
    "export_to_file": "TENANT_EXPORTED",
    "extend_erasure": "ERASURE_EXTENDED",
    "finish_context_keys": "CONTEXT_KEY_ROTATED",
    "force_complete": "OPERATION_FORCE_COMPLETED",
    "hand_out_credentials": "CREDENTIALS_HANDED_OUT",
    "hand_out_data_keys": "DATA_KEYS_HANDED_OUT",
    "hold_records": "RECORDS_HELD",
    "mint_token": "TOKEN_MINTED",
    "onboard": "TENANT_CREATED",
    "onboard_together": "TENANT_CREATED",
    "open_records": "RECORDS_OPENED",
    "pause": "OPERATION_PAUSED",
    "pause_rollout": "ROLLOUT_PAUSED",
    "place_hold": "HOLD_PLACED",
    "propose_erasure": "ERASURE_PROPOSED",
    "propose_rollout": "ROLLOUT_PROPOSED",
    "prove_identity": "ERASURE_IDENTITY_PROVED",
    "publish": "RELEASE_PUBLISHED",
    "recheck_erasure": "ERASURE_RECHECK_ASKED",
    "register_cluster": "CLUSTER_REGISTERED",
    "rehearse_rollout": "ROLLOUT_REHEARSED",
    "reject_erasure": "ERASURE_REJECTED",
    "replay_next": "OPERATION_STARTED",
    "release_hold": "HOLD_RELEASED",
    "release_records": "RECORDS_RELEASED",
    "repair_drift": "DRIFT_REPAIRED",
    "replace_token_keys": "SIGNING_KEY_ROTATED",
    "request_erasure": "ERASURE_REQUESTED",
    "resume": "OPERATION_RESUMED",
    "resume_rollout": "ROLLOUT_RESUMED",
    "resume_tenant": "OPERATION_STARTED",
    "retry": "OPERATION_RETRIED",
    "retry_failed": "ROLLOUT_RETRIED",
    "retry_onboarding": "OPERATION_STARTED",
    "rotate_credentials": "OPERATION_STARTED",
    "rotate_data_key": "DATA_KEY_ROTATED",
    "rotate_evidence_key": "EVIDENCE_KEY_ROTATED",
    "rotate_pool_password": "CREDENTIALS_ROTATED",
    "rotate_token_key": "SIGNING_KEY_ROTATED",
    "schedule": "SCHEDULE_MADE",
    "skip": "OPERATION_SKIPPED",
    "skip_target": "ROLLOUT_TARGET_SKIPPED",
    "start_rehearsal": "OPERATION_STARTED",
    "start_repair": "OPERATION_STARTED",
    "suspend": "OPERATION_STARTED",
    "undelete": "OPERATION_STARTED",
    "undo": "OPERATION_UNDO_REQUESTED",
    "update_tenant": "TENANT_UPDATED",
    "verify_resources": "RESOURCE_VERIFIED",
    "withdraw_certificates": "CERTIFICATE_WITHDRAWN",
}
TELLS_NOTHING = frozenset(
    # reads
    "actions_of actions_of_erasure actions_of_rollout actions_of_tenant answerable_for certificate_keys"
    " certificate_status certificates_of_erasure dates_of foresee_erasure keyed_hash plan_schedule usual_erasures"
    " check_passport checkpoints_outside clock_of_erasure current_release databases_behind erasure_findings"
    " evidence_is_write_once evidence_keys latest_rehearsal open_holds plan_approval plan_context_keys plan_delete"
    " plan_of plan_of_erasure plan_onboard plan_repair_of_drift plan_resume_tenant plan_rollout plan_suspend"
    " plan_undelete progress_of published_keys replay_tombstones retired_data_keys reached_by survey_drift"
    " target_named target_of targets_of tenants_due_for_purge"
    " holdable releasable_holds"
    # what they drive tells by itself
    " advance keep_evidence sweep".split()
)
NOT_YET_SAID = frozenset({"PLAN_CHANGED"})  # nothing changes a plan


def text_of(function: Any) -> str:
    """Of its package, and what a request for erasure says at each change of its state: it may stand beside the verb."""
    files = sorted(Path(inspect.getfile(function)).parent.glob("*.py"))
    return "\n".join(path.read_text() for path in (*files, Path(inspect.getfile(erasure_states))))


def test_every_verb_has_its_words() -> None:
    verbs = {name for name in lifecycle.__all__ if not isinstance(getattr(lifecycle, name), type | ModuleType)}
    assert verbs == set(WORDS) | TELLS_NOTHING
    for name, word in WORDS.items():
        assert word in AuditAction.__members__
        function = getattr(lifecycle, name)
        assert isinstance(function, FunctionType)
        near = text_of(function)
        if word == "OPERATION_STARTED":  # by way of the engine, which tells of every start
            assert re.search(r"\b_?start(ed|_onboarding)?\(", inspect.getsource(function)), name
        else:
            assert f"AuditAction.{word}" in near, name


def test_every_word_is_said_somewhere() -> None:
    code = "\n".join(
        path.read_text() for part in ("controlplane", "provisioning", "tenants") for path in (ROOT / part).rglob("*.py")
    )
    unsaid = {
        name
        for name, word in AuditAction.__members__.items()
        if f"AuditAction.{name}" not in code and not word.startswith("isolation.refused")
    }
    assert unsaid == NOT_YET_SAID
