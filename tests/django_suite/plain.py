"""Settings and runner of the same tests on plain PostgreSQL, for Django's own tests/runtests.py."""

import json
import os
from pathlib import Path
from typing import Any

from django.conf import settings
from django.test.runner import DiscoverRunner
from psycopg.conninfo import conninfo_to_dict

from tests.django_suite.endings import Endings

_SERVER = conninfo_to_dict(os.environ["PLAIN_URL"])
DATABASES = {
    alias: {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": f"plain_{alias}",
        "HOST": _SERVER["host"],
        "PORT": str(_SERVER["port"]),
        "USER": _SERVER["user"],
        "PASSWORD": _SERVER.get("password", ""),
    }
    for alias in ("default", "other")
}
SECRET_KEY = "of no importance"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = False
TEST_RUNNER = "tests.django_suite.plain.Runner"


class Runner(DiscoverRunner):
    """Django's, which also writes down how each test ended, to the file PLAIN_ENDINGS."""

    def setup_databases(self, **options: Any) -> Any:
        settings.MIGRATION_MODULES["db_functions"] = None  # they install an extension; in a tenant they do not, either
        return super().setup_databases(**options)

    def run_suite(self, suite: Any, **_options: Any) -> Any:
        endings = Endings()
        suite.run(endings)
        Path(os.environ["PLAIN_ENDINGS"]).write_text(json.dumps(endings.by_test))
        return endings

    def suite_result(self, suite: Any, result: Any, **kwargs: Any) -> int:
        return 0
