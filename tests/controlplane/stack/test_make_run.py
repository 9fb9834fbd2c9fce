"""`make run` as a newcomer meets it, whole: `python -m controlplane.stack` over a folder and ports of its own."""

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import psutil
import pytest

from controlplane.stack.files import CHECKOUT
from controlplane.stack.ports import HOST, Ports, free_ports, is_free
from controlplane.stack.variables import DATABASE_OWNERS, DATABASES

pytestmark = pytest.mark.long

COUNT_PLANS = "from tenants.models import Plan; print(Plan.objects.count(), 'plans')"
START_S = 120  # the suite shares two cores
STOP_S = 90
OURS = (*DATABASES, *DATABASE_OWNERS, "BROKER_URL", "CACHE_URL", "SECRET_KEY", "S3_", "AWS_", "TENURE_", "TENANT_")


class Run:
    """One supervisor, its output line by line, and every process that it began."""

    def __init__(self, folder: Path, ports: Ports, **given: str) -> None:
        self.folder, self.ports = folder, ports
        kept = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
        self.process = subprocess.Popen(
            (sys.executable, "-m", "controlplane.stack"),
            env={**kept, "TENURE_FOLDER": str(folder), "TENURE_PORT": str(ports.base), **given},
            cwd=CHECKOUT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.lines: list[str] = []
        self.reader = threading.Thread(target=self.read)
        self.reader.start()

    def read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as output:
            self.lines.extend(output)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.process.kill()
        self.process.wait()
        self.reader.join()

    @property
    def output(self) -> str:
        return "".join(self.lines)

    def until_ready(self) -> Self:
        end = time.monotonic() + START_S
        while "Ctrl-C stops everything." not in self.output:
            assert self.process.poll() is None, self.output
            assert time.monotonic() < end, self.output
            time.sleep(0.05)
        return self

    def until_ended(self) -> int:
        status = self.process.wait(STOP_S)
        self.reader.join()
        return status

    def children(self) -> list[psutil.Process]:
        return list(psutil.Process(self.process.pid).children(recursive=True))

    def get(self, path: str, **headers: str) -> tuple[int, Any]:
        connection = http.client.HTTPConnection(HOST, self.ports.web, timeout=30)
        try:
            connection.request("GET", path, headers=headers)
            response = connection.getresponse()
            return response.status, json.loads(response.read())
        finally:
            connection.close()

    def until_worked(self) -> None:
        """Workers look for work some seconds after the pages are there."""
        end = time.monotonic() + START_S
        while (answer := self.get("/readyz"))[0] != http.client.OK:
            assert time.monotonic() < end, answer
            time.sleep(0.1)


def refusal(folder: Path, ports: Ports, **given: str) -> str:
    with Run(folder, ports, **given) as run:
        assert run.until_ended() == 1
        return run.output


@pytest.mark.crash
@pytest.mark.timeout(400)
def test_the_life_of_a_stack(folder: Path) -> None:
    """A first start, two that are refused beside it, a killed supervisor, a second start over its data, and Ctrl-C."""
    ports = free_ports()
    with Run(folder, ports) as first:
        first.until_ready().until_worked()
        token = re.search(r"API key +(tnr_\w+)", first.output)
        assert token, first.output
        assert re.search(r"Sign in +ops / \S{20}", first.output)
        assert first.output.rindex("Sign in") > first.output.rindex(
            "setup "
        )  # seen last, where it is not scrolled away
        bearer = {"Authorization": f"Bearer {token[1]}"}
        status, plans = first.get("/api/v1/plans", **bearer)
        assert (status, {plan["name"] for plan in plans["results"]}) == (200, {"pool", "standard", "dedicated"})

        # Another terminal needs no variables: manage.py finds the stack that runs.
        listed = subprocess.run(
            (sys.executable, "manage.py", "shell", "-v", "0", "-c", COUNT_PLANS),
            cwd=CHECKOUT,
            env={"PATH": os.environ["PATH"], "TENURE_FOLDER": str(folder)},
            capture_output=True,
            text=True,
            check=True,
        )
        assert listed.stdout.strip() == "3 plans"

        assert f"Tenure already runs over {folder}, as process {first.process.pid}" in refusal(folder, free_ports())
        taken = refusal(folder.with_name("other"), ports)
        assert f"Port {ports.web}, which web needs, is taken by process" in taken
        assert "TENURE_PORT=" in taken

        family = first.children()
        first.process.kill()
        first.process.wait()
        servers = [
            each for each in family if each.is_running() and each.name() in {"postgres", "valkey-server", "weed"}
        ]
        _gone, alive = psutil.wait_procs(servers, timeout=STOP_S)
        assert [each for each in alive if each.status() != psutil.STATUS_ZOMBIE] == []

    with Run(folder, ports) as second:
        second.until_ready().until_worked()
        assert "shown only now" not in second.output
        assert second.get("/api/v1/plans", **bearer)[0] == http.client.OK
        family = second.children()
        second.process.send_signal(signal.SIGINT)
        assert second.until_ended() == 0
        stopped = [line.split("|")[0].strip() for line in second.lines if line.endswith("| stopped\n")]
        assert stopped[-3:] == ["object-store", "valkey", "postgres"]
        _gone, alive = psutil.wait_procs(family, timeout=STOP_S)
        assert [each for each in alive if each.status() != psutil.STATUS_ZOMBIE] == []
    assert all(is_free(port) for used in ports.named.values() for port in used)
    assert not (folder / "processes.json").exists()
    assert not (folder / "environment.json").exists()


@pytest.mark.parametrize("part", ["web", "application", "postgres", "valkey", "object-store"])
def test_a_busy_port_is_named_with_its_holder_and_the_way_out(folder: Path, part: str) -> None:
    ports = free_ports()
    port = ports.named[part][0]
    with socket.create_server((HOST, port)):
        said = refusal(folder, ports)
    assert f"Port {port}, which {part} needs, is taken by process {os.getpid()}" in said
    assert f"TENURE_PORT={ports.base + 1000}" in said


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"DATABASE_URL": "postgresql://u:hunter2@db.example/tenure"}, "KEYRING_URL"),
        ({"BROKER_URL": "nonsense"}, "BROKER_URL"),
        ({"TENURE_PORT": "eighty"}, "TENURE_PORT"),
    ],
)
def test_a_wrong_variable_is_refused_before_anything_is_made(
    folder: Path, given: Mapping[str, str], named: str
) -> None:
    ports = free_ports()
    with Run(folder, ports, **given) as run:
        assert run.until_ended() == 1
    assert named in run.output
    assert "hunter2" not in run.output
    assert "Traceback" not in run.output
    assert not folder.exists()
