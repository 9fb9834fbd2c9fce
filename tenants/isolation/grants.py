"""What the runtime, directory and verifier roles may do in the control and keyring databases: a table, not a habit.

# Note [The owner migrates, the runtime role works]
A mistake or an injection in the web process must not be able to rewrite the audit log or delete a tenant's row. So the
tables belong to the role of DATABASES["owner"], and the role of DATABASES["default"] gets what is listed here. With one
role for both (DATABASE_OWNER_URL unset) nothing can be taken away from it: the triggers of the audit log still hold,
the rest is convention, and the check tenants.W010 says so.
"""

from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import unquote, urlsplit

from django.conf import settings
from django.core import checks
from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg import sql

USUAL = "SELECT, INSERT, UPDATE"
WITH_DELETE = "SELECT, INSERT, UPDATE, DELETE"
APPEND_ONLY = "SELECT, INSERT"
READ_ONLY = "SELECT"

CONTROL: dict[str, str] = {
    "audit_chain": READ_ONLY,  # written by audit_append, which runs as the owner
    "audit_entry": READ_ONLY,
    "audit_payload": "SELECT, INSERT, DELETE",  # an erasure deletes; nothing changes one
    "audit_checkpoint": APPEND_ONLY,
    "tenants_event": f"{APPEND_ONLY}, UPDATE (data)",  # an erasure blanks what they say
    "provisioning_runevent": f"{APPEND_ONLY}, UPDATE (detail, actor)",
    "django_migrations": READ_ONLY,
    "django_content_type": READ_ONLY,
    "auth_permission": READ_ONLY,
    "django_session": WITH_DELETE,  # logging out
    "auth_group": WITH_DELETE,
    "auth_group_permissions": WITH_DELETE,  # Django changes these by deleting and inserting
    "auth_user_groups": WITH_DELETE,
    "auth_user_user_permissions": WITH_DELETE,
    "provisioning_idempotencykey": WITH_DELETE,  # they expire
    "provisioning_secret": WITH_DELETE,  # a secret of a role that is gone is a secret too many
    "provisioning_runlimit": WITH_DELETE,
    "provisioning_release": WITH_DELETE,  # a failed publication takes its rows with it
    "provisioning_clusterrelease": WITH_DELETE,
    "provisioning_recordedmigration": WITH_DELETE,
    "provisioning_releasepath": WITH_DELETE,
    "provisioning_person": "SELECT, INSERT, UPDATE (answerable)",
    "provisioning_erasurerequest": (  # not who asked, for whom, when it came in, nor what makes a repeat harmless
        "SELECT, INSERT, UPDATE (identifiers, kinds, state, state_since, version, due_at, extended_until,"
        " extension_reason, notice_sent_at, grace, starts_at, look_at, identity_evidence, merged_into_id, counted,"
        " plan_digest, approval_id, run_id, round, fence, tombstone, destroy_started_at, checked_at, settled_at,"
        " settles_at, certificate, retained_items, attention, reason, key_destroyed_at, finished_at)"
    ),
    "provisioning_erasureplan": APPEND_ONLY,
    "provisioning_erasureapproval": APPEND_ONLY,
    "provisioning_erasureact": APPEND_ONLY,
    "provisioning_recheck": WITH_DELETE,  # a new round has new days
    "provisioning_recordhold": "SELECT, INSERT, UPDATE (released_by, released_at)",
    "provisioning_holdarchive": "SELECT, INSERT, DELETE, UPDATE (records, filled_at)",  # a released hold's goes
    "provisioning_archivedrecords": "SELECT, INSERT, DELETE",
    "tenants_domain": WITH_DELETE,  # undone when an onboarding fails: another tenant may take the name
}
"""Tables that get more or less than USUAL. Rows of tenants, placements, resources and runs are never deleted."""

KEYRING: dict[str, str] = {
    "django_migrations": READ_ONLY,
    "data_key": f"{USUAL}, MAINTAIN",  # a destroyed key's bytes leave the table's files with VACUUM FULL
    "tombstone": f"{APPEND_ONLY}, UPDATE (certified, certified_at, marked_at, voided_by)",
}

