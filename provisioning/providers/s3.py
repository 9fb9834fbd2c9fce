"""Clients of the object store, and the one place where its answers become our two kinds of error.

Region and the administering identity come from AWS's own variables; S3_ENDPOINT_URL names a store other than AWS.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

import botocore.loaders
import botocore.session
from boto3.session import Session
from botocore.config import Config
from botocore.credentials import CredentialProvider, Credentials, ReadOnlyCredentials
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, ParamValidationError
from django.conf import settings

from provisioning.errors import Permanent, Transient

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sts import STSClient

DEFAULT_REGION = "us-east-1"  # what S3 itself assumes
NOT_FOUND = frozenset({"NoSuchBucket", "NotFound", "404"})
NOT_IMPLEMENTED = frozenset({"NotImplemented", "MethodNotAllowed", "501"})
REFUSED = frozenset({"AccessDenied", "Forbidden", "403", "InvalidAccessKeyId", "SignatureDoesNotMatch"})
BUSY = frozenset(
    {"BucketNotEmpty", "OperationAborted", "RequestTimeout", "SlowDown", "Throttling", "ThrottlingException"}
)
SERVER_ERROR = 500
UNSET = frozenset(
    {
        "NoSuchBucketPolicy",
        "NoSuchLifecycleConfiguration",
        "NoSuchPublicAccessBlockConfiguration",
        "NoSuchTagSet",
        "ServerSideEncryptionConfigurationNotFoundError",
    }
)

T = TypeVar("T")


class StoreUnreachable(Transient):
    """The object store did not answer, or answered that it is busy."""

    code = "OBJECT_STORE_UNREACHABLE"


class StoreRefused(Permanent):
    """The object store refused the call."""

    code = "OBJECT_STORE_REFUSED"
    cure = "Check AWS_ACCESS_KEY_ID and the policies of that identity, then retry."


class BucketMissing(Permanent):
    """There is no such bucket."""

    code = "BUCKET_MISSING"
    cure = "Run the onboarding step that makes it again."


class NotOffered(Permanent):
    """The object store does not implement the call."""

    code = "OBJECT_STORE_NOT_OFFERED"
    cure = "Use a store that has it, or accept what `verify` says about it."


@contextmanager
def s3_errors(doing: str, bucket: str) -> Iterator[None]:
    """Translate what the store or the network says while `doing` something to `bucket`.

    A timeout, a broken connection, 5xx or throttling is StoreUnreachable, or silence would count as an answer; a
    refusal is StoreRefused. A wrong argument is our own mistake and passes through.
    """
    try:
        yield
    except (ParamValidationError, Permanent, Transient):
        raise
    except NoCredentialsError as error:
        raise StoreRefused("No credentials for the object store are set.") from error
    except BotoCoreError as error:
        raise StoreUnreachable(f"No answer from the object store while it should {doing} {bucket}.") from error
    except ClientError as error:
        raise _translated(error, doing, bucket) from error


def _translated(error: ClientError, doing: str, bucket: str) -> Permanent | Transient:
    code = error_code(error)
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if code in NOT_FOUND:
        return BucketMissing(f"Bucket {bucket} does not exist.", bucket=bucket)
    if code in NOT_IMPLEMENTED:
        return NotOffered(f"The object store cannot {doing} {bucket}.", vendor_code=code)
    if code in BUSY or status >= SERVER_ERROR:
        return StoreUnreachable(f"The object store answered {code} when asked to {doing} {bucket}.", vendor_code=code)
    cure = "" if code in REFUSED else "Read the store's answer in its own manual, remove the cause, then retry."
    return StoreRefused(
        f"The object store answered {code} when asked to {doing} {bucket}.", cure=cure, vendor_code=code
    )


def error_code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def or_unset(read: Callable[[], T]) -> T | None:
    """None where the store says that this setting was never made."""
    try:
        return read()
    except ClientError as error:
        if error_code(error) in UNSET:
            return None
        raise


def speaks_tls() -> bool:
    """Whether the store is reached over HTTPS. AWS, which needs no S3_ENDPOINT_URL, always is."""
    return urlsplit(settings.S3_ENDPOINT_URL or "https:").scheme == "https"


def is_loopback() -> bool:
    return urlsplit(settings.S3_ENDPOINT_URL or "").hostname in {"127.0.0.1", "localhost", "::1"}


def region() -> str:
    return _session().region_name or DEFAULT_REGION


def s3_client() -> "S3Client":
    """As the identity that administers buckets."""
    client: S3Client = _client("s3", settings.S3_ENDPOINT_URL, "", "", os.getpid())
    return client


def s3_client_as(access_key_id: str, secret_access_key: str, session_token: str) -> "S3Client":
    """As the holder of vended credentials. Not cached: they are few, and gone in minutes."""
    client: S3Client = _made("s3", access_key_id, secret_access_key, session_token)
    return client


@contextmanager
def s3_client_holding(access_key_id: str, secret_access_key: str, session_token: str) -> Iterator["S3Client"]:
    """One client for all holders of vended credentials, who sign with their own while inside.

    For our own proofs, two in each onboarding: making a client takes longer than all that is asked with it.
    """
    held = _held.set(ReadOnlyCredentials(access_key_id, secret_access_key, session_token or None))
    try:
        yield _holding_client(settings.S3_ENDPOINT_URL, os.getpid())
    finally:
        _held.reset(held)


class _Held(Credentials):
    """Whoever is inside `s3_client_holding`."""

    def __init__(self) -> None:
        super().__init__("", "")

    def get_frozen_credentials(self) -> ReadOnlyCredentials:
        return _held.get()


class _HeldProvider(CredentialProvider):
    METHOD = "held"

    def load(self) -> Credentials:
        return _Held()


_held: ContextVar[ReadOnlyCredentials] = ContextVar("held_s3_credentials")


@lru_cache(maxsize=8)
def _holding_client(_endpoint: str | None, _process: int) -> Any:
    core = _core()
    core.get_component("credential_provider").providers.insert(0, _HeldProvider())
    with _making:
        return Session(botocore_session=core).client("s3", **_options("s3"))


def sts_client() -> "STSClient":
    """As the identity that vends; the administering one where none of its own is set. Only credentials.py uses it."""
    identity = (settings.S3_VENDING_ACCESS_KEY_ID, settings.S3_VENDING_SECRET_ACCESS_KEY)
    client: STSClient = _client("sts", settings.S3_ENDPOINT_URL, *identity, os.getpid())
    return client


_making = Lock()  # clients may be used by many threads; what makes them may not (boto3, "Multithreading")


@lru_cache(maxsize=8)
def _client(service: str, _endpoint: str | None, access_key_id: str, secret_access_key: str, _process: int) -> Any:
    """Clients are not safe to share across a fork, for they hold sockets: hence the process in the key."""
    return _made(service, access_key_id, secret_access_key)


def _made(service: str, access_key_id: str, secret_access_key: str, session_token: str = "") -> Any:
    identity = {
        "aws_access_key_id": access_key_id or None,
        "aws_secret_access_key": secret_access_key or None,
        "aws_session_token": session_token or None,
    }
    with _making:
        return _session().client(service, **identity, **_options(service))  # type: ignore[call-overload]  # two literals


@lru_cache(maxsize=1)
def _session() -> Session:
    """Makes clients, as the administering identity where they are given no other."""
    return Session(botocore_session=_core())


def _core() -> botocore.session.Session:
    core = botocore.session.Session()
    core.register_component("data_loader", _descriptions())
    return core


@lru_cache(maxsize=1)
def _descriptions() -> botocore.loaders.Loader:
    """AWS's descriptions of its services, which take 0.1 s to read: once, be it for processes that are forked later."""
    return botocore.loaders.create_loader()


def _options(service: str) -> dict[str, Any]:
    """Short timeouts and no retries of its own: the engine retries, and shows that it does."""
    config = Config(connect_timeout=3, read_timeout=10, retries={"total_max_attempts": 1}, user_agent="tenure")
    if service == "s3":  # a store of one's own is one host name, not one per bucket
        style: Any = {"addressing_style": "path" if settings.S3_ENDPOINT_URL else "auto"}
        config = config.merge(Config(signature_version="s3v4", s3=style))
    return {"endpoint_url": settings.S3_ENDPOINT_URL, "region_name": region(), "config": config}
