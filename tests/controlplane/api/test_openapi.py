"""What is generated from the OpenAPI document never gets a 500, nor an answer that the document does not know.

test_document.py holds that the document read here is the one that is served.
"""

import re
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from django.conf import settings as django_settings
from django.core.wsgi import get_wsgi_application
from hypothesis import HealthCheck, Phase, settings
from schemathesis.config import SchemathesisConfig

from controlplane.api import permissions
from provisioning.models import Run
from tenants.models import Tenant
from tests import standing_erasures
from tests.controlplane.api.conftest import ACME, GLOBEX, Caller, caller
from tests.fleet import driven
from tests.provisioning.rollout.building import next_release

EXAMPLES = 20  # for each operation, beside those that schemathesis derives from every part of its schema
LONGEST_NAME = 48  # of a plan or a release; others stay wrong, for the document to refuse
DOCUMENT = Path(django_settings.BASE_DIR) / "docs" / "openapi.yaml"

# A precondition, a plan's tier and a region are right or wrong by what there is, which no document can say.
MAY_BE_REFUSED = ["2xx", "3xx", "401", "403", "404", "409", "412", "422", "429"]
documented = schemathesis.openapi.from_path(
    DOCUMENT,
    config=SchemathesisConfig.from_dict(
        {
            "checks": {"positive_data_acceptance": {"expected-statuses": MAY_BE_REFUSED}},
            "generation": {"allow-x00": False},  # no schema forbids NUL; test_bodies.py does
        }
    ),
)
documented.app = get_wsgi_application()
WELL_FORMED = re.compile(r"\w+_[0-9a-f]{31}[0-7a-f]")  # any other stays wrong, for the document to refuse
NAMED = re.compile(r"[A-Za-z-]+[0-7a-k]")
known: dict[str, list[str]] = {
    "name": ["standard"],
    "tenant": [],
    "operation": [],
    "rollout": [],
    "target": [],
    "erasure": [],
}


@pytest.fixture(scope="module")
def fuzzer(shared_house: None) -> Caller:
    """One control plane for all of it, with a tenant that is active and one that is still to be made.

    And with a rollout that nobody has approved, and one that somebody has.
    """
    asks = caller()
    for wish in (ACME, GLOBEX):
        answer = asks.post("tenants", wish).json()
        known["tenant"].append(answer["tenant"]["id"])
        known["operation"].append(answer["operation"]["id"])
    driven(Run.objects.get(tenant__slug="acme"))
    next_release()
    answers = [asks.post("rollouts", {"release": "next"}).json() for _ in range(2)]
    known["rollout"] = [answer["id"] for answer in answers]
    approved = {"plan_digest": answers[1]["plan"]["digest"]}
    assert caller("another").post(f"rollouts/{known['rollout'][1]}/approve", approved).status_code == 200
    known["target"] = [one["id"] for one in asks.get(f"rollouts/{known['rollout'][1]}/targets").json()["results"]]
    acme = Tenant.objects.select_related("plan").get(slug="acme")
    for kind in ("tenant", "subject"):
        known["erasure"].append(standing_erasures.proposed(standing_erasures.asked(acme, kind=kind)).public_id)
    return asks


@documented.hook
def map_path_parameters(_context: Any, path_parameters: dict[str, Any] | None) -> dict[str, Any]:
    return {name: existing(name, str(value)) for name, value in (path_parameters or {}).items()}


def existing(name: str, value: str) -> str:
    """Most well-formed ids exist, or no request would get past 404."""
    if not ((NAMED if name == "name" else WELL_FORMED).fullmatch(value) and known.get(name)):
        return value
    return known[name][sum(map(ord, value)) % len(known[name])]


@documented.hook
def map_body(_context: Any, body: Any) -> Any:
    """A plan, a release and a tenant that exist, or no onboarding, rollout and erasure would get past 422."""
    if not isinstance(body, dict):
        return body
    if isinstance(body.get("tenant"), str):
        body = {**body, "tenant": existing("tenant", body["tenant"])}
    there = {"plan": "standard", "release": "next"}
    well_formed = [name for name in there if isinstance(body.get(name), str) and 0 < len(body[name]) <= LONGEST_NAME]
    return {**body, **{name: there[name] for name in well_formed}}


@documented.parametrize()
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.generate],
)
def test_no_answer_is_outside_the_document(case: Any, fuzzer: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(permissions, "FAILED_AUTHENTICATIONS", 1_000_000)  # every request is tried without a key too
    if case.query.get("validate_only") and "Idempotency-Key" not in case.headers:
        return  # the one case in which the header may be missing, which OpenAPI cannot say
    case.call_and_validate(headers=fuzzer.auth)
