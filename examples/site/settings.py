"""A customer's own project, served beside Tenure with the application's rights only.

It holds no key and no password of a tenant's, and none of the control plane's: it reads which host name belongs to whom
(DIRECTORY_URL), asks the control plane for a tenant's credentials when it needs them (TENURE_API_KEY, a key with the
scope tenants:credentials), and works as that tenant's own roles.
"""

import os
from pathlib import Path

from psycopg.conninfo import conninfo_to_dict

from tenants.isolation.logs import logging_settings

FOLDER = Path(__file__).resolve().parent

# --- what the environment says; docs/configuration.md explains each --------------------------------------------------
ENVIRONMENT = os.environ.get("ENVIRONMENT", "development")
SECRET_KEY = os.environ["APPLICATION_SECRET_KEY"]
TENURE_API_URL = os.environ["TENURE_API_URL"]
TENURE_API_KEY = os.environ["TENURE_API_KEY"]
TENURE_TOKEN_ISSUER = os.environ.get("TENURE_TOKEN_ISSUER", "tenure")
TENURE_TOKEN_AUDIENCE = os.environ.get("TENURE_TOKEN_AUDIENCE", "tenant-application")
TENANT_DOMAIN = os.environ.get("TENANT_DOMAIN", "localhost")
TENANT_URL = os.environ.get("TENANT_URL", "http://{slug}.localhost:8001/")
SITE_HOSTS = os.environ.get("SITE_HOSTS", "localhost,127.0.0.1,[::1]").split(",")
TENANT_APPS = os.environ.get("TENANT_APPS", "django.contrib.contenttypes,django.contrib.auth,examples.projects").split(
    ","
)
_directory = conninfo_to_dict(os.environ["DIRECTORY_URL"])

DEBUG = False
ALLOWED_HOSTS = ["*"]  # the middleware serves exactly the hosts that the directory knows, and SITE_HOSTS

# --- tenants: what django-tenants asks for, with Tenure's own nouns behind it ----------------------------------------
TENANT_MODEL = "tenants.Tenant"
TENANT_DOMAIN_MODEL = "tenants.Domain"
TENANT_DB_ALIAS = "control"
PUBLIC_SCHEMA_URLCONF = "examples.site.urls_public"
CONTROL_APPS = ["tenants"]
INSTALLED_APPS = ["examples.site", "tenants", "django_tenants", *TENANT_APPS, "django.contrib.staticfiles"]
DATABASE_ROUTERS = ["tenants.isolation.routing.TenantRouter", "django_tenants.routers.TenantSyncRouter"]
DATABASES = {
    "default": {"ENGINE": "tenants.isolation.db.scoped"},  # the tenant of the open scope, or an error
    "control": {
        "ENGINE": "django.db.backends.postgresql",
        "HOST": _directory.get("host", ""),
        "PORT": str(_directory.get("port", "")),
        "NAME": _directory.get("dbname", ""),
        "USER": _directory.get("user", ""),
        "PASSWORD": _directory.get("password", ""),
        "CONN_MAX_AGE": 60,
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": {"options": "-c timezone=UTC -c default_transaction_read_only=on", "connect_timeout": 5},
    },
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
STORAGES = {
    "default": {"BACKEND": "tenants.isolation.storage.TenantStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}

# --- cache: a tenant's part of one that all processes share, or of this process's own --------------------------------
_cache_url = os.environ.get("CACHE_URL", "")
CACHES = {
    "default": {
        "BACKEND": "tenants.isolation.cache.TenantCache"
        if _cache_url
        else "django.core.cache.backends.locmem.LocMemCache",
        "LOCATION": _cache_url,
        "KEY_FUNCTION": "tenants.isolation.cache.make_key",
    }
}

# --- pages ------------------------------------------------------------------------------------------------------------
ROOT_URLCONF = "examples.site.urls"
WSGI_APPLICATION = "examples.site.wsgi.application"
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "tenants.isolation.middleware.TenantHostMiddleware",
    "django.middleware.common.CommonMiddleware",
    "tenants.isolation.csrf.TenantCsrfMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [FOLDER / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": ["django.template.context_processors.request", "examples.site.context.served_from"]
        },
    }
]
STATIC_URL = "/static/"
STATICFILES_DIRS = [FOLDER / "static"]
WHITENOISE_USE_FINDERS = True  # served from the source: nothing to collect before the first page
X_FRAME_OPTIONS = "DENY"
USE_TZ = True
TIME_ZONE = "UTC"

# --- logs -------------------------------------------------------------------------------------------------------------
LOG_FORMAT = os.environ.get("LOG_FORMAT") or ("line" if ENVIRONMENT == "development" else "json")
LOGGING = logging_settings(format=LOG_FORMAT, level=os.environ.get("LOG_LEVEL", "INFO"))
