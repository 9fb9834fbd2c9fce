import io
import posixpath
import unicodedata
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from uuid import uuid4

import boto3
import pytest
from botocore.config import Config
from django.core.exceptions import SuspiciousFileOperation
from django.core.files.base import ContentFile, File
from django.core.files.storage import Storage
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from provisioning.models import Claim
from provisioning.providers import Bucket, vend
from provisioning.providers.s3 import s3_client
from tenants.context import TenantContext, tenant_scope
from tenants.errors import NoTenant
from tenants.isolation import credentials
from tenants.isolation.credentials import Credentials, StorageCredentials
from tenants.isolation.storage import StorageRefused, TenantStorage, _clients, _key, _opened, foreign_storages
from tenants.placement import SENTINEL, pool_bucket
from tenants.states import Tier
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
        assert storage.listdir("") == (["a"], [])  # and not the sentinel, which lies there, too
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
    [
        *(
            "/etc/passwd",
            "../globex/plan.txt",
            "a/../../b",
            "a//b",
            "./a",
            "a/",
            "",
            "a\\b",
            "a\x00b",
            "a\nb",
            "x" * 901,
        ),
        *("..", "a/..", "...", ".. /b", "a/ /b", "\ud800", "a/%2e%2e/b", "%2E./b", "%252e%252e/b", "a%2fb", "a%5cb"),
        *("a%00b", "a%2525252fb", "\uff0e\uff0e/b", "\u2024\u2024/b", "a\uff0fb", "a\u2215b", "a\u2044..\u2044b"),
        *("a\uff3cb", "\u202ea", "a\u200bb", "\u2025/b", "%ef%bc%8e%ef%bc%8e/b", "\uff052e\uff052e/b"),
        *("tenure-sentinel", "tenure-sentinel/b"),
    ],
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


@pytest.mark.parametrize(
    "name", ["plan.txt", "a/b/c.txt", "100%.txt", "a b.txt", "a%20b.txt", "été/ünï.pdf", "..a", "a..b", "東京/計画.txt"]
)
def test_a_usual_name_is_as_good_as_any(name: str) -> None:
    assert _key(SESSION, name) == SESSION.prefix + name


@given(st.text(max_size=40) | st.text(alphabet="./%25eEfF\\a\uff0e\uff0f\u2024\u2215", max_size=12))
def test_no_name_leads_out_of_the_prefix(name: str) -> None:
    try:
        key = _key(SESSION, name)
    except SuspiciousFileOperation:
        return
    assert key == SESSION.prefix + name
    for read in (key, unquote(key), unquote(unquote(key)), unicodedata.normalize("NFKC", unquote(key))):
        assert not {"", ".", ".."} & set(read.split("/"))
        assert posixpath.normpath(read).startswith(SESSION.prefix)


def test_a_link_downloads_the_file_and_lives_for_minutes(pair: Pair, storage: Storage) -> None:
    with tenant_scope(pair.acme):
        storage.save("plän.html", ContentFile(b"<script>"))
        link = storage.url("plän.html")
    asked = parse_qs(urlsplit(link).query)
    assert 0 < int(asked["X-Amz-Expires"][0]) <= 15 * 60
    assert asked["X-Amz-Algorithm"] == ["AWS4-HMAC-SHA256"]
    assert asked["X-Amz-Security-Token"]  # of a session, so it ends with that
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
    assert [each["Key"] for each in client.list_objects_v2(Bucket=session.bucket)["Contents"]] == [SENTINEL]
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


class Answers:
    """A control plane that answers what the test says, for each tenant."""

    def __init__(self, *answers: tuple[TenantContext, Credentials]) -> None:
        self.answers = {context.incarnation: given for context, given in answers}
        self.asked = 0

    def credentials(self, context: TenantContext) -> Credentials:
        self.asked += 1
        return self.answers[context.incarnation]


@contextmanager
def source(answers: Answers) -> Iterator[None]:
    former = credentials._kept.source
    credentials.register(answers)
    try:
        yield
    finally:
        credentials.register(former)


@pytest.mark.parametrize(("left", "most"), [(timedelta(hours=1), 900), (timedelta(minutes=7), 420)])
def test_a_link_lives_no_longer_than_its_session(pair: Pair, left: timedelta, most: int) -> None:
    known = credentials.of(pair.acme)
    ending = replace(known, storage=replace(known.storage, expires_at=timezone.now() + left))
    with source(Answers((pair.acme, ending))), tenant_scope(pair.acme):
        life = int(parse_qs(urlsplit(TenantStorage().url("plan.txt")).query)["X-Amz-Expires"][0])
    assert most - 60 < life <= most


def test_an_ended_session_makes_no_link(pair: Pair) -> None:
    known = credentials.of(pair.acme)
    ended = replace(known, storage=replace(known.storage, expires_at=timezone.now()))
    with source(Answers((pair.acme, ended))), tenant_scope(pair.acme), pytest.raises(StorageRefused, match="ended"):
        TenantStorage().url("plan.txt")


def test_a_session_is_renewed_before_it_ends_and_its_client_with_it(pair: Pair) -> None:
    known = credentials.of(pair.acme)
    soon = replace(known, storage=replace(known.storage, expires_at=timezone.now() + timedelta(minutes=4)))
    answers = Answers((pair.acme, soon))
    with source(answers), tenant_scope(pair.acme):
        _opened()
        _session, before = _opened()
        assert answers.asked == 2
        answers.answers[pair.acme.incarnation] = replace(known, storage=replace(known.storage, session_token="another"))
        session, after = _opened()
    assert session.session_token == "another"
    assert after is not before


