"""TENANT_SETTINGS of the run: what Django's own runner sets, as far as it concerns models."""

from tests.django_suite import MODULES

MIGRATION_MODULES = {module: f"made_migrations.{module}" for module in MODULES}
SITE_ID = 1
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
SILENCED_SYSTEM_CHECKS = ["fields.W342", "models.W042"]
