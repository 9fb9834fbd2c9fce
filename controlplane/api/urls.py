"""The whole API on one screen. Mounted under /api/."""

from __future__ import annotations

from django.urls import URLPattern, URLResolver, include, path, re_path

from controlplane.api.catalog import Clusters, OneCluster, OnePlan, OneRelease, Plans, Releases, Tiers
from controlplane.api.certificates import public_keys, status
from controlplane.api.drift import AdoptDrift, Drift, DriftOfTarget, RepairDrift
from controlplane.api.erasure_verbs import VERBS as ERASURE_VERBS
from controlplane.api.erasures import CertificateOfErasure, ErasureRequests, OneErasure, PlanOfErasure
from controlplane.api.hand_outs import HandOutDataKeys, MintToken
from controlplane.api.leaving import (
    CancelSchedule,
    HoldsOfTenant,
    OneHold,
    OneSchedule,
    ReleaseHold,
    SchedulesOfTenant,
)
from controlplane.api.operations import VERBS, OneOperation, Operations
from controlplane.api.pages import TryIt, nowhere, problem_page, schema
from controlplane.api.record_holds import RecordHolds, ReleaseRecords
from controlplane.api.rehearsals import RehearsalsOfRollout, RehearseRollout
from controlplane.api.rollout_targets import SkipTarget, TargetsOfRollout
from controlplane.api.rollout_verbs import VERBS as ROLLOUT_VERBS
from controlplane.api.rollout_verbs import ApproveRollout
from controlplane.api.rollouts import OneRollout, Rollouts
from controlplane.api.tenant_verbs import (
    ExportTenant,
    HandOutCredentials,
    OperationsOfTenant,
    ResourcesOfTenant,
    ResumeTenant,
    RetryTenant,
    RotateCredentials,
    SuspendTenant,
    UndeleteTenant,
)
from controlplane.api.tenants import OneTenant, Tenants

v1: list[URLPattern | URLResolver] = [
    path("tenants", Tenants.as_view()),
    path("tenants/<str:tenant>", OneTenant.as_view()),
    path("tenants/<str:tenant>/retry", RetryTenant.as_view()),
    path("tenants/<str:tenant>/suspend", SuspendTenant.as_view()),
    path("tenants/<str:tenant>/resume", ResumeTenant.as_view()),
    path("tenants/<str:tenant>/undelete", UndeleteTenant.as_view()),
    path("tenants/<str:tenant>/schedules", SchedulesOfTenant.as_view()),
    path("tenants/<str:tenant>/schedules/<str:schedule>", OneSchedule.as_view()),
    path("tenants/<str:tenant>/schedules/<str:schedule>/cancel", CancelSchedule.as_view()),
    path("tenants/<str:tenant>/holds", HoldsOfTenant.as_view()),
    path("tenants/<str:tenant>/holds/<str:hold>", OneHold.as_view()),
    path("tenants/<str:tenant>/holds/<str:hold>/release", ReleaseHold.as_view()),
    path("tenants/<str:tenant>/export", ExportTenant.as_view()),
    path("tenants/<str:tenant>/credentials", HandOutCredentials.as_view()),
    path("tenants/<str:tenant>/data-keys", HandOutDataKeys.as_view()),
    path("tenants/<str:tenant>/tokens", MintToken.as_view()),
    path("tenants/<str:tenant>/rotate-credentials", RotateCredentials.as_view()),
    path("tenants/<str:tenant>/operations", OperationsOfTenant.as_view()),
    path("tenants/<str:tenant>/resources", ResourcesOfTenant.as_view()),
    path("operations", Operations.as_view()),
    path("operations/<str:operation>", OneOperation.as_view()),
    *(path(f"operations/<str:operation>/{verb}", endpoint.as_view()) for verb, endpoint in VERBS.items()),
    path("rollouts", Rollouts.as_view()),
    path("rollouts/<str:rollout>", OneRollout.as_view()),
    path("rollouts/<str:rollout>/approve", ApproveRollout.as_view()),
    *(path(f"rollouts/<str:rollout>/{verb}", endpoint.as_view()) for verb, endpoint in ROLLOUT_VERBS.items()),
    path("rollouts/<str:rollout>/rehearse", RehearseRollout.as_view()),
    path("rollouts/<str:rollout>/rehearsals", RehearsalsOfRollout.as_view()),
    path("rollouts/<str:rollout>/targets", TargetsOfRollout.as_view()),
    path("rollouts/<str:rollout>/targets/<str:target>/skip", SkipTarget.as_view()),
    path("drift", Drift.as_view()),
    path("drift/<str:target>", DriftOfTarget.as_view()),
    path("drift/<str:target>/adopt", AdoptDrift.as_view()),
    path("drift/<str:target>/repair", RepairDrift.as_view()),
    path("erasure-requests", ErasureRequests.as_view()),
    path("erasure-requests/<str:erasure>", OneErasure.as_view()),
    path("erasure-requests/<str:erasure>/plan", PlanOfErasure.as_view()),
    path("erasure-requests/<str:erasure>/certificate", CertificateOfErasure.as_view()),
    path("erasure-requests/<str:erasure>/record-holds", RecordHolds.as_view()),
    path("erasure-requests/<str:erasure>/record-holds/<uuid:hold>/release", ReleaseRecords.as_view()),
    *(path(f"erasure-requests/<str:erasure>/{verb}", endpoint.as_view()) for verb, endpoint in ERASURE_VERBS.items()),
    path("erasure-certificates/status", status),
    path("erasure-certificates/keys", public_keys),
    path("plans", Plans.as_view()),
    path("plans/<str:name>", OnePlan.as_view()),
    path("tiers", Tiers.as_view()),
    path("clusters", Clusters.as_view()),
    path("clusters/<str:name>", OneCluster.as_view()),
    path("releases", Releases.as_view()),
    path("releases/<str:release>", OneRelease.as_view()),
    path("problems", problem_page),
    path("problems/<str:name>", problem_page),
    path("schema", schema, name="api-schema"),
    path("docs", TryIt.as_view(), name="api-docs"),
]
urlpatterns: list[URLPattern | URLResolver] = [
    path("v1/", include(v1)),
    re_path(r"^.*$", nowhere),
]
