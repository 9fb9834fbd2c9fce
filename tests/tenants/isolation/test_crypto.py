import pickle
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st
from moto.server import ThreadedMotoServer

from tenants.isolation import crypto
from tenants.isolation.crypto import (
    MasterKeyRefused,
    MasterKeyUnreachable,
    NoMasterKey,
    SealError,
    Tampered,
    WrongKey,
    seal,
    unseal,
)

SECRET = b"correct horse battery staple"


@given(plaintext=st.binary(max_size=200), purpose=st.text(max_size=20), owner=st.text(max_size=20))
def test_what_was_sealed_opens_for_the_same_use_and_owner(plaintext: bytes, purpose: str, owner: str) -> None:
    assert unseal(seal(plaintext, purpose=purpose, owner=owner), purpose=purpose, owner=owner) == plaintext


@given(text=st.text(min_size=1, max_size=12), cut=st.integers(min_value=0, max_value=12))
def test_use_and_owner_cannot_run_into_each_other(text: str, cut: int) -> None:
    """("ab", "c") and ("a", "bc") are two things."""
    sealed = seal(SECRET, purpose=text, owner="")
    with pytest.raises(Tampered):
        unseal(sealed, purpose=text[:cut] if cut < len(text) else "", owner=text[cut:] or "x")


def test_the_same_secret_is_sealed_differently_each_time() -> None:
    assert seal(SECRET, purpose="p", owner="o") != seal(SECRET, purpose="p", owner="o")


def test_a_secret_moved_to_another_tenant_does_not_open() -> None:
    sealed = seal(SECRET, purpose="secret.role", owner="acme")
    with pytest.raises(Tampered, match="globex"):
        unseal(sealed, purpose="secret.role", owner="globex")
    with pytest.raises(Tampered):
        unseal(sealed, purpose="cluster.url", owner="acme")
    assert unseal(sealed, purpose="secret.role", owner="acme") == SECRET


def test_every_flipped_byte_and_every_cut_is_noticed() -> None:
    sealed = seal(SECRET, purpose="p", owner="o")
    for position in range(len(sealed)):
        flipped = sealed[:position] + bytes([sealed[position] ^ 1]) + sealed[position + 1 :]
        with pytest.raises((Tampered, WrongKey)):
            unseal(flipped, purpose="p", owner="o")
        with pytest.raises(Tampered):
            unseal(sealed[:position], purpose="p", owner="o")


def test_another_master_key_is_told_from_tampering_and_says_the_cure(settings: Any) -> None:
    sealed = seal(SECRET, purpose="p", owner="o")
    settings.TENURE_MASTER_KEY = bytes(range(32))
    with pytest.raises(WrongKey, match="another master key") as refused:
        unseal(sealed, purpose="p", owner="o")
    assert "Set the master key" in refused.value.cure


@pytest.mark.parametrize("key", [b"", b"short", None])
def test_without_a_master_key_nothing_is_sealed(key: bytes | None, settings: Any) -> None:
    settings.TENURE_MASTER_KEY = key
    with pytest.raises(NoMasterKey) as refused:
        seal(SECRET, purpose="p", owner="o")
    assert "TENURE_MASTER_KEY" in refused.value.cure


