"""Dates of a tenant: what is scheduled for it, setting a date for a suspension or a deletion, and calling one off."""

from __future__ import annotations

from typing import Any

from django import forms
from django.http import HttpRequest
from django.utils import timezone

from controlplane.admin.actors import with_actor_names
from controlplane.admin.base import ReadOnlyAdmin
from controlplane.admin.confirm import ReasonForm, plan_then_confirm
from controlplane.admin.operations import OPERATE
from provisioning import lifecycle
from provisioning.models import Schedule
from provisioning.workflows.leaving import KEEP_DAYS, MOST_DAYS
from provisioning.workflows.plans import VerbPlan
from tenants.models import Tenant
from tenants.states import DeleteReason

END = "tenants.end_tenant"
VERBS = {Schedule.Verb.SUSPEND: "schedule_suspension", Schedule.Verb.DELETE: "schedule_deletion"}


class DateForm(ReasonForm):
    """From when on, and why."""

    at = forms.DateTimeField(
        label="On, in UTC",
        help_text="It is done at most some seconds later.",
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}),
    )
    field_order: tuple[str, ...] = ("at", "reason")


class DeletionDateForm(DateForm):
    """And what a deletion says of itself."""

    delete_reason = forms.ChoiceField(choices=DeleteReason.choices, label="Because", initial=DeleteReason.UNPAID)
    keep_days = forms.IntegerField(
        label="Days until its data is erased",
        min_value=0,
        max_value=MOST_DAYS,
        required=False,
        help_text=f"Counted from that date on. Left out: {KEEP_DAYS}.",
    )
    field_order = ("at", "delete_reason", "keep_days", "reason")


class DateChoice(forms.ModelChoiceField):  # type: ignore[type-arg]  # Django's own class takes none at run time
    """One of the dates that wait."""

    def label_from_instance(self, row: Any) -> str:
        return f"{row.get_verb_display()} on {row.at.astimezone(timezone.get_default_timezone()):%Y-%m-%d %H:%M} UTC"


class CallOffForm(ReasonForm):
    """Which of the tenant's dates."""

    date = DateChoice(Schedule.objects.none(), empty_label=None)
    field_order = ("date", "reason")

    def choose(self, row: Tenant) -> None:
        field = self.fields["date"]
        assert isinstance(field, DateChoice)  # noqa: S101  what stands above
        field.queryset = lifecycle.dates_of(row)


def plan_suspension(tenant: Tenant) -> VerbPlan:
    return lifecycle.plan_schedule(tenant, Schedule.Verb.SUSPEND)


def plan_deletion(tenant: Tenant) -> VerbPlan:
    return lifecycle.plan_schedule(tenant, Schedule.Verb.DELETE)


def plan_call_off(tenant: Tenant) -> VerbPlan:
    steps = ("the date passes, and nothing happens; what it has started already is an operation of its own",)
    return VerbPlan("schedule.cancel", f"a date of {tenant.slug}", steps)


class DateVerbs(ReadOnlyAdmin):
    """Of the tenant's own page. What has a date is judged when the date comes, by the verb itself."""

    def dated(self, request: HttpRequest, tenant: Tenant) -> dict[str, Any]:
        """What the page says of its dates."""
        dates = list(with_actor_names(lifecycle.dates_of(tenant)))
        open_to = [name for verb, name in VERBS.items() if not lifecycle.plan_schedule(tenant, verb).blockers]
        return {
            "dates": dates,
            "date_verbs": self.links(request, tenant, [*open_to, *(["call_off"] if dates else [])]),
        }

    @plan_then_confirm(
        "Schedule",
        label="Suspend on a date",
        form=DateForm,
        permission=OPERATE,
        plan=plan_suspension,
        icon="schedule",
    )
    def schedule_suspension(self, tenant: Tenant, form: DateForm) -> str:
        """Have it suspended by itself, once."""
        lifecycle.schedule(
            tenant=tenant,
            verb=Schedule.Verb.SUSPEND,
            at=form.cleaned_data["at"],
            reason=form.reason_text,
            actor=form.actor,
            request_id=form.request_id,
        )
        return f"{self.url_of(tenant)}#dates"

    @plan_then_confirm(
        "Schedule",
        label="Delete on a date",
        form=DeletionDateForm,
        permission=END,
        plan=plan_deletion,
        icon="event_busy",
        danger=True,
    )
    def schedule_deletion(self, tenant: Tenant, form: DeletionDateForm) -> str:
        """Have it deleted by itself, once."""
        days = form.cleaned_data["keep_days"]
        lifecycle.schedule(
            tenant=tenant,
            verb=Schedule.Verb.DELETE,
            at=form.cleaned_data["at"],
            reason=form.reason_text,
            actor=form.actor,
            delete_reason=DeleteReason(form.cleaned_data["delete_reason"]),
            keep_days=KEEP_DAYS if days is None else days,
            request_id=form.request_id,
        )
        return f"{self.url_of(tenant)}#dates"

    @plan_then_confirm(
        "Call off", label="Call off a date", form=CallOffForm, permission=OPERATE, plan=plan_call_off, icon="event_note"
    )
    def call_off(self, tenant: Tenant, form: CallOffForm) -> str:
        """One of its dates does not fire."""
        lifecycle.cancel_schedule(
            schedule=form.cleaned_data["date"],
            reason=form.reason_text,
            actor=form.actor,
            request_id=form.request_id,
        )
        return f"{self.url_of(tenant)}#dates"
