from django.apps import AppConfig, apps
from django.conf import settings


class TenantsConfig(AppConfig):
    name = "tenants"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from tenants.isolation import credentials, keys
        from tenants.isolation.checks import register_checks
        from tenants.isolation.remote import ControlPlane

        if apps.is_installed("django.contrib.sites"):
            from tenants.isolation.sites import keep_sites_apart

            keep_sites_apart()
        if url := getattr(settings, "TENURE_API_URL", ""):  # an application; the control plane is its own source
            control_plane = ControlPlane(url, getattr(settings, "TENURE_API_KEY", ""))
            credentials.register(control_plane)
            keys.register(control_plane)
        register_checks()
