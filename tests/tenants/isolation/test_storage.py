import io
import urllib.error
import urllib.request
from dataclasses import replace
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import boto3
import pytest
from botocore.config import Config
from django.core.exceptions import SuspiciousFileOperation
from django.core.files.base import ContentFile, File
from django.core.files.storage import Storage
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from tenants.context import TenantContext, tenant_scope
from tenants.errors import NoTenant
from tenants.isolation import credentials
from tenants.isolation.credentials import Credentials, StorageCredentials
from tenants.isolation.storage import StorageRefused, TenantStorage, _key
from tests.pair import Pair


@pytest.fixture
def storage(pair: Pair) -> Storage:
    """Empty for both: the rows and files of the test before went with it."""
    return TenantStorage()


fetch = urllib.request.build_opener(urllib.request.ProxyHandler({})).open  # our own store, past a proxy


def read(storage: Storage, name: str) -> bytes:
    with storage.open(name) as file:
        return bytes(file.read())


def test_each_tenant_has_a_file_of_the_same_name(pair: Pair, storage: Storage) -> None:
    for context in (pair.acme, pair.globex):
        with tenant_scope(context):
            assert storage.save("plan.txt", ContentFile(context.slug.encode())) == "plan.txt"
    for context in (pair.acme, pair.globex):
        with tenant_scope(context):
            assert read(storage, "plan.txt") == context.slug.encode()


def test_what_a_storage_promises(pair: Pair, storage: Storage) -> None:
    with tenant_scope(pair.acme):
        assert not storage.exists("a/b.txt")
        assert storage.save("a/b.txt", ContentFile("tëxt")) == "a/b.txt"
        assert (storage.exists("a/b.txt"), storage.size("a/b.txt")) == (True, 5)
        assert timezone.now() - storage.get_modified_time("a/b.txt") < timedelta(minutes=5)
        assert storage.listdir("a") == ([], ["b.txt"])
        assert storage.listdir("")[0] == ["a"]
        storage.delete("a/b.txt")
        storage.delete("a/b.txt")
        for ask in (storage.size, storage.get_modified_time, storage.open):
            with pytest.raises(FileNotFoundError):
                ask("a/b.txt")
        with pytest.raises(ValueError, match="reading only"):
            storage.open("a/b.txt", "wb")


