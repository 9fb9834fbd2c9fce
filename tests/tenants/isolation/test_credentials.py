from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest
from django.utils import timezone

from controlplane.keys import key_of, make_key, revoke_key
from controlplane.models import Scope
from tenants.context import TenantContext
from tenants.isolation import credentials
from tenants.isolation.credentials import (
    Credentials,
    CredentialsRefused,
    CredentialsUnavailable,
    NoCredentialSource,
)
from tenants.isolation.remote import ControlPlane
from tenants.models import Tenant
from tenants.states import TenantState
from tests.fleet import BILLING
from tests.live import Live
from tests.pair import Pair


@pytest.fixture
def source_put_back() -> Iterator[None]:
    former = credentials._kept.source
    yield
    credentials.register(former)


class Aging:
    """A source whose storage sessions end `life` from now; each answer has its number as password."""

    def __init__(self, given: Credentials, life: timedelta) -> None:
        self.given, self.life, self.asked = given, life, 0

    def credentials(self, _context: TenantContext) -> Credentials:
        self.asked += 1
        return replace(
            self.given,
            database=replace(self.given.database, password=str(self.asked)),
            storage=replace(self.given.storage, expires_at=timezone.now() + self.life),
        )


def test_an_answer_is_kept_until_shortly_before_it_ends(pair: Pair, source_put_back: None) -> None:
    given = credentials.of(pair.acme)
    for life, asked in ((credentials.RENEW_BEFORE + timedelta(minutes=1), 1), (credentials.RENEW_BEFORE, 3)):
        credentials.register(source := Aging(given, life))
        for _turn in range(3):
            credentials.of(pair.acme)
        assert source.asked == asked


def test_two_tenants_and_two_lives_of_one_are_kept_apart(pair: Pair, source_put_back: None) -> None:
    reborn = replace(pair.acme, incarnation=pair.globex.tenant_id)
    credentials.register(Aging(credentials.of(pair.acme), timedelta(hours=1)))
    contexts = (pair.acme, pair.globex, reborn)
    assert [credentials.of(context).database.password for context in contexts * 2] == ["1", "2", "3"] * 2


def test_without_a_source_the_cure_is_named(pair: Pair, source_put_back: None) -> None:
    credentials.register(None)
    with pytest.raises(NoCredentialSource) as refused:
        credentials.of(pair.acme)
    assert "TENURE_API_URL" in refused.value.cure


def test_no_secret_is_in_a_repr(pair: Pair) -> None:
    given = credentials.of(pair.acme)
    shown = repr(given) + repr(ControlPlane("http://127.0.0.1", "tnr_secret"))
    for secret in (given.database.password, given.storage.secret_access_key, given.storage.session_token, "tnr_secret"):
        assert secret not in shown


def control_plane(live: Live, key: str) -> ControlPlane:
    return ControlPlane(f"http://127.0.0.1:{live.web}", key)


def test_the_control_plane_hands_out_what_opens_the_tenants_database(pair: Pair, live: Live) -> None:
    for context in (pair.acme, pair.globex):
        given = control_plane(live, pair.key).credentials(context)
        assert (given.database.user, given.database.name) == (context.key, context.database)
        assert given.database == credentials.of(context).database
        assert given.storage.expires_at > timezone.now() + credentials.RENEW_BEFORE


def test_a_wrong_key_is_refused(pair: Pair, live: Live) -> None:
    with pytest.raises(CredentialsRefused, match="401"):
        control_plane(live, "tnr_nobody").credentials(pair.acme)


def test_a_key_without_the_scope_is_refused(changing_pair: Pair, live: Live) -> None:
    key = make_key(principal="site", name="reader", scopes=[Scope.TENANTS_READ], actor=BILLING)
    with pytest.raises(CredentialsRefused, match=r"tenants:credentials.*403"):
        control_plane(live, key.token).credentials(changing_pair.acme)


def test_a_revoked_key_is_refused(changing_pair: Pair, live: Live) -> None:
    key = key_of(changing_pair.key)
    assert key is not None
    revoke_key(key=key, actor=BILLING)
    with pytest.raises(CredentialsRefused, match="401"):
        control_plane(live, changing_pair.key).credentials(changing_pair.acme)


def test_a_suspended_tenants_credentials_are_not_handed_out(changing_pair: Pair, live: Live) -> None:
    Tenant.objects.filter(slug="acme").update(state=TenantState.SUSPENDED)
    with pytest.raises(CredentialsRefused, match="409"):
        control_plane(live, changing_pair.key).credentials(changing_pair.acme)


def test_a_tenant_that_does_not_exist_is_refused(pair: Pair, live: Live) -> None:
    nobody = replace(pair.acme, tenant_id=pair.acme.incarnation)
    with pytest.raises(CredentialsRefused, match="404"):
        control_plane(live, pair.key).credentials(nobody)


def test_a_control_plane_that_is_away_is_unavailable_and_no_refusal(pair: Pair) -> None:
    with pytest.raises(CredentialsUnavailable, match="no usable answer"):
        ControlPlane("http://127.0.0.1:1", "tnr_key").credentials(pair.acme)
    with pytest.raises(CredentialsUnavailable, match="not an http"):
        ControlPlane("file:///etc/passwd", "tnr_key").credentials(pair.acme)


def test_an_answer_that_is_none_of_ours_is_unavailable(pair: Pair, live: Live) -> None:
    """Another server at that address: here the application itself, which knows no such page."""
    elsewhere = ControlPlane(f"http://localhost:{live.application}", pair.key)
    with pytest.raises((CredentialsRefused, CredentialsUnavailable)):
        elsewhere.credentials(pair.acme)
