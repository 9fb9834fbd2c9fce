"""Ring the workers through Celery. A ring that fails is forgotten: the sweeper rings again within seconds."""

import logging
from time import monotonic

from kombu.exceptions import OperationalError

from controlplane.celery import advance
from provisioning.models import Queue

logger = logging.getLogger("tenure.bell")

SILENT_S = 5.0  # after a failed ring: a dead broker must not slow down every request


class Bell:
    """Publishes wake-ups; one a process. Stays silent for a while after the broker did not answer."""

    def __init__(self) -> None:
        self._silent_until = 0.0

    def ring(self, queue: Queue) -> None:
        """Never raises for a broker that is away."""
        if monotonic() < self._silent_until:
            return
        try:
            advance.apply_async((str(queue),), queue=f"tenure.{queue}", retry=False)
        except (OperationalError, OSError) as error:
            self._silent_until = monotonic() + SILENT_S
            logger.warning("The broker does not answer (%s); the sweeper will find the work.", type(error).__name__)