def test_a_name_that_is_taken_gets_another_even_at_the_same_moment(
    pair: Pair, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tenant_scope(pair.acme):
        storage.save("plan.txt", ContentFile(b"first"))
        assert (second := storage.save("plan.txt", ContentFile(b"second"))) != "plan.txt"
        # Somebody else took the name after this process had looked: the store itself says so.
        looked = iter([False])
        monkeypatch.setattr(TenantStorage, "exists", lambda self, name: next(looked, self._head(name) is not None))
        assert (third := storage.save("plan.txt", File(ContentFile(b"third").file))) not in {"plan.txt", second}
        assert [read(storage, name) for name in ("plan.txt", second, third)] == [b"first", b"second", b"third"]


@pytest.mark.parametrize("name", [None, "named.bin"])
def test_a_file_is_stored_whole_whether_it_has_a_name_or_not(pair: Pair, storage: Storage, name: str | None) -> None:
    content = b"x" * 3_000_000
    with tenant_scope(pair.acme):
        file = File(io.BytesIO(content), name)
        file.read(10)  # somebody looked at its beginning
        stored = storage.save("big.bin", file)
        assert (storage.size(stored), read(storage, stored)) == (len(content), content)


def test_without_a_scope_there_is_no_storage(pair: Pair) -> None:
    for ask in (TenantStorage().exists, TenantStorage().url, TenantStorage().delete):
        with pytest.raises(NoTenant):
            ask("plan.txt")


@pytest.mark.parametrize(
    "name",
    ["/etc/passwd", "../globex/plan.txt", "a/../../b", "a//b", "./a", "a/", "", "a\\b", "a\x00b", "a\nb", "x" * 901],
)
def test_a_name_that_could_leave_the_tenants_files_is_refused(pair: Pair, storage: Storage, name: str) -> None:
    with tenant_scope(pair.acme):
        for ask in (storage.exists, storage.url, storage.delete, storage.size, storage.open):
            with pytest.raises(SuspiciousFileOperation):
                ask(name)


SESSION = StorageCredentials(
    endpoint_url=None,
    region="eu-central-1",
    bucket="pool",
    prefix="t_00000000000040008000000000000001/",
    access_key_id="id",
    secret_access_key="secret",
    session_token="token",
    expires_at=timezone.now(),
)


@given(st.text(max_size=40))
def test_no_name_leads_out_of_the_prefix(name: str) -> None:
    try:
        key = _key(SESSION, name)
    except SuspiciousFileOperation:
        return
    assert key == SESSION.prefix + name
    assert not {"", ".", ".."} & set(key.split("/"))


def test_a_link_downloads_the_file_and_lives_for_minutes(pair: Pair, storage: Storage) -> None:
    with tenant_scope(pair.acme):
        storage.save("plän.html", ContentFile(b"<script>"))
        link = storage.url("plän.html")
    life = int(parse_qs(urlsplit(link).query)["X-Amz-Expires"][0])
    assert 0 < life <= 15 * 60
    with fetch(link) as reply:
        assert reply.read() == b"<script>"
        assert reply.headers["Content-Disposition"] == "attachment; filename*=UTF-8''pl%C3%A4n.html"


def test_a_link_cannot_be_bent_to_another_file(pair: Pair, storage: Storage) -> None:
    with tenant_scope(pair.globex):
        storage.save("plan.txt", ContentFile(b"globex's"))
    with tenant_scope(pair.acme):
        storage.save("plan.txt", ContentFile(b"acme's"))
        link = storage.url("plan.txt")
    bent = link.replace(pair.acme.tenant_id.hex, pair.globex.tenant_id.hex)
    assert bent != link
    with pytest.raises(urllib.error.HTTPError, match="403"), fetch(bent):
        pass


def test_a_tenants_credentials_are_refused_at_anothers_bucket(pair: Pair, storage: Storage) -> None:
    with tenant_scope(pair.globex):
        storage.save("plan.txt", ContentFile(b"globex's"))
    session, theirs = credentials.of(pair.acme).storage, credentials.of(pair.globex).storage.bucket
    client = boto3.client(
        "s3",
        endpoint_url=session.endpoint_url,
        region_name=session.region,
        aws_access_key_id=session.access_key_id,
        aws_secret_access_key=session.secret_access_key,
        aws_session_token=session.session_token,
        config=Config(s3={"addressing_style": "path"}),
    )
    assert client.list_objects_v2(Bucket=session.bucket)["KeyCount"] == 0
    for refused in (
        lambda: client.get_object(Bucket=theirs, Key="plan.txt"),
        lambda: client.list_objects_v2(Bucket=theirs),
        lambda: client.put_object(Bucket=theirs, Key="mine.txt", Body=b""),
    ):
        with pytest.raises(client.exceptions.ClientError, match="AccessDenied"):
            refused()


class Crossed:
    """A control plane gone wrong: it hands out acme's session for globex's bucket."""

    def __init__(self, of: Credentials, bucket: str) -> None:
        self.given = replace(of, storage=replace(of.storage, bucket=bucket))

    def credentials(self, _context: TenantContext) -> Credentials:
        return self.given


def test_a_session_that_does_not_fit_its_bucket_is_refused_loudly(pair: Pair, storage: Storage) -> None:
    crossed = Crossed(credentials.of(pair.acme), credentials.of(pair.globex).storage.bucket)
    former = credentials._kept.source
    credentials.register(crossed)
    try:
        with tenant_scope(pair.acme), pytest.raises(StorageRefused):
            storage.exists("plan.txt")
    finally:
        credentials.register(former)