DIRECTORY: dict[str, tuple[str, ...]] = {
    "tenants_tenant": ("id", "slug", "name", "state", "incarnation"),
    "tenants_placement": ("id", "tenant_id", "tier", "cluster_id", "pool_id", "database", "schema", "active"),
    "tenants_domain": ("id", "domain", "tenant_id", "is_primary"),
    "tenants_cluster": ("id", "name", "public_host", "public_port"),
}
"""What an application's process may read to find the tenant of a host name. No URL, no secret, no billing reference."""


def grant_runtime(connection: BaseDatabaseWrapper) -> None:
    """Give each role exactly what is said above. Run as the owner, after each migration.

    `connection` is the alias `owner` or `keyring_owner`. Safe to repeat; whatever was granted otherwise is taken back.
    """
    if connection.alias in settings.DATABASE_ALIASES_OF_KEYRING:
        runtime, exceptions, directory = _user("keyring"), KEYRING, ""
        verifier = _user_in(settings.KEYRING_VERIFIER_URL)
    else:
        runtime, exceptions, directory = _user("default"), CONTROL, settings.TENURE_DIRECTORY_ROLE
        verifier = _user_in(settings.VERIFIER_URL)
    with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
        tables = _tables(cursor)
        for role in {runtime, directory, verifier} & _other_roles(cursor):
            named = sql.Identifier(role)
            cursor.execute(sql.SQL("REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {}").format(named))
            cursor.execute(sql.SQL("REVOKE ALL ON ALL SEQUENCES IN SCHEMA public FROM {}").format(named))
            cursor.execute(sql.SQL("GRANT USAGE ON SCHEMA public TO {}").format(named))
            if role == runtime:
                statements = _runtime(tables, exceptions)
            else:
                statements = _directory(tables) if role == directory else _verifier(tables)
            for statement in statements:
                cursor.execute(sql.SQL("GRANT {} TO {}").format(statement, named))


def _user(alias: str) -> str:
    return str(settings.DATABASES[alias]["USER"])


def _user_in(url: str) -> str:
    return unquote(urlsplit(url).username or "")


def _tables(cursor: Any) -> list[str]:
    """The tables that this role owns in `public`: those of our migrations."""
    cursor.execute(
        "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')"
        " AND pg_get_userbyid(relowner) = current_user ORDER BY relname"
    )
    return [name for (name,) in cursor.fetchall()]


def _other_roles(cursor: Any) -> set[str]:
    cursor.execute("SELECT rolname FROM pg_roles WHERE rolname <> current_user")
    return {name for (name,) in cursor.fetchall()}


def _runtime(tables: Iterable[str], exceptions: dict[str, str]) -> Iterator[sql.Composable]:
    for table in tables:
        rights = sql.SQL(exceptions.get(table, USUAL))
        yield sql.SQL("{} ON {}").format(rights, sql.Identifier("public", table))
    yield sql.SQL("USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public")
    if "audit_entry" in tables:
        yield sql.SQL("EXECUTE ON FUNCTION public.audit_append(uuid, text)")


def _directory(tables: Iterable[str]) -> Iterator[sql.Composable]:
    for table in DIRECTORY.keys() & set(tables):
        columns = sql.SQL(", ").join(map(sql.Identifier, DIRECTORY[table]))
        yield sql.SQL("SELECT ({}) ON {}").format(columns, sql.Identifier("public", table))


def _verifier(tables: Iterable[str]) -> Iterator[sql.Composable]:
    for table in tables:
        yield sql.SQL("SELECT ON {}").format(sql.Identifier("public", table))


def check_roles_apart(**_kwargs: Any) -> list[checks.CheckMessage]:
    """tenants.W010: the runtime role owns the tables it works on."""
    if _user("default") != _user("owner"):
        return []
    return [
        checks.Warning(
            "The web and worker processes use the database role that owns the control database's tables.",
            hint="Set DATABASE_OWNER_URL to a role of its own, run `manage.py setup`, and keep its password from them.",
            id="tenants.W010",
        )
    ]
