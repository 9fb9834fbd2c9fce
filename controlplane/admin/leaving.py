"""The verbs that shut and open a tenant, and the legal holds on it."""

from __future__ import annotations

from typing import Any

from django import forms
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone

from controlplane.admin.base import ReadOnlyAdmin
from controlplane.admin.confirm import ReasonForm, VerbForm, plan_then_confirm
from controlplane.admin.dates import END
from controlplane.admin.operations import OPERATE
from provisioning import lifecycle
from provisioning.models import ErasureRequest, LegalHold, Run
from provisioning.workflows.legal_holds import GROUND_LENGTH, TOO_LATE
from provisioning.workflows.plans import VerbPlan
from tenants.models import Tenant
from tenants.states import DeleteReason, TenantState

HOLD, ERASE = "tenants.hold_tenant", "provisioning.request_erasure"
SHOWN = 5  # erasure requests on the tenant's own page


class DeleteForm(ReasonForm):
    """Why, in a word and in a sentence."""

    delete_reason = forms.ChoiceField(choices=DeleteReason.choices, label="Because")


class HoldForm(VerbForm):
    """What asks for it, and when somebody looks again."""

    ground = forms.CharField(
        max_length=GROUND_LENGTH, help_text="The law or the case. No person's name: it stays after an erasure."
    )
    review_on = forms.DateField(
        widget=forms.DateInput(attrs={"type": "date"}), help_text="When somebody looks whether it is still needed."
    )

    def clean_review_on(self) -> Any:
        if self.cleaned_data["review_on"] < timezone.now().date():
            raise forms.ValidationError("That day is over.")
        return self.cleaned_data["review_on"]


class ReleaseForm(ReasonForm):
    """Which of the tenant's open holds."""

    hold = forms.ModelChoiceField(LegalHold.objects.none(), empty_label=None)

    def choose(self, row: Tenant) -> None:
        field = self.fields["hold"]
        assert isinstance(field, forms.ModelChoiceField)  # noqa: S101  what stands above
        field.queryset = lifecycle.open_holds(row)


def plan_place(tenant: Tenant) -> VerbPlan:
    return VerbPlan("tenant.place_hold", tenant.slug, ("from now on nothing of it is purged or erased",))


def plan_release(tenant: Tenant) -> VerbPlan:
    others = "" if lifecycle.open_holds(tenant).count() <= 1 else "; the others go on holding it"
    return VerbPlan("tenant.release_hold", tenant.slug, (f"what this hold kept back goes on by itself{others}",))


class LeavingVerbs(ReadOnlyAdmin):
    """Of the tenant's own page; what removes something is marked, and wants the slug typed."""

    def leaving(self, request: HttpRequest, tenant: Tenant) -> dict[str, Any]:
        """What the page says of its holds and erasures."""
        holds = list(lifecycle.open_holds(tenant))
        allowed = ([] if tenant.state in TOO_LATE else ["place_hold"]) + (["release_hold"] if holds else [])
        erasures = list(ErasureRequest.objects.filter(tenant=tenant).order_by("-created_at")[:SHOWN])
        ask = reverse("admin:provisioning_erasurerequest_request") if request.user.has_perm(ERASE) else ""
        return {
            "holds": holds,
            "hold_verbs": self.links(request, tenant, allowed),
            "erasures": erasures if request.user.has_perm("provisioning.view_erasurerequest") else [],
            "erase_url": f"{ask}?tenant={tenant.slug}" if ask and tenant.state != TenantState.ERASED else "",
        }

    @plan_then_confirm(
        "Suspend", form=ReasonForm, permission=OPERATE, plan=lifecycle.plan_suspend, icon="pause_circle", danger=True
    )
    def suspend(self, tenant: Tenant, form: ReasonForm) -> Run:
        """Shut every door of one tenant; its data stays. Undone by resume."""
        return lifecycle.suspend(
            tenant=tenant, reason=form.reason_text, actor=form.actor, key=form.key_text, request_id=form.request_id
        )

    @plan_then_confirm(
        "Resume", form=ReasonForm, permission=OPERATE, plan=lifecycle.plan_resume_tenant, icon="play_circle"
    )
    def resume(self, tenant: Tenant, form: ReasonForm) -> Run:
        """Open a suspended tenant again."""
        return lifecycle.resume_tenant(
            tenant=tenant, reason=form.reason_text, actor=form.actor, key=form.key_text, request_id=form.request_id
        )

    @plan_then_confirm(
        "Delete", form=DeleteForm, permission=END, plan=lifecycle.plan_delete, icon="delete", danger=True
    )
    def delete(self, tenant: Tenant, form: DeleteForm) -> Run:
        """Shut it, and let its data be erased when its days are over."""
        return lifecycle.delete_tenant(
            tenant=tenant,
            reason=form.reason_text,
            actor=form.actor,
            key=form.key_text,
            delete_reason=DeleteReason(form.cleaned_data["delete_reason"]),
            request_id=form.request_id,
        )

    @plan_then_confirm(
        "Undelete", form=ReasonForm, permission=END, plan=lifecycle.plan_undelete, icon="restore_from_trash"
    )
    def undelete(self, tenant: Tenant, form: ReasonForm) -> Run:
        """Take a deletion back, until its data is being erased."""
        return lifecycle.undelete(
            tenant=tenant, reason=form.reason_text, actor=form.actor, key=form.key_text, request_id=form.request_id
        )

    @plan_then_confirm("Hold", label="Place a hold", form=HoldForm, permission=HOLD, plan=plan_place, icon="gavel")
    def place_hold(self, tenant: Tenant, form: HoldForm) -> str:
        """Keep its data, whatever is due."""
        asked = {name: form.cleaned_data[name] for name in ("ground", "review_on")}
        lifecycle.place_hold(tenant=tenant, actor=form.actor, request_id=form.request_id, **asked)
        return self.url_of(tenant)

    @plan_then_confirm(
        "Release", label="Release a hold", form=ReleaseForm, permission=HOLD, plan=plan_release, icon="lock_open"
    )
    def release_hold(self, tenant: Tenant, form: ReleaseForm) -> str:
        """One of the tenant's holds keeps nothing any more."""
        lifecycle.release_hold(
            hold=form.cleaned_data["hold"], reason=form.reason_text, actor=form.actor, request_id=form.request_id
        )
        return self.url_of(tenant)
