from django.apps import AppConfig, apps
from django.conf import settings
from django.core.checks import Tags, register


class TenantsConfig(AppConfig):
    name = "tenants"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from tenants.isolation import credentials, keys
        from tenants.isolation.csrf import check_cookies
        from tenants.isolation.grants import check_roles_apart
        from tenants.isolation.remote import ControlPlane
        from tenants.isolation.tokens import check_tokens

        register(check_tokens, Tags.security)
        if apps.is_installed("django.contrib.sites"):
            from tenants.isolation.sites import keep_sites_apart

            keep_sites_apart()
        if "owner" in settings.DATABASES:
            register(check_roles_apart, Tags.security)
        if url := getattr(settings, "TENURE_API_URL", ""):  # an application; the control plane is its own source
            from tenants.isolation.middleware import check_middleware

            for check in (check_cookies, check_middleware):
                register(check, Tags.security)
            control_plane = ControlPlane(url, getattr(settings, "TENURE_API_KEY", ""))
            credentials.register(control_plane)
            keys.register(control_plane)
