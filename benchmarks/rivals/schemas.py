"""A django-tenants project, as its documentation lays it out. RIVAL_URL names its database."""

from benchmarks import store
from controlplane import env

DATABASES = {"default": {**env.database("RIVAL_URL"), "ENGINE": "django_tenants.postgresql_backend"}}
DATABASE_ROUTERS = ["django_tenants.routers.TenantSyncRouter"]
SHARED_APPS = ["django_tenants", "benchmarks.peer"]
TENANT_APPS = list(store.APPS)
INSTALLED_APPS = [*SHARED_APPS, *TENANT_APPS]
TENANT_MODEL = "peer.Customer"
TENANT_DOMAIN_MODEL = "peer.Domain"
TENANT_LIMIT_SET_CALLS = env.flag("RIVAL_LIMITS", default=False)  # its default; true: the path once per transaction
SECRET_KEY = "only for a benchmark on a throw-away server"  # noqa: S105
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
