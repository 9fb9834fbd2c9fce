"""What a person may do with an erasure request: the form and the page of each verb."""

from __future__ import annotations

from datetime import UTC, datetime, time

from django import forms

from controlplane import erasure_plans
from controlplane.admin.base import ReadOnlyAdmin
from controlplane.admin.confirm import VerbForm, plan_then_confirm
from provisioning import lifecycle
from provisioning.erasure.verbs import REASONS
from provisioning.models import ErasureRequest, ExtensionReason, RecordHold
from tenants.errors import StateConflict

ASK, APPROVE = "provisioning.request_erasure", "provisioning.approve_erasure"
LINE = "|"  # between a store and a place of it, in a choice


class EvidenceForm(VerbForm):
    """Where the proof of identity lies."""

    evidence = forms.UUIDField(
        label="Evidence", help_text="The id of the proof in your own files. The proof itself is never kept here."
    )


class ClosingForm(VerbForm):
    """Why nothing is erased."""

    reason = forms.ChoiceField(
        choices=[(word, word.replace("_", " ")) for word in sorted(REASONS)],
        help_text="One of these words: a sentence would be one more place for a name.",
    )


class ExtensionForm(VerbForm):
    """By how much, why, and when whoever asked was told."""

    months = forms.TypedChoiceField(choices=[(1, "one month"), (2, "two months")], coerce=int)
    because = forms.ChoiceField(
        label="Reason", choices=ExtensionReason.choices, help_text="GDPR Art. 12(3) knows these two."
    )
    notice_sent_at = forms.DateTimeField(
        label="Notice sent",
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}),
        help_text="In UTC: when whoever asked was told of the delay and why.",
    )


class RecordsForm(VerbForm):
    """Which records a law keeps, and until somebody looks again."""

    place = forms.ChoiceField(help_text="As the verifiers found them.")
    record = forms.CharField(
        max_length=40,
        required=False,
        label="One row",
        help_text="Its key, a number or a UUID. Left empty, all of the place is held.",
    )
    ground = forms.CharField(max_length=200, help_text="The law or the case. No person's name: it stays.")
    review_at = forms.DateField(
        label="Review on",
        widget=forms.DateInput(attrs={"type": "date"}),
        help_text="When somebody looks whether it is still needed.",
    )

    def choose(self, row: ErasureRequest) -> None:
        plan = lifecycle.plan_of_erasure(row)
        document = plan.document if plan is not None else row.counted or {"stores": []}
        places = lifecycle.holdable(row, document)
        choices = [(f"{store}{LINE}{locator}", f"{locator} in {store}") for store, locator in places]
        self.fields["place"].choices = choices  # type: ignore[attr-defined]  # a ChoiceField
        if row.kind != "tenant":
            del self.fields["record"]


class HeldForm(VerbForm):
    """Which of the records that are held."""

    hold = forms.ModelChoiceField(RecordHold.objects.none(), empty_label=None, label="Records")

    def choose(self, row: ErasureRequest) -> None:
        held = lifecycle.releasable_holds(row)
        self.fields["hold"].queryset = held  # type: ignore[attr-defined]  # a ModelChoiceField


