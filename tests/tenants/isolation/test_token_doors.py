"""Tokens and cookies at the running example site and at Django REST framework: AT-42, 43 and 46, over HTTP."""

import json
from dataclasses import replace
from importlib import import_module
from typing import Any
from uuid import uuid4

import pytest
from django.conf import settings as project
from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.sessions.middleware import SessionMiddleware
from django.http import HttpResponse
from django.test import RequestFactory
from rest_framework.response import Response
from rest_framework.test import APIRequestFactory
from rest_framework.views import APIView

from tenants.context import TenantContext, tenant_scope
from tenants.errors import NoTenant
from tenants.isolation import cache, tokens
from tenants.isolation.rest import HasTokenScope, TenantTokenAuthentication
from tenants.models import Tenant
from tenants.states import TenantState
from tests.live import Live, Page, Visitor
from tests.pair import Pair
from tests.tenants.isolation import forge
from tests.tenants.isolation.test_tokens import minted


def visitor(live: Live, slug: str) -> Visitor:
    return Visitor(live, f"{slug}.localhost:{live.application}")


def asked(at: Visitor, token: str, **headers: str) -> Page:
    return at._ask("GET", "/", b"", {"Authorization": f"Bearer {token}", **headers})


def problem(page: Page) -> dict[str, Any]:
    assert page.headers["Content-Type"] == "application/problem+json"
    assert "no-store" in page.headers["Cache-Control"]
    body: dict[str, Any] = json.loads(page.text)
    assert body["status"] == page.status
    return body


class TestAtTheHost:
    """AT-42: the token must be the host's tenant's, and nothing else in a request speaks for a tenant."""

    def test_a_tenants_own_token_is_let_in(self, pair: Pair, live: Live) -> None:
        for context in (pair.acme, pair.globex):
            page = asked(visitor(live, context.slug), minted(context))
            assert (page.status, context.key in page.text) == (200, True), live.last_words()
            assert {"Cookie", "Authorization"} <= {word.strip() for word in page.headers["Vary"].split(",")}

    def test_anothers_token_is_kept_out(self, pair: Pair, live: Live) -> None:
        for theirs, slug in ((pair.acme, "globex"), (pair.globex, "acme")):
            page = asked(visitor(live, slug), minted(theirs))
            assert (page.status, problem(page)["title"]) == (403, "The token is for another workspace")

    @pytest.mark.parametrize(
        "header", ["X-Tenant-ID", "X-Tenant", "X-Forwarded-Host", "Forwarded", "X-Original-Host", "X-Host"]
    )
    def test_no_header_leads_elsewhere(self, pair: Pair, live: Live, header: str) -> None:
        acme = visitor(live, "acme")
        for value in ("globex", "globex.localhost", "host=globex.localhost", str(pair.globex.tenant_id)):
            page = asked(acme, minted(pair.acme), **{header: value})
            assert (pair.acme.key in page.text, pair.globex.key in page.text) == (True, False)
            assert asked(acme, minted(pair.globex), **{header: value}).status == 403

    def test_a_token_elsewhere_than_in_its_header_is_not_looked_at(self, pair: Pair, live: Live) -> None:
        page = visitor(live, "acme").get(f"/?access_token={minted(pair.globex)}&tenant=globex")
        assert (page.status, pair.acme.key in page.text) == (200, True)

    def test_an_unknown_host_is_not_found_whatever_the_token(self, pair: Pair, live: Live) -> None:
        page = asked(Visitor(live, "nobody.localhost"), minted(pair.acme))
        assert (page.status, problem(page)["title"]) == (404, "Nobody lives here")

    def test_a_bad_token_is_told_in_plain_words(self, pair: Pair, live: Live) -> None:
        for bad in ("", "nonsense", forge.signed(forge.claims_for(pair.acme), forge.ANOTHER_KEY, kid=uuid4().hex)):
            page = asked(visitor(live, "acme"), bad)
            assert (page.status, problem(page)["detail"]) == (
                401,
                "The token is not valid here. Ask for a new token.",
            )
            assert page.headers["WWW-Authenticate"] == 'Bearer realm="tenant", error="invalid_token"'

    def test_another_scheme_is_the_applications_own_affair(self, pair: Pair, live: Live) -> None:
        assert visitor(live, "acme")._ask("GET", "/", b"", {"Authorization": "Basic dGVudXJl"}).status == 200

    def test_programs_get_problems_and_people_get_pages(self, pair: Pair, live: Live) -> None:
        nobody = Visitor(live, "nobody.localhost")
        assert problem(nobody._ask("GET", "/", b"", {"Accept": "application/json"}))["status"] == 404
        browser = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
        assert "<html" in nobody._ask("GET", "/", b"", browser).text


class TestByStateAndLife:
    """AT-43. The control: active, and in this life, the same token is taken."""

    @pytest.mark.parametrize(
        ("state", "status"),
        [(TenantState.SUSPENDED, 403), (TenantState.PROVISIONING, 503), (TenantState.FAILED, 503)],
    )
    def test_the_token_of_a_tenant_that_is_not_active(
        self, changing_pair: Pair, live: Live, state: TenantState, status: int
    ) -> None:
        acme, token = visitor(live, "acme"), minted(changing_pair.acme)
        assert asked(acme, token).status == 200
        Tenant.objects.filter(slug="acme").update(state=state)
        page = asked(acme, token)
        assert (page.status, problem(page)["status"]) == (status, status)
        assert asked(visitor(live, "globex"), minted(changing_pair.globex)).status == 200

    def test_the_token_of_a_former_life(self, changing_pair: Pair, live: Live) -> None:
        acme, token = visitor(live, "acme"), minted(changing_pair.acme)
        assert asked(acme, token).status == 200
        Tenant.objects.filter(slug="acme").update(incarnation=uuid4())
        assert asked(acme, token).status == 401
        assert asked(acme, minted(changing_pair.acme)).status == 200


