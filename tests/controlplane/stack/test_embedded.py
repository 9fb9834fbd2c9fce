"""The three servers over a data folder of their own: what they keep, whom they let in, and how they end."""

import json
import signal
import stat
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Literal

import boto3
import botocore.exceptions
import psutil
import psycopg
import pytest
import redis

from controlplane.stack.bootstrap import CLUSTER, CONTROL, GUESTS, KEYRING, OWNERS, ROLES
from controlplane.stack.credentials import FILE_NAME, load_or_make
from controlplane.stack.embedded import Stack, start
from controlplane.stack.errors import StackError
from controlplane.stack.ports import HOST, answers, is_free

pytestmark = pytest.mark.long


def client(stack: Stack, service: Literal["s3", "sts"] = "s3", keys: tuple[str, str, str] | None = None) -> Any:
    """With the stack's own identity, or with vended `keys`: id, secret, session token."""
    known = stack.environment
    access_key_id, secret, token = keys or (known["AWS_ACCESS_KEY_ID"], known["AWS_SECRET_ACCESS_KEY"], None)
    return boto3.Session(access_key_id, secret, token, known["AWS_DEFAULT_REGION"]).client(
        service, endpoint_url=known["S3_ENDPOINT_URL"]
    )


def url_of(stack: Stack, role: str, database: str) -> str:
    return f"postgresql://{role}:{getattr(stack.credentials, role)}@{HOST}:{stack.ports.postgres}/{database}"


def note(stack: Stack, text: str) -> None:
    with psycopg.connect(stack.environment["CLUSTER_URL"]) as connection:
        connection.execute("CREATE SCHEMA IF NOT EXISTS notes")
        connection.execute("CREATE TABLE IF NOT EXISTS notes.note (text text)")
        connection.execute("INSERT INTO notes.note VALUES (%s)", (text,))


def notes(stack: Stack) -> list[str]:
    with psycopg.connect(stack.environment["CLUSTER_URL"]) as connection:
        return [text for (text,) in connection.execute("SELECT text FROM notes.note ORDER BY text").fetchall()]


def test_a_second_start_keeps_rows_and_objects_and_passwords_at_other_ports(folder: Path) -> None:
    with start(folder) as first:
        note(first, "kept")
        client(first).create_bucket(Bucket="t-kept")
        client(first).put_object(Bucket="t-kept", Key="file", Body=b"kept")
    with start(folder) as second:
        assert second.ports != first.ports
        assert second.credentials == first.credentials
        assert notes(second) == ["kept"]
        assert client(second).get_object(Bucket="t-kept", Key="file")["Body"].read() == b"kept"
    assert all(is_free(port) for ports in second.ports.named.values() for port in ports)


KILLED = """
import os, sys, time
from pathlib import Path
from controlplane.stack.embedded import start
stack = start(Path(sys.argv[1]), durable=False)
print(stack.ports.base, *(part.pid for part in stack.parts.values()), flush=True)
time.sleep(600)
"""


def test_servers_die_with_a_killed_parent_and_the_next_start_heals(folder: Path) -> None:
    parent = subprocess.Popen((sys.executable, "-c", KILLED, str(folder)), stdout=subprocess.PIPE, cwd=Path.cwd())
    assert parent.stdout is not None
    with parent.stdout:
        _base, *pids = map(int, parent.stdout.readline().split())
    servers = [psutil.Process(pid) for pid in pids]
    parent.kill()
    parent.wait()
    for server in servers:
        server.wait(timeout=20)
    with start(folder, durable=False) as stack:
        note(stack, "healed")
        assert notes(stack) == ["healed"]


def test_a_lock_file_that_names_somebody_elses_process_is_no_obstacle(own: Stack) -> None:
    note(own, "kept")
    lock_file = own.folder / "postgres" / "postmaster.pid"
    lock = lock_file.read_text().splitlines()
    own.end("postgres", by=signal.SIGQUIT)
    # As after a restart of a container: the number belongs to another program, which PostgreSQL's user may signal.
    user = own.programs["postgres"].user
    neighbour = subprocess.Popen(("/bin/sleep", "600"), user=user, group=user)
    try:
        lock_file.write_text("\n".join((str(neighbour.pid), *lock[1:])))
        own.begin("postgres")
        assert "kept" in notes(own)
        assert neighbour.poll() is None
    finally:
        neighbour.kill()
        neighbour.wait()


def test_an_interrupted_first_start_leaves_nothing_half_made(folder: Path) -> None:
    (folder / "postgres.new" / "base").mkdir(parents=True)  # initdb was killed
    with start(folder, durable=False) as stack:
        note(stack, "whole")
    assert not (folder / "postgres.new").exists()


def test_only_its_owner_may_read_the_credentials(stack: Stack) -> None:
    for name in (FILE_NAME, "object-store.json"):
        assert stat.S_IMODE((stack.folder / name).stat().st_mode) == 0o600


def test_other_users_of_the_machine_cannot_list_or_read_what_is_stored(own: Stack) -> None:
    """Where we are root, PostgreSQL's own user must pass through the folder, but sees no names in it."""
    assert stat.S_IMODE(own.folder.stat().st_mode) & 0o066 == 0
    for name in ("postgres", "object-store", "valkey", "logs"):
        assert stat.S_IMODE((own.folder / name).stat().st_mode) == 0o700, name


def test_a_damaged_credentials_file_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_text("{")
    with pytest.raises(StackError, match=r"credentials\.json is damaged"):
        load_or_make(tmp_path)
    assert (tmp_path / FILE_NAME).read_text() == "{"


