"""A bucket over TLS: a second store of the same kind, with a certificate of its own and both ports open."""

import datetime as dt
import ipaddress
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from controlplane.stack.credentials import Credentials
from controlplane.stack.object_store import object_store
from controlplane.stack.ports import HOST, free_ports
from controlplane.stack.process import start
from provisioning.models import Claim
from provisioning.providers import Bucket
from provisioning.providers import s3 as clients
from provisioning.providers.s3 import error_code, s3_client
from provisioning.providers.transport import deny_plain_http, statement_of
from tenants.context import TenantContext
from tenants.findings import Severity


@dataclass(frozen=True)
class Store:
    plain: str
    tls: str
    certificate: Path
    credentials: Credentials


def certify(folder: Path) -> tuple[Path, Path]:
    """A certificate for the loopback address that signs itself, and its key, as files."""
    key, now = ec.generate_private_key(ec.SECP256R1()), dt.datetime.now(dt.UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, HOST)])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(HOST))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    paths = folder / "certificate.pem", folder / "key.pem"
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    form = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    paths[1].write_bytes(key.private_bytes(serialization.Encoding.PEM, *form))
    return paths


@pytest.fixture(scope="module")
def store() -> Iterator[Store]:
    with tempfile.TemporaryDirectory(prefix="tenure-") as temporary:
        folder, ports, credentials = Path(temporary), free_ports(), Credentials()
        (certificate, key), tls_port = certify(folder), ports.base + 13
        program = object_store(folder, ports, credentials)
        flags = f"-s3.port.https={tls_port}", f"-s3.cert.file={certificate}", f"-s3.key.file={key}"
        child = start(replace(program, command=(*program.command, *flags)), output=folder / "store.log")
        try:
            child.wait_until_ready()
            yield Store(f"http://{HOST}:{ports.s3}", f"https://{HOST}:{tls_port}", certificate, credentials)
        finally:
            child.stop()


@pytest.fixture
def over_tls(store: Store, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """The installation's store is this one, reached over https."""
    monkeypatch.setenv("AWS_CA_BUNDLE", str(store.certificate))
    settings.S3_ENDPOINT_URL = store.tls
    settings.S3_VENDING_ACCESS_KEY_ID = store.credentials.access_key_id
    settings.S3_VENDING_SECRET_ACCESS_KEY = store.credentials.secret_access_key
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", store.credentials.access_key_id)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", store.credentials.secret_access_key)
    clients._session.cache_clear()
    yield store
    clients._session.cache_clear()


@pytest.mark.usefixtures("over_tls")
def test_plain_http_is_refused_and_tls_is_not(store: Store, acme: TenantContext, claim: Claim, settings: Any) -> None:
    bucket, handle = Bucket(), Bucket().plan(acme)
    bucket.provision(acme, handle, claim=claim)
    assert [finding.code for finding in bucket.verify(acme, handle)] == ["bucket.public_access"]
    s3_client().put_object(Bucket=handle["bucket"], Key="a", Body=b"1")
    settings.S3_ENDPOINT_URL = store.plain
    for attempt in (
        lambda: s3_client().get_object(Bucket=handle["bucket"], Key="a"),
        lambda: s3_client().put_object(Bucket=handle["bucket"], Key="a", Body=b"2"),
        lambda: s3_client().list_objects_v2(Bucket=handle["bucket"]),
    ):
        with pytest.raises(ClientError) as refused:
            attempt()
        assert error_code(refused.value) == "AccessDenied"
    settings.S3_ENDPOINT_URL = store.tls
    assert s3_client().get_object(Bucket=handle["bucket"], Key="a")["Body"].read() == b"1"
    bucket.deprovision(acme, handle, claim=claim)


@pytest.mark.usefixtures("over_tls")
def test_where_the_store_does_not_see_tls_the_policy_is_taken_back_and_said(
    store: Store, acme: TenantContext, claim: Claim, settings: Any
) -> None:
    """As behind a proxy that ends TLS: the address says https, and the store sees plain HTTP."""
    bucket, handle = Bucket(), Bucket().plan(acme)
    client = s3_client()

    def by_the_back_door(request: Any, **_kwargs: Any) -> None:
        request.url = request.url.replace(store.tls, store.plain)
        request.headers["Host"] = store.tls.removeprefix("https://")  # as it was signed

    client.meta.events.register("before-send.s3", by_the_back_door)
    try:
        bucket.provision(acme, handle, claim=claim)
        found = {finding.code: finding.severity for finding in bucket.verify(acme, handle)}
        assert found == {"bucket.public_access": Severity.INFO, "bucket.plain_http": Severity.WARNING}
        client.put_object(Bucket=handle["bucket"], Key="a", Body=b"1")
        bucket.deprovision(acme, handle, claim=claim)
    finally:
        client.meta.events.unregister("before-send.s3", by_the_back_door)


def test_on_aws_everything_over_plain_http_is_denied(settings: Any) -> None:
    settings.S3_ENDPOINT_URL = None
    statement = statement_of("t-1")
    assert (statement["Effect"], statement["Action"], statement["Principal"]) == ("Deny", "s3:*", "*")


def test_nothing_is_denied_where_plain_http_is_the_only_way(acme: TenantContext, claim: Claim) -> None:
    handle = Bucket().plan(acme)
    Bucket().provision(acme, handle, claim=claim)
    deny_plain_http(handle["bucket"])
    with pytest.raises(ClientError, match="NoSuchBucketPolicy"):
        s3_client().get_bucket_policy(Bucket=handle["bucket"])
