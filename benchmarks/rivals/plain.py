"""Plain Django, as `startproject` leaves it. RIVAL_URL names its database.

With RIVAL_PREPARES it binds its values in the server and lets psycopg prepare what is repeated, as a pool does.
"""

from benchmarks import store
from controlplane import env
from tenants.isolation.db.pooled.prepared import OFTEN

DATABASES = {"default": env.database("RIVAL_URL")}
if env.flag("RIVAL_PREPARES", default=False):
    DATABASES["default"]["OPTIONS"] |= {"server_side_binding": True, "prepare_threshold": OFTEN}
INSTALLED_APPS = list(store.APPS)
SECRET_KEY = "only for a benchmark on a throw-away server"  # noqa: S105
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
