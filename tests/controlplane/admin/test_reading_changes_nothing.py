"""GET is safe at every address of the admin, for everybody: Unfold's own actions run on GET."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver

from controlplane.keys import make_key
from controlplane.models import ApiKey
from provisioning.models import Release
from tenants.models import Cluster
from tests import standing, standing_erasures, standing_rollouts
from tests.fleet import BILLING

pytestmark = pytest.mark.long

NOT_OURS = {"/admin/logout/", "/admin/login/"}  # logging out is a POST; signing in is refused to who is signed in
ASIDE = ["django_session", "provisioning_knownstamp"]  # which shape a stamp stands for is a memory: true for ever
REFUSED = {405}  # POST alone: verify


def addresses(resolver: URLResolver, prefix: str = "/") -> Iterator[str]:
    for pattern in resolver.url_patterns:
        route = prefix + str(pattern.pattern).lstrip("^").rstrip("$")
        if isinstance(pattern, URLResolver):
            yield from addresses(pattern, route)
        elif isinstance(pattern, URLPattern):
            yield route


def everything() -> dict[str, str]:
    """A hash of all rows of every table; sessions and sign-ins aside, which every request of a browser touches."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> ALL (%s)", [ASIDE])
        tables = [name for (name,) in cursor.fetchall()]
        found = {}
        for table in tables:
            row = "(to_jsonb(t) - 'last_login')::text"
            cursor.execute(f"SELECT md5(coalesce(string_agg({row}, E'\\n' ORDER BY {row}), '')) FROM \"{table}\" t")
            found[table] = cursor.fetchone()[0]
    return found


@pytest.mark.parametrize("who", ["ops", "viewer", "nobody"])
def test_looking_at_every_page_changes_no_row(
    request: pytest.FixtureRequest, fleet_of_states: standing.Fleet, who: str
) -> None:
    client: Client = request.getfixturevalue(who)
    key = make_key(principal="billing", name="sign-up", scopes=["tenants:read"], actor=BILLING).key
    release = standing_rollouts.release()
    draft, failed = (standing_rollouts.rollout(release, state) for state in ("draft", "running"))
    standing_rollouts.targets(failed, ["failed"])
    rows: dict[str, list[Any]] = {
        "provisioning/rollout": [draft.pk, failed.pk],
        "provisioning/erasurerequest": [standing_erasures.proposed(standing_erasures.asked(fleet_of_states.active)).pk],
        "provisioning/rollouttarget": [failed.targets.get().pk],
        "tenants/tenant": [fleet_of_states.active.pk, fleet_of_states.failed.tenant_id],
        "provisioning/run": [run.pk for run in fleet_of_states.runs().values()],
        "provisioning/adopteddrift": [fleet_of_states.active.pk],
        "tenants/cluster": [Cluster.objects.get().pk],
        "provisioning/release": [Release.objects.get(current=True).pk],
        "controlplane/apikey": [key.pk],
    }
    before, visited = everything(), 0
    for address in addresses(get_resolver()):
        if not address.startswith("/admin/") or address in NOT_OURS or "(?P" in address:
            continue
        noun = re.match(r"/admin/(\w+/\w+)/", address)
        ids = rows.get(noun[1], [key.pk]) if noun and ":object_id>" in address else [key.pk]
        for known in ids:
            url = re.sub("<(uuid|path|int):object_id>", str(known), address)
            answer = client.get(
                url, {"s": "acme", "slug": "newco", "name": "New", "plan": "standard", "region": "local"}
            )
            assert answer.status_code < 500, url
            visited += 1
    assert visited > 50
    assert {table for table, rows_now in everything().items() if rows_now != before[table]} == set()


def test_the_watch_would_have_seen_a_change(door: None) -> None:
    before = everything()
    make_key(principal="billing", name="sign-up", scopes=["tenants:read"], actor=BILLING)
    assert ApiKey.objects.count() == 1
    assert {table for table, rows in everything().items() if rows != before[table]} >= {"controlplane_apikey"}
