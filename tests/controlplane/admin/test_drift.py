"""Drift in the admin: found a page at a time, and adopted or repaired as the plan that was read says."""

import pytest
from django.test import Client

from controlplane.admin.drift import DriftAdmin
from controlplane.stack.embedded import Stack
from provisioning import lifecycle
from provisioning.databases.servers import sealed_url
from provisioning.models import AdoptedDrift, Queue, Run
from tenants.models import Cluster, Placement, Pool
from tests.controlplane.admin.test_operation_page import verbs
from tests.controlplane.admin.test_rollout_page import words
from tests.controlplane.admin.test_verbs import confirm, hidden
from tests.fleet import onboarded
from tests.provisioning.rollout.building import changed_by_hand
from tests.staff import signed_in, someone

pytestmark = pytest.mark.long

DRIFT = "/admin/provisioning/adopteddrift/"
SPARE = "ALTER TABLE {0}.projects_project ADD spare int"
LINE = "unexpected column projects_project.spare integer"


@pytest.fixture
def acme(door: None, stack: Stack) -> str:
    """The address of acme, which has a column that nobody released. Beside it are globex, as released, and a pool."""
    tenants = [onboarded(slug) for slug in ("acme", "globex")]
    changed_by_hand(stack, "acme", SPARE)
    return f"{DRIFT}{tenants[0].pk}/"


def text(client: Client, url: str) -> str:
    answer = client.get(url)
    assert answer.status_code == 200, url
    return answer.content.decode()


def listed(client: Client, query: str = "") -> list[str]:
    return [each.standing.target.name for each in client.get(f"{DRIFT}{query}").context["lines"]]


