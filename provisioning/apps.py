from django.apps import AppConfig


class ProvisioningConfig(AppConfig):
    name = "provisioning"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from provisioning.workflows.handing_out import InProcess
        from tenants.isolation import credentials

        credentials.register(InProcess())
