"""What a tenant's application needs to reach its data: the role's password, and storage credentials that end."""

from __future__ import annotations

from dataclasses import dataclass, field

from psycopg.conninfo import make_conninfo

from provisioning.databases import guard
from provisioning.databases.tiers import LoginRole
from provisioning.models import Resource, ResourceKind
from provisioning.providers import StorageCredentials, vend
from tenants.context import TenantContext
from tenants.isolation import credentials as seam
from tenants.isolation.tickets import ContextKey
from tenants.models import Cluster, Tenant


@dataclass(frozen=True, slots=True)
class DatabaseCredentials:
    """Where and as whom to connect. The search path of the role is the tenant's schema already.

    In a pool the role is shared, and nobody sees a row before a transaction has entered with a ticket that
    `context_key` signs: see tenants.isolation.tickets.
    """

    host: str
    port: int
    name: str
    user: str
    schema: str
    password: str = field(repr=False)
    context_key: ContextKey | None = None

    @property
    def url(self) -> str:
        """Libpq's keyword form: no character of a password needs escaping in it (PostgreSQL, "Connection Strings")."""
        return make_conninfo(host=self.host, port=self.port, dbname=self.name, user=self.user, password=self.password)


@dataclass(frozen=True, slots=True)
class Credentials:
    """Both, for one tenant. Nothing of it may be stored or logged; `repr` keeps the secrets to itself."""

    database: DatabaseCredentials
    storage: StorageCredentials

    def for_scope(self) -> seam.Credentials:
        """In the words of the seam that opens connections and files."""
        database, storage = self.database, self.storage
        return seam.Credentials(
            database=seam.DatabaseCredentials(
                host=database.host,
                port=database.port,
                name=database.name,
                user=database.user,
                password=database.password,
                schema=database.schema,
                context_key=database.context_key,
            ),
            storage=seam.StorageCredentials(
                endpoint_url=storage.endpoint_url,
                region=storage.region,
                bucket=storage.bucket,
                prefix=storage.prefix,
                access_key_id=storage.access_key_id,
                secret_access_key=storage.secret_access_key,
                session_token=storage.session_token,
                expires_at=storage.expires_at,
            ),
        )


def credentials_of(tenant: Tenant) -> Credentials:
    """Open the sealed password, make the context's key, and vend a storage session.

    Raises Transient when the object store does not answer.
    """
    context = tenant.context()
    cluster = Cluster.objects.get(name=context.cluster)
    role = Resource.objects.of(tenant.pk, ResourceKind.ROLE)
    user, password = LoginRole().login(context, role.handle)
    vended = vend(context, Resource.objects.of(tenant.pk, ResourceKind.STORAGE_CREDENTIALS).handle)
    return Credentials(
        database=DatabaseCredentials(
            host=cluster.public_host,
            port=cluster.public_port,
            name=context.database,
            user=user,
            schema=context.schema,
            password=password,
            context_key=None if context.pool_id is None else guard.context_key(context),
        ),
        storage=vended,
    )


class InProcess:
    """The source of credentials for the control plane's own code in a tenant's scope. Nobody is handed anything."""

    def credentials(self, context: TenantContext) -> seam.Credentials:
        return credentials_of(Tenant.objects.get(pk=context.tenant_id)).for_scope()
