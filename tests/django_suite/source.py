"""Django's tests from its source distribution, with migrations for their models, which ship none."""

import shutil
import subprocess
import sys
from pathlib import Path

import django

from tests.django_suite import MODULES

KEPT = Path(sys.prefix) / "django-tests"
_MAKE = """
import sys
import django
from django.conf import settings
modules = sys.argv[1].split()
settings.configure(
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "django.contrib.sites", *modules],
    MIGRATION_MODULES={module: f"made_migrations.{module}" for module in modules},
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    SILENCED_SYSTEM_CHECKS=["fields.W342", "models.W042"],
)
django.setup()
from django.core.management import call_command
call_command("makemigrations", *modules, verbosity=0, skip_checks=True)
"""


def folder() -> Path:
    """Where the tests are, fetched and unpacked if they are not there yet."""
    tests = KEPT / f"django-{django.__version__}" / "tests"
    if not (tests / "made_migrations").is_dir():
        _fetch()
        _make_migrations(tests)
    return tests


def _fetch() -> None:
    KEPT.mkdir(exist_ok=True)
    wanted = f"django=={django.__version__}"
    pip = (sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check")
    subprocess.run((*pip, "--no-deps", "--no-binary", ":all:", "--dest", str(KEPT), wanted), check=True)
    (archive,) = KEPT.glob(f"[dD]jango-{django.__version__}.tar.gz")
    shutil.unpack_archive(archive, KEPT)


def _make_migrations(tests: Path) -> None:
    made = tests / "made_migrations"
    for module in MODULES:
        (made / module).mkdir(parents=True, exist_ok=True)
        (made / module / "__init__.py").touch()
    (made / "__init__.py").touch()
    subprocess.run((sys.executable, "-c", _MAKE, " ".join(MODULES)), cwd=tests, check=True)
