"""Django settings of the control plane: a heading per concern. docs/configuration.md explains each variable."""

from pathlib import Path
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.templatetags.static import static

from controlplane import env
from tenants.isolation.logs import logging_settings

BASE_DIR = Path(__file__).resolve().parent.parent

# --- identity and safety -------------------------------------------------------------------------------------------
ENVIRONMENT = env.text("ENVIRONMENT", "development")
DEBUG = env.flag("DEBUG", default=False)
SECRET_KEY = env.text("SECRET_KEY")
ALLOWED_HOSTS = env.words("ALLOWED_HOSTS", "localhost,127.0.0.1")
TLS = env.flag("TENURE_TLS", default=False)  # set it where a proxy ends TLS in front of us
SECURE_SSL_REDIRECT = TLS
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if TLS else None
SECURE_HSTS_SECONDS = 31_536_000 if TLS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = TLS
SECURE_HSTS_PRELOAD = TLS
SESSION_COOKIE_SECURE = TLS
CSRF_COOKIE_SECURE = TLS
SESSION_COOKIE_NAME = "tenure_session"
CSRF_COOKIE_NAME = "tenure_csrf"
X_FRAME_OPTIONS = "DENY"

# --- the tenant application ----------------------------------------------------------------------------------------
# Installed here so that Django can migrate it into a blueprint; it is served by a process of its own. Or in any other
# language, with a folder of SQL files instead.
TENANT_SQL = env.folder("TENANT_SQL")
_EXAMPLE = "" if TENANT_SQL else "django.contrib.contenttypes,django.contrib.auth,examples.projects"
TENANT_APPS = env.words("TENANT_APPS", _EXAMPLE)
if TENANT_SQL and TENANT_APPS:
    raise ImproperlyConfigured(
        "TENANT_SQL and TENANT_APPS are both set. Unset one: a tenant application is of one kind."
    )
TENURE_PERSONAL_DATA = env.text("TENURE_PERSONAL_DATA", "")  # a Python file; see tenants/classification.py
TENANT_DOMAIN = env.text("TENANT_DOMAIN", "localhost")  # a tenant lives at <slug>.<this>
TENANT_URL = env.text("TENANT_URL", "http://{slug}.localhost:8001/")

CONTROL_APPS = [
    "controlplane",
    "provisioning",
    "tenants",
    "unfold",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
]
INSTALLED_APPS = [*CONTROL_APPS, *(app for app in TENANT_APPS if app not in CONTROL_APPS)]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "controlplane.requests.RequestIdMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
ROOT_URLCONF = "controlplane.urls"
WSGI_APPLICATION = "controlplane.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# --- databases -----------------------------------------------------------------------------------------------------
# `default` is the runtime role, which owns nothing; `owner` is the same database as the role that migrates it.
# JIT costs more than it saves on the engine's short queries (37 ms instead of 11 ms for one claim). Of what the engine
# repeats (provisioning/engine/rows.py) the server keeps the plan from the third time on: it takes longer than the run.
_QUIET = {"options": "-c jit=off -c timezone=UTC"}


def _database(name: str, fallback: str | None = None) -> dict[str, Any]:
    entry = env.database(name, env.text(fallback) if fallback else None)
    return {
        **entry,
        "OPTIONS": {**_QUIET, "connect_timeout": 5, "prepare_threshold": 2, **entry["OPTIONS"]},
        "CONN_HEALTH_CHECKS": True,
    }


DATABASES: dict[str, dict[str, Any]] = {
    "default": {**_database("DATABASE_URL"), "CONN_MAX_AGE": 60},
    "owner": _database("DATABASE_OWNER_URL", "DATABASE_URL"),
    "keyring": {**_database("KEYRING_URL"), "CONN_MAX_AGE": 60},
    "keyring_owner": _database("KEYRING_OWNER_URL", "KEYRING_URL"),
}
# Who counts what an erasure left, by connections of its own. As the runtime role it proves nothing, and says so.
VERIFIER_URL = env.url("VERIFIER_URL", *env.POSTGRES_SCHEMES, default=env.text("DATABASE_URL"))
KEYRING_VERIFIER_URL = env.url("KEYRING_VERIFIER_URL", *env.POSTGRES_SCHEMES, default=env.text("KEYRING_URL"))
DATABASE_ROUTERS = ["tenants.isolation.routing.TenantRouter"]
DATABASE_ALIASES_OF_KEYRING = ("keyring", "keyring_owner")
TENURE_DIRECTORY_ROLE = env.text("TENURE_DIRECTORY_ROLE", "tenure_directory")
PG_BIN = env.text("PG_BIN", "")  # the folder of pg_dump and psql; empty: found on PATH