def test_a_client_is_never_shared_by_two_tenants_nor_by_two_lives(pair: Pair) -> None:
    """Even where a control plane gone wrong gives both the very same session."""
    reborn = replace(pair.acme, incarnation=uuid4())
    given = credentials.of(pair.acme).storage
    clients = [_clients.of(context, given) for context in (pair.acme, pair.globex, reborn, pair.acme)]
    assert len(set(map(id, clients))) == 3
    assert clients[0] is clients[3]


class TestInAPool:
    """Two tenants with a prefix each in one bucket, and the sessions that Tenure vends for them."""

    @pytest.fixture
    def pooled(self, pair: Pair) -> Iterator[Pair]:
        pool, claim = uuid4(), Claim(run_id=uuid4(), fence=1, token="7" * 64)
        acme, globex = (
            replace(each, tenant_id=uuid4(), incarnation=uuid4(), tier=Tier.POOL, pool_id=pool)
            for each in (pair.acme, pair.globex)
        )
        Bucket().provision(acme, Bucket().plan(acme), claim=claim)
        database = credentials.of(pair.acme).database
        made = [
            (
                each,
                Credentials(database=database, storage=StorageCredentials(**asdict(vend(each, Bucket().plan(each))))),
            )
            for each in (acme, globex)
        ]
        with source(Answers(*made)):
            yield replace(pair, acme=acme, globex=globex)
        for each in (acme, globex):
            Bucket().deprovision(each, Bucket().plan(each), claim=claim)
        s3_client().delete_bucket(Bucket=pool_bucket(pool))

    def test_each_has_its_own_files_under_the_same_names(self, pooled: Pair) -> None:
        storage = TenantStorage()
        for context in (pooled.acme, pooled.globex):
            with tenant_scope(context):
                assert not storage.exists("a/plan.txt")
                assert storage.save("a/plan.txt", ContentFile(context.slug.encode())) == "a/plan.txt"
                assert (storage.exists("a/plan.txt"), storage.exists("a/plan")) == (True, False)
        for context in (pooled.acme, pooled.globex):
            with tenant_scope(context):
                assert read(storage, "a/plan.txt") == context.slug.encode()
                assert (storage.listdir(""), storage.listdir("a")) == ((["a"], []), ([], ["plan.txt"]))
                with fetch(storage.url("a/plan.txt")) as reply:
                    assert reply.read() == context.slug.encode()
                with pytest.raises(FileNotFoundError):
                    storage.size("b.txt")
        with tenant_scope(pooled.acme):
            storage.delete("a/plan.txt")
            assert not storage.exists("a/plan.txt")
        with tenant_scope(pooled.globex):
            assert read(storage, "a/plan.txt") == b"globex"

    def test_the_session_reaches_nothing_beside_its_prefix(self, pooled: Pair) -> None:
        with tenant_scope(pooled.globex):
            TenantStorage().save("plan.txt", ContentFile(b"globex's"))
        with tenant_scope(pooled.acme):
            session, client = _opened()
        bucket, theirs = session.bucket, f"{pooled.globex.key}/plan.txt"
        assert client.list_objects_v2(Bucket=bucket, Prefix=session.prefix)["KeyCount"] == 0
        client.put_object(Bucket=bucket, Key=f"{session.prefix}mine.txt", Body=b"")
        copied = {"Bucket": bucket, "Key": theirs}
        for refused in (
            lambda: client.get_object(Bucket=bucket, Key=theirs),
            lambda: client.head_object(Bucket=bucket, Key=theirs),
            lambda: client.put_object(Bucket=bucket, Key=theirs, Body=b""),
            lambda: client.put_object(Bucket=bucket, Key=f"{session.prefix[:-1]}0/x", Body=b""),
            lambda: client.delete_object(Bucket=bucket, Key=theirs),
            lambda: client.copy_object(Bucket=bucket, Key=f"{session.prefix}stolen.txt", CopySource=copied),  # type: ignore[arg-type]
            lambda: client.list_objects_v2(Bucket=bucket),
            lambda: client.list_objects_v2(Bucket=bucket, Prefix="t_"),
            lambda: client.list_objects_v2(Bucket=bucket, Prefix=f"{pooled.globex.key}/"),
        ):
            with pytest.raises(client.exceptions.ClientError, match=r"AccessDenied|403"):
                refused()

    def test_a_session_without_the_prefix_is_not_used(self, pooled: Pair) -> None:
        given = credentials.of(pooled.acme)
        places: list[dict[str, Any]] = [{"prefix": ""}, {"prefix": f"{pooled.globex.key}/"}, {"bucket": "another"}]
        for place in places:
            wrong = replace(given, storage=replace(given.storage, **place))
            expected = pytest.raises(StorageRefused, match="another place")
            with source(Answers((pooled.acme, wrong))), tenant_scope(pooled.acme), expected:
                TenantStorage().exists("plan.txt")


def test_what_a_check_would_complain_of() -> None:
    ours, static = {"BACKEND": "tenants.isolation.storage.TenantStorage"}, {"BACKEND": "x.Y"}
    assert foreign_storages({"default": ours, "staticfiles": static}) == []
    plain = {"BACKEND": "django.core.files.storage.InMemoryStorage"}
    assert foreign_storages({"default": plain, "exports": {}, "staticfiles": static}) == ["default", "exports"]
