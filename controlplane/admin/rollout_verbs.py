"""What a person may do with a rollout: the form and the page of each verb."""

from __future__ import annotations

from typing import Any

from django import forms

from controlplane import rollout_plans
from controlplane.admin.base import ReadOnlyAdmin
from controlplane.admin.confirm import MayReasonForm, ReasonForm, VerbForm, plan_then_confirm
from controlplane.admin.proposing import OPERATE
from provisioning import lifecycle
from provisioning.models import Rollout, Run
from provisioning.rollout.rehearsal import MOST_COPIES
from provisioning.workflows.plans import VerbPlan

APPROVE = "provisioning.approve_rollout"
USUAL_COPIES = 3


class ApprovalForm(MayReasonForm):
    """Why what a rehearsal objects to does not matter; asked for only where one objects."""

    def __init__(self, *args: Any, plan: VerbPlan, **kwargs: Any) -> None:
        super().__init__(*args, plan=plan, **kwargs)
        if plan.needs_reason:
            reason = self.fields["reason"]
            reason.label, reason.help_text = (
                "Why it is approved all the same",
                "Kept with the rehearsal, with your name.",
            )
        else:
            del self.fields["reason"]

    @property
    def reason_text(self) -> str:
        reason: str = self.cleaned_data.get("reason", "")
        return reason


class RehearsalForm(VerbForm):
    """On how many copies."""

    copies = forms.IntegerField(
        min_value=1,
        max_value=MOST_COPIES,
        initial=USUAL_COPIES,
        help_text=f"Of 1 to {MOST_COPIES} of its largest targets; beside them the oldest, and one for each way.",
    )


class RolloutVerbs(ReadOnlyAdmin):
    """Each verb plans and asks before it acts. Nobody approves what he proposed."""

    verbs = ("approve", "rehearse", "pause", "resume", "retry_failed", "cancel")

    @plan_then_confirm(
        "Approve", form=ApprovalForm, permission=APPROVE, plan=rollout_plans.plan_approve, icon="task_alt"
    )
    def approve(self, rollout: Rollout, form: ApprovalForm) -> str:
        """Freeze the targets and begin, if the fleet is still what the plan was made for."""
        try:
            lifecycle.approve_rollout(
                rollout,
                digest=rollout.plan_digest,
                override=form.reason_text,
                actor=form.actor,
                request_id=form.request_id,
            )
        except lifecycle.PlanChanged:
            lifecycle.plan_of(rollout)  # which keeps the new one, for the page that comes back
            raise
        return self.url_of(rollout)

    @plan_then_confirm(
        "Rehearse", form=RehearsalForm, permission=OPERATE, plan=rollout_plans.plan_rehearse, icon="theater_comedy"
    )
    def rehearse(self, rollout: Rollout, form: RehearsalForm) -> Run:
        """Try it on copies of some targets, before anybody approves it."""
        return lifecycle.start_rehearsal(
            rollout,
            k=form.cleaned_data["copies"],
            actor=form.actor,
            key=form.key_text,
            request_id=form.request_id,
        )

    @plan_then_confirm("Pause", form=MayReasonForm, permission=OPERATE, plan=rollout_plans.plan_pause, icon="pause")
    def pause(self, rollout: Rollout, form: MayReasonForm) -> str:
        """No more targets, until somebody resumes it."""
        lifecycle.pause_rollout(rollout, reason=form.reason_text, actor=form.actor)
        return self.url_of(rollout)

    @plan_then_confirm(
        "Resume", form=MayReasonForm, permission=OPERATE, plan=rollout_plans.plan_resume, icon="play_arrow"
    )
    def resume(self, rollout: Rollout, form: MayReasonForm) -> str:
        """Go on; with a reason, if it stopped by itself."""
        lifecycle.resume_rollout(rollout, reason=form.reason_text, actor=form.actor, request_id=form.request_id)
        return self.url_of(rollout)

    @plan_then_confirm(
        "Retry what failed in the",
        label="Retry failed only",
        form=MayReasonForm,
        permission=OPERATE,
        plan=rollout_plans.plan_retry_failed,
        icon="replay",
    )
    def retry_failed(self, rollout: Rollout, form: MayReasonForm) -> str:
        """Another turn for whoever failed, and for nobody else."""
        lifecycle.retry_failed(rollout, reason=form.reason_text, actor=form.actor, request_id=form.request_id)
        return self.url_of(rollout)

    @plan_then_confirm(
        "Cancel", form=ReasonForm, permission=OPERATE, plan=rollout_plans.plan_cancel, icon="close", danger=True
    )
    def cancel(self, rollout: Rollout, form: ReasonForm) -> str:
        """Begin nothing more."""
        lifecycle.cancel_rollout(rollout, reason=form.reason_text, actor=form.actor)
        return self.url_of(rollout)
