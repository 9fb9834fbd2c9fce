"""Part of the onboarding benchmark: from `POST /api/v1/tenants` to active, one tenant after the other. Prints JSON."""

import json
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

from benchmarks import control
from controlplane.stack.ports import HOST, free_ports

WARM = 2  # the first request compiles URLs and opens connections


def main(count: int) -> None:
    with served() as (port, token):
        seconds = [post_to_active(port, token) for _turn in range(count + WARM)][WARM:]
    print(json.dumps({"seconds": seconds}))


@contextmanager
def served() -> Iterator[tuple[int, str]]:
    """The control plane with two worker processes: its port, and a key of its API."""
    control.furnish()
    from controlplane.keys import WIDEST, make_key
    from tenants.actions import Actor

    token = make_key(
        principal="bench",
        name="benchmark",
        scopes=WIDEST,
        actor=Actor(kind="system", id="setup", name="benchmark"),
    ).token
    port = free_ports().web
    server = ("-m", "gunicorn", "controlplane.wsgi:application", "--bind", f"{HOST}:{port}", "--threads", "4")
    with control.process(*server, "--log-level", "error", "--no-control-socket"), control.worker(processes=2):
        yield port, token


def post_to_active(port: int, token: str, plan: str = "standard") -> float:
    """Seconds from sending the request to reading `active` in the control database."""
    from tenants.models import Tenant

    slug = f"post-{uuid4().hex[:12]}"
    body = json.dumps({"slug": slug, "name": slug, "plan": plan}).encode()
    headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": uuid4().hex, "Content-Type": "application/json"}
    request = urllib.request.Request(f"http://{HOST}:{port}/api/v1/tenants", body, headers)
    before = time.perf_counter()
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
        assert answer.status == 202
    while Tenant.objects.filter(slug=slug, state="provisioning").exists():
        time.sleep(0.002)
    after = time.perf_counter()
    assert Tenant.objects.get(slug=slug).state == "active"
    return after - before


if __name__ == "__main__":
    main(int(sys.argv[1]))
