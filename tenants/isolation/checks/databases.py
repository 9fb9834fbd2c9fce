"""Connections and routing: which alias leads where, as which role, and whose rows a model's are.

# Note [Whom the live connection is asked about]
Tenants' aliases are made while the process runs, with an engine and options that the kit chooses, and the role comes
from the control plane. So no setting says who a tenant's connection is, and `check --database default` asks that of one
active tenant of each tier, cluster and pool; `check --database control` asks the directory's. Each tenant that was
chosen has one more hand-out of credentials in its audit log.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core.checks import Error
from django.db import DatabaseError, connections
from django.db.models import Model
from django.urls import get_resolver
from django.urls.resolvers import URLPattern, URLResolver

from tenants.context import TenantContext, tenant_scope
from tenants.errors import TenureError
from tenants.isolation.connections import CONTROL_ALIAS, ENGINE, alias_of, is_tenants
from tenants.isolation.routing import control_labels, tenant_labels
from tenants.states import TenantState

SCOPED_ENGINE = f"{ENGINE}.scoped"
ROUTER = "tenants.isolation.routing.TenantRouter"
SWITCHING_ENGINE = "django_tenants.postgresql_backend"
ADDRESS = ("NAME", "HOST", "PORT", "USER", "PASSWORD")
ROLE = """
SELECT session_user, rolsuper, rolbypassrls,
       EXISTS (SELECT FROM pg_catalog.pg_class WHERE relowner = r.oid AND relkind IN ('r', 'p')
               AND relpersistence <> 't')
FROM pg_catalog.pg_roles r WHERE rolname = session_user
"""


def default_is_the_tenant(**_options: Any) -> Iterator[Error]:
    """tenants.E001: an alias that leads to tenants' rows without asking whose scope is open."""
    if (engine := _engine("default")) != SCOPED_ENGINE:
        yield Error(
            f'DATABASES["default"] has the ENGINE {engine!r}: code that names no alias would work for no tenant.',
            hint=f'Set DATABASES["default"] = {{"ENGINE": "{SCOPED_ENGINE}"}}.',
            id="tenants.E001",
        )
    if CONTROL_ALIAS not in settings.DATABASES or _is_ours(_engine(CONTROL_ALIAS)):
        yield Error(
            f"DATABASES[{CONTROL_ALIAS!r}] is missing, or a tenant's: nobody can tell which host name is whose.",
            hint="Let it be the directory: django.db.backends.postgresql, with what DIRECTORY_URL says.",
            id="tenants.E001",
        )
    for alias in settings.DATABASES:
        if alias in {"default", CONTROL_ALIAS}:
            continue
        if is_tenants(alias) or _is_ours(_engine(alias)) or _engine(alias) == SWITCHING_ENGINE:
            yield Error(
                f"DATABASES[{alias!r}] leads to tenants' rows past the open scope.",
                hint="Take it out: the kit makes an alias for each tenant when its scope is first used.",
                id="tenants.E001",
            )


def roles_are_plain(*, databases: Iterable[str] | None, **_options: Any) -> Iterator[Error]:
    """tenants.E002: a role that policies and grants do not bind. See Note [Whom the live connection is asked about]."""
    try:
        if CONTROL_ALIAS in (databases or ()):
            yield from _faults(CONTROL_ALIAS, "The directory's role")
        if "default" in (databases or ()):
            for context in _one_of_each_kind():
                with tenant_scope(context):
                    yield from _faults(alias_of(context), f"The role of tenant {context.slug} ({context.tier})")
    except (TenureError, DatabaseError) as error:
        hint = getattr(error, "cure", "") or "Look at the database's server, and at DIRECTORY_URL."
        yield Error(f"Nobody can say which role is used: {type(error).__name__}: {error}", hint=hint, id="tenants.E002")


def connections_are_the_kits(**_options: Any) -> Iterator[Error]:
    """tenants.E003: options for tenants' connections, which would undo what the kit sets, and go nowhere."""
    for alias in settings.DATABASES:
        if not _is_ours(_engine(alias)):
            continue
        entry = settings.DATABASES[alias]
        given = [name for name in ADDRESS if entry.get(name)]
        given += [f'OPTIONS["{name}"]' for name in entry.get("OPTIONS") or ()]
        if entry.get("DISABLE_SERVER_SIDE_CURSORS") is False:
            given.append("DISABLE_SERVER_SIDE_CURSORS")
        if given:
            yield Error(
                f"DATABASES[{alias!r}] sets {', '.join(given)}, which no tenant's connection heeds.",
                hint="Leave the ENGINE alone there: address, role, search_path and time zone come with the tenant, and"
                " prepared statements and cursors on the server would outlive its turn.",
                id="tenants.E003",
            )


