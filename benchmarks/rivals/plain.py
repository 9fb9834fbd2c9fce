"""Plain Django, as `startproject` leaves it. RIVAL_URL names its database."""

from benchmarks import store
from controlplane import env

DATABASES = {"default": env.database("RIVAL_URL")}
INSTALLED_APPS = list(store.APPS)
SECRET_KEY = "only for a benchmark on a throw-away server"  # noqa: S105
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
