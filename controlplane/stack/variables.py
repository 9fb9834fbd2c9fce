"""Which parts are embedded and which are named by the environment; every complaint names its variable."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from controlplane.stack.credentials import Credentials
from controlplane.stack.embedded import environment as embedded_environment
from controlplane.stack.errors import StackError
from controlplane.stack.files import data_folder
from controlplane.stack.ports import DEFAULT_BASE, HOST, WEED_GRPC_OFFSET, Ports

DATABASES = ("DATABASE_URL", "KEYRING_URL", "DIRECTORY_URL", "CLUSTER_URL")
# Where one of these is unset, settings.py takes DATABASE_URL or KEYRING_URL.
DATABASE_OWNERS = ("DATABASE_OWNER_URL", "KEYRING_OWNER_URL", "VERIFIER_URL", "KEYRING_VERIFIER_URL")
EXAMPLE, EXAMPLE_WSGI = "examples.projects", "examples.site.wsgi:application"
LOCAL_HOSTS = f"{HOST},localhost"
HIGHEST_BASE = 65_535 - WEED_GRPC_OFFSET - 20


@dataclass(frozen=True, slots=True)
class Choice:
    """What the environment asks for: which servers to start, where, and over which data."""

    folder: Path
    ports: Ports
    servers: frozenset[str]
    given: Mapping[str, str] = field(repr=False)

    @property
    def application_key_file(self) -> Path:
        return self.folder / "application-key"

    @property
    def application(self) -> str:
        """What serves tenants, as gunicorn names it; empty where the tenant application is served elsewhere."""
        apps = self.given.get("TENANT_APPS") or ("" if self.given.get("TENANT_SQL") else EXAMPLE)
        shows_the_example = EXAMPLE in apps.split(",")
        return self.given.get("APPLICATION_WSGI") or (EXAMPLE_WSGI if shows_the_example else "")

    def environment(self, credentials: Credentials) -> dict[str, str]:
        """The variables of Tenure's processes: what was given, over what the embedded servers need."""
        ours = embedded_environment(self.ports, credentials)
        given = {name: value for name, value in self.given.items() if value or name not in ours}  # empty is not set
        if "object-store" in self.servers:  # keys and profiles of another store would be sent to ours
            given = {name: value for name, value in given.items() if not name.startswith("AWS_")}
        if "postgres" not in self.servers:
            ours = {name: value for name, value in ours.items() if name not in (*DATABASES, *DATABASE_OWNERS)}
        if "object-store" not in self.servers:
            ours = {name: value for name, value in ours.items() if not name.startswith(("AWS_", "S3_"))}
        addresses = {
            "TENURE_API_URL": f"http://localhost:{self.ports.web}",
            "TENANT_URL": f"http://{{slug}}.localhost:{self.ports.application}/",
            "TENURE_APPLICATION_KEY_FILE": str(self.application_key_file),
        }
        return {**addresses, **ours, **given, **_past_proxies(given), "PYTHONUNBUFFERED": "1"}


def choose(given: Mapping[str, str] = os.environ) -> Choice:
    """Raises StackError where variables contradict each other or are no URLs."""
    servers = set()
    named = [name for name in (*DATABASES, *DATABASE_OWNERS) if given.get(name)]
    if not named:
        servers.add("postgres")
    elif missing := [name for name in DATABASES if not given.get(name)]:
        raise StackError(
            f"{named[0]} is set, so no PostgreSQL is started here, and then {' and '.join(missing)} must be set too. "
            f"Set {'them' if len(missing) > 1 else 'it'}, or unset {named[0]}. See docs/configuration.md."
        )
    if not (given.get("BROKER_URL") and given.get("CACHE_URL")):
        servers.add("valkey")
    if "S3_ENDPOINT_URL" not in given:
        servers.add("object-store")  # set but empty means AWS, where boto3 knows the address
    for name in named:
        _expect_scheme(name, given[name], "postgresql", "postgres")
    if given.get("BROKER_URL"):
        _expect_scheme("BROKER_URL", given["BROKER_URL"], "redis", "rediss", "amqp", "amqps")
    if given.get("CACHE_URL"):
        _expect_scheme("CACHE_URL", given["CACHE_URL"], "redis", "rediss")
    if given.get("S3_ENDPOINT_URL"):
        _expect_scheme("S3_ENDPOINT_URL", given["S3_ENDPOINT_URL"], "http", "https")
    return Choice(data_folder(given), Ports(_base(given.get("TENURE_PORT", ""))), frozenset(servers), given)


def _past_proxies(given: Mapping[str, str]) -> dict[str, str]:
    """Clients of S3 and of our own API would ask a proxy of the environment for this very machine."""
    return {name: ",".join(filter(None, (given.get(name), LOCAL_HOSTS))) for name in ("NO_PROXY", "no_proxy")}


def _base(text: str) -> int:
    if not text:
        return DEFAULT_BASE
    if not text.isdecimal() or not 1024 <= int(text) <= HIGHEST_BASE:  # noqa: PLR2004  below are the system's ports
        raise StackError(f"TENURE_PORT is {text!r}. Set it to a number from 1024 to {HIGHEST_BASE}, such as 9000.")
    return int(text)


def _expect_scheme(name: str, url: str, *schemes: str) -> None:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in schemes and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number
        usable = False
    if not usable:
        raise StackError(f"{name} is not a URL that can be used: it must look like {schemes[0]}://host:port/…")
