"""Tokens at a tenant's host: the control plane mints, publishes its keys over HTTP, and an application verifies.

AT-40, 41 and 43 against the verifier itself; test_token_doors.py does it through the running example site.
"""

import http.server
import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Self
from uuid import uuid4

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st

from provisioning import lifecycle
from provisioning.models import SigningKey
from provisioning.workflows import tokens as minting
from tenants.context import TenantContext
from tenants.isolation import keyset, tokens
from tenants.isolation.keyset import KeySetUnavailable
from tenants.isolation.tokens import Claims, TokenOfAnotherTenant, TokenRefused, TokensNotSetUp
from tenants.models import Tenant
from tests.fleet import BILLING
from tests.live import Live
from tests.pair import Pair
from tests.tenants.isolation import forge

pytestmark = pytest.mark.long


@pytest.fixture
def taken(pair: Pair, live: Live, settings: Any) -> Iterator[Pair]:
    """An application's settings, over the control plane's own process."""
    settings.TENURE_API_URL = f"http://127.0.0.1:{live.web}"
    tokens._key_set.cache_clear()
    yield pair
    tokens._key_set.cache_clear()


def minted(context: TenantContext, **more: Any) -> str:
    tenant = Tenant.objects.get(pk=context.tenant_id)
    wish = {"subject": "member-4711", "scopes": ["projects:read"], **more}
    return lifecycle.mint_token(tenant=tenant, actor=BILLING, **wish).token


def seen(token: str, at: TenantContext) -> Claims:
    return tokens.claims_at(token, tenant_id=at.tenant_id, incarnation=at.incarnation)


@pytest.fixture
def ours(taken: Pair) -> tuple[Any, str]:
    """The very key that the control plane signs with, and its id: what an attacker must not have."""
    minted(taken.acme)
    key = SigningKey.objects.filter(revoked_at=None).latest("signs_from")
    return minting._private(key), key.kid.hex


def test_a_token_says_who_comes_with_what_scopes(taken: Pair) -> None:
    claims = seen(minted(taken.acme, scopes=["projects:write", "projects:read"]), taken.acme)
    assert (claims.subject, claims.tenant_id) == ("member-4711", taken.acme.tenant_id)
    assert claims.scopes == {"projects:read", "projects:write"}
    assert timedelta(minutes=14) < claims.expires_at - datetime.now(tz=UTC) <= timedelta(minutes=15)


def test_a_token_of_acme_is_refused_at_globex(taken: Pair) -> None:
    token = minted(taken.acme)
    with pytest.raises(TokenOfAnotherTenant):
        seen(token, taken.globex)
    assert seen(token, taken.acme)


def test_a_token_of_a_former_life_is_refused(taken: Pair) -> None:
    token = minted(taken.acme)
    with pytest.raises(TokenRefused):
        seen(token, replace(taken.acme, incarnation=uuid4()))
    assert seen(token, taken.acme)


