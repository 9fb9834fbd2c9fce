"""`manage.py sweep`: look after deadlines and unheard wake-ups, again and again."""

import logging
import signal
from argparse import ArgumentParser
from threading import Event
from types import FrameType
from typing import Any

from django.core.management.base import BaseCommand
from django.db import InterfaceError, OperationalError, close_old_connections

from provisioning import lifecycle

logger = logging.getLogger("tenure.sweep")


class Command(BaseCommand):
    help = "Park what is overdue, ring for what waits, and drive it when nobody answers. Any number of copies may run."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--every", type=float, default=5.0, help="Seconds between two passes.")
        parser.add_argument("--once", action="store_true", help="One pass, then end.")

    def handle(self, *_args: Any, every: float, once: bool, **_options: Any) -> None:
        stop = Event()

        def end(_signal: int, _frame: FrameType | None) -> None:
            stop.set()

        signal.signal(signal.SIGTERM, end)
        signal.signal(signal.SIGINT, end)
        while not stop.is_set():
            try:
                lifecycle.sweep()
                lifecycle.keep_evidence()
            except (OperationalError, InterfaceError) as error:  # the next pass finds whatever this one did not
                logger.warning("The control database did not answer: %s", error)
            close_old_connections()
            stop.wait(0 if once else every)
            if once:
                return
