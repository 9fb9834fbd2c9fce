from django.apps import AppConfig
from django.core.checks import Tags, register


class TenantsConfig(AppConfig):
    name = "tenants"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from tenants.isolation.grants import check_roles_apart

        register(check_roles_apart, Tags.security)
