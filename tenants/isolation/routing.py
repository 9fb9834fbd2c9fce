"""Which database a model's rows are in: the open scope's for the tenant application, the control database for ours."""

from typing import Any

from django.apps import apps
from django.conf import settings
from django.db.models import Model

CONTROL = ("default", "owner")
KEYRING = ("keyring", "keyring_owner")


def is_tenant_app(app_label: str) -> bool:
    return apps.get_app_config(app_label).name in settings.TENANT_APPS


class TenantRouter:
    """Asked by Django for every query. Filled in with the scope by the seam that opens tenants' connections."""

    def allow_migrate(self, db: str, app_label: str, model_name: str | None = None, **_hints: Any) -> bool | None:
        if db in KEYRING:
            return app_label == "provisioning" and model_name in {None, "datakey"}
        if db in CONTROL:
            if model_name == "datakey":
                return False
            return app_label in control_labels()
        return is_tenant_app(app_label)

    def db_for_read(self, model: type[Model], **_hints: Any) -> str | None:
        return KEYRING[0] if model._meta.label_lower == "provisioning.datakey" else None  # noqa: SLF001

    db_for_write = db_for_read


def control_labels() -> set[str]:
    return {config.label for config in apps.get_app_configs() if config.name in settings.CONTROL_APPS}
