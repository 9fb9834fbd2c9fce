from collections.abc import Iterator

import psycopg
import pytest

from controlplane.stack.embedded import Stack
from tests.provisioning.databases.pooling.side import Sides

DATABASE = "compiled"
GUARD = """
    DO $$ BEGIN
        CREATE ROLE tenure_owner NOLOGIN;
        GRANT tenure_owner TO tenure_provisioner WITH ADMIN OPTION;  -- as if it had made it, for tests that come after
    EXCEPTION WHEN duplicate_object THEN NULL; END $$;
    CREATE SCHEMA tenure_guard;
    GRANT USAGE ON SCHEMA tenure_guard TO PUBLIC;
    CREATE FUNCTION tenure_guard.tenant() RETURNS uuid LANGUAGE plpgsql STABLE AS $$
    BEGIN
        IF coalesce(current_setting('tenure.seal', true), '') = '' THEN RAISE 'no context'; END IF;
        RETURN left(current_setting('tenure.seal', true), 36);
    END $$;
    ALTER DEFAULT PRIVILEGES FOR ROLE tenure_owner REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
"""


@pytest.fixture(scope="session")
def compiled_database(stack: Stack) -> Iterator[str]:
    """A database with a guard that believes what it is told: these tests are about shapes, not about forged seals."""
    with psycopg.connect(stack.superuser_url, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)")
        connection.execute(f"CREATE DATABASE {DATABASE}")
        connection.execute(f"REVOKE ALL ON DATABASE {DATABASE} FROM PUBLIC")
    url = f"{stack.superuser_url.rsplit('/', 1)[0]}/{DATABASE}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(GUARD)
    yield url
    with psycopg.connect(stack.superuser_url, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {DATABASE} WITH (FORCE)")


@pytest.fixture
def sides(compiled_database: str) -> Iterator[Sides]:
    """An empty plain schema and an empty pool."""
    with psycopg.connect(compiled_database, autocommit=True) as connection:
        yield Sides(connection)
