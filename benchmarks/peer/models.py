from typing import ClassVar

from django.db import models
from django_tenants.models import DomainMixin, TenantMixin


class Customer(TenantMixin):
    """A schema, made by `save()`."""

    name = models.CharField(max_length=100)
    auto_create_schema = True

    class Meta:
        app_label = "peer"
        constraints: ClassVar = []


class Domain(DomainMixin):
    class Meta:
        app_label = "peer"
