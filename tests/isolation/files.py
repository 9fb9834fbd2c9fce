"""Attacks on files, with the storage session that the control plane vended for acme."""

import urllib.request
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError

import boto3
from botocore.exceptions import ClientError
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage

from provisioning.providers.s3 import s3_client
from tenants.context import tenant_scope
from tenants.isolation import credentials, storage
from tests.isolation.arena import POOLED, Arena
from tests.isolation.attack import Attempt

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

DENIED = r"\((AccessDenied|Forbidden|403)\)"
fetch = urllib.request.build_opener(urllib.request.ProxyHandler({})).open  # our own store, past a proxy


def client_of(arena: Arena) -> "S3Client":
    with tenant_scope(arena.acme):
        return storage._opened()[1]


def reads_own(arena: Arena) -> bool:
    with tenant_scope(arena.acme):
        name = default_storage.save("control.txt", ContentFile(b"x"))
        default_storage.delete(name)
        with default_storage.open("plan.txt") as file:
            return bool(file.read() == arena.own.encode())


def reach_files(arena: Arena) -> Iterable[Attempt]:
    client: Any = client_of(arena)
    (here, prefix), (there, theirs) = (storage.own_place(each) for each in (arena.acme, arena.globex))
    key, mine = f"{theirs}plan.txt", f"{prefix}stolen.txt"
    at, source = {"Bucket": there, "Key": key}, {"Bucket": there, "Key": key}

    def got(**what: str) -> object:
        return client.get_object(**what)["Body"].read()

    def copied() -> object:
        client.copy_object(Bucket=here, Key=mine, CopySource=source)
        return client.get_object(Bucket=here, Key=mine)["Body"].read()

    def part_copied() -> object:
        upload = client.create_multipart_upload(Bucket=here, Key=mine)["UploadId"]
        try:
            return client.upload_part_copy(Bucket=here, Key=mine, UploadId=upload, PartNumber=1, CopySource=source)
        finally:
            client.abort_multipart_upload(Bucket=here, Key=mine, UploadId=upload)

    acts = {
        "get": lambda: got(**at),
        "head": lambda: client.head_object(**at),
        "put": lambda: client.put_object(**at, Body=b"x"),
        "put beside": lambda: client.put_object(Bucket=there, Key=f"{theirs}new.txt", Body=b"x"),
        "list": lambda: client.list_objects_v2(Bucket=there, Prefix=theirs),
        "list all": lambda: client.list_objects_v2(Bucket=there),
        "list versions": lambda: client.list_object_versions(Bucket=there, Prefix=theirs),
        "copy out": copied,
        "copy a part out": part_copied,
        "copy in": lambda: client.copy_object(**at, CopySource={"Bucket": here, "Key": f"{prefix}plan.txt"}),
        "read the policy": lambda: client.get_bucket_policy(Bucket=there),
        "delete": lambda: client.delete_object(**at),
        "delete the bucket": lambda: client.delete_bucket(Bucket=there),
    }
    for what, act in acts.items():
        yield Attempt(what, DENIED, act)


@contextmanager
def tidied(arena: Arena) -> Iterator[None]:
    yield
    with suppress(ClientError):
        s3_client().delete_bucket(Bucket=longer(arena))


def longer(arena: Arena) -> str:
    return f"{storage.own_place(arena.acme)[0]}0"


def misname(arena: Arena) -> Iterable[Attempt]:
    client: Any = client_of(arena)
    (here, prefix), (_there, theirs) = (storage.own_place(each) for each in (arena.acme, arena.globex))

    def got(**what: str) -> object:
        return client.get_object(**what)["Body"].read()

    for name in (f"../{theirs}plan.txt", f"a/../../{theirs}plan.txt", "%2e%2e/x", "/plan.txt", "\uff0e\uff0e/x"):
        yield Attempt(f"name {name}", "^SuspiciousFileOperation ", partial(opened, arena, name))
    acts = {
        "a bucket of a longer name": lambda: client.create_bucket(Bucket=longer(arena)),
        "its bucket for all": lambda: client.put_bucket_acl(Bucket=here, ACL="public-read"),
        "its bucket's policy": lambda: client.put_bucket_policy(Bucket=here, Policy="{}"),
    }
    if arena.place in POOLED:
        acts["a key of a longer prefix"] = lambda: client.put_object(Bucket=here, Key=f"{prefix[:-1]}0/x", Body=b"")
        acts["a key that leads back"] = lambda: got(Bucket=here, Key=f"{prefix}../{theirs}plan.txt")
    for what, act in acts.items():
        yield Attempt(what, f"{DENIED}|InvalidRequest|NoSuchKey|NotImplemented|InvalidURI", act)


def opened(arena: Arena, name: str) -> object:
    with tenant_scope(arena.acme), default_storage.open(name) as file:
        return file.read()


def bend_links(arena: Arena) -> Iterable[Attempt]:
    client = client_of(arena)
    (here, prefix), (there, theirs) = (storage.own_place(each) for each in (arena.acme, arena.globex))
    with tenant_scope(arena.acme):
        link = default_storage.url("plan.txt")
    made = client.generate_presigned_url("get_object", Params={"Bucket": there, "Key": f"{theirs}plan.txt"})
    bent = link.replace(arena.acme.tenant_id.hex, arena.globex.tenant_id.hex)
    assert (bent != link, here == there) == (True, arena.place in POOLED)
    denied = "^HTTPError .*403"
    yield Attempt("bent to globex's", denied, partial(read, bent))
    yield Attempt("made for globex's", denied, partial(read, made))
    yield Attempt("for longer", denied, partial(read, link.replace("X-Amz-Expires=", "X-Amz-Expires=9")))
    yield Attempt("another file", denied, partial(read, link.replace("plan.txt", "plan.tx", 1)))
    assert prefix in link


def read(link: str) -> bytes:
    try:
        with fetch(link) as reply:
            return bytes(reply.read())
    except HTTPError as error:
        error.close()
        raise


def link_opens(arena: Arena) -> bool:
    with tenant_scope(arena.acme):
        return read(default_storage.url("plan.txt")) == arena.own.encode()


def ask_for_more(arena: Arena) -> Iterable[Attempt]:
    """A session that asks for another session, or for the vending identity's other powers."""
    given = credentials.of(arena.acme).storage
    session = boto3.session.Session(
        given.access_key_id, given.secret_access_key, given.session_token, region_name=given.region
    )
    sts: Any = session.client("sts", endpoint_url=given.endpoint_url)
    iam: Any = session.client("iam", endpoint_url=given.endpoint_url)
    refused = "An error occurred"
    yield Attempt("another session", refused, lambda: sts.get_federation_token(Name="globex"))
    yield Attempt("a user", refused, lambda: iam.create_user(UserName="mine"))
    yield Attempt("a key", refused, lambda: iam.create_access_key(UserName="tenure"))
    client = client_of(arena)
    yield Attempt(
        "all buckets",
        rf"{DENIED}|^\[\]$",
        lambda: [each["Name"] for each in client.list_buckets()["Buckets"] if each["Name"] != given.bucket],
    )
