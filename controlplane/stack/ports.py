"""Which port each part listens on. All are derived from one base, so that several stacks run side by side."""

import http.client
import json
import os
import random
import socket
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

from controlplane.stack.errors import StackError

HOST = "127.0.0.1"
DEFAULT_BASE = 8000
# weed's own worker looks for its admin server's gRPC port here, whatever -admin.port.grpc says.
WEED_GRPC_OFFSET = 10_000
WEED_SOCKET_FOLDER = Path("/tmp")  # noqa: S108
# Below 32768, where Linux begins to take the ports of outgoing connections: one of those could hold ours.
FREE_BASES = range(11_000, 20_000, 20)


@dataclass(frozen=True, slots=True)
class Ports:
    base: int = DEFAULT_BASE

    @property
    def web(self) -> int:
        return self.base

    @property
    def application(self) -> int:
        return self.base + 1

    @property
    def postgres(self) -> int:
        return self.base + 2

    @property
    def valkey(self) -> int:
        return self.base + 3

    @property
    def s3(self) -> int:
        return self.base + 4

    @property
    def weed(self) -> dict[str, int]:
        """Inner ports by weed's flag. Other processes have no business there: they are closed by signed tokens."""
        return {
            "s3.port": self.s3,
            "s3.port.grpc": self.base + 5,
            "master.port": self.base + 6,
            "master.port.grpc": self.base + 7,
            "volume.port": self.base + 8,
            "volume.port.grpc": self.base + 9,
            "filer.port": self.base + 10,
            "filer.port.grpc": self.base + 11,
            "admin.port": self.base + 12,
            "admin.port.grpc": self.base + 12 + WEED_GRPC_OFFSET,
        }

    @property
    def weed_sockets(self) -> list[Path]:
        """Sockets by which weed's parts reach each other, at a place that it does not let us choose. It leaves them."""
        return [path for port in self.weed.values() for path in WEED_SOCKET_FOLDER.glob(f"seaweedfs-*-{port}.sock")]

    @property
    def named(self) -> dict[str, tuple[int, ...]]:
        """The ports of each part, by the part's name."""
        return {
            "web": (self.web,),
            "application": (self.application,),
            "postgres": (self.postgres,),
            "valkey": (self.valkey,),
            "object-store": tuple(self.weed.values()),
        }


def is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        # As servers do: a port whose last connections are still closing counts as free.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, port))
        except OSError:
            return False
    return True


def may_remove(files: list[Path]) -> bool:
    """Whether all these files are ours to remove: in a shared folder others' are not."""
    return os.geteuid() == 0 or all(path.stat().st_uid == os.geteuid() for path in files)


def answers(port: int) -> bool:
    try:
        with socket.create_connection((HOST, port), timeout=1):
            return True
    except OSError:
        return False


def replies(port: int) -> bool:
    """Whether the web server on this port answers a request, whatever it says: a port is open before its program."""
    return _get(port, "/")[0] != 0


def is_well(port: int, path: str) -> bool:
    """Whether the web server on this port answers 200 there: a process may listen and yet fail every request."""
    return _get(port, path)[0] == HTTPStatus.OK


def what_is_missing(port: int) -> list[str]:
    """What the control plane on this port says that it lacks for its work; nothing when it is ready."""
    status, body = _get(port, "/readyz")
    if status == HTTPStatus.OK:
        return []
    try:
        return [f"{name}: {trouble}" for name, trouble in json.loads(body)["missing"].items()]
    except (ValueError, KeyError):
        return [f"/readyz answers {status or 'nothing'}"]


def _get(port: int, path: str) -> tuple[int, bytes]:
    """Not by urllib, which would ask a proxy of the environment for our own machine. Status 0: no answer."""
    connection = http.client.HTTPConnection(HOST, port, timeout=10)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read()
    except (OSError, http.client.HTTPException):
        return 0, b""
    finally:
        connection.close()


def free_ports() -> Ports:
    """Ports that nobody uses now, at a random base, so that stacks started at the same moment seldom meet."""
    for base in random.sample(FREE_BASES, len(FREE_BASES)):
        ports = Ports(base)
        if all(is_free(port) for part in ports.named.values() for port in part) and may_remove(ports.weed_sockets):
            return ports
    raise StackError(
        f"No {FREE_BASES.step} neighbouring ports are free between {FREE_BASES.start} and {FREE_BASES.stop}."
    )