# --- broker, cache, object store -----------------------------------------------------------------------------------
BROKER_URL = env.url("BROKER_URL", "redis", "rediss", "amqp", "amqps")
CACHE_URL = env.url("CACHE_URL", "redis", "rediss")
CACHES = {
    "default": {
        "BACKEND": "tenants.isolation.cache.TenantCache",
        "KEY_FUNCTION": "tenants.isolation.cache.make_platform_key",  # ours, or inside a scope the tenant's
        "LOCATION": CACHE_URL,
        "KEY_PREFIX": "tenure",
        "OPTIONS": {"socket_connect_timeout": 2, "socket_timeout": 2},
    }
}
S3_ENDPOINT_URL = env.url("S3_ENDPOINT_URL", "http", "https", default="") if env.text("S3_ENDPOINT_URL", "") else None
S3_VENDING_ACCESS_KEY_ID = env.text("S3_VENDING_ACCESS_KEY_ID", "")  # may only vend; empty: AWS_ACCESS_KEY_ID's
S3_VENDING_SECRET_ACCESS_KEY = env.text("S3_VENDING_SECRET_ACCESS_KEY", "")
S3_VENDING_ROLE_ARN = env.text("S3_VENDING_ROLE_ARN", "")  # AWS: AssumeRole instead of GetFederationToken

# --- keys ----------------------------------------------------------------------------------------------------------
TENURE_MASTER_KEY_KMS = env.text("TENURE_MASTER_KEY_KMS", "")  # the id or ARN of an AWS KMS key
TENURE_MASTER_KEY = b"" if TENURE_MASTER_KEY_KMS else env.key("TENURE_MASTER_KEY")
TENURE_CONTEXT_SECRET = env.key("TENURE_CONTEXT_SECRET", unlike=("TENURE_MASTER_KEY", "SECRET_KEY"))
TENURE_CONTEXT_SECRET_FORMER = b""  # the one before, until `manage.py rotate_context_key` has exchanged the keys
if env.text("TENURE_CONTEXT_SECRET_FORMER", ""):
    TENURE_CONTEXT_SECRET_FORMER = env.key("TENURE_CONTEXT_SECRET_FORMER", unlike=("TENURE_CONTEXT_SECRET",))
TENURE_TOKEN_ISSUER = env.text("TENURE_TOKEN_ISSUER", "tenure")  # `iss` and `aud` of tenants' tokens
TENURE_TOKEN_AUDIENCE = env.text("TENURE_TOKEN_AUDIENCE", "tenant-application")

# --- evidence ------------------------------------------------------------------------------------------------------
TENURE_EVIDENCE_BUCKET = env.text("TENURE_EVIDENCE_BUCKET", "")  # of signed checkpoints; empty: named after their key
TENURE_EVIDENCE_DAYS = env.number("TENURE_EVIDENCE_DAYS", 365)  # how long nobody can delete one, where the store can
TENURE_STATUS_URL = env.text("TENURE_STATUS_URL", "")  # printed on certificates: where their status list is

# --- engine --------------------------------------------------------------------------------------------------------
TENURE_LEASE_S = env.number("TENURE_LEASE_S", 30)
TENURE_DEAF_AFTER_S = env.number("TENURE_DEAF_AFTER_S", 60)  # a worker that takes no message for so long ends itself
TENURE_SINGLE_OPERATOR = env.flag("TENURE_SINGLE_OPERATOR", default=False)  # who proposes a rollout may approve it
TENURE_FAILPOINT = env.text("TENURE_FAILPOINT", "")
TENURE_TESTING = env.flag("TENURE_TESTING", default=False)
if TENURE_FAILPOINT and not TENURE_TESTING:
    raise ImproperlyConfigured("TENURE_FAILPOINT kills workers on purpose. Unset it; only the tests may set it.")

