"""A Django project of its own that serves Tenure's tenants. docs/use-the-isolation-kit.md explains each part."""

import os

from psycopg.conninfo import conninfo_to_dict

from tenants.isolation.logs import logging_settings

# --- secrets and addresses, all of them this project's own -----------------------------------------------------------
SECRET_KEY = os.environ["CLINIC_SECRET_KEY"]
TENURE_API_URL = os.environ["TENURE_API_URL"]
TENURE_API_KEY = os.environ["TENURE_API_KEY"]  # scopes tenants:credentials and tenants:keys
TENURE_HEADER_SECRET = os.environ["TENURE_HEADER_SECRET"]  # signs Celery's messages
CACHE_URL, BROKER_URL = os.environ["CACHE_URL"], os.environ["BROKER_URL"]
directory = conninfo_to_dict(os.environ["DIRECTORY_URL"])

# --- apps: whose rows are whose ---------------------------------------------------------------------------------------
TENANT_APPS = ["django.contrib.contenttypes", "patients"]  # as in the control plane's TENANT_APPS
CONTROL_APPS = ["tenants"]
INSTALLED_APPS = ["tenants", "django_tenants", *TENANT_APPS, "rest_framework"]
TENANT_MODEL, TENANT_DOMAIN_MODEL, TENANT_DB_ALIAS = "tenants.Tenant", "tenants.Domain", "control"

# --- databases: `default` is the tenant of the open scope, `control` says which host name is whose --------------------
DATABASES = {
    "default": {"ENGINE": "tenants.isolation.db.scoped"},
    "control": {
        "ENGINE": "django.db.backends.postgresql",
        "HOST": directory["host"],
        "PORT": directory.get("port", ""),
        "NAME": directory["dbname"],
        "USER": directory["user"],
        "PASSWORD": directory["password"],
        "CONN_MAX_AGE": 60,
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": {"options": "-c default_transaction_read_only=on", "connect_timeout": 5},
    },
}
# Ours decides; django-tenants does not start without its own.
DATABASE_ROUTERS = ["tenants.isolation.routing.TenantRouter", "django_tenants.routers.TenantSyncRouter"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# --- requests: the host name says the tenant, before anything reads a cookie ------------------------------------------
ALLOWED_HOSTS = ["*"]  # TenantHostMiddleware answers for the hosts that the directory knows, and for SITE_HOSTS
SITE_HOSTS = ["localhost"]
TENANT_DOMAIN = os.environ.get("TENANT_DOMAIN", "localhost")  # who comes too early to <slug>.<this> is told to wait
ROOT_URLCONF, PUBLIC_SCHEMA_URLCONF = "clinic.urls", "clinic.urls_public"
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "tenants.isolation.middleware.TenantHostMiddleware",
    "django.middleware.common.CommonMiddleware",
    "tenants.isolation.csrf.TenantCsrfMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}]
WSGI_APPLICATION = "clinic.wsgi.application"

# --- files, cache, tasks, logs ----------------------------------------------------------------------------------------
STORAGES = {
    "default": {"BACKEND": "tenants.isolation.storage.TenantStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
CACHES = {
    "default": {
        "BACKEND": "tenants.isolation.cache.TenantCache",
        "LOCATION": CACHE_URL,
        "KEY_FUNCTION": "tenants.isolation.cache.make_key",
        "KEY_PREFIX": "clinic",
    }
}
CELERY_BROKER_URL = BROKER_URL
CELERY_TASK_SERIALIZER = CELERY_RESULT_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TASK_DEFAULT_QUEUE = "clinic"  # not the control plane's, where they share a broker
CELERY_TASK_IGNORE_RESULT = True
CELERY_WORKER_HIJACK_ROOT_LOGGER = False  # else Celery replaces the handlers below
LOGGING = logging_settings(format="json", level="INFO")

# --- tokens: whom Django REST framework lets in -----------------------------------------------------------------------
TENURE_TOKEN_ISSUER, TENURE_TOKEN_AUDIENCE = "tenure", "tenant-application"
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["tenants.isolation.rest.TenantTokenAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["tenants.isolation.rest.HasTokenScope"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "UNAUTHENTICATED_USER": None,  # this project has no django.contrib.auth
}
USE_TZ = True
