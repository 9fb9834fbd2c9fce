"""Tenure's own processes: the control plane, the tenants' application, two workers and the sweeper."""

import signal
import sys
from collections.abc import Callable, Mapping

from controlplane.stack.credentials import Credentials
from controlplane.stack.files import CHECKOUT
from controlplane.stack.ports import HOST, is_well, replies
from controlplane.stack.process import Program, always_ready
from controlplane.stack.variables import EXAMPLE_WSGI, Choice

# The variables that hold the control plane's own credentials and keys, and what begins like them.
CONTROL_PLANE_ONLY = ("DATABASE_", "KEYRING_", "CLUSTER_", "BROKER_", "CACHE_", "S3_", "AWS_", "TENURE_", "SECRET_KEY")


def programs(choice: Choice, credentials: Credentials, environment: Mapping[str, str]) -> tuple[Program, ...]:
    """The processes in the order of starting. Workers first: readiness asks for one that looked for work."""
    ports = choice.ports
    ours = (
        _worker("operations", environment, processes=3),
        _worker("fleet", environment, processes=1),
        _django("sweeper", ("manage.py", "sweep"), environment, grace_s=15),
        _gunicorn(
            "web",
            "controlplane.wsgi:application",
            ports.web,
            environment,
            ready=lambda: is_well(ports.web, "/healthz"),
        ),
    )
    if not choice.application:
        return ours
    tenants = _gunicorn(
        "application",
        choice.application,
        ports.application,
        _of_application(choice, credentials, environment),
        ready=lambda: _serves(choice),
    )
    return (*ours, tenants)


def _serves(choice: Choice) -> bool:
    """What the first page of somebody's own application answers is not ours to judge; the example's is."""
    port = choice.ports.application
    return is_well(port, "/") if choice.application == EXAMPLE_WSGI else replies(port)


def _of_application(choice: Choice, credentials: Credentials, environment: Mapping[str, str]) -> dict[str, str]:
    """What a customer's own process would have: whose host is whose, and a key for one kind of request."""
    rest = {name: value for name, value in environment.items() if not name.startswith(CONTROL_PLANE_ONLY)}
    return {
        **rest,
        "APPLICATION_SECRET_KEY": credentials.application_secret_key,
        "TENURE_API_URL": environment["TENURE_API_URL"],
        "TENURE_API_KEY": choice.application_key_file.read_text(),
    }


def setup(environment: Mapping[str, str]) -> Program:
    """Prepares the databases; what an operator should know of a first run is what it writes to its output."""
    return _django("setup", ("manage.py", "setup"), environment, grace_s=30)


def _django(
    name: str,
    arguments: tuple[str, ...],
    environment: Mapping[str, str],
    *,
    grace_s: float,
    orphaned_with: signal.Signals = signal.SIGKILL,
    ready: Callable[[], bool] = always_ready,
) -> Program:
    return Program(
        name=name,
        command=(sys.executable, *arguments),
        environment=environment,
        folder=CHECKOUT,
        grace_s=grace_s,
        orphaned_with=orphaned_with,
        ready=ready,
        ready_within_s=60,
    )


def _gunicorn(
    name: str, application: str, port: int, environment: Mapping[str, str], *, ready: Callable[[], bool]
) -> Program:
    options = (
        *("--bind", f"{HOST}:{port}", "--worker-class", "gthread", "--workers", "2", "--threads", "8"),
        *("--graceful-timeout", "5", "--log-level", "warning", "--no-control-socket"),
        "--preload",  # loaded once, then forked
    )
    return _django(
        name,
        ("-m", "gunicorn", application, *options),
        environment,
        grace_s=10,
        orphaned_with=signal.SIGQUIT,  # ends at once and takes its workers along
        ready=ready,
    )


def _worker(queue: str, environment: Mapping[str, str], *, processes: int) -> Program:
    """A Celery worker of one queue. Everything else about it is in controlplane/celery.py."""
    options = (
        *("-Q", f"tenure.{queue}", "-n", f"{queue}@%h", "--concurrency", str(processes), "--loglevel", "WARNING"),
        *("--without-gossip", "--without-mingle", "--without-heartbeat"),
    )
    return _django(
        queue,
        ("-m", "celery", "--quiet", "-A", "controlplane", "worker", *options),
        {
            **environment,
            # A soft shutdown: the step ends and its run is given back, see worker_soft_shutdown_timeout.
            "REMAP_SIGTERM": "SIGQUIT",
            # Celery warns root because of pickled messages, and ours are JSON.
            "PYTHONWARNINGS": "ignore:You're running the worker with superuser privileges",
        },
        grace_s=60,
        orphaned_with=signal.SIGTERM,
    )
