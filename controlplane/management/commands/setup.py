"""`manage.py setup`: everything between running servers and a first order. `make run` runs it at each start."""

from typing import Any

from django.core.management.base import BaseCommand

from controlplane.stack.first_run import set_up


class Command(BaseCommand):
    help = "Migrate, register the cluster, publish the tenant application; safe to run again."
    requires_system_checks = ()

    def handle(self, *_args: Any, **_options: Any) -> None:
        self.stdout.write(set_up(self.stderr.write), ending="")
