"""Releases of the tenant application: what each would run, and who is on it."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import Count, OuterRef, Q, QuerySet, Subquery
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from controlplane.admin.base import ReadOnlyAdmin
from controlplane.admin.proposing import OPERATE
from controlplane.admin.words import NOTHING
from controlplane.templatetags.ops import badge, moment
from provisioning.databases.releases import TEXTS
from provisioning.models import RecordedMigration, Release, ReleasePath
from tenants.models import Tenant

PATHS = 20  # of a release; older ones lead to releases that nobody is on


class ReleaseAdmin(ReadOnlyAdmin):
    """One line a release, the newest first."""

    noun, nouns = "release", "releases"
    none_yet = "A release is one version of your application's schema, recorded. Publish it: manage.py publish_release"
    page_template = "admin/release.html"

    list_display = ("name", "standing", "hash_of_shape", "migrations_in_it", "tenants", "published")
    list_filter = ("state",)
    search_fields = ("name__startswith",)
    ordering = ("-created_at",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Release]:
        releases: QuerySet[Release] = super().get_queryset(request)
        on_it = Tenant.objects.filter(release=OuterRef("name")).order_by().values("release")
        recorded = RecordedMigration.objects.filter(release=OuterRef("pk")).order_by().values("release")
        return releases.defer(*TEXTS).annotate(
            tenants_on_it=Subquery(on_it.annotate(n=Count("pk")).values("n")),
            recorded=Subquery(recorded.annotate(n=Count("pk")).values("n")),
        )

    def page_queryset(self, request: HttpRequest) -> QuerySet[Release]:
        return self.get_queryset(request).prefetch_related("migrations", "clusters__cluster")

    def page_context(self, request: HttpRequest, row: Any) -> dict[str, Any]:
        ready = row.state == Release.State.PUBLISHED and request.user.has_perm(OPERATE)
        propose = f"{reverse('admin:provisioning_rollout_propose')}?release={row.name}" if ready else ""
        migrations = sorted(row.migrations.all(), key=lambda each: each.position)
        return {
            "release": row,
            "migrations": [(each, statements_of(each)) for each in migrations],
            "paths": [weighed(path) for path in paths_of(row)],
            "propose_url": propose,
            "tenants_url": f"{reverse('admin:tenants_tenant_changelist')}?release={row.name}",
        }

    @admin.display(description="state", ordering="state")
    def standing(self, release: Release) -> SafeString:
        current = badge("release", "published", "current") if release.current else ""
        return format_html("{} {}", current or badge("release", release.state), "")

    @admin.display(description="fingerprint")
    def hash_of_shape(self, release: Release) -> SafeString | str:
        return format_html("<code>{}…</code>", release.fingerprint[:12]) if release.fingerprint else NOTHING

    @admin.display(description="migrations")
    def migrations_in_it(self, release: Any) -> int:
        return release.recorded or 0

    @admin.display(description="tenants")
    def tenants(self, release: Any) -> SafeString:
        url = reverse("admin:tenants_tenant_changelist")
        return format_html('<a href="{}?release={}">{}</a>', url, release.name, release.tenants_on_it or 0)

    @admin.display(description="published", ordering="published_at")
    def published(self, release: Release) -> SafeString:
        return moment(release.published_at, "not published")


def paths_of(release: Release) -> QuerySet[ReleasePath]:
    """How to get to it and away from it, the latest first."""
    texts = [f"{end}__{text}" for end in ("source", "target") for text in TEXTS]
    paths = ReleasePath.objects.filter(Q(source=release) | Q(target=release)).select_related("source", "target")
    latest: QuerySet[ReleasePath] = paths.defer("rows", "pool_migrations", *texts).order_by("-recorded_at")
    return latest[:PATHS]


def weighed(path: ReleasePath) -> tuple[ReleasePath, int, int]:
    """A path, with how many statements it sends to a tenant and how many of its operations work on rows."""
    kinds = [act["kind"] for migration in path.migrations for act in migration["acts"]]
    return path, kinds.count("ddl"), len(kinds) - kinds.count("ddl")


def statements_of(migration: RecordedMigration) -> tuple[int, bool]:
    """How many statements a migration sends, and whether any of its operations changes rows."""
    kinds = [operation["kind"] for operation in migration.operations]
    return sum(len(operation["statements"]) for operation in migration.operations), "data" in kinds
