from django.apps import AppConfig
from django.conf import settings
from django.core.checks import Tags, register


class TenantsConfig(AppConfig):
    name = "tenants"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from tenants.isolation import credentials, keys
        from tenants.isolation.grants import check_roles_apart
        from tenants.isolation.remote import ControlPlane
        from tenants.isolation.tokens import check_tokens

        register(check_tokens, Tags.security)
        if "owner" in settings.DATABASES:
            register(check_roles_apart, Tags.security)
        if url := getattr(settings, "TENURE_API_URL", ""):  # an application; the control plane is its own source
            control_plane = ControlPlane(url, getattr(settings, "TENURE_API_KEY", ""))
            credentials.register(control_plane)
            keys.register(control_plane)