# --- people, language, files ---------------------------------------------------------------------------------------
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LOGIN_URL = "admin:login"
LOGIN_REDIRECT_URL = "admin:index"
LANGUAGE_CODE = "en"
USE_I18N = True
USE_TZ = True
TIME_ZONE = "UTC"
STORAGES = {
    "default": {"BACKEND": "tenants.isolation.storage.TenantStorage"},  # files are tenants'; without a scope an error
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
STATIC_URL = "static/"
STATICFILES_DIRS = [BASE_DIR / "controlplane" / "static"]
WHITENOISE_USE_FINDERS = True  # served from the packages: nothing to collect before the first page

# --- admin ---------------------------------------------------------------------------------------------------------
UNFOLD = {
    "SITE_TITLE": "Tenure",
    "SITE_HEADER": "Tenure",
    "SITE_SUBHEADER": "Tenant control plane",
    "SITE_SYMBOL": "hub",
    "SHOW_HISTORY": False,
    "SHOW_VIEW_ON_SITE": False,
    "ENVIRONMENT": "controlplane.admin.site.environment",
    "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "href": lambda _request: static("tenure/mark.svg")}],
    "STYLES": [lambda _request: static("tenure/ops.css")],
    "SCRIPTS": [lambda _request: static("tenure/ops.js")],
    "SIDEBAR": {"show_search": True, "navigation": "controlplane.admin.site.navigation"},
    "COLORS": {  # Tailwind's blue: as link and button it has a contrast of 4.5:1 or more on Unfold's grounds
        "primary": {
            "50": "#eff6ff",
            "100": "#dbeafe",
            "200": "#bfdbfe",
            "300": "#93c5fd",
            "400": "#60a5fa",
            "500": "#60a5fa",
            "600": "#1d4ed8",
            "700": "#1d4ed8",
            "800": "#1e40af",
            "900": "#1e3a8a",
            "950": "#172554",
        }
    },
}

# --- API -----------------------------------------------------------------------------------------------------------
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["controlplane.api.permissions.ApiKeyAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["controlplane.api.permissions.HasScope"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "DEFAULT_SCHEMA_CLASS": "controlplane.api.openapi.Document",
    "EXCEPTION_HANDLER": "controlplane.api.errors.problem",
    "UNAUTHENTICATED_USER": None,
    "COERCE_DECIMAL_TO_STRING": False,
    "URL_FORMAT_OVERRIDE": None,  # there is one format, and `?format=` is an unknown parameter like any other
    "NUM_PROXIES": int(env.number("TRUSTED_PROXIES", 0)),  # how many in front of us append to X-Forwarded-For
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Tenure",
    "VERSION": "1",
    "DESCRIPTION": "The life of a tenant: onboarding, tiers, credentials and operations.",
    "OAS_VERSION": "3.1.0",
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "SERVE_INCLUDE_SCHEMA": False,
    "COMPONENT_SPLIT_PATCH": False,
    "COMPONENT_NO_READ_ONLY_REQUIRED": False,
    "ENFORCE_NON_BLANK_FIELDS": True,
    "ENUM_GENERATE_CHOICE_DESCRIPTION": False,
    "ENUM_NAME_OVERRIDES": {
        "ProblemCode": "controlplane.api.codes.CODES",
        "Health": "controlplane.api.tenant_shape.HEALTH",
        "Severity": "controlplane.api.plan_shape.SEVERITIES",
        "TierName": "tenants.states.Tier",
        "TenantState": "tenants.states.TenantState",
        "ClusterState": "tenants.models.Cluster.State",
        "BucketMode": "tenants.models.Plan.BucketMode",
        "OperationState": "provisioning.models.RunState",
        "StepState": "provisioning.models.StepState",
        "Direction": "provisioning.models.Direction",
        "Control": "provisioning.models.Control",
        "ReleaseState": "provisioning.models.Release.State",
        "ResourceState": "provisioning.models.Resource.State",
        "ResourceKind": "provisioning.models.ResourceKind",
        "RolloutState": "provisioning.models.RolloutState",
        "ErasureState": "provisioning.models.ErasureState",
        "ErasureReason": "controlplane.api.erasure_request.CLOSING",
        "ErasureReasonKept": "controlplane.api.erasure_shape.CLOSED_BY",
        "ExtensionReason": "provisioning.models.ExtensionReason",
        "RolloutTargetState": "provisioning.models.TargetState",
        "PauseReason": "provisioning.models.PauseReason",
    },
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "controlplane.api.openapi.finished",
    ],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
}

# --- logs ----------------------------------------------------------------------------------------------------------
LOG_FORMAT = env.text("LOG_FORMAT", "line" if ENVIRONMENT == "development" else "json")
LOGGING = logging_settings(format=LOG_FORMAT, level=env.text("LOG_LEVEL", "INFO"))
if not TENURE_TESTING:  # a thread that writes on its own would meddle with databases that tests exchange
    LOGGING["handlers"]["audit"] = {"class": "controlplane.refusal_audit.AuditRefusals", "filters": ["tenant"]}
    LOGGING["loggers"]["tenants.isolation.refused"] = {"handlers": ["audit"]}

# --- settings of the tenant application's own apps -----------------------------------------------------------------
# A module of upper-case names, for example WAGTAIL_SITE_NAME. What is set above stays as it is.
if TENANT_SETTINGS := env.text("TENANT_SETTINGS", ""):
    globals().update(env.settings_of(TENANT_SETTINGS, taken=globals()))