def test_no_error_carries_the_secret(settings: Any) -> None:
    sealed = seal(SECRET, purpose="p", owner="o")
    with pytest.raises(Tampered) as refused:
        unseal(sealed, purpose="p", owner="other")
    assert SECRET not in pickle.dumps((str(refused.value), refused.value.metadata, refused.value.cure))


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("IncorrectKeyException", WrongKey),
        ("InvalidCiphertextException", Tampered),
        ("DisabledException", MasterKeyRefused),
        ("KMSInvalidStateException", MasterKeyRefused),
        ("ThrottlingException", MasterKeyUnreachable),
        ("KMSInternalException", MasterKeyUnreachable),
        ("DependencyTimeoutException", MasterKeyUnreachable),
    ],
)
def test_each_error_of_kms_has_its_own_cure(code: str, error: type[SealError]) -> None:
    """AWS KMS API reference, "Decrypt", "Errors"; those that moto cannot be brought to answer."""
    assert type(crypto._translated(ClientError({"Error": {"Code": code, "Message": ""}}, "Decrypt"))) is error


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def kms(server: str, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("AWS_ENDPOINT_URL_KMS", server)
    crypto._kms_client.cache_clear()
    client = boto3.client("kms")
    settings.TENURE_MASTER_KEY_KMS = client.create_key()["KeyMetadata"]["KeyId"]
    settings.TENURE_MASTER_KEY = b""
    yield client
    crypto._kms_client.cache_clear()


class TestUnderKms:
    """The real boto3 client against moto's KMS server, which encrypts and checks the encryption context.

    Unproved here: AWS's own key policies and throttling, and whether its error codes are those its reference lists.
    """

    def test_a_secret_opens_for_its_own_use_and_owner_alone(self, kms: Any) -> None:
        sealed = seal(SECRET, purpose="secret.role", owner="acme")
        assert unseal(sealed, purpose="secret.role", owner="acme") == SECRET
        for purpose, owner in (("secret.role", "globex"), ("cluster.url", "acme")):
            with pytest.raises(Tampered):
                unseal(sealed, purpose=purpose, owner=owner)

    def test_a_flipped_byte_is_noticed(self, kms: Any) -> None:
        sealed = seal(SECRET, purpose="p", owner="o")
        for position in (3, len(sealed) // 2, len(sealed) - 1):
            flipped = sealed[:position] + bytes([sealed[position] ^ 1]) + sealed[position + 1 :]
            with pytest.raises((Tampered, MasterKeyRefused)):
                unseal(flipped, purpose="p", owner="o")

    def test_another_kms_key_does_not_open_it(self, kms: Any, settings: Any) -> None:
        sealed = seal(SECRET, purpose="p", owner="o")
        settings.TENURE_MASTER_KEY_KMS = kms.create_key()["KeyMetadata"]["KeyId"]
        with pytest.raises((WrongKey, MasterKeyRefused)):  # AWS says IncorrectKeyException, moto AccessDeniedException
            unseal(sealed, purpose="p", owner="o")

    def test_an_unknown_kms_key_is_refused_and_says_the_cure(self, kms: Any, settings: Any) -> None:
        settings.TENURE_MASTER_KEY_KMS = "00000000-0000-0000-0000-000000000000"
        with pytest.raises(MasterKeyRefused) as refused:
            seal(SECRET, purpose="p", owner="o")
        assert "TENURE_MASTER_KEY_KMS" in refused.value.cure

    def test_secrets_of_both_forms_open_while_an_installation_moves_to_kms(self, kms: Any, settings: Any) -> None:
        key_arn, settings.TENURE_MASTER_KEY_KMS = settings.TENURE_MASTER_KEY_KMS, ""
        settings.TENURE_MASTER_KEY = bytes(range(32))
        former = seal(SECRET, purpose="p", owner="o")
        settings.TENURE_MASTER_KEY_KMS = key_arn
        newer = seal(SECRET, purpose="p", owner="o")
        assert former[:1] != newer[:1]
        assert unseal(former, purpose="p", owner="o") == unseal(newer, purpose="p", owner="o") == SECRET

    def test_without_kms_its_secrets_say_what_is_missing(self, kms: Any, settings: Any) -> None:
        sealed = seal(SECRET, purpose="p", owner="o")
        settings.TENURE_MASTER_KEY_KMS = ""
        with pytest.raises(WrongKey, match="TENURE_MASTER_KEY_KMS is not set"):
            unseal(sealed, purpose="p", owner="o")

    def test_a_kms_that_does_not_answer_is_worth_another_try(self, kms: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AWS_ENDPOINT_URL_KMS", "http://127.0.0.1:9")
        crypto._kms_client.cache_clear()
        with pytest.raises(MasterKeyUnreachable):
            seal(SECRET, purpose="p", owner="o")
