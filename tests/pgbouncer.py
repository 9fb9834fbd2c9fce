"""A PgBouncer of Debian's in front of a pool: transaction mode, and one session on the server for everybody."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from controlplane.stack.embedded import Stack
from controlplane.stack.files import write_private
from controlplane.stack.ports import HOST, answers, free_ports
from controlplane.stack.process import Program, start
from tests.pool_by_hand import DATABASE, PoolByHand

# Start-up options come from one client and would stick to the session for all: PgBouncer 1.18 can only ignore them.
CONFIGURATION = """
[databases]
{database} = host={host} port={postgres}
[pgbouncer]
listen_addr = {host}
listen_port = {port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {users}
pool_mode = transaction
default_pool_size = 1
max_client_conn = 100
server_reset_query = DISCARD ALL
server_reset_query_always = 1
ignore_startup_parameters = options, extra_float_digits
"""


@contextmanager
def bouncing(stack: Stack, made: PoolByHand) -> Iterator[int]:
    """The port on 127.0.0.1, until the block is left."""
    found = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
    assert found, "There is no pgbouncer here. On Debian: apt-get install pgbouncer (`make test` does it as root)."
    port = free_ports().web
    folder = stack.folder / "pgbouncer"
    folder.mkdir()
    user = stack.programs["postgres"].user  # PgBouncer does not run as root either
    users, configuration = folder / "users.txt", folder / "pgbouncer.ini"
    write_private(users, f'"{made.role}" "{made.password}"\n')
    write_private(
        configuration,
        CONFIGURATION.format(database=DATABASE, host=HOST, postgres=stack.ports.postgres, port=port, users=users),
    )
    if user is not None:
        for path in (folder, users, configuration):
            shutil.chown(path, user, user)
    program = Program(
        name="pgbouncer",
        command=(found, str(configuration)),
        environment={"PATH": os.defpath},
        folder=folder,
        user=user,
        ready=lambda: answers(port),
    )
    child = start(program, output=stack.folder / "logs" / "pgbouncer.log")
    try:
        child.wait_until_ready()
        yield port
    finally:
        child.stop()
        shutil.rmtree(folder)
