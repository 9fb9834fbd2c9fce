"""What a tenant's application needs to reach its data: the role's password, and storage credentials that end."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from psycopg.conninfo import make_conninfo

from provisioning.models import Resource, ResourceKind
from provisioning.workflows.resources import LoginRole, StorageAccess
from tenants.models import Cluster, Tenant


@dataclass(frozen=True, slots=True)
class DatabaseCredentials:
    """Where and as whom to connect. The search path of the role is the tenant's schema already."""

    host: str
    port: int
    name: str
    user: str
    schema: str
    password: str = field(repr=False)

    @property
    def url(self) -> str:
        """Libpq's keyword form: no character of a password needs escaping in it (PostgreSQL, "Connection Strings")."""
        return make_conninfo(host=self.host, port=self.port, dbname=self.name, user=self.user, password=self.password)


@dataclass(frozen=True, slots=True)
class StorageAccessGrant:
    """A session that reaches one bucket (or one prefix of it) until `expires_at`."""

    endpoint_url: str | None
    region: str
    bucket: str
    prefix: str
    access_key_id: str
    expires_at: datetime
    secret_access_key: str = field(repr=False)
    session_token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Credentials:
    """Both, for one tenant. Nothing of it may be stored or logged; `repr` keeps the secrets to itself."""

    database: DatabaseCredentials
    storage: StorageAccessGrant


def credentials_of(tenant: Tenant) -> Credentials:
    """Open the sealed password and vend a storage session. Raises Transient when the object store does not answer."""
    context = tenant.context()
    cluster = Cluster.objects.get(name=context.cluster)
    role = Resource.objects.of(tenant.pk, ResourceKind.ROLE)
    vended = StorageAccess().vend(context, Resource.objects.of(tenant.pk, ResourceKind.STORAGE_CREDENTIALS).handle)
    return Credentials(
        database=DatabaseCredentials(
            host=cluster.public_host,
            port=cluster.public_port,
            name=context.database,
            user=role.handle["role"],
            schema=context.schema,
            password=LoginRole().password(context),
        ),
        storage=vended,
    )
