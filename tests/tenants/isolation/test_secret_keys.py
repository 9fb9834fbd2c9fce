import base64
import secrets

import pytest

from tenants.isolation.secret_keys import SecretKeyMissing, SecretKeyUnusable, secret_key

NAME = "TENURE_TEST_KEY"


def test_a_key_is_read_from_settings_or_the_environment(settings: object, monkeypatch: pytest.MonkeyPatch) -> None:
    key = bytes([251, 255]) + secrets.token_bytes(30)
    monkeypatch.setenv(NAME, base64.b64encode(key).decode())
    assert secret_key(NAME) == key
    monkeypatch.setenv(NAME, base64.urlsafe_b64encode(key).decode())
    assert secret_key(NAME) == key
    setattr(settings, NAME, secrets.token_bytes(40))
    assert len(secret_key(NAME)) == 40


@pytest.mark.parametrize("text", ["short", "not base64!" * 5, base64.b64encode(b"x" * 31).decode()])
def test_what_is_no_key_is_named_and_not_shown(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(NAME, text)
    with pytest.raises(SecretKeyUnusable, match=NAME) as caught:
        secret_key(NAME)
    assert text not in str(caught.value)
    assert "openssl rand -base64 32" in caught.value.cure


@pytest.mark.parametrize("value", [None, ""])
def test_a_key_that_is_missing_says_how_to_make_one(value: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    if value is not None:
        monkeypatch.setenv(NAME, value)
    with pytest.raises(SecretKeyMissing, match=NAME) as caught:
        secret_key(NAME)
    assert NAME in caught.value.cure
