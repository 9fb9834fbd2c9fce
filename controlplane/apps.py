from django.apps import AppConfig


class Unconnected(AppConfig):
    """The models alone, as provisioning's."""

    name = "controlplane"
    default_auto_field = "django.db.models.BigAutoField"


class ControlplaneConfig(Unconnected):
    default = True

    def ready(self) -> None:
        """Hang the publisher into the engine's bell: the engine itself knows no broker."""
        from controlplane.bell import Bell
        from provisioning.engine import bell

        bell.ring = Bell().ring
