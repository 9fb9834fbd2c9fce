"""The names that lead to a whole tenant: what its rows are searched for in places that name no id."""

from collections.abc import Iterator
from uuid import UUID

from provisioning.erasure.stores import Identifier
from tenants.models import Domain, Tenant

WORDS = frozenset({"slug", "name", "external_ref", "domain"})
"""Kinds that are found as whole words only: a short name is part of many others."""


def identifiers_of(tenant_id: UUID) -> tuple[Identifier, ...]:
    """Slug, name, reference of its principal and host names, and e-mail addresses among its labels.

    To be read and sealed before the erasure blanks them. Of a tenant whose rows are blank it is empty.
    """
    tenant = Tenant.objects.only("slug", "name", "external_ref", "labels").get(pk=tenant_id)
    return tuple(Identifier(kind, value) for kind, value in _named(tenant) if value)


def _named(tenant: Tenant) -> Iterator[tuple[str, str]]:
    if tenant.name:  # else the row is blank already, slug and all
        yield "slug", tenant.slug
        yield "name", tenant.name
    yield "external_ref", tenant.external_ref or ""
    for domain in Domain.objects.filter(tenant_id=tenant.pk).order_by("domain").values_list("domain", flat=True):
        yield "domain", domain
    for label in (tenant.labels or {}).values():
        if isinstance(label, str) and "@" in label:
            yield "email", label
