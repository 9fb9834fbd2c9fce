from django.db import models
from django_tenants.models import DomainMixin, TenantMixin


class Customer(TenantMixin):  # type: ignore[misc]  # django-tenants ships no types
    """A schema, made by `save()`."""

    name = models.CharField(max_length=100)
    auto_create_schema = True

    class Meta:
        app_label = "peer"


class Domain(DomainMixin):  # type: ignore[misc]
    class Meta:
        app_label = "peer"
