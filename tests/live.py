"""The control plane and the example site as processes of their own, each with the rights it has in production."""

import http.client
import os
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message
from pathlib import Path
from urllib.parse import urlencode
from uuid import uuid4

from controlplane.stack.embedded import Stack
from controlplane.stack.ports import HOST, free_ports, replies
from controlplane.stack.process import Program, start

CHECKOUT = Path(__file__).resolve().parents[1]
MINUTE = 60


@dataclass(frozen=True, slots=True)
class Live:
    """Addresses on 127.0.0.1; `folder` holds each process's log."""

    web: int
    application: int
    folder: Path

    def url(self, slug: str) -> str:
        return f"http://{slug}.localhost:{self.application}/"

    def last_words(self) -> str:
        """The end of each process's log, for a failing test's message."""
        return "\n".join(log.read_text()[-2_000:] for log in self.folder.glob("*.wsgi.log"))


@contextmanager
def served(stack: Stack, key: str) -> Iterator[Live]:
    """Both processes, until the block is left. `key` is the application's, of the API."""
    web, folder = free_ports().web, stack.folder / "logs"
    with control_plane(stack, web), application(stack, key, api=f"http://{HOST}:{web}") as port:
        yield Live(web, port, folder)


@contextmanager
def control_plane(stack: Stack, port: int, wsgi: str = "controlplane.wsgi", *options: str) -> Iterator[None]:
    """It alone; `options` are gunicorn's. Its log has the name of `wsgi` and the port, as several may run."""
    program = _gunicorn(wsgi, port, {**os.environ, **stack.environment}, *options)
    with _running(program, stack.folder / "logs"):
        yield


@contextmanager
def application(stack: Stack, key: str, *, api: str) -> Iterator[int]:
    """The example site alone, on the port that is yielded; `api` is the control plane's address."""
    port = free_ports().application
    environment = {
        "PATH": os.environ["PATH"],
        "DIRECTORY_URL": stack.environment["DIRECTORY_URL"],
        "APPLICATION_SECRET_KEY": "of the application alone",
        "TENURE_API_URL": api,
        "TENURE_API_KEY": key,
        "TENANT_URL": f"http://{{slug}}.localhost:{port}/",
    }
    with _running(_gunicorn("examples.site.wsgi", port, environment), stack.folder / "logs"):
        yield port


@contextmanager
def _running(program: Program, folder: Path) -> Iterator[None]:
    child = start(program, output=folder / f"{program.name}.log")
    try:
        child.wait_until_ready()
        yield
    finally:
        child.stop()


def _gunicorn(wsgi: str, port: int, environment: Mapping[str, str], *options: str) -> Program:
    """Of an option given twice gunicorn takes the last."""
    usual = ("--bind", f"{HOST}:{port}", "--worker-class", "gthread", "--threads", "8", "--no-control-socket")
    return Program(
        name=f"{port}.{wsgi}",
        command=(sys.executable, "-m", "gunicorn", f"{wsgi}:application", *usual, *options),
        environment=environment,
        folder=CHECKOUT,
        ready=lambda: replies(port),
        ready_within_s=MINUTE,
    )


@dataclass(frozen=True, slots=True)
class Page:
    status: int
    headers: Message = field(repr=False)
    text: str


@dataclass(slots=True)
class Visitor:
    """A browser's manners without its weight: one host, its cookies, and forms with their token."""

    live: Live
    host: str
    cookies: dict[str, str] = field(default_factory=dict)

    def get(self, path: str = "/") -> Page:
        return self._ask("GET", path, b"", {})

    def post(self, path: str, form: Mapping[str, str | list[str]], *, at: str = "/") -> Page:
        """Fill in a form of the page `at`."""
        body = urlencode({**form, "csrfmiddlewaretoken": self._token(at)}, doseq=True).encode()
        return self._ask("POST", path, body, {"Content-Type": "application/x-www-form-urlencoded"})

    def upload(self, path: str, name: str, content: bytes, *, at: str) -> Page:
        boundary = uuid4().hex
        token = f'--{boundary}\r\nContent-Disposition: form-data; name="csrfmiddlewaretoken"\r\n\r\n{self._token(at)}'
        file = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'
        body = f"{token}\r\n{file}".encode() + content + f"\r\n--{boundary}--\r\n".encode()
        return self._ask("POST", path, body, {"Content-Type": f"multipart/form-data; boundary={boundary}"})

    def _token(self, at: str) -> str:
        page = self.get(at)
        found = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page.text)
        assert found, f"no form at {at}: {page.status}\n{self.live.last_words()}"
        return found[1]

    def _ask(self, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> Page:
        connection = http.client.HTTPConnection(HOST, self.live.application, timeout=30)
        try:
            sent = {"Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items()), **headers}
            connection.putrequest(method, path, skip_host=True)
            connection.putheader("Host", self.host.encode("latin-1"))
            connection.putheader("Content-Length", str(len(body)))
            for name, value in sent.items():
                connection.putheader(name, value)
            connection.endheaders(body)
            reply = connection.getresponse()
            for cookie in reply.headers.get_all("Set-Cookie", ()):
                name, _, rest = cookie.partition("=")
                self.cookies[name] = rest.partition(";")[0]
            return Page(reply.status, reply.headers, reply.read().decode())
        finally:
            connection.close()
