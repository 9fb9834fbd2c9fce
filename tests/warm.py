"""Programs that publish and replay start in a process that has Django's modules already, as a fork of this one.

Each is a real process of its own, with the arguments, environment and streams it was given: what is saved is the
second that importing takes, some hundred times in a run of the tests. `python -m tests.warm DESCRIPTOR` serves; as a
script, given a socket and a command, this file is the client that stands for the program.
"""

import array
import contextlib
import json
import os
import select
import signal
import socket
import sys
from collections.abc import Iterator

PR_SET_PDEATHSIG = 1
STREAMS = (0, 1, 2)
LEARN = "import django; django.setup(); import sys; print(*sys.modules)"
OURS = ("controlplane", "provisioning", "tenants", "examples", "tests")


def serve(descriptor: int) -> None:
    """Fork one program for each client, until the process that started this one ends."""
    end_with_parent()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # keepers wait for their programs; nobody waits for them
    import_what_django_needs()
    with socket.socket(fileno=descriptor) as server:
        while True:
            client, _ = server.accept()
            if os.fork() == 0:
                server.close()
                keep(client)
            client.close()


def end_with_parent() -> None:
    import ctypes

    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def import_what_django_needs() -> None:
    """Every module of other people's that imports without settings: none may have read this process's."""
    import importlib
    import subprocess

    learned = subprocess.run((sys.executable, "-c", LEARN), check=True, capture_output=True, text=True)
    os.environ.pop("DJANGO_SETTINGS_MODULE", None)
    for name in learned.stdout.split():
        if name.partition(".")[0] not in OURS:
            with contextlib.suppress(Exception):
                importlib.import_module(name)


def keep(client: socket.socket) -> None:
    """Start the client's program, tell how it ended, and end it when the client is gone."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    order, streams = received(client)
    program = os.fork()
    if program == 0:
        client.close()
        become(order, streams)
    for stream in streams:
        os.close(stream)
    ended = os.pidfd_open(program)
    if ended not in select.select([ended, client.fileno()], [], [])[0]:
        os.kill(program, signal.SIGKILL)
    _, status = os.waitpid(program, 0)
    with contextlib.suppress(OSError):
        client.send(bytes([os.waitstatus_to_exitcode(status) % 256]))
    os._exit(0)


def received(client: socket.socket) -> tuple[dict[str, object], list[int]]:
    """The order, and the client's own three streams."""
    room = array.array("i", STREAMS)
    text, ancillary, _flags, _address = client.recvmsg(1 << 20, socket.CMSG_SPACE(len(room) * room.itemsize))
    streams = array.array("i")
    streams.frombytes(ancillary[0][2])
    while not text.endswith(b"\n"):
        text += client.recv(1 << 20)
    return json.loads(text), list(streams)


def become(order: dict[str, object], streams: list[int]) -> None:
    """Be `python -m MODULE` in the place, environment and streams of the client."""
    import runpy
    import traceback

    end_with_parent()
    for stream, number in zip(streams, STREAMS, strict=True):
        os.dup2(stream, number)
        os.close(stream)
    status = 1
    try:
        os.environ.clear()
        os.environ.update(order["environment"])  # type: ignore[call-overload]
        os.chdir(str(order["folder"]))
        sys.path[:0] = [str(order["folder"]), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
        importlib_invalidate()
        sys.argv = [str(order["module"])]
        runpy.run_module(str(order["module"]), run_name="__main__", alter_sys=True)
        status = 0
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)  # noqa: T201  as the interpreter does
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # noqa: BLE001  the interpreter's last resort
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def importlib_invalidate() -> None:
    """Packages that were written since this process began."""
    import importlib

    importlib.invalidate_caches()


def stand_for(path: str, command: list[str]) -> int:
    """The client: `-m MODULE`. Returns the program's exit code."""
    order = {"module": command[1], "folder": os.getcwd(), "environment": dict(os.environ)}  # noqa: PTH109
    with socket.socket(socket.AF_UNIX) as server:
        server.connect(path)
        text = json.dumps(order).encode() + b"\n"
        sent = server.sendmsg([text], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", STREAMS))])
        server.sendall(text[sent:])
        answer = server.recv(1)
    return answer[0] if answer else 1


@contextlib.contextmanager
def served(path: os.PathLike[str]) -> Iterator[list[str]]:
    """What to start a program with, in place of the interpreter, while this lasts."""
    import subprocess

    with socket.socket(socket.AF_UNIX) as door:
        door.bind(os.fspath(path))
        door.listen()  # who comes before Django's modules are there waits
        command = (sys.executable, "-m", "tests.warm", str(door.fileno()))
        with subprocess.Popen(command, pass_fds=[door.fileno()]) as server:
            yield [sys.executable, "-SI", __file__, os.fspath(path)]
            server.kill()


if __name__ == "__main__":
    if len(sys.argv) > 2:
        sys.exit(stand_for(sys.argv[1], sys.argv[2:]))
    serve(int(sys.argv[1]))