class TestForgedTokens:
    """AT-40. The control: the same claims, rightly signed, are taken."""

    @pytest.mark.parametrize(
        "changed",
        [
            {"iss": "somebody else"},
            {"aud": "another application"},
            {"aud": ["tenant-application", "another application"]},
            {"exp": datetime(2020, 1, 1, tzinfo=UTC)},
            {"exp": datetime(2999, 1, 1, tzinfo=UTC)},
            {"nbf": datetime(2999, 1, 1, tzinfo=UTC)},
            {"iat": datetime(2999, 1, 1, tzinfo=UTC)},
            {"tenant": "acme"},
            {"tenant": 7},
            {"tenant": ["", ""]},
            {"incarnation": "first"},
            {"scope": ["projects:read"]},
            {"sub": 4711},
            *({name: None} for name in tokens.REQUIRED),
        ],
        ids=str,
    )
    def test_a_claim_that_is_missing_or_wrong(self, taken: Pair, ours: tuple[Any, str], changed: Any) -> None:
        key, kid = ours
        assert seen(forge.signed(forge.claims_for(taken.acme), key, kid=kid), taken.acme)
        with pytest.raises(TokenRefused):
            seen(forge.signed(forge.claims_for(taken.acme, **changed), key, kid=kid), taken.acme)

    def test_expired_by_more_than_clocks_disagree(self, taken: Pair, ours: tuple[Any, str]) -> None:
        key, kid = ours
        now = datetime.now(tz=UTC)
        began = {"iat": now - timedelta(minutes=5), "nbf": now - timedelta(minutes=5)}
        just = forge.claims_for(taken.acme, exp=now - timedelta(seconds=10), **began)
        assert seen(forge.signed(just, key, kid=kid), taken.acme)
        over = forge.claims_for(taken.acme, exp=now - tokens.LEEWAY - timedelta(seconds=2), **began)
        with pytest.raises(TokenRefused, match="has expired"):
            seen(forge.signed(over, key, kid=kid), taken.acme)

    def test_signed_by_nobody_or_somebody_else(self, taken: Pair, ours: tuple[Any, str]) -> None:
        key, kid = ours
        claims = forge.claims_for(taken.acme)
        public = key.public_key()
        published = json.dumps(lifecycle.published_keys()[-1]).encode()
        secrets = (
            public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
            public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
            public.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint),
            published,
        )
        good = forge.signed(claims, key, kid=kid)
        header, payload, signature = good.split(".")
        theirs = forge.assembled({}, forge.claims_for(taken.globex)).split(".")[1]
        forged = [
            forge.signed(claims, forge.ANOTHER_KEY, kid=kid),
            *(forge.assembled({"alg": alg, "kid": kid}, claims) for alg in ("none", "None", "NONE", "", None, 5)),
            *(forge.with_public_key_as_secret(claims, kid=kid, secret=secret) for secret in secrets),
            f"{header}.{theirs}.{signature}",
            f"{header}.{payload}.",
            f"{header}.{payload}.{signature[:-4]}",
            f"{header}.{payload}",
            forge.assembled({"alg": "ES256", "kid": kid}, claims, bytes(64)),  # CVE-2022-21449
            forge.assembled({"alg": "ES256", "kid": kid, "crit": ["exp"]}, claims),
            jwt.encode(claims, key, algorithm="ES256"),
            "",
            ".",
            "..",
            "a.b.c",
            good + "a" * tokens.LONGEST,
            forge.assembled({"alg": "ES256", "kid": kid, "deep": json.loads("[" * 500 + "]" * 500)}, claims),
        ]
        for token in forged:
            with pytest.raises(TokenRefused):
                seen(token, taken.acme)
        assert seen(good, taken.acme)

    @limits(max_examples=200)
    @given(
        token=st.text(max_size=200) | st.builds("{}.{}.{}".format, *[st.text("abcdefgh_-ABC0123=", max_size=60)] * 3)
    )
    def test_whatever_is_sent_is_refused_and_nothing_breaks(self, token: str) -> None:
        known = tokens._key_set("http://127.0.0.1:1/")
        known.keys, known.fetched_at, known.asked_again_at = {}, float("inf"), float("inf")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("django.conf.settings.TENURE_JWKS_URL", "http://127.0.0.1:1/", raising=False)
            with pytest.raises(TokenRefused):
                tokens.verified(token)


class Listening:
    """A server that counts who asks it: here nobody should."""

    def __init__(self, body: bytes = b"{}", *, status: int = 200, location: str = "") -> None:
        heard: list[str] = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                heard.append(self.path)
                self.send_response(status)
                if location:
                    self.send_header("Location", location)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_args: Any) -> None:
                pass

        self.heard = heard
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/keys"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})

    def __enter__(self) -> Self:
        self.thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


class TestKeyIds:
    """AT-41: the key comes from the pinned set alone. The control: with its own id the token is taken."""

    def test_unknown_ids_paths_and_addresses(self, taken: Pair, ours: tuple[Any, str]) -> None:
        key, kid = ours
        claims = forge.claims_for(taken.acme)
        with Listening() as elsewhere:
            for wrong in (uuid4().hex, "../../etc/passwd", "/dev/null", elsewhere.url, "", kid.upper(), f"{kid}\n"):
                with pytest.raises(TokenRefused):
                    seen(forge.signed(claims, key, kid=wrong), taken.acme)
            assert elsewhere.heard == []
        assert seen(forge.signed(claims, key, kid=kid), taken.acme)

    def test_a_token_brings_no_key_along(self, taken: Pair, ours: tuple[Any, str]) -> None:
        key, kid = ours
        claims = forge.claims_for(taken.acme)
        own = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(forge.ANOTHER_KEY.public_key()))
        theirs = {**own, "kid": kid, "alg": "ES256", "use": "sig"}
        with Listening(json.dumps({"keys": [theirs]}).encode()) as elsewhere:
            for header in ({"jku": elsewhere.url}, {"x5u": elsewhere.url}, {"jwk": theirs}):
                with pytest.raises(TokenRefused):
                    seen(forge.signed(claims, forge.ANOTHER_KEY, kid=kid, **header), taken.acme)
                assert seen(forge.signed(claims, key, kid=kid, **header), taken.acme)  # ignored, not believed
            assert elsewhere.heard == []

    def test_unknown_ids_make_one_request_a_minute(self, pair: Pair, settings: Any) -> None:
        with Listening(json.dumps({"keys": []}).encode()) as server:
            settings.TENURE_JWKS_URL = server.url
            tokens._key_set.cache_clear()
            for _attempt in range(20):
                with pytest.raises(TokenRefused):
                    seen(forge.signed(forge.claims_for(pair.acme), forge.ANOTHER_KEY, kid=uuid4().hex), pair.acme)
            assert len(server.heard) == 2  # the first time, and once for all that was unknown
            known = tokens._key_set(server.url)
            known.asked_again_at -= keyset.ASK_AGAIN_S
            known.key(uuid4().hex)
            assert len(server.heard) == 3

    def test_a_symmetric_key_in_the_set_is_left_out(self, pair: Pair, settings: Any) -> None:
        secret = {"kty": "oct", "k": "c2VjcmV0", "kid": "0" * 32, "alg": "HS256"}
        with Listening(json.dumps({"keys": [secret]}).encode()) as server:
            settings.TENURE_JWKS_URL = server.url
            assert tokens._key_set(server.url).key("0" * 32) is None

    def test_a_redirect_is_not_followed(self, pair: Pair, settings: Any) -> None:
        with Listening() as elsewhere, Listening(status=302, location=elsewhere.url) as server:
            settings.TENURE_JWKS_URL = server.url
            with pytest.raises(KeySetUnavailable):
                tokens._key_set(server.url).key("0" * 32)
            assert (len(server.heard), elsewhere.heard) == (1, [])

    @pytest.mark.parametrize("url", ["http://127.0.0.1:1/keys", "file:///etc/passwd"])
    def test_without_a_key_set_nobody_is_let_in(self, pair: Pair, settings: Any, url: str) -> None:
        settings.TENURE_JWKS_URL = url
        with pytest.raises(KeySetUnavailable):
            seen(forge.signed(forge.claims_for(pair.acme), forge.ANOTHER_KEY, kid=uuid4().hex), pair.acme)

    def test_while_the_control_plane_is_away_the_last_set_serves_on(self, taken: Pair, settings: Any) -> None:
        token = minted(taken.acme)
        assert seen(token, taken.acme)
        known = tokens._key_set(tokens.key_set_url())
        known.url = "http://127.0.0.1:1/keys"
        known.fetched_at -= keyset.KEPT_S
        assert seen(token, taken.acme)
        known.fetched_at -= keyset.STALE_S
        known.tried_at -= keyset.RETRY_S
        with pytest.raises(KeySetUnavailable):
            seen(token, taken.acme)


