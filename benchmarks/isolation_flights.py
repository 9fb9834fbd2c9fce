"""Part of the isolation benchmark: how often a client waits for the server, counted between the two.

A flight is everything the client sends before it reads an answer, so a pipeline of five commands is one.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from selectors import EVENT_READ, DefaultSelector

from controlplane.stack.ports import HOST

CHUNK = 1 << 16


@dataclass
class Counter:
    """A door to a server on this machine that counts what goes through it."""

    target: int
    flights: int = 0
    listener: socket.socket = field(default_factory=lambda: socket.create_server((HOST, 0)))

    @property
    def port(self) -> int:
        return int(self.listener.getsockname()[1])

    def during(self, act: Callable[[], object]) -> int:
        before = self.flights
        act()
        return self.flights - before

    def serve(self) -> None:
        while True:
            try:
                client, _address = self.listener.accept()
            except OSError:  # closed: the benchmark is over
                return
            threading.Thread(target=self._relay, args=(client,), daemon=True).start()

    def _relay(self, client: socket.socket) -> None:
        with client, socket.create_connection((HOST, self.target)) as server, DefaultSelector() as selector:
            for side in (client, server):
                side.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            selector.register(client, EVENT_READ, server)
            selector.register(server, EVENT_READ, client)
            waiting = False
            while True:
                for key, _events in selector.select():
                    said = key.fileobj.recv(CHUNK)  # type: ignore[union-attr]  # a socket
                    if not said:
                        return
                    if key.fileobj is client and not waiting:
                        self.flights += 1
                    waiting = key.fileobj is client
                    key.data.sendall(said)


@contextmanager
def counted(target: int) -> Iterator[Counter]:
    """A counter before the port `target`, until the end of the block."""
    counter = Counter(target)
    threading.Thread(target=counter.serve, daemon=True).start()
    try:
        yield counter
    finally:
        counter.listener.close()
