"""The public functions of this package: every door (API, admin, command, Celery task) calls these and nothing else.

A verb that starts work returns its Run at once; tenant, run, audit entry and event are committed in one transaction,
and the bell rings after it. `actor` says who asks and `key` makes a repeat harmless: neither has a default.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from provisioning.engine import control
from provisioning.engine.control import force_complete, pause, resume, retry, skip, undo
from provisioning.engine.control import actions as actions_of
from provisioning.models import Run
from provisioning.workflows.plans import VerbPlan
from tenants.audit import Actor
from tenants.findings import Finding
from tenants.models import Cluster, Plan, Tenant

__all__ = ["actions_of", "force_complete", "pause", "resume", "retry", "skip", "undo"]


def plan_onboard(*, wish: TenantWish) -> VerbPlan:
    """What `onboard` would do, and what stands in its way (`blockers`). Writes nothing."""


def onboard(*, wish: TenantWish, actor: Actor, key: str, request_id: str = "") -> Run:
    """Accept a tenant: its row, placement, planned resources and run, in one transaction (the caller's, or an own one).

    The same (actor, key) returns the run that exists. `run.tenant` is the tenant.
    Raises InvalidWish (with `errors`: field, code, detail), TenantExists, NoCapacity, KeyReused.
    """


def retry_onboarding(*, tenant: Tenant, reason: str, actor: Actor, key: str, request_id: str = "") -> Run:
    """A new onboarding of a tenant whose first one failed. Raises StateConflict, NoCapacity, OperationInProgress."""


def update_tenant(*, tenant: Tenant, changes: Mapping[str, Any], if_version: int | None, actor: Actor, request_id: str = "") -> Tenant:
    """Change name, plan (by name), labels or deletion_protection. Raises VersionMismatch, InvalidWish, UnsupportedTarget."""


def actions_of_tenant(tenant: Tenant) -> list[str]:
    """The verbs that its state allows now: `retry`, `rotate_credentials`, …"""


def rotate_credentials(*, tenant: Tenant, reason: str, actor: Actor, key: str, request_id: str = "") -> Run:
    """A new database password, by a workflow. Raises StateConflict, OperationInProgress."""


def hand_out_credentials(*, tenant: Tenant, actor: Actor, request_id: str = "") -> Credentials:
    """Database and short-lived storage credentials of an active tenant, and an audit entry. Raises StateConflict, Transient."""


def verify_resources(*, tenant: Tenant, actor: Actor) -> list[Finding]:
    """Observe every resource now; the findings are kept on the rows."""