class TestRotation:
    def later(self, minutes: float) -> None:
        """As if so much time had passed."""
        for key in SigningKey.objects.all():
            SigningKey.objects.filter(pk=key.pk).update(signs_from=key.signs_from - timedelta(minutes=minutes))

    def kid_of(self, token: str) -> str:
        return str(jwt.get_unverified_header(token)["kid"])

    def published(self) -> set[str]:
        return {str(key["kid"]) for key in lifecycle.published_keys()}

    def test_a_new_key_is_published_before_it_signs_and_the_former_until_its_last_token_ends(
        self, changing_pair: Pair
    ) -> None:
        acme = changing_pair.acme
        SigningKey.objects.update(revoked_at=datetime.now(tz=UTC))
        former = self.kid_of(minted(acme))
        fresh = lifecycle.rotate_token_key(actor=BILLING).kid.hex
        assert lifecycle.rotate_token_key(actor=BILLING).kid.hex == fresh  # one waits: no second is made
        assert (self.kid_of(minted(acme)), self.published()) == (former, {former, fresh})
        self.later(10.1)
        assert (self.kid_of(minted(acme)), self.published()) == (fresh, {former, fresh})
        self.later(15)
        assert self.published() == {former, fresh}  # a token of the former one may have a minute of leeway left
        self.later(1)
        assert self.published() == {fresh}

    def test_tokens_of_both_are_taken_during_the_overlap(self, changing_pair: Pair, live: Live, settings: Any) -> None:
        settings.TENURE_API_URL = f"http://127.0.0.1:{live.web}"
        tokens._key_set.cache_clear()
        acme = changing_pair.acme
        first = minted(acme)
        assert seen(first, acme)
        lifecycle.rotate_token_key(actor=BILLING)
        self.later(11)
        second = minted(acme)
        assert self.kid_of(first) != self.kid_of(second)
        assert seen(second, acme)
        assert seen(first, acme)

    def test_an_exposed_key_is_refused_as_soon_as_the_set_is_read_again(
        self, changing_pair: Pair, live: Live, settings: Any
    ) -> None:
        settings.TENURE_API_URL = f"http://127.0.0.1:{live.web}"
        tokens._key_set.cache_clear()
        acme = changing_pair.acme
        exposed = minted(acme)
        assert seen(exposed, acme)
        lifecycle.replace_token_keys(actor=BILLING)
        fresh = minted(acme)
        assert seen(fresh, acme)  # its key is unknown: the set is read again
        with pytest.raises(TokenRefused):
            seen(exposed, acme)

    def test_the_private_half_lies_sealed(self, changing_pair: Pair) -> None:
        minted(changing_pair.acme)
        key = SigningKey.objects.latest("signs_from")
        assert "d" not in key.public
        number = minting._private(key).private_numbers().private_value.to_bytes(32, "big")
        assert number not in bytes(key.sealed)


class TestAlgorithms:
    def test_a_symmetric_algorithm_is_not_used_even_so(self, settings: Any) -> None:
        settings.TENURE_API_URL = "https://control.example"
        settings.TENURE_TOKEN_ALGORITHMS = ["HS256"]
        with pytest.raises(TokensNotSetUp):
            tokens.verified("a.b.c")
