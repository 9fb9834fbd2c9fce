"""Tenants by their database and role alone, as the database side's own tests make them."""

from tests.provisioning.databases.conftest import own_pool, superuser, tenant

__all__ = ["own_pool", "superuser", "tenant"]