class ErasureVerbs(ReadOnlyAdmin):
    """Each verb plans and asks before it acts. Nobody approves what he asked for or proposed."""

    verbs = (
        *("prove_identity", "propose", "approve", "hold_records", "release_records", "recheck", "extend"),
        *("reject", "cancel"),
    )

    @plan_then_confirm(
        "Prove identity for",
        label="Identity is proved",
        form=EvidenceForm,
        permission=ASK,
        plan=erasure_plans.plan_prove,
        icon="badge",
    )
    def prove_identity(self, request: ErasureRequest, form: EvidenceForm) -> str:
        """Whoever asked is the one."""
        evidence = form.cleaned_data["evidence"]
        lifecycle.prove_identity(request, evidence=evidence, actor=form.actor, key=form.key_text)
        return self.url_of(request)

    @plan_then_confirm("Propose", permission=ASK, plan=erasure_plans.plan_propose, icon="assignment_turned_in")
    def propose(self, request: ErasureRequest, form: VerbForm) -> str:
        """Freeze what was counted, for somebody else to approve."""
        lifecycle.propose_erasure(request, actor=form.actor, key=form.key_text)
        return self.url_of(request)

    @plan_then_confirm("Approve", permission=APPROVE, plan=erasure_plans.plan_approve, icon="task_alt", danger=True)
    def approve(self, request: ErasureRequest, form: VerbForm) -> str:
        """One person's word for the plan of another."""
        plan = lifecycle.plan_of_erasure(request)
        if plan is None:
            raise StateConflict("Nothing is proposed any more.", cure="Go back to the request.")
        lifecycle.approve_erasure(request, digest=bytes(plan.digest), actor=form.actor, key=form.key_text)
        return self.url_of(request)

    @plan_then_confirm(
        "Reject", form=ClosingForm, permission=APPROVE, plan=erasure_plans.plan_reject, icon="thumb_down", danger=True
    )
    def reject(self, request: ErasureRequest, form: ClosingForm) -> str:
        """Close it; nothing is erased."""
        reason = form.cleaned_data["reason"]
        lifecycle.reject_erasure(request, reason=reason, actor=form.actor, key=form.key_text)
        return self.url_of(request)

    @plan_then_confirm(
        "Cancel", form=ClosingForm, permission=ASK, plan=erasure_plans.plan_cancel, icon="close", danger=True
    )
    def cancel(self, request: ErasureRequest, form: ClosingForm) -> str:
        """Call it off, until something was destroyed."""
        reason = form.cleaned_data["reason"]
        lifecycle.cancel_erasure(request, reason=reason, actor=form.actor, key=form.key_text)
        return self.url_of(request)

    @plan_then_confirm("Extend", form=ExtensionForm, permission=ASK, plan=erasure_plans.plan_extend, icon="more_time")
    def extend(self, request: ErasureRequest, form: ExtensionForm) -> str:
        """One or two more months, once."""
        lifecycle.extend_erasure(
            request,
            months=form.cleaned_data["months"],
            reason=ExtensionReason(form.cleaned_data["because"]),
            notice_sent_at=form.cleaned_data["notice_sent_at"],
            actor=form.actor,
            key=form.key_text,
        )
        return self.url_of(request)

    @plan_then_confirm(
        "Look again at", label="Look again now", permission=ASK, plan=erasure_plans.plan_recheck, icon="visibility"
    )
    def recheck(self, request: ErasureRequest, form: VerbForm) -> str:
        """All verifiers, now."""
        lifecycle.recheck_erasure(request, actor=form.actor, key=form.key_text)
        return self.url_of(request)

    @plan_then_confirm(
        "Hold records in the",
        label="Hold records",
        form=RecordsForm,
        permission=ASK,
        plan=erasure_plans.plan_hold,
        icon="gavel",
    )
    def hold_records(self, request: ErasureRequest, form: RecordsForm) -> str:
        """A law keeps some of it."""
        store, _line, locator = form.cleaned_data["place"].partition(LINE)
        review = datetime.combine(form.cleaned_data["review_at"], time(0), tzinfo=UTC)
        lifecycle.hold_records(
            request,
            store=store,
            locator=locator,
            record=form.cleaned_data.get("record", ""),
            ground=form.cleaned_data["ground"],
            review_at=review,
            actor=form.actor,
            key=form.key_text,
        )
        return self.url_of(request)

    @plan_then_confirm(
        "Release records in the",
        label="Release records",
        form=HeldForm,
        permission=ASK,
        plan=erasure_plans.plan_release,
        icon="lock_open",
    )
    def release_records(self, request: ErasureRequest, form: HeldForm) -> str:
        """They go as well: with the rest, or by a request of their own."""
        held = request.holds.get(pk=form.cleaned_data["hold"].pk)
        to = lifecycle.release_records(held, actor=form.actor, key=form.key_text)
        return self.url_of(to)