def test_every_port_is_on_the_loopback_address_and_among_those_we_chose(stack: Stack) -> None:
    chosen = {port for ports in stack.ports.named.values() for port in ports}
    for name, part in stack.parts.items():
        listening = [
            each.laddr for each in psutil.Process(part.pid).net_connections("inet") if each.status == psutil.CONN_LISTEN
        ]
        assert listening, name
        assert {address.ip for address in listening} == {HOST}, name
        assert {address.port for address in listening} <= chosen, name


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("database", [*OWNERS, "postgres", "template1"])
def test_a_role_connects_to_its_own_databases_alone(stack: Stack, role: str, database: str) -> None:
    if role == OWNERS.get(database) or role in GUESTS.get(database, ()):
        with psycopg.connect(url_of(stack, role, database)) as connection:
            assert connection.execute("SELECT current_user::text").fetchone() == (role,)
    else:
        with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
            psycopg.connect(url_of(stack, role, database))


@pytest.mark.parametrize(("role", "database"), [("tenure_control", CONTROL), ("tenure_control", KEYRING)])
def test_the_runtime_role_makes_nothing(stack: Stack, role: str, database: str) -> None:
    for statement in ("CREATE TABLE public.mine ()", "CREATE SCHEMA mine", "CREATE TEMPORARY TABLE mine ()"):
        with (
            psycopg.connect(url_of(stack, role, database)) as connection,
            pytest.raises(psycopg.errors.InsufficientPrivilege),
        ):
            connection.execute(statement)


def test_the_provisioner_makes_roles_that_skip_row_security_but_no_superuser(stack: Stack) -> None:
    with psycopg.connect(url_of(stack, "tenure_provisioner", CLUSTER), autocommit=True) as connection:
        connection.execute("CREATE ROLE stack_test_verifier BYPASSRLS")
        connection.execute("DROP ROLE stack_test_verifier")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("CREATE ROLE stack_test_superuser SUPERUSER")


def test_a_wrong_password_is_refused(stack: Stack) -> None:
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(f"postgresql://tenure_control:wrong@{HOST}:{stack.ports.postgres}/{CONTROL}")


def test_vended_credentials_reach_one_bucket_alone(stack: Stack) -> None:
    admin = client(stack)
    for name in ("t-stack-acme", "t-stack-globex"):
        admin.create_bucket(Bucket=name)
        admin.put_object(Bucket=name, Key="secret", Body=name.encode())
    reach = ["arn:aws:s3:::t-stack-acme", "arn:aws:s3:::t-stack-acme/*"]
    policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": ["s3:*"], "Resource": reach}]}
    vended = client(stack, "sts").get_federation_token(Name="acme", Policy=json.dumps(policy), DurationSeconds=900)
    keys = vended["Credentials"]
    acme = client(stack, "s3", (keys["AccessKeyId"], keys["SecretAccessKey"], keys["SessionToken"]))
    assert acme.get_object(Bucket="t-stack-acme", Key="secret")["Body"].read() == b"t-stack-acme"
    globex = {"Bucket": "t-stack-globex"}
    for verb, request in (
        ("get_object", {**globex, "Key": "secret"}),
        ("put_object", {**globex, "Key": "mine", "Body": b""}),
        ("list_objects_v2", globex),
        ("copy_object", {"Bucket": "t-stack-acme", "Key": "stolen", "CopySource": "t-stack-globex/secret"}),
        ("delete_object", {**globex, "Key": "secret"}),
        ("create_bucket", {"Bucket": "t-stack-mine"}),
    ):
        with pytest.raises(botocore.exceptions.ClientError, match="AccessDenied"):
            getattr(acme, verb)(**request)
    assert admin.get_object(Bucket="t-stack-globex", Key="secret")["Body"].read() == b"t-stack-globex"


@pytest.mark.parametrize("path", ["/buckets/", "/buckets/t-stack-inner/secret", "/etc/iam/identity.json"])
def test_the_stores_inner_ports_serve_nobody_without_its_signature(stack: Stack, path: str) -> None:
    admin = client(stack)
    admin.create_bucket(Bucket="t-stack-inner")
    admin.put_object(Bucket="t-stack-inner", Key="secret", Body=b"secret")
    for flag in ("filer.port", "volume.port"):
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(f"http://{HOST}:{stack.ports.weed[flag]}{path}", timeout=10)
    admin.delete_object(Bucket="t-stack-inner", Key="secret")
    admin.delete_bucket(Bucket="t-stack-inner")


def test_valkey_keeps_messages_when_memory_is_short_and_drops_cached_values(stack: Stack) -> None:
    valkey = redis.Redis.from_url(stack.environment["CACHE_URL"])
    with valkey:
        assert valkey.config_get("maxmemory-policy") == {"maxmemory-policy": "volatile-lru"}
        assert valkey.config_get("save") == {"save": ""}


@pytest.mark.parametrize("name", ["postgres", "valkey", "object-store"])
def test_a_killed_server_is_started_again_over_its_data(own: Stack, name: str) -> None:
    note(own, name)
    own.restart(name, by=signal.SIGKILL)
    assert name in notes(own)
    assert answers(own.ports.valkey)
    assert client(own).list_buckets()["Buckets"] == []


def test_the_object_store_leaves_no_sockets_behind(own: Stack) -> None:
    """Weed itself removes none, and an old one would be in the way of the next."""
    assert own.ports.weed_sockets
    own.end("object-store", by=signal.SIGKILL)
    assert own.ports.weed_sockets == []
    own.begin("object-store")
