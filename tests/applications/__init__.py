"""Real applications from PyPI as tenant applications: published, onboarded in every tier, and worked in by two tenants.

Each is a package here: `APPS` for TENANT_APPS, `settings` for TENANT_SETTINGS, and `story` with what its tenants do.
"""
