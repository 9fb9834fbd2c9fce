"""What the verbs of a tenant would do, for the page that asks to confirm them."""

from __future__ import annotations

from provisioning import lifecycle
from provisioning.engine.workflow import Workflow
from provisioning.workflows.accepting import refuse_shared_role
from provisioning.workflows.export import EXPORT
from provisioning.workflows.onboard import ONBOARD
from provisioning.workflows.plans import VerbPlan, estimate, shape_of
from provisioning.workflows.rotate_credentials import ROTATE_CREDENTIALS
from tenants.errors import StateConflict
from tenants.findings import Finding, Severity
from tenants.models import Tenant


def plan_retry(tenant: Tenant) -> VerbPlan:
    """The onboarding anew, for a tenant of which only the row is left."""
    return _plan(tenant, "retry", ONBOARD, creates=f"everything that {tenant.slug} owns, anew")


def plan_rotate(tenant: Tenant) -> VerbPlan:
    """A new password; sessions that are open go on, new ones need the new password."""
    creates = f"a new password of the database role of {tenant.slug}; the application must ask for it"
    return _plan(tenant, "rotate_credentials", ROTATE_CREDENTIALS, creates=creates)


def plan_export(tenant: Tenant) -> VerbPlan:
    """Its data stays; a copy of the rows is put beside its objects."""
    creates = f"a passport of {tenant.slug} in its own bucket, below tenure-export/"
    return _plan(tenant, "export", EXPORT, creates=creates)


def _plan(tenant: Tenant, verb: str, workflow: Workflow, *, creates: str) -> VerbPlan:
    steps, pivot = shape_of(workflow)
    return VerbPlan(
        verb=f"tenant.{verb}",
        subject=tenant.slug,
        steps=steps,
        creates=(creates,),
        pivot=pivot,
        blockers=blockers(tenant, verb),
        estimate=estimate(workflow),
    )


def blockers(tenant: Tenant, verb: str) -> tuple[Finding, ...]:
    if verb in (allowed := lifecycle.actions_of_tenant(tenant)):
        return ()
    try:
        if verb == "rotate_credentials":
            refuse_shared_role(tenant)
    except StateConflict as error:
        return (Finding(error.code, Severity.ERROR, tenant.slug, str(error), error.cure),)
    return (
        Finding(
            code="STATE_CONFLICT",
            severity=Severity.ERROR,
            subject=tenant.slug,
            message=f"The tenant is {tenant.state}, or an operation on it is not finished.",
            hint=f"What may be done now: {', '.join(allowed) or 'nothing, until that operation has ended'}.",
        ),
    )
