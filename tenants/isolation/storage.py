"""Django's file storage over the bucket of the open scope, with credentials that reach nothing else.

Written over boto3 rather than django-storages, whose S3Storage holds one bucket and one set of keys per instance: what
would have to be replaced (client, bucket, prefix, renewal, expiry of links) is most of what is here.
"""

from __future__ import annotations

import mimetypes
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from tempfile import SpooledTemporaryFile
from threading import Lock
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import quote
from uuid import UUID

import boto3
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from django.core.exceptions import SuspiciousFileOperation
from django.core.files.base import File
from django.core.files.storage import Storage
from django.utils.deconstruct import deconstructible
from django.utils.module_loading import import_string

from tenants.context import TenantContext, current
from tenants.errors import NoTenant, TenureError
from tenants.isolation import credentials
from tenants.isolation.credentials import StorageCredentials
from tenants.isolation.file_names import is_safe
from tenants.isolation.refusals import Layer, refused
from tenants.placement import SENTINEL, bucket_name, pool_bucket

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

LINK_LIFE, SHORTEST_LINK = timedelta(minutes=15), timedelta(seconds=1)
MOST_CLIENTS = 32  # making one takes some 10 ms and 1 MB
IN_MEMORY_BYTES = 1024 * 1024
DEFAULT_BACKEND = "django.core.files.storage.FileSystemStorage"
IN_THIS_THREAD = TransferConfig(use_threads=False)  # else boto3 makes a pool of ten threads for every file


class StorageUnavailable(TenureError):
    """The object store did not do what was asked."""

    code = "STORAGE_UNAVAILABLE"
    cure = "Try again in a moment. If it lasts, look at the object store."


class StorageRefused(TenureError):
    """The object store refuses this tenant's credentials."""

    code = "STORAGE_REFUSED"
    cure = "Check that the tenant is active and its bucket is there: verify its resources."


@deconstructible
class TenantStorage(Storage):
    """Bucket and credentials come from the scope at each call, so one instance serves every tenant."""

    def url(self, name: str | None) -> str:
        """A presigned link (signature version 4) that downloads the file, for at most 15 minutes."""
        session, client = _opened()
        key = _key(session, name or "")
        life = min(LINK_LIFE, session.expires_at - datetime.now(UTC))
        if life < SHORTEST_LINK:
            raise StorageRefused("The storage session has ended, and a link cannot outlive it.", code="ExpiredToken")
        attachment = f"attachment; filename*=UTF-8''{quote(key.rsplit('/', 1)[-1], safe='')}"
        return client.generate_presigned_url(
            "get_object",
            # Never shown inside the page: an uploaded HTML file would run as the store's origin.
            Params={"Bucket": session.bucket, "Key": key, "ResponseContentDisposition": attachment},
            ExpiresIn=int(life.total_seconds()),
        )

    def exists(self, name: str) -> bool:
        return self._head(name) is not None

    def size(self, name: str) -> int:
        """In bytes. Raises FileNotFoundError."""
        return int(self._found(name)["ContentLength"])

    def get_modified_time(self, name: str) -> datetime:
        modified: datetime = self._found(name)["LastModified"]
        return modified

    def delete(self, name: str) -> None:
        """Also when it is not there. In a versioned bucket the former versions stay until they are erased."""
        session, client = _opened()
        with _errors(name):
            client.delete_object(Bucket=session.bucket, Key=_key(session, name))

    def listdir(self, path: str) -> tuple[list[str], list[str]]:
        """Names of folders and of files directly below `path`; the empty path is the tenant's top."""
        session, client = _opened()
        prefix = f"{_key(session, path.rstrip('/'))}/" if path.strip("/.") else session.prefix
        unseen = {prefix, f"{session.prefix}{SENTINEL}"}
        folders: list[str] = []
        files: list[str] = []
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=session.bucket, Prefix=prefix, Delimiter="/")
        with _errors(path):
            for page in pages:
                folders += [each["Prefix"][len(prefix) : -1] for each in page.get("CommonPrefixes", ())]
                files += [each["Key"][len(prefix) :] for each in page.get("Contents", ()) if each["Key"] not in unseen]
        return folders, files

    def _open(self, name: str, mode: str = "rb") -> File[bytes]:
        if mode not in {"r", "rb"}:
            raise ValueError(f"Objects are opened for reading only, not {mode!r}; save() replaces one.")
        session, client = _opened()
        with ExitStack() as on_failure, _errors(name):
            body: IO[bytes] = on_failure.enter_context(SpooledTemporaryFile(max_size=IN_MEMORY_BYTES))
            client.download_fileobj(session.bucket, _key(session, name), body, Config=IN_THIS_THREAD)
            body.seek(0)
            on_failure.pop_all()  # from here on it is the caller's to close
        return File(body, name)

    def _save(self, name: str, content: File[Any]) -> str:
        """Where somebody took the name since it was chosen, another is taken: nothing is ever overwritten."""
        session, client = _opened()
        kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
        while True:
            key = _key(session, name)
            try:
                with _errors(name):
                    client.put_object(
                        Bucket=session.bucket, Key=key, Body=_body(content), ContentType=kind, IfNoneMatch="*"
                    )
            except FileExistsError:
                name = self.get_available_name(name)
            else:
                return name

    def _found(self, name: str) -> dict[str, Any]:
        if (head := self._head(name)) is None:
            raise FileNotFoundError(name)
        return head

    def _head(self, name: str) -> dict[str, Any] | None:
        session, client = _opened()
        key = _key(session, name)
        try:
            with _errors(name):
                return dict(client.head_object(Bucket=session.bucket, Key=key))
        except FileNotFoundError:
            return None
        except StorageRefused:
            # Who may list below a prefix only is told "forbidden" of what is not there (Amazon S3, "HeadObject").
            if not session.prefix or self._is_listed(client, session.bucket, key):
                raise
            return None

    @staticmethod
    def _is_listed(client: S3Client, bucket: str, key: str) -> bool:
        with _errors(key):
            page = client.list_objects_v2(Bucket=bucket, Prefix=key, MaxKeys=1)  # a key comes before longer ones
        return any(each["Key"] == key for each in page.get("Contents", ()))


