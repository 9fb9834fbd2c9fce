"""`manage.py register_cluster NAME --url … --region …`: take a PostgreSQL server into the register."""

import os
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from provisioning import lifecycle
from tenants.actions import Actor
from tenants.errors import TenureError


class Command(BaseCommand):
    help = "Check and prepare a PostgreSQL server, and register it as a cluster. Safe to run again."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name")
        parser.add_argument(
            "--url", help="the provisioning role's; without it CLUSTER_URL, which no process list shows"
        )
        parser.add_argument("--region", required=True)
        parser.add_argument("--capacity", type=int, help="tenants (10000)")
        parser.add_argument("--max-running", type=int, help="operations at once (4)")
        parser.add_argument("--public-host", default="", help="what applications connect to (the URL's)")
        parser.add_argument("--public-port", type=int)

    def handle(self, *, name: str, url: str | None, verbosity: int, **options: Any) -> None:
        asked = ("region", "capacity", "max_running", "public_host", "public_port")
        if not (url := url or os.environ.get("CLUSTER_URL")):
            raise CommandError("There is no URL. Give --url, or set CLUSTER_URL.")
        try:
            cluster, findings = lifecycle.register_cluster(
                name=name,
                url=url,
                actor=Actor(kind="command", id="register_cluster", name="register_cluster"),
                **{field: options[field] for field in asked},
            )
        except TenureError as error:
            raise CommandError(f"{error} {error.cure}") from error
        if verbosity:
            self.stdout.write(f"Registered {cluster.name} in {cluster.region}, for {cluster.capacity} tenants.")
            for finding in findings:
                self.stdout.write(f"  {finding.subject}: {finding.message} {finding.hint}")
