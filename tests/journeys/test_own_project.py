"""examples/own_project as its author has it: elsewhere, with Tenure's kit installed, serving a pool and a schema."""

import base64
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import time
import urllib.request
import venv
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from controlplane.stack.embedded import Stack
from controlplane.stack.ports import HOST, free_ports, replies
from controlplane.stack.process import Child, Program, start
from tenants.models import Pool
from tests import databases
from tests.live import CHECKOUT, MINUTE, Live, Page, Visitor
from tests.pools import drop_pool

APPS = "django.contrib.contenttypes,patients"
PACKAGED = ("pyproject.toml", "README.md", "LICENSE")
LETTER = b"three words here"
WAITS_S = 30
LOOK = """
from django.db import connection
from patients.models import Patient
from tenants.context import tenant_scope
from tenants.isolation.directory import COLUMNS
from tenants.models import Tenant

for tenant in Tenant.objects.filter(state="active").only(*COLUMNS):
    with tenant_scope(tenant.context()):
        if tenant.slug != "acme":
            assert not Patient.objects.filter(name="Bob").exists()
            continue
        with connection.cursor() as cursor:
            cursor.execute("SELECT patient::text FROM patients_patient patient")
            text = str(cursor.fetchall())
        print("Bob" in text, "acme-bob" in text, Patient.objects.get(name="Bob").insurance)
"""
WHERE = """
import tenants
from importlib.util import find_spec
print(tenants.__file__, find_spec("provisioning"), find_spec("controlplane"))
"""

pytestmark = [pytest.mark.long, pytest.mark.timeout(240)]


