"""Each system check of the kit: it names a wrong setting, says the cure, and is silent about a right one."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import django
import psycopg
import pytest
from celery import Celery, Task
from psycopg import sql

from controlplane.stack.embedded import Stack
from tenants.isolation import checks
from tenants.isolation.checks import databases, seams, source, tasks
from tests.live import CHECKOUT
from tests.pair import Pair

pytestmark = pytest.mark.long

SCOPED = {"ENGINE": "tenants.isolation.db.scoped"}
DIRECTORY = {"ENGINE": "django.db.backends.postgresql"}
HOST = "tenants.isolation.middleware.TenantHostMiddleware"
SESSIONS = "django.contrib.sessions.middleware.SessionMiddleware"
CSRF = "tenants.isolation.csrf.TenantCsrfMiddleware"
KEYED = {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "KEY_FUNCTION": "tenants.isolation.cache.make_key"}
KEY = "c2l4dGVlbiBieXRlcyBzaXh0ZWVuIGJ5dGVzIDEyMzQ="  # 32 bytes
TASK = "tenants.isolation.tasks:TenantTask"

RIGHT: list[dict[str, Any]] = [
    {},
    {"DATABASES": {"default": {**SCOPED, "ATOMIC_REQUESTS": True}, "control": DIRECTORY}, "SITE_HOSTS": []},
    {"CACHES": {"default": KEYED}, "MIDDLEWARE": [HOST, SESSIONS, CSRF]},
    {"TENURE_HEADER_SECRET": KEY},
    {"TENURE_TOKEN_ISSUER": None, "TENURE_TOKEN_AUDIENCE": None},
]
WRONG: dict[str, list[dict[str, Any]]] = {
    "tenants.E001": [
        {"DATABASES": {"default": DIRECTORY, "control": DIRECTORY}},
        {"DATABASES": {"default": SCOPED}},
        {"DATABASES": {"default": SCOPED, "control": SCOPED}},
        {"DATABASES": {"default": SCOPED, "control": DIRECTORY, f"t_{'0' * 32}": DIRECTORY}},
        {"DATABASES": {"default": SCOPED, "control": DIRECTORY, "tenants": {"ENGINE": databases.SWITCHING_ENGINE}}},
    ],
    "tenants.E003": [
        {"DATABASES": {"default": {**SCOPED, "OPTIONS": {"prepare_threshold": 5}}, "control": DIRECTORY}},
        {"DATABASES": {"default": {**SCOPED, "OPTIONS": {"options": "-c search_path=x"}}, "control": DIRECTORY}},
        {"DATABASES": {"default": {**SCOPED, "HOST": "db.example.com"}, "control": DIRECTORY}},
        {"DATABASES": {"default": {**SCOPED, "DISABLE_SERVER_SIDE_CURSORS": False}, "control": DIRECTORY}},
    ],
    "tenants.E004": [
        {"DATABASES": {"default": {**SCOPED, "ATOMIC_REQUESTS": True}, "control": DIRECTORY}},
        {"DATABASES": {"default": SCOPED, "control": {**DIRECTORY, "ATOMIC_REQUESTS": True}}},
        {"DATABASES": {"default": {**SCOPED, "AUTOCOMMIT": False}, "control": DIRECTORY}},
    ],
    "tenants.E005": [
        {"CACHES": {"default": {**KEYED, "KEY_FUNCTION": None}}},
        {"CACHES": {"default": KEYED, "pages": {**KEYED, "KEY_FUNCTION": "tenants.isolation.cache.make_platform_key"}}},
        {"MIDDLEWARE": [HOST, "django.middleware.cache.UpdateCacheMiddleware"]},
    ],
    "tenants.E006": [
        {"STORAGES": {"default": {"BACKEND": "django.core.files.storage.FileSystemStorage"}}},
        {"STORAGES": {"default": {"BACKEND": "tenants.isolation.storage.TenantStorage"}, "exports": {}}},
    ],
    "tenants.E009": [{"MIDDLEWARE": []}, {"MIDDLEWARE": [SESSIONS, HOST]}, {"MIDDLEWARE": [CSRF, HOST]}],
    "tenants.E010": [
        {"LOGGING": {}},
        {"LOGGING": {"handlers": {"file": {"class": "logging.FileHandler"}}}},
    ],
    "tenants.E011": [
        {"TENURE_HEADER_SECRET": "dG9vIHNob3J0"},
        {"TENURE_HEADER_SECRET": "not base64!"},
        {"TENURE_HEADER_SECRET": KEY, "SECRET_KEY": KEY},
        {"TENURE_HEADER_SECRET": KEY, "TENURE_HEADER_SECRET_FORMER": KEY.rstrip("=") + "="},
        {"TENURE_CONTEXT_SECRET": KEY},
        {"TENURE_MASTER_KEY": KEY},
    ],
    "tenants.E012": [
        {"TENURE_API_URL": ""},
        {"TENURE_API_URL": "control.example.com"},
        {"TENURE_API_KEY": ""},
    ],
    "tenants.E014": [
        {"TENURE_TOKEN_ISSUER": ""},
        {"TENURE_TOKEN_AUDIENCE": ""},
        {"TENURE_TOKEN_ALGORITHMS": []},
        {"TENURE_TOKEN_ALGORITHMS": ["HS256"]},
        {"TENURE_TOKEN_ALGORITHMS": ["ES256", "none"]},
        {"TENURE_JWKS_URL": "file:///etc/keys.json"},
    ],
    "tenants.E015": [
        {"DATABASE_ROUTERS": []},
        {"DATABASE_ROUTERS": ["django_tenants.routers.TenantSyncRouter", databases.ROUTER]},
        {"TENANT_APPS": ["django.contrib.contenttypes", "django.contrib.auth"]},
        {"TENANT_APPS": ["django.contrib.contenttypes", "django.contrib.auth", "examples.projects", "gone"]},
        {"CONTROL_APPS": ["tenants", "django.contrib.auth"]},
    ],
    "tenants.W002": [
        {"SESSION_COOKIE_DOMAIN": ".example.com"},
        {"CSRF_COOKIE_DOMAIN": ".example.com"},
        {"USE_X_FORWARDED_HOST": True},
        {"SESSION_ENGINE": "django.contrib.sessions.backends.signed_cookies"},
        {"MIDDLEWARE": [HOST, "django.middleware.csrf.CsrfViewMiddleware"]},
    ],
}
CASES = [(number, settings) for number, wrong in WRONG.items() for settings in wrong]
ELSEWHERE = {"E002", "E007", "E008", "E013", "W001", "W003"}


def environment(stack: Stack, **more: str) -> dict[str, str]:
    """What an application's process has, and no more."""
    return {
        "PATH": os.environ["PATH"],
        "DIRECTORY_URL": stack.environment["DIRECTORY_URL"],
        "APPLICATION_SECRET_KEY": "of the application alone",
        "TENURE_API_URL": "http://127.0.0.1:1",
        "TENURE_API_KEY": "a key",
        "DJANGO_SETTINGS_MODULE": "examples.site.settings",
        **more,
    }


