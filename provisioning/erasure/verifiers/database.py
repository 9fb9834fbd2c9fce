"""Counts what is left of the tenant's own databases, and what keeps one from being dropped."""

from collections.abc import Iterable

from provisioning.databases import vantage
from provisioning.databases.ddl import VERIFIER
from provisioning.databases.servers import HALF_DROPPED, Connection
from provisioning.erasure.stores import Control, Coverage, Kind, Residue, Scope, Tally
from provisioning.erasure.verifiers import person
from provisioning.erasure.verifiers.clusters import LEFT_BEHIND, clusters_of, hides_rows, placements_of, unseen
from provisioning.erasure.verifiers.schema import contents
from tenants.findings import Finding, Severity
from tenants.models import Cluster
from tenants.placement import tenant_key
from tenants.states import Tier

_DATABASES = (
    "SELECT datname::text, datallowconn AND datconnlimit <> %(half)s FROM pg_database WHERE datname = ANY (%(names)s)"
)
# What the server keeps for a database beside its files.
_BESIDE = """
    SELECT 'replication slot ' || slot_name FROM pg_replication_slots WHERE database = %(name)s
    UNION ALL SELECT 'prepared transaction ' || gid FROM pg_prepared_xacts WHERE database = %(name)s
    UNION ALL SELECT 'subscription ' || subname FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid
        WHERE d.datname = %(name)s
"""


class Database:
    """Schemas of the database are all the tenant's; only its own one is counted row by row."""

    store = "database"
    scopes: frozenset[Kind] = frozenset({"tenant", "subject"})

    def __init__(self, role: str = VERIFIER) -> None:
        self.role = role

    def coverage(self, scope: Scope) -> Coverage:
        if scope.kind == "subject":
            return person.coverage(scope, Tier.DATABASE, self.role)
        places = placements_of(scope.tenant_id, Tier.DATABASE)
        return Coverage(tuple(f"{each.cluster.name}:{each.database}" for each in places))

    def blockers(self, scope: Scope) -> Iterable[Finding]:
        """A slot and a prepared transaction make the server refuse to drop the database; an open session does not."""
        if scope.kind == "subject":
            yield from person.blockers(scope, Tier.DATABASE, self.role)
            return
        key = tenant_key(scope.tenant_id)
        for cluster in clusters_of(scope.tenant_id):
            with vantage.standing(cluster, role=self.role) as connection:
                for (what,) in vantage.ask(connection, _BESIDE, {"name": key}):
                    message = f"The {what} holds on to the tenant's database."
                    hint = "Our role drops it where it may; else a superuser does."
                    yield Finding("DATABASE_HELD", Severity.WARNING, f"{cluster.name}:{key}", message, hint)

    def count(self, scope: Scope) -> tuple[Tally, ...]:
        if scope.kind == "subject":
            return person.count(scope, Tier.DATABASE, self.role)
        found, key = list[Tally](), tenant_key(scope.tenant_id)
        for cluster in clusters_of(scope.tenant_id):
            with vantage.standing(cluster, role=self.role) as connection:
                there = _databases(connection, key)
                where = f"{cluster.name}:{key}"
                found += [Tally(f"{where}", 1) for _name in there]
                found += [Tally(f"{where} {what}", 1) for (what,) in vantage.ask(connection, _BESIDE, {"name": key})]
            if there.get(key):
                for place in placements_of(scope.tenant_id, Tier.DATABASE):
                    if place.cluster_id == cluster.pk:
                        with vantage.standing(cluster, database=key, role=self.role) as inside:
                            found += [each for each in contents(inside, where, place.schema) if "." in each.locator]
        return tuple(found)

    def control(self, scope: Scope) -> Control:
        """The same question finds the shared database, in which the control row is seen."""

        def look(connection: Connection, cluster: Cluster) -> str:
            if says := hides_rows(connection, cluster, self.role):
                return says
            found = _databases(connection, cluster.database).get(cluster.database)
            return "" if found else f"the shared database of {cluster.name} was not found"

        wrong = unseen(scope.tenant_id, self.role, look)
        return Control(ok=not wrong, method=wrong or "row security off; the shared database of each cluster seen")

    def residue(self, scope: Scope) -> tuple[Residue, ...]:
        return LEFT_BEHIND


def _databases(connection: Connection, *names: str) -> dict[str, bool]:
    """Name → whether it lets sessions in."""
    return {
        str(name): bool(is_open)
        for name, is_open in vantage.ask(connection, _DATABASES, {"names": list(names), "half": HALF_DROPPED})
    }
