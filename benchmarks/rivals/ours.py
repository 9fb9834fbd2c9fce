"""An application of ours: `default` is the tenant of the open scope. Its credentials are handed to it."""

from benchmarks import store

DATABASES = {
    "default": {"ENGINE": "tenants.isolation.db.scoped"},
    "control": {"ENGINE": "django.db.backends.postgresql", "NAME": "none"},  # never asked
}
DATABASE_ROUTERS = ["tenants.isolation.routing.TenantRouter"]
CONTROL_APPS = ["tenants"]
TENANT_APPS = list(store.APPS)
INSTALLED_APPS = [*CONTROL_APPS, *TENANT_APPS]
SECRET_KEY = "only for a benchmark on a throw-away server"  # noqa: S105
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