class _Clients:
    """One S3 client per life of a tenant and session; the one used longest ago is given up first."""

    def __init__(self) -> None:
        self.known: OrderedDict[tuple[UUID, UUID, StorageCredentials], S3Client] = OrderedDict()
        self.lock = Lock()
        self.maker: boto3.session.Session | None = None

    def of(self, scope: TenantContext, session: StorageCredentials) -> S3Client:
        # The whole session is compared, token and all, and whose it is: what is found can be no neighbour's.
        name = (scope.tenant_id, scope.incarnation, session)
        with self.lock:  # making a client is not thread-safe, using one is (boto3, "Multithreading")
            if name not in self.known:
                # One makes them all, or each would read AWS's descriptions of S3 anew (0.1 s).
                self.maker = self.maker or boto3.session.Session()
                self.known[name] = _client(self.maker, session)
            self.known.move_to_end(name)
            while len(self.known) > MOST_CLIENTS:
                self.known.popitem(last=False)
            return self.known[name]


_clients = _Clients()


def _opened() -> tuple[StorageCredentials, S3Client]:
    """The session and client of the open scope. The session is renewed some minutes before it ends."""
    try:
        scope = current()
    except NoTenant:
        refused(Layer.STORAGE, "no scope")
        raise
    session = credentials.of(scope).storage
    if (session.bucket, session.prefix) != own_place(scope):
        refused(Layer.STORAGE, "a session for another place")
        raise StorageRefused(f"The storage session for {scope.slug} is for another place than its own.")
    return session, _clients.of(scope, session)


def own_place(scope: TenantContext) -> tuple[str, str]:
    """Bucket and prefix by tier: in a pool a prefix of the pool's bucket, elsewhere a bucket without any."""
    if scope.pool_id is not None:
        return pool_bucket(scope.pool_id), f"{scope.key}/"
    return bucket_name(scope.tenant_id), ""


def foreign_storages(storages: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """For a system check: the aliases of settings.STORAGES for files, whose files would belong to no tenant."""
    return [
        alias
        for alias, entry in storages.items()
        if alias != "staticfiles" and not _is_ours(import_string(entry.get("BACKEND", DEFAULT_BACKEND)))
    ]


def _is_ours(backend: object) -> bool:
    return isinstance(backend, type) and issubclass(backend, TenantStorage)


def _client(maker: boto3.session.Session, session: StorageCredentials) -> S3Client:
    return maker.client(
        "s3",
        endpoint_url=session.endpoint_url,
        region_name=session.region,
        aws_access_key_id=session.access_key_id,
        aws_secret_access_key=session.secret_access_key,
        aws_session_token=session.session_token,
        config=Config(
            signature_version="s3v4",
            # Only AWS gives each bucket a host name of its own.
            s3={"addressing_style": "path" if session.endpoint_url else "virtual"},
            connect_timeout=3,
            read_timeout=30,
            retries={"total_max_attempts": 3, "mode": "standard"},
        ),
    )


def _key(session: StorageCredentials, name: str) -> str:
    """The object's key. SuspiciousFileOperation for a name that could leave the prefix, here or in a proxy, and for
    Tenure's own.
    """
    if not is_safe(name):
        refused(Layer.STORAGE, "name leads out")
        raise SuspiciousFileOperation(f"{name[:100]!r} is not a name for a tenant's file.")
    if name.partition("/")[0] == SENTINEL:
        raise SuspiciousFileOperation(f"{SENTINEL} is Tenure's own: take another name.")
    return f"{session.prefix}{name}"


class _Body:
    """A Django file as boto3 takes it: a File without a name is false, and boto3 would send nothing of it."""

    def __init__(self, content: File[Any]) -> None:
        self.read, self.seek, self.tell = content.read, content.seek, content.tell


def _body(content: File[Any]) -> Any:
    """The file from its beginning; text is stored as UTF-8."""
    if not content.seekable():
        return _encoded(content.read())
    content.seek(0)
    return _encoded(content.read()) if isinstance(content.read(0), str) else _Body(content)


def _encoded(whole: str | bytes) -> bytes:
    return whole.encode() if isinstance(whole, str) else whole


@contextmanager
def _errors(name: str) -> Iterator[None]:
    """Turn the vendor's errors into Django's where it has one, else into ours. Nothing secret is in their text."""
    try:
        yield
    except ClientError as error:
        status = error.response["ResponseMetadata"]["HTTPStatusCode"]
        code = error.response["Error"].get("Code", "")
        if code in {"NoSuchKey", "404"}:
            raise FileNotFoundError(name) from error
        if status == HTTPStatus.PRECONDITION_FAILED:
            raise FileExistsError(name) from error
        if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
            raise StorageRefused(code=code) from error
        raise StorageUnavailable(code=code, status=status) from error
    except BotoCoreError as error:
        raise StorageUnavailable(code=type(error).__name__) from error
