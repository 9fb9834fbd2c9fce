"""Databases and roles of the embedded PostgreSQL. Safe to run at every start."""

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from controlplane.stack.credentials import Credentials
from controlplane.stack.ports import HOST, Ports
from provisioning.databases import hidden, keeping
from provisioning.databases.erasing import resting

CONTROL, KEYRING, CLUSTER = "tenure", "tenure_keyring", "tenure_cluster"

# Each role may log in and nothing more, unless said here. None is a superuser.
ROLES = {
    "tenure_owner_control": "",  # owns the control and keyring databases and migrates them
    "tenure_control": "",  # what web, workers and sweeper run as: owns nothing
    "tenure_directory": "",  # what an application's process may read of the control database
    "tenure_control_verifier": "",  # reads the control and keyring databases whole, to count what an erasure left
    "tenure_provisioner": "CREATEROLE CREATEDB BYPASSRLS",  # what Tenure works on a cluster as
}
MEMBERSHIPS = {"tenure_provisioner": ("pg_signal_backend", "pg_read_all_stats")}
OWNERS = {CONTROL: "tenure_owner_control", KEYRING: "tenure_owner_control", CLUSTER: "tenure_provisioner"}
# Who, beside its owner, may connect to a database and look into its schema `public`. Tables are granted one by one.
GUESTS: dict[str, tuple[str, ...]] = {
    CONTROL: ("tenure_control", "tenure_directory", "tenure_control_verifier"),
    KEYRING: ("tenure_control", "tenure_control_verifier"),
    CLUSTER: (),
}


def bootstrap(ports: Ports, credentials: Credentials) -> None:
    """Make what is missing and set every password and grant anew, so that they agree with the credentials file."""
    with _superuser("postgres", ports, credentials) as connection:
        for role, attributes in ROLES.items():
            _role(connection, role, attributes, getattr(credentials, role))
    with _superuser("template1", ports, credentials) as connection:
        _close_schema(connection)  # copied into every database made from here on
    with _superuser("postgres", ports, credentials) as connection:
        for database, owner in OWNERS.items():
            _database(connection, database, owner)
        for database in ("postgres", "template1", *OWNERS):
            _close_database(connection, database, GUESTS.get(database, ()))
    for database in OWNERS:
        with _superuser(database, ports, credentials) as connection:
            _close_schema(connection)
            for guest in GUESTS[database]:
                connection.execute(sql.SQL("GRANT USAGE ON SCHEMA public TO {}").format(sql.Identifier(guest)))
    with _superuser(CLUSTER, ports, credentials) as connection:
        connection.execute(hidden.hide())
        connection.execute(keeping.lend("tenure_provisioner"))
        connection.execute(resting.lend("tenure_provisioner"))


def superuser_url(database: str, ports: Ports, credentials: Credentials) -> str:
    return f"postgresql://postgres:{credentials.postgres}@{HOST}:{ports.postgres}/{database}"


def _superuser(database: str, ports: Ports, credentials: Credentials) -> psycopg.Connection:
    conninfo = make_conninfo(superuser_url(database, ports, credentials), connect_timeout=5)
    return psycopg.connect(conninfo, autocommit=True)


def _role(connection: psycopg.Connection, role: str, attributes: str, password: str) -> None:
    name = sql.Identifier(role)
    if not connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (role,)).fetchone():
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(name))
    # The verifier, not the password, goes over the wire: no log or activity view can show it.
    verifier = connection.pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256").decode()
    words = sql.SQL(attributes)
    connection.execute(sql.SQL("ALTER ROLE {} LOGIN {} PASSWORD {}").format(name, words, sql.Literal(verifier)))
    for group in MEMBERSHIPS.get(role, ()):
        connection.execute(sql.SQL("GRANT {} TO {}").format(sql.Identifier(group), name))


def _database(connection: psycopg.Connection, database: str, owner: str) -> None:
    names = {"database": sql.Identifier(database), "owner": sql.Identifier(owner)}
    if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (database,)).fetchone():
        connection.execute(sql.SQL("CREATE DATABASE {database} OWNER {owner}").format(**names))
    connection.execute(sql.SQL("ALTER DATABASE {database} OWNER TO {owner}").format(**names))


def _close_database(connection: psycopg.Connection, database: str, guests: tuple[str, ...]) -> None:
    """PostgreSQL lets every role connect to every database and make temporary tables there, until told otherwise."""
    name = sql.Identifier(database)
    connection.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(name))
    for guest in guests:
        connection.execute(sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(name, sql.Identifier(guest)))


def _close_schema(connection: psycopg.Connection) -> None:
    connection.execute("REVOKE ALL ON SCHEMA public FROM PUBLIC")