@dataclass(frozen=True, slots=True)
class Clinic:
    """The project, served. `python`: of its own environment; `variables`: all that its processes know."""

    live: Live
    folder: Path
    python: Path
    variables: dict[str, str]
    key: str
    ids: dict[str, str]

    def visitor(self, slug: str) -> Visitor:
        return Visitor(self.live, f"{slug}.localhost")

    def manage(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = (str(self.python), "manage.py", *arguments)
        return subprocess.run(command, cwd=self.folder, env=self.variables, capture_output=True, text=True, check=False)

    def token(self, slug: str, *scopes: str) -> str:
        request = urllib.request.Request(
            f"http://{HOST}:{self.live.web}/api/v1/tenants/{self.ids[slug]}/tokens",
            json.dumps({"subject": "ward-7", "scopes": scopes}).encode(),
            {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=10) as reply:  # noqa: S310  our own server
            return str(json.load(reply)["access_token"])


@pytest.fixture(scope="module")
def clinic(stack: Stack, migrated: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clinic]:
    home = tmp_path_factory.mktemp("clinic")
    folder = shutil.copytree(CHECKOUT / "examples" / "own_project", home / "project")
    databases.load(stack, "migrated")
    with ExitStack() as processes:
        installing = processes.enter_context(install(home))
        control = {
            **os.environ,
            **stack.environment,
            "DJANGO_SETTINGS_MODULE": "controlplane.settings",
            "TENANT_APPS": APPS,
            "PYTHONPATH": str(folder),
        }
        told = json.loads(said((sys.executable, "-m", "tests.journeys.own_project"), control, CHECKOUT))
        processes.callback(remove, stack, told)
        output, errors = installing.communicate()
        assert installing.returncode == 0, output + errors
        ports, logs, python = free_ports(), stack.folder / "logs", home / "venv" / "bin" / "python"
        variables = {
            "PATH": os.environ["PATH"],
            "CLINIC_SECRET_KEY": "of the clinic alone, and of nobody else",
            "TENURE_API_URL": f"http://{HOST}:{ports.web}",
            "TENURE_API_KEY": told["key"],
            "TENURE_HEADER_SECRET": base64.b64encode(os.urandom(32)).decode(),
            **{name: stack.environment[name] for name in ("DIRECTORY_URL", "CACHE_URL", "BROKER_URL")},
        }

        running: list[Child] = []

        def run(name: str, *command: str, port: int = 0, **more: Any) -> None:
            ready: Callable[[], bool] = (lambda: replies(port)) if port else (lambda: True)
            child = start(
                Program(name=name, command=command, ready=ready, ready_within_s=MINUTE, **more),
                output=logs / f"{name}.wsgi.log",
            )
            processes.callback(child.end)
            running.append(child)

        def serve(name: str, program: str, wsgi: str, port: int, **more: Any) -> None:
            options = ("--worker-class", "gthread", "--threads", "4", "--no-control-socket")
            run(name, program, "-m", "gunicorn", wsgi, "--bind", f"{HOST}:{port}", *options, port=port, **more)

        ours: dict[str, Any] = {"environment": variables, "folder": folder}
        serve(
            "control-of-clinic",
            sys.executable,
            "controlplane.wsgi:application",
            ports.web,
            environment=control,
            folder=CHECKOUT,
        )
        serve("clinic", str(python), "clinic.wsgi:application", ports.application, **ours)
        run("clinic-worker", str(python), "-m", "celery", "-A", "clinic", "worker", "--concurrency", "1", **ours)
        for child in running:
            child.wait_until_ready()
        live = Live(ports.web, ports.application, logs)
        yield Clinic(live, folder, python, variables, told["key"], told["ids"])
        for child in running:  # all at once, then wait for each
            child.ask_to_end()


def remove(stack: Stack, told: dict[str, Any]) -> None:
    """The pool: the cluster outlives this control database, and another would give its pool the same name."""
    url = stack.superuser_url.rsplit("/", 1)[0] + "/" + told["cluster"]
    pool = Pool(pk=UUID(told["pool"]["pk"]), schema=told["pool"]["schema"])
    with psycopg.connect(url, autocommit=True) as superuser:
        drop_pool(superuser, pool)


def install(home: Path) -> "subprocess.Popen[str]":
    """Begin to install the kit of this tree into a new environment, as pip does it from any path.

    What the kit depends on is borrowed from the environment of the tests, so that nothing is asked of the network; a
    copy is installed, since a build leaves its traces where it happens.
    """
    tree = home / "tenure"
    shutil.copytree(CHECKOUT / "tenants", tree / "tenants", ignore=shutil.ignore_patterns("__pycache__"))
    for name in PACKAGED:
        shutil.copy(CHECKOUT / name, tree)
    venv.create(home / "venv", symlinks=True)
    (packages,) = (home / "venv" / "lib").glob("python*/site-packages")
    (packages / "borrowed.pth").write_text(sysconfig.get_path("purelib"))
    command = (sys.executable, "-m", "pip", "--python", str(home / "venv" / "bin" / "python"), "install", "--quiet")
    options = ("--no-index", "--no-deps", "--no-build-isolation", "--disable-pip-version-check", str(tree))
    return subprocess.Popen((*command, *options), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=home)


def said(command: tuple[str, ...], variables: dict[str, str], folder: Path) -> str:
    ran = subprocess.run(command, env=variables, cwd=folder, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr[-5_000:]
    return ran.stdout


def register(visitor: Visitor, name: str, insurance: str, letter: bytes) -> Page:
    """Fill in the form of the first page."""
    boundary = uuid4().hex
    fields = {"csrfmiddlewaretoken": visitor._token("/"), "name": name, "insurance": insurance}
    parts = [f'Content-Disposition: form-data; name="{key}"\r\n\r\n{value}' for key, value in fields.items()]
    parts.append(f'Content-Disposition: form-data; name="letter"; filename="letter.txt"\r\n\r\n{letter.decode()}')
    body = "".join(f"--{boundary}\r\n{part}\r\n" for part in parts) + f"--{boundary}--\r\n"
    return visitor._ask("POST", "/", body.encode(), {"Content-Type": f"multipart/form-data; boundary={boundary}"})


def page_with(clinic: Clinic, visitor: Visitor, text: str) -> str:
    """The first page, once it holds the text."""
    until = time.monotonic() + WAITS_S
    while text not in (page := visitor.get()).text:
        assert time.monotonic() < until, page.text + clinic.live.last_words()
    return page.text


def test_two_clinics_that_do_not_see_each_other(clinic: Clinic) -> None:
    """A page with a form, an encrypted field, a file, a task that a worker runs, a link to the file, the cache."""
    acme, globex = clinic.visitor("acme"), clinic.visitor("globex")
    for visitor, insurance in ((acme, "acme-4711"), (globex, "globex-1")):
        answer = register(visitor, "Ann", insurance, LETTER + insurance.encode())  # the same name in both
        assert answer.status == 302, answer.text + clinic.live.last_words()
    for visitor, ours, theirs in ((acme, "acme-4711", "globex-1"), (globex, "globex-1", "acme-4711")):
        page = page_with(clinic, visitor, "3 words")
        assert f"Ann: {ours}" in page
        assert theirs not in page
        link = page.partition('<a href="/letters/')[2].partition('"')[0]
        moved = visitor.get(f"/letters/{link}")
        with urllib.request.urlopen(str(moved.headers["Location"]), timeout=10) as file:  # noqa: S310  our own server
            assert file.read() == LETTER + ours.encode()
        other = globex if visitor is acme else acme
        assert other.get(f"/letters/{link}").status == 404


def test_the_cache_counts_for_each(clinic: Clinic) -> None:
    acme, globex = clinic.visitor("acme"), clinic.visitor("globex")

    def seen(visitor: Visitor) -> int:
        return int(visitor.get().text.partition("Seen ")[2].partition(" ")[0])

    before = seen(globex)
    for _visit in range(3):
        seen(acme)
    assert seen(globex) == before + 1


def test_a_token_opens_its_own_clinic(clinic: Clinic) -> None:
    acme, globex = clinic.visitor("acme"), clinic.visitor("globex")
    register(acme, "Eve", "acme-eve", b"one")
    register(globex, "Eve", "globex-eve", b"one two")

    def ask(visitor: Visitor, token: str, query: str = "") -> Page:
        return visitor._ask("GET", f"/api/patients/{query}", b"", {"Authorization": f"Bearer {token}"})

    token = clinic.token("acme", "patients:read")
    found = ask(acme, token, "?insurance=acme-eve")
    assert [each["insurance"] for each in json.loads(found.text)] == ["acme-eve"], clinic.live.last_words()
    assert json.loads(ask(acme, token, "?insurance=globex-eve").text) == []
    assert ask(globex, token).status == 403
    assert ask(acme, clinic.token("acme", "patients:write")).status == 403
    assert acme.get("/api/patients/").status in {401, 403}


def test_the_database_holds_no_plaintext(clinic: Clinic) -> None:
    register(clinic.visitor("acme"), "Bob", "acme-bob", b"one")
    ran = clinic.manage("shell", "--verbosity", "0", "-c", LOOK)
    assert ran.stdout.split() == ["True", "False", "acme-bob"], ran.stderr


def test_its_checks_find_nothing(clinic: Clinic) -> None:
    ran = clinic.manage("check", "--fail-level", "WARNING", "--database", "control", "--database", "default")
    assert (ran.returncode, ran.stderr) == (0, ""), ran.stderr


def test_and_find_what_is_wrong(clinic: Clinic) -> None:
    """As they are run, with the project's own Celery app and cache: E005, E007, E008 and E010 in one go."""
    settings = clinic.folder / "clinic" / "wrong.py"
    settings.write_text(
        "from clinic.settings import *\n"
        "CACHES['default'].pop('KEY_FUNCTION')\nLOGGING = {}\nCELERY_ACCEPT_CONTENT = ['json', 'pickle']\n"
        "CELERY_BEAT_SCHEDULE = {'nightly': {'task': 'patients.tasks.count_words', 'schedule': 60}}\n"
    )
    ran = clinic.manage("check", "--settings", "clinic.wrong")
    assert ran.returncode == 1
    for number in ("E005", "E007", "E008", "E010"):
        assert ran.stderr.count(f"(tenants.{number})") == 1, ran.stderr


def test_what_is_installed_is_the_kit_alone(clinic: Clinic) -> None:
    where, *others = said((str(clinic.python), "-c", WHERE), clinic.variables, clinic.folder).split()
    assert Path(where).is_relative_to(clinic.python.parents[1])
    assert others == ["None", "None"]


def test_a_host_of_no_clinic(clinic: Clinic) -> None:
    assert clinic.visitor("nobody").get().status == 404
    assert Visitor(clinic.live, "localhost").get().status == 200


def test_the_document_shows_this_project() -> None:
    """Whatever Python docs/use-the-isolation-kit.md gives to copy is in the project, line by line."""
    text = (CHECKOUT / "docs" / "use-the-isolation-kit.md").read_text()
    sources = (CHECKOUT / "examples" / "own_project").rglob("*.py")
    written = {line.strip() for source in sources for line in source.read_text().splitlines()}
    shown = {
        line.strip() for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL) for line in block.splitlines()
    }
    only_shown = {
        "from tenants.context import tenant_scope",
        "from tenants.isolation.directory import COLUMNS",
        "from tenants.models import Tenant",
        'for tenant in Tenant.objects.filter(state="active").only(*COLUMNS):',
        "with tenant_scope(tenant.context()):",
        "...  # every query, file, cache key and task in here is this tenant's",
    }
    assert shown - written - only_shown == set()