def checked(variables: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """`django-admin check` of a project's own process."""
    command = (sys.executable, "-m", "django", "check", "--fail-level", "WARNING", *arguments)
    return subprocess.run(command, cwd=CHECKOUT, env=variables, capture_output=True, text=True, check=False)


def nothing() -> None:
    """A task."""


class Answers:
    """What one process of the example site found, setting by setting."""

    def __init__(self, stack: Stack) -> None:
        asked = [*RIGHT, *(settings for _number, settings in CASES)]
        ran = subprocess.run(
            (sys.executable, "-m", "tests.tenants.isolation.checking"),
            cwd=CHECKOUT,
            env=environment(stack),
            input=json.dumps(asked),
            capture_output=True,
            text=True,
            check=False,
        )
        assert ran.returncode == 0, ran.stderr
        told: list[list[list[str]]] = json.loads(ran.stdout)
        self.found = {json.dumps(settings): found for settings, found in zip(asked, told, strict=True)}

    def to(self, settings: dict[str, Any]) -> list[list[str]]:
        return self.found[json.dumps(settings)]


@pytest.fixture(scope="module")
def answers(stack: Stack) -> Answers:
    return Answers(stack)


@pytest.mark.parametrize("right", RIGHT, ids=str)
def test_right_settings_have_nothing_to_be_told(answers: Answers, right: dict[str, Any]) -> None:
    assert answers.to(right) == []


@pytest.mark.parametrize(("number", "wrong"), CASES, ids=str)
def test_a_wrong_setting_is_named_with_its_cure(answers: Answers, number: str, wrong: dict[str, Any]) -> None:
    found = answers.to(wrong)
    assert number in {each[0] for each in found}, found
    (says, hint) = next((message, hint) for each, message, hint in found if each == number)
    assert any(name in says for name in (*wrong, "PUBLIC_SCHEMA_URLCONF", "TENANT_APPS", "tokens")), says
    assert hint


def test_every_check_is_under_test() -> None:
    numbers = {each.__doc__.split(":")[0].strip() for each in checks.CHECKS if each.__doc__}
    assert len(numbers) == len(checks.CHECKS)
    assert numbers | {"tenants.E013"} == set(WRONG) | {f"tenants.{number}" for number in ELSEWHERE}


@pytest.mark.parametrize("settings", ["examples.site.settings", "controlplane.settings"])
def test_the_projects_of_this_tree_are_set_up_rightly(stack: Stack, settings: str) -> None:
    variables = environment(stack) if settings.startswith("examples") else {**os.environ, **stack.environment}
    ran = checked({**variables, "DJANGO_SETTINGS_MODULE": settings})
    assert (ran.returncode, ran.stderr) == (0, ""), ran.stderr


def test_the_control_planes_own_secrets_are_looked_at(stack: Stack) -> None:
    """tenants.E011, in the other process."""
    secret = stack.environment["TENURE_CONTEXT_SECRET"]
    variables = {**os.environ, **stack.environment, "DJANGO_SETTINGS_MODULE": "controlplane.settings"}
    ran = checked({**variables, "TENURE_HEADER_SECRET": secret}, "--tag", "security")
    assert "tenants.E011" in ran.stderr
    assert "TENURE_CONTEXT_SECRET and TENURE_HEADER_SECRET are the same" in ran.stderr
    assert secret not in ran.stderr


MODELS = """
from functools import lru_cache

from django.db import models
from tenants.isolation.fields import EncryptedTextField

class Note(models.Model):
    text = EncryptedTextField()

LATEST = Note.objects.order_by("-pk")

@lru_cache
def count():
    return Note.objects.count()
"""


def test_an_app_that_keeps_what_it_read_and_one_that_cannot_encrypt(stack: Stack, tmp_path: Path) -> None:
    """tenants.W001 and tenants.E013, as somebody meets them who runs `manage.py check`."""
    (tmp_path / "leaky").mkdir()
    for name, text in (("__init__.py", ""), ("models.py", MODELS)):
        (tmp_path / "leaky" / name).write_text(text)
    apps = "django.contrib.contenttypes,django.contrib.auth,examples.projects,leaky"
    ran = checked(environment(stack, TENANT_APPS=apps, PYTHONPATH=f"{tmp_path}:{CHECKOUT}"))
    assert ran.returncode == 1
    assert "(tenants.W001) leaky/models.py:12 keeps results" in ran.stderr
    assert "(tenants.W001) leaky/models.py:10 makes a queryset once" in ran.stderr
    assert "(tenants.E013)" in ran.stderr
    assert ran.stderr.count("HINT: ") == 3


class TestSource:
    """tenants.W001: which lines are meant."""

    def lines(self, folder: Path, text: str) -> list[str]:
        file = folder / "views.py"
        file.write_text(text)
        return [str(each.msg).partition(" ")[0].rpartition(":")[2] for each in source._kept_by(file, "views.py")]

    @pytest.mark.parametrize(
        "text",
        [
            "import functools\n@functools.lru_cache(maxsize=1)\ndef f(): pass",
            "from functools import cache as kept\n@kept\ndef f(): pass",
            "from functools import lru_cache\n\nf = lru_cache(1)(g)",
            "\nTAGS = Tag.objects.filter(x=1).order_by()",
            "\nclass Form:\n    tags: list = Tag._default_manager.all()",
        ],
    )
    def test_what_is_kept_is_found(self, tmp_path: Path, text: str) -> None:
        assert self.lines(tmp_path, text) != []

    @pytest.mark.parametrize(
        "text",
        [
            "from django.core.cache import cache\ncache.set('a', 1)",
            "from functools import cached_property\nclass A:\n    @cached_property\n    def b(self): pass",
            "class Projects:\n    queryset = Project.objects.all()",
            "def tags():\n    found = Tag.objects.all()\n    return found",
            "from unknown import lru_cache\n@lru_cache\ndef f(): pass",
        ],
    )
    def test_what_is_not_is_left_alone(self, tmp_path: Path, text: str) -> None:
        assert self.lines(tmp_path, text) == []


class TestTasks:
    """tenants.E007 and tenants.E008."""

    def app(self, **options: Any) -> Celery:
        app = Celery("shop", set_as_current=False, **options)
        app.conf.update(task_serializer="json", accept_content=["json"], result_serializer="json")
        return app

    def test_right_ones_have_nothing_to_be_told(self) -> None:
        app = self.app(task_cls=TASK)
        app.task(name="shop.tidy", shared=False, platform=True)(nothing)
        app.conf.beat_schedule = {"nightly": {"task": "shop.tidy", "schedule": 60}}
        assert [*tasks.tasks_are_tenants([app]), *tasks.tasks_are_json([app])] == []

    def test_an_app_whose_tasks_run_for_nobody(self) -> None:
        (found,) = tasks.tasks_are_tenants([self.app()])
        assert found.id == "tenants.E007"
        assert TASK in str(found.hint)

    def test_a_task_of_another_class(self) -> None:
        app = self.app(task_cls=TASK)
        app.task(name="shop.bill", shared=False, base=Task)(nothing)
        assert [each.msg.split()[2] for each in tasks.tasks_are_tenants([app])] == ["shop.bill"]

    def test_a_schedule_without_a_scope(self) -> None:
        app = self.app(task_cls=TASK)
        app.task(name="shop.bill", shared=False)(nothing)
        app.conf.beat_schedule = {"nightly": {"task": "shop.bill", "schedule": 60}}
        assert [each.id for each in tasks.tasks_are_tenants([app])] == ["tenants.E007"]

    def test_messages_that_run_code(self) -> None:
        app = self.app(task_cls=TASK)
        app.conf.accept_content = ["json", "pickle"]
        assert [each.id for each in tasks.tasks_are_json([app])] == ["tenants.E008"]

    def test_a_project_finds_its_own_app(self) -> None:
        app = self.app(task_cls=TASK)
        assert app in tasks.celery_apps()


class TestRoles:
    """tenants.E002, asked of the servers."""

    def test_the_directorys_role_may_not_be_superuser(self, stack: Stack, migrated: None) -> None:
        right = environment(stack)
        wrong = {**right, "DIRECTORY_URL": stack.superuser_url}
        arguments = ("--tag", "security", "--database", "control")
        assert checked(right, *arguments).stderr == ""
        ran = checked(wrong, *arguments)
        assert "(tenants.E002) The directory's role, postgres, is superuser" in ran.stderr
        assert checked(wrong, "--tag", "security").stderr == "", "only a check that names the database asks it"

    def test_a_tenants_role_may_not_pass_by_policies(self, pair: Pair, stack: Stack) -> None:
        assert list(databases.roles_are_plain(databases=["default"])) == []
        role = sql.Identifier(pair.acme.key)
        with psycopg.connect(stack.superuser_url, autocommit=True) as superuser:
            superuser.execute(sql.SQL("ALTER ROLE {} BYPASSRLS").format(role))
            try:
                (found,) = databases.roles_are_plain(databases=["default"])
            finally:
                superuser.execute(sql.SQL("ALTER ROLE {} NOBYPASSRLS").format(role))
        assert found.id == "tenants.E002"
        assert pair.acme.key in found.msg
        assert "has BYPASSRLS" in found.msg


def test_an_old_django_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """tenants.W003."""
    assert list(seams.django_is_recent()) == []
    monkeypatch.setattr(django, "VERSION", (5, 2, 18, "final", 0))
    assert [each.id for each in seams.django_is_recent()] == ["tenants.W003"]