def test_a_page_looks_at_its_own_targets_and_says_which(
    ops: Client, acme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = words(text(ops, DRIFT))
    assert f"acme difference drifted {LINE} schema local-1" in page
    assert "Looked at 1 to 3 of 3 targets just now, and at no others: difference 1 drifted" in page
    assert listed(ops) == ["acme", "globex", "local-1/pool_1"]
    for query, left in {
        "?state=drifted": ["acme"], "?state=as+released&tier=schema": ["globex"], "?tier=pool": ["local-1/pool_1"],
        "?q=gl": ["globex"], "?q=local-1/": ["local-1/pool_1"], "?cluster=elsewhere": [], "?q=a&tier=pool": [],
        "?cursor=nonsense": ["acme", "globex", "local-1/pool_1"],
    }.items():  # fmt: skip
        assert listed(ops, query) == left, query
    monkeypatch.setattr(DriftAdmin, "list_per_page", 1)
    first = ops.get(f"{DRIFT}?state=as+released")
    assert dict(first.context["counts"]) == {"drifted": 1}  # nobody else was looked at
    assert "No target on this page is as released" in first.content.decode()
    assert listed(ops, first.context["next"]) == ["globex"]
    second = ops.get(f"{DRIFT}{first.context['next']}")
    assert (second.context["first"], second.context["last"], second.context["total"]) == (2, 2, 3)
    assert listed(ops, f"{second.context['previous']}&state=") == ["acme"]


def test_what_was_read_is_adopted_with_a_reason_and_nothing_else(ops: Client, acme: str, stack: Stack) -> None:
    assert verbs(text(ops, acme)) == {"adopt", "repair"}
    adopt = f"{acme}adopt/"
    assert confirm(ops, adopt, reason=" ").status_code == 422
    page = ops.get(adopt)
    assert f"accept in every release to come: {LINE}" in page.content.decode()
    changed_by_hand(stack, "acme", "ALTER TABLE {0}.projects_project ADD another int")
    shown = page.context["form"]["shown"].value()
    changed = ops.post(adopt, {**hidden(page), "reason": "Theirs.", "shown": shown})
    assert changed.status_code == 409
    assert "projects_project.another integer</ins>" in changed.content.decode()
    assert not AdoptedDrift.objects.exists()
    done = confirm(ops, adopt, reason="Their own report reads it.")
    assert (done.status_code, done["Location"]) == (302, acme)
    now = words(text(ops, acme))
    for said in ("handshake adopted", "in the very lines that were accepted", "Their own report reads it.", "By ops"):
        assert said in now
    assert verbs(text(ops, acme)) == {"repair"}
    assert "Accepted: Their own report reads it." in words(text(ops, DRIFT))
    nothing = text(ops, acme.replace(acme.split("/")[-2], str(Pool.objects.get().pk)) + "adopt/")
    assert "NO_DRIFT" in nothing
    assert 'id="confirm-button"' not in nothing


def test_a_repair_is_the_statements_that_were_read_and_becomes_an_operation(
    ops: Client, acme: str, stack: Stack
) -> None:
    repair = f"{acme}repair/"
    page = ops.get(repair)
    assert "what this held: ALTER TABLE" in words(page.content.decode())
    assert confirm(ops, repair, typed="globex").status_code == 422
    form = {**hidden(page), "typed": "acme"}
    done = [ops.post(repair, form) for _click in range(2)]
    run = Run.objects.get(workflow="drift repair")
    assert {answer["Location"] for answer in done} == {f"/admin/provisioning/run/{run.pk}/"}
    assert "OPERATION_IN_PROGRESS" in text(ops, repair)
    assert f"/admin/provisioning/run/{run.pk}/" in text(ops, acme)
    lifecycle.advance(queue=Queue.FLEET)
    assert "It is as release" in words(text(ops, acme))
    assert verbs(text(ops, acme)) == set()
    changed_by_hand(stack, "acme", "ALTER TABLE {0}.projects_project DROP description")
    left = text(ops, repair)
    for said in ("DRIFT_NOT_REPAIRABLE", "Left to a person:", "Put what is named right by hand"):
        assert said in left
    assert 'id="confirm-button"' not in left


def test_a_server_that_is_away_is_said_and_stands_in_the_way(ops: Client, acme: str) -> None:
    gone = Cluster(name="gone", region="local", capacity=1, public_host="127.0.0.1")
    gone.sealed_url = sealed_url("postgresql://tenure@127.0.0.1:1/nothing", gone)  # nobody listens on port 1
    gone.save()
    Placement.objects.filter(tenant__slug="acme").update(cluster=gone)
    assert "acme cloud_off away" in words(text(ops, DRIFT))
    assert verbs(text(ops, acme)) == set()
    for verb in ("adopt", "repair"):
        page = text(ops, f"{acme}{verb}/")
        assert "gone" in words(page.split('id="blockers"')[1].split("</section>")[0])
        assert 'id="confirm-button"' not in page


def test_adopting_and_repairing_are_permissions_of_their_own(viewer: Client, nobody: Client, acme: str) -> None:
    assert verbs(text(viewer, acme)) == set()
    adopter, repairer = (
        signed_in(someone(name, "provisioning.view_rollout", f"provisioning.{name}_drift"))
        for name in ("adopt", "repair")
    )
    form = {"digest": "sha256:", "key": "k", "reason": "I insist.", "typed": "acme"}
    for client, verb in ((viewer, "adopt"), (viewer, "repair"), (adopter, "repair"), (repairer, "adopt")):
        assert client.get(f"{acme}{verb}/").status_code == 403
        assert client.post(f"{acme}{verb}/", form).status_code == 403
    assert {nobody.get(url).status_code for url in (DRIFT, acme)} == {403}
    assert verbs(text(adopter, acme)) == {"adopt"}
    assert confirm(adopter, f"{acme}adopt/", reason="Theirs.").status_code == 302


def test_a_tenant_and_its_pool_lead_to_their_shape(ops: Client, acme: str) -> None:
    assert f'href="{acme}"' in text(ops, acme.replace("provisioning/adopteddrift", "tenants/tenant"))
    pool = Pool.objects.get()
    assert f'href="{DRIFT}{pool.pk}/"' in text(ops, f"/admin/tenants/pool/{pool.pk}/")
    assert "local-1/pool_1" in text(ops, f"{DRIFT}{pool.pk}/")
