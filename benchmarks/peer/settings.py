"""Settings of the django-tenants project. PEER_URL names its database, PEER_BASE the schema that clones start from."""

import os

from benchmarks import ledger, wagtail
from controlplane import env

SECRET_KEY = "only for a benchmark on a throw-away server"  # noqa: S105
DATABASES = {"default": {**env.database("PEER_URL"), "ENGINE": "django_tenants.postgresql_backend"}}
DATABASE_ROUTERS = ["django_tenants.routers.TenantSyncRouter"]
SHARED_APPS = ["django_tenants", "benchmarks.peer"]
TENANT_APPS = env.words("TENANT_APPS", ",".join(wagtail.APPS))
INSTALLED_APPS = [*SHARED_APPS, *TENANT_APPS]
TENANT_MODEL = "peer.Customer"
TENANT_DOMAIN_MODEL = "peer.Domain"
if base := os.environ.get("PEER_BASE"):
    TENANT_BASE_SCHEMA = base
    TENANT_CREATION_FAKES_MIGRATIONS = True
MIGRATION_MODULES = ledger.modules()
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
WAGTAIL_SITE_NAME = "peer"
WAGTAILADMIN_BASE_URL = "http://localhost"
STATIC_URL = "static/"