def requests_have_a_transaction_where_they_have_a_tenant(**_options: Any) -> Iterator[Error]:
    """tenants.E004: ATOMIC_REQUESTS or AUTOCOMMIT where a request would fail by it, or hold the directory open.

    Neither is needed for isolation: a statement without a transaction gets one, and the tenant's context with it.
    """
    for alias in settings.DATABASES:
        if settings.DATABASES[alias].get("AUTOCOMMIT") is False:
            yield Error(
                f"DATABASES[{alias!r}] has AUTOCOMMIT off: its first statement opens a transaction that nobody ends.",
                hint="Take it out, and use transaction.atomic() or ATOMIC_REQUESTS.",
                id="tenants.E004",
            )
    if _is_atomic(CONTROL_ALIAS):
        yield Error(
            f"DATABASES[{CONTROL_ALIAS!r}] has ATOMIC_REQUESTS on: each request holds a transaction on the directory.",
            hint='Set it on "default", the tenant\'s.',
            id="tenants.E004",
        )
    if _is_atomic("default") and (name := next(_atomic_public_views(), None)):
        yield Error(
            f'DATABASES["default"] has ATOMIC_REQUESTS on, and {name} is served at hosts of no tenant: it will fail.',
            hint='Decorate the views of PUBLIC_SCHEMA_URLCONF with transaction.non_atomic_requests(using="default").',
            id="tenants.E004",
        )


def each_model_has_one_home(**_options: Any) -> Iterator[Error]:
    """tenants.E015: rows that would go to the control database and are tenants', or the reverse."""
    if ROUTER not in settings.DATABASE_ROUTERS[:1]:
        yield Error(
            f"DATABASE_ROUTERS does not begin with {ROUTER}: rows go where another router says.",
            hint="Put it first.",
            id="tenants.E015",
        )
    for name in (*settings.TENANT_APPS, *settings.CONTROL_APPS):
        if name not in settings.INSTALLED_APPS:
            yield Error(
                f"TENANT_APPS or CONTROL_APPS names {name}, which is not in INSTALLED_APPS under that name.",
                hint="Write it the same way in both.",
                id="tenants.E015",
            )
    ours, theirs = control_labels(), tenant_labels()
    if not apps.is_installed("provisioning"):  # the control plane has users and content types of its own
        for label in sorted(ours & theirs):
            yield Error(
                f"The app {label} is in TENANT_APPS and in CONTROL_APPS: without a scope its rows are the directory's.",
                hint='Leave CONTROL_APPS = ["tenants"]; all else is the tenant\'s.',
                id="tenants.E015",
            )
    for model in apps.get_models():
        yield from _homes_of(model, ours, theirs)


def _homes_of(model: type[Model], ours: frozenset[str], theirs: frozenset[str]) -> Iterator[Error]:
    meta = model._meta  # noqa: SLF001
    if meta.app_label not in ours | theirs:
        yield Error(
            f"{meta.label} belongs to no app of TENANT_APPS, so its rows would go to the control database.",
            hint=f"Add {meta.app_config.name if meta.app_config else meta.app_label} to TENANT_APPS.",
            id="tenants.E015",
        )
        return
    for field in meta.get_fields():
        other = getattr(field, "remote_field", None) and field.related_model
        if not (isinstance(other, type) and issubclass(other, Model)) or field.auto_created:
            continue
        label = other._meta.app_label  # noqa: SLF001
        if (meta.app_label in theirs - ours and label in ours - theirs) or (
            meta.app_label in ours - theirs and label in theirs - ours
        ):
            yield Error(
                f"{meta.label}.{field.name} points to {other._meta.label}, which is in another database.",  # noqa: SLF001
                hint="Keep the other's id in a plain field.",
                id="tenants.E015",
            )


def _engine(alias: str) -> str:
    return str(settings.DATABASES.get(alias, {}).get("ENGINE", ""))


def _is_ours(engine: str) -> bool:
    return engine == ENGINE or engine.startswith(f"{ENGINE}.")


def _is_atomic(alias: str) -> bool:
    return bool(settings.DATABASES.get(alias, {}).get("ATOMIC_REQUESTS"))


def _faults(alias: str, who: str) -> Iterator[Error]:
    with connections[alias].cursor() as cursor:
        cursor.execute(ROLE)
        name, *found = cursor.fetchone()
    says = ("is superuser", "has BYPASSRLS", "owns tables")
    if wrong := [each for each, is_so in zip(says, found, strict=True) if is_so]:
        yield Error(
            f"{who}, {name}, {' and '.join(wrong)}: no policy or grant binds it.",
            hint="Use the role that Tenure made for this; take the right from it, or the tables.",
            id="tenants.E002",
        )


def _one_of_each_kind() -> list[TenantContext]:
    from tenants.models import Placement

    kind = ("tier", "cluster_id", "pool_id")
    columns = ("tier", "database", "schema", "pool", "cluster__name", "tenant__slug", "tenant__incarnation")
    open_ones = Placement.objects.filter(active=True, tenant__state=TenantState.ACTIVE)
    chosen = open_ones.select_related("tenant", "cluster").only(*columns).order_by(*kind).distinct(*kind)
    return [placement.context() for placement in chosen]


def _atomic_public_views() -> Iterator[str]:
    urls = getattr(settings, "PUBLIC_SCHEMA_URLCONF", "")
    if urls and getattr(settings, "SITE_HOSTS", ()):
        for view in _views(get_resolver(urls)):
            without: Mapping[str, Any] | set[str] = getattr(view, "_non_atomic_requests", set())
            if "default" not in without:
                yield f"{view.__module__}.{getattr(view, '__name__', type(view).__name__)}"


def _views(resolver: URLResolver) -> Iterator[Callable[..., Any]]:
    for each in resolver.url_patterns:
        if isinstance(each, URLPattern):
            yield each.callback
        else:
            yield from _views(each)