class TestCookiesOfAnotherHost:
    """AT-46. The control: at its own host each counts."""

    def post(self, at: Visitor, token: str) -> int:
        body = f"name=Forged+{uuid4().hex}&csrfmiddlewaretoken={token}".encode()
        return at._ask("POST", "/", body, {"Content-Type": "application/x-www-form-urlencoded"}).status

    def test_a_csrf_cookie_and_its_token_count_at_their_own_host_alone(self, pair: Pair, live: Live) -> None:
        acme, globex = visitor(live, "acme"), visitor(live, "globex")
        token = acme._token("/")
        assert self.post(acme, token) == 302
        globex.cookies = dict(acme.cookies)
        assert self.post(globex, token) == 403
        assert self.post(globex, globex._token("/")) == 302  # a page of its own brings a cookie of its own

    def test_a_made_up_pair_counts_nowhere(self, pair: Pair, live: Live) -> None:
        acme = visitor(live, "acme")
        for made_up in ("a" * 32, "b" * 64):
            acme.cookies = {"csrftoken": made_up}
            assert self.post(acme, "a" * 32) == 403

    def test_a_session_of_acme_is_nobodys_at_globex(self, pair: Pair, settings: Any) -> None:
        settings.CACHES = {
            "default": {
                "BACKEND": "tenants.isolation.cache.TenantCache",
                "LOCATION": project.CACHE_URL,
                "KEY_FUNCTION": cache.KEY_FUNCTION,
            }
        }
        settings.SESSION_ENGINE = "django.contrib.sessions.backends.cache"
        store: Any = import_module(settings.SESSION_ENGINE).SessionStore
        with tenant_scope(pair.acme):
            session = store()
            session["_auth_user_id"] = "1"
            session.save()
        for context, known in ((pair.acme, "1"), (pair.globex, None), (replace(pair.acme, incarnation=uuid4()), None)):
            with tenant_scope(context):
                assert self.through_django(session.session_key).get("_auth_user_id") == known

    def through_django(self, session_key: str) -> Any:
        request = RequestFactory().get("/")
        request.COOKIES[project.SESSION_COOKIE_NAME] = session_key

        def view(_request: Any) -> HttpResponse:
            return HttpResponse()

        SessionMiddleware(AuthenticationMiddleware(view))(request)
        return request.session


class Projects(APIView):
    authentication_classes = (TenantTokenAuthentication,)
    permission_classes = (HasTokenScope,)
    token_scopes = {"GET": "projects:read", "POST": "projects:write"}

    def get(self, request: Any) -> Response:
        return Response({"who": str(request.user), "scopes": sorted(request.auth.scopes)})

    def post(self, _request: Any) -> Response:
        return Response({})

    def delete(self, _request: Any) -> Response:
        return Response({})


class TestInDjangoRestFramework:
    """The view itself, with the control plane's own process behind the verifier."""

    @pytest.fixture
    def taken(self, pair: Pair, live: Live, settings: Any) -> Pair:
        settings.TENURE_API_URL = f"http://127.0.0.1:{live.web}"
        settings.REST_FRAMEWORK = {}
        tokens._key_set.cache_clear()
        return pair

    def ask(self, context: TenantContext, token: str | None, method: str = "get") -> Any:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        request = getattr(APIRequestFactory(), method)("/", headers=headers)
        with tenant_scope(context):
            return Projects.as_view()(request)

    def test_a_token_says_who_it_is_and_what_it_may(self, taken: Pair) -> None:
        token = minted(taken.acme, scopes=["projects:read"])
        answer = self.ask(taken.acme, token)
        assert (answer.status_code, answer.data) == (200, {"who": "member-4711", "scopes": ["projects:read"]})
        assert self.ask(taken.acme, token, "post").status_code == 403
        assert self.ask(taken.acme, minted(taken.acme, scopes=["projects:write"]), "post").status_code == 200

    def test_a_method_that_names_no_scope_is_nobodys(self, taken: Pair) -> None:
        token = minted(taken.acme, scopes=["projects:read", "projects:write"])
        assert self.ask(taken.acme, token, "delete").status_code == 403

    def test_no_token_a_bad_one_and_anothers(self, taken: Pair) -> None:
        answers = [self.ask(taken.acme, token) for token in (None, "nonsense", minted(taken.globex))]
        assert [answer.status_code for answer in answers] == [401, 401, 403]
        assert answers[0]["WWW-Authenticate"] == 'Bearer realm="tenant"'
        assert self.ask(taken.globex, minted(taken.globex)).status_code == 200

    def test_while_keys_cannot_be_read_it_says_try_again(self, taken: Pair, settings: Any) -> None:
        token = minted(taken.acme)
        settings.TENURE_JWKS_URL = "http://127.0.0.1:1/keys"
        assert self.ask(taken.acme, token).status_code == 503

    def test_without_a_scope_there_is_nothing_to_come_in_to(self, taken: Pair) -> None:
        request = APIRequestFactory().get("/", headers={"Authorization": f"Bearer {minted(taken.acme)}"})
        with pytest.raises(NoTenant):
            Projects.as_view()(request)
