"""What the statements of a walk are sent through: our own connection, or the process that also runs Python."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import psycopg

from provisioning.databases import guard
from provisioning.databases.fingerprint import shape
from provisioning.databases.replaying import sending
from provisioning.databases.replaying.errors import Refusal, Refused
from provisioning.databases.replaying.walks import Act
from provisioning.databases.servers import Connection, run
from tenants.context import TenantContext
from tenants.isolation.tickets import USE, mint

APPLICATION = "tenure:replay"  # what a session of ours is called on the server


class Session(Protocol):
    """One connection to a target's database. Everything raises Refused, and leaves the transaction for `roll_back`."""

    def send(self, text: str) -> str | None:
        """Run the statements of a text. Returns the first field of the last answer, if it has one."""

    def enter(self, tenant: TenantContext, purpose: str = USE) -> None:
        """Work as this tenant of a pool from here on, until the transaction ends or another enters."""

    def python(self, act: Act) -> None:
        """Run one operation of a migration."""

    def lines(self, schema: str) -> list[str]:
        """The shape of the schema, as this transaction sees it."""

    def roll_back(self) -> None:
        """End the transaction, whatever state it is in."""


@dataclass(frozen=True, slots=True)
class Straight:
    """Our own connection, which is in autocommit: transactions begin and end by the texts that are sent."""

    connection: Connection

    def send(self, text: str) -> str | None:
        return sending.send(self.connection, text)

    def enter(self, tenant: TenantContext, purpose: str = USE) -> None:
        try:
            run(self.connection, guard.ENTER, *mint(tenant, guard.context_key(tenant), purpose=purpose))
        except psycopg.Error as error:
            raise Refused(Refusal.of(error)) from error

    def python(self, act: Act) -> None:
        raise NotImplementedError(f"{act.name} runs in another process.")

    def lines(self, schema: str) -> list[str]:
        return shape(self.connection, schema)

    def roll_back(self) -> None:
        sending.roll_back(self.connection)
