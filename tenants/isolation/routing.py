"""Which database a model's rows are in: the open scope's for the tenant application, the control database for ours."""

from functools import cache
from typing import Any

from django.apps import apps
from django.conf import settings
from django.db import connections
from django.db.models import Model

from tenants.context import current_or_none
from tenants.errors import NoTenant, WrongTenant
from tenants.isolation.connections import CONTROL_ALIAS, alias_of, is_tenants

CONTROL = ("default", "owner", CONTROL_ALIAS)
KEYRING = ("keyring", "keyring_owner")
OF_KEYRING = frozenset({"datakey", "tombstone"})  # models of `provisioning` that live there


class TenantRouter:
    """Asked by Django for every query that names no alias itself."""

    def db_for_read(self, model: type[Model], **hints: Any) -> str:
        """The alias of the model's rows. NoTenant without a scope; WrongTenant for an object of another tenant."""
        meta = model._meta  # noqa: SLF001
        context = current_or_none()
        if context is not None and meta.app_label in tenant_labels():  # first: each query of a tenant asks
            alias = alias_of(context)
            if "instance" in hints:
                _refuse_foreign(hints["instance"], alias)
            return alias
        if meta.app_label == "provisioning" and meta.model_name in OF_KEYRING:
            return KEYRING[0]
        if meta.app_label in tenant_labels() - control_labels():
            raise NoTenant(f"{meta.label} belongs to the tenant application, and no tenant scope is open.")
        return CONTROL_ALIAS if CONTROL_ALIAS in connections.settings else "default"

    db_for_write = db_for_read

    def allow_migrate(self, db: str, app_label: str, model_name: str | None = None, **_hints: Any) -> bool | None:
        if db in KEYRING:
            return app_label == "provisioning" and (model_name is None or model_name in OF_KEYRING)
        if db == "default" and CONTROL_ALIAS in connections.settings:
            return app_label in tenant_labels()  # here `default` is the tenant: dumpdata and loaddata ask for it
        if db in CONTROL:
            if app_label == "provisioning" and model_name in OF_KEYRING:
                return False
            return app_label in control_labels()
        return app_label in tenant_labels()


def is_tenant_app(app_label: str) -> bool:
    return app_label in tenant_labels()


@cache
def tenant_labels() -> frozenset[str]:
    """The labels of TENANT_APPS, which may name a package or an AppConfig."""
    return _labels(settings.TENANT_APPS)


@cache
def control_labels() -> frozenset[str]:
    return _labels(settings.CONTROL_APPS)


def _labels(names: list[str]) -> frozenset[str]:
    return frozenset(
        config.label
        for config in apps.get_app_configs()
        if {config.name, f"{type(config).__module__}.{type(config).__qualname__}"} & set(names)
    )


def _refuse_foreign(instance: Model | None, alias: str) -> None:
    """An object read in one tenant's scope must not be saved, or followed, in another's."""
    home = None if instance is None else instance._state.db  # noqa: SLF001
    if home is not None and home != alias and is_tenants(home):
        raise WrongTenant("This object was read in another tenant's scope.")
