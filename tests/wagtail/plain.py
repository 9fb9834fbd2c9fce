"""Settings of a project with Wagtail and nothing of ours, at a release of its history, on the database of PLAIN_URL."""

import os
from importlib import import_module

from benchmarks.wagtail import APPS
from controlplane import env
from tests.wagtail.settings import *  # noqa: F403

SECRET_KEY = "plain"
STATIC_URL = "static/"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = list(APPS)
DATABASES = {"default": env.database("PLAIN_URL")}
MIGRATION_MODULES = import_module(os.environ["TENANT_SETTINGS"]).MIGRATION_MODULES
