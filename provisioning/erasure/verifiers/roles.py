"""Counts what is left of the tenant's login role, and our own rows that let the tenant in, on every cluster."""

from collections.abc import Iterable

from provisioning.databases import vantage
from provisioning.databases.ddl import GUARD, HOUSE, VERIFIER
from provisioning.databases.servers import Connection
from provisioning.erasure.stores import Control, Coverage, Kind, Residue, Scope, Tally
from provisioning.erasure.verifiers.clusters import clusters_of, hides_rows, unseen
from tenants.findings import Finding, Severity
from tenants.models import Cluster
from tenants.placement import tenant_key

_ROLES = "SELECT oid::bigint FROM pg_roles WHERE rolname = %(role)s"
_HELD = """
    SELECT coalesce(d.datname::text, 'the server'), d.datallowconn, count(*) FROM pg_shdepend s
    LEFT JOIN pg_database d ON d.oid = s.dbid
    WHERE s.refclassid = 'pg_authid'::regclass AND s.refobjid = %(oid)s GROUP BY 1, 2
"""
_DEFAULTS = """
    SELECT count(*) FROM pg_default_acl a WHERE a.defaclrole = %(oid)s
        OR EXISTS (SELECT FROM aclexplode(a.defaclacl) AS given WHERE given.grantee = %(oid)s)
"""
# As the provisioning role: the guard shows its doors to nobody else. A role's settings outlive nothing, but say so.
_OURS = f"""
    SELECT 'door', count(*) FROM (
        SELECT tenant FROM {GUARD}.placement UNION SELECT tenant FROM {GUARD}.ticket_key) AS of_one
    WHERE tenant = %(tenant)s
    UNION ALL SELECT 'replay', count(*) FROM {HOUSE}.replay WHERE target = %(role)s
"""


class Roles:
    """By the catalogs that the whole server shares."""

    store = "roles"
    scopes: frozenset[Kind] = frozenset({"tenant"})

    def __init__(self, role: str = VERIFIER) -> None:
        self.role = role

    def coverage(self, scope: Scope) -> Coverage:
        key = tenant_key(scope.tenant_id)
        return Coverage(tuple(f"{cluster.name} role {key}" for cluster in clusters_of(scope.tenant_id)))

    def blockers(self, scope: Scope) -> Iterable[Finding]:
        """What the role has in a database that lets nobody in cannot be taken from it."""
        for cluster in clusters_of(scope.tenant_id):
            with vantage.standing(cluster, role=self.role) as connection:
                for oid in _oids(connection, tenant_key(scope.tenant_id)):
                    for database, is_open, number in vantage.ask(connection, _HELD, {"oid": oid}):
                        if is_open is False:
                            message = f"The tenant's role has {number} things in the closed database {database}."
                            hint = f"ALTER DATABASE {database} ALLOW_CONNECTIONS true, or drop it."
                            yield Finding("ROLE_HELD_IN_CLOSED_DATABASE", Severity.ERROR, database, message, hint)

    def count(self, scope: Scope) -> tuple[Tally, ...]:
        found, key = list[Tally](), tenant_key(scope.tenant_id)
        for cluster in clusters_of(scope.tenant_id):
            with vantage.standing(cluster, role=self.role) as connection:
                found += [Tally(f"{cluster.name} role {key}", 1) for _oid in _oids(connection, key)]
            with vantage.standing(cluster, role=None) as connection:
                given = {"tenant": scope.tenant_id, "role": key}
                found += [Tally(f"{cluster.name} {what}", int(n)) for what, n in vantage.ask(connection, _OURS, given)]
        return tuple(found)

    def held(self, scope: Scope) -> tuple[Tally, ...]:
        """What the role holds while it is there, for the plan's page. It is not counted: it goes with the role."""
        found, key = list[Tally](), tenant_key(scope.tenant_id)
        for cluster in clusters_of(scope.tenant_id):
            with vantage.standing(cluster, role=self.role) as connection:
                for oid in _oids(connection, key):
                    rows = vantage.ask(connection, _HELD, {"oid": oid})
                    found += [Tally(f"{cluster.name}:{database} grants", int(n)) for database, _open, n in rows]
                    ((defaults,),) = vantage.ask(connection, _DEFAULTS, {"oid": oid})
                    found.append(Tally(f"{cluster.name}:{cluster.database} default privileges", int(defaults)))
        return tuple(found)

    def control(self, scope: Scope) -> Control:
        """The same question finds the verifier's own role."""

        def look(connection: Connection, cluster: Cluster) -> str:
            if says := hides_rows(connection, cluster, self.role):
                return says
            return "" if _oids(connection, VERIFIER) else f"{cluster.name} shows no role {VERIFIER}"

        wrong = unseen(scope.tenant_id, self.role, look)
        return Control(ok=not wrong, method=wrong or "the verifier's own role seen on each cluster")

    def residue(self, scope: Scope) -> tuple[Residue, ...]:
        return (Residue("user lists of connection poolers", "until they are written anew", None),)


def _oids(connection: Connection, role: str) -> list[int]:
    return [int(oid) for (oid,) in vantage.ask(connection, _ROLES, {"role": role})]
