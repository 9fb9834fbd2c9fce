"""What one lane of a rollout keeps from target to target: a connection, and a process that runs Python."""

from __future__ import annotations

import time
from contextlib import suppress
from types import TracebackType
from typing import Self

import psycopg
from psycopg.conninfo import make_conninfo
from psycopg.pq import TransactionStatus

from provisioning.databases import stamp
from provisioning.databases.replaying.running import Runner
from provisioning.databases.replaying.sessions import APPLICATION
from provisioning.databases.replaying.targets import Target
from provisioning.databases.replaying.walks import Walk
from provisioning.databases.servers import KEPT_S, Connection, connect, run, url_of
from tenants.models import Cluster


class Lane:
    """Targets one after the other; not for two threads. Use it as a context manager, or `close` it.

    A database of one tenant's own is left as soon as its replay ends: a session would be in the way of DROP DATABASE.
    """

    def __init__(self) -> None:
        self._clusters: dict[str, Cluster] = {}
        self._at: tuple[str, str] | None = None
        self._connection: Connection | None = None
        self._runner: Runner | None = None
        self._url = ""  # what it was opened with: a cluster may get another login
        self._rested: float | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.close()

    def connection(self, target: Target) -> Connection:
        """To the target's database, as the provisioning role, in autocommit. Raises ServerUnavailable."""
        at = (target.cluster, target.database)
        if self._connection is None or self._connection.closed or self._at != at or not self._is_awake(target):
            self._hang_up()
            self._connection = connect(self._cluster(target), database=target.database, application=APPLICATION)
            self._at, self._url, self._rested = at, url_of(self._cluster(target)), None
            stamp.prepare(self._connection)
        return self._connection

    def runner(self, target: Target, walk: Walk, apps: list[str]) -> Runner:
        """The process, connected to the target's database. Raises RunnerEnded, MigrationMissing, ServerUnavailable."""
        if self._runner is not None and (self._runner.ended or self._runner.path != walk.path):
            self._runner.close()
            self._runner = None
        if self._runner is None:
            self._runner = Runner(walk, apps)
        self.connection(target)  # prepares an older database
        url = make_conninfo(url_of(self._cluster(target)), dbname=target.database)
        self._runner.connect(url, pooled=target.pooled)
        return self._runner

    def leave(self, target: Target) -> None:
        """Between two targets."""
        if target.database != self._cluster(target).database:
            self._hang_up()
            if self._runner is not None:
                self._runner.hang_up()
        elif self._connection is not None and self._connection.info.transaction_status != TransactionStatus.IDLE:
            self._hang_up()

    def rest(self) -> None:
        """A rollout has ended. The session is kept, with its plans, for one that follows: a new one costs 50 ms."""
        self._end_runner()
        self._clusters.clear()
        self._rested = time.monotonic()

    def close(self) -> None:
        self._hang_up()
        self._end_runner()

    def _is_awake(self, target: Target) -> bool:
        """Whether a session that has rested is still the one that we would open, and answers."""
        rested, self._rested = self._rested, None
        if rested is None or self._connection is None:
            return True
        if time.monotonic() - rested < KEPT_S and self._url == url_of(self._cluster(target)):
            with suppress(psycopg.Error):
                return run(self._connection, "SELECT true") == [(True,)]
        return False

    def _end_runner(self) -> None:
        if self._runner is not None:
            self._runner.close()
            self._runner = None

    def _hang_up(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _cluster(self, target: Target) -> Cluster:
        if target.cluster not in self._clusters:
            self._clusters[target.cluster] = Cluster.objects.get(name=target.cluster)
        return self._clusters[target.cluster]
