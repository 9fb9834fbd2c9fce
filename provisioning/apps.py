from django.apps import AppConfig
from django.core import checks


class Unconnected(AppConfig):
    """The models alone: all that programs need which migrate an application and drive nothing, and faster to load."""

    name = "provisioning"
    default_auto_field = "django.db.models.BigAutoField"


class ProvisioningConfig(Unconnected):
    default = True

    def ready(self) -> None:
        from provisioning.checks import versions_in_use_are_listed
        from provisioning.databases.paths import path_between
        from provisioning.providers.payload_keys import PayloadKeys
        from provisioning.rollout import seams
        from provisioning.rollout.bringing import DatabaseReplayer
        from provisioning.workflows import data_keys, handing_out
        from tenants.audit import sources
        from tenants.isolation import credentials, keys

        credentials.register(handing_out.InProcess())
        keys.register(data_keys.InProcess())
        sources.register(PayloadKeys())
        seams.replayer, seams.path_between = DatabaseReplayer(), path_between
        checks.register(checks.Tags.database)(versions_in_use_are_listed)
