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
from schemathesis.checks import load_all_checks
from schemathesis.config import SchemathesisConfig
from schemathesis.core.result import Ok
from schemathesis.generation.feedback import FeedbackSources
from schemathesis.pytest._test_builder import build_operation_test
from schemathesis.python._constants.orchestrator import make_constants_value_source
from schemathesis.schemas import BaseSchema

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
# Read here without YAML, which takes a second in each process that only lists the tests.
OPERATIONS = [
    (method.upper(), path)
    for path, methods in re.findall(r"^  (/\S+):\n(.*?)(?=^ {0,2}\S)", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL)
    for method in re.findall(r"^    (get|post|put|patch|delete):$", methods, re.MULTILINE)
]
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


def map_path_parameters(_context: Any, path_parameters: dict[str, Any] | None) -> dict[str, Any]:
    return {name: existing(name, str(value)) for name, value in (path_parameters or {}).items()}


def existing(name: str, value: str) -> str:
    """Most well-formed ids exist, or no request would get past 404."""
    if not ((NAMED if name == "name" else WELL_FORMED).fullmatch(value) and known.get(name)):
        return value
    return known[name][sum(map(ord, value)) % len(known[name])]


def map_body(_context: Any, body: Any) -> Any:
    """A plan, a release and a tenant that exist, or no onboarding, rollout and erasure would get past 422."""
    if not isinstance(body, dict):
        return body
    if isinstance(body.get("tenant"), str):
        body = {**body, "tenant": existing("tenant", body["tenant"])}
    there = {"plan": "standard", "release": "next"}
    well_formed = [name for name in there if isinstance(body.get(name), str) and 0 < len(body[name]) <= LONGEST_NAME]
    return {**body, **{name: there[name] for name in well_formed}}


@pytest.fixture(scope="module")
def documented() -> BaseSchema:
    document = schemathesis.openapi.from_path(
        DOCUMENT,
        config=SchemathesisConfig.from_dict(
            {
                "checks": {"positive_data_acceptance": {"expected-statuses": MAY_BE_REFUSED}},
                "generation": {"allow-x00": False},  # no schema forbids NUL; test_bodies.py does
            }
        ),
    )
    load_all_checks()
    document.app = get_wsgi_application()
    document.hook(map_path_parameters)
    document.hook(map_body)
    return document


GENERATED = settings(
    max_examples=EXAMPLES,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.generate],
)


def test_the_operations_are_those_of_the_document(documented: BaseSchema) -> None:
    every = [result.ok() for result in documented.get_all_operations() if isinstance(result, Ok)]
    assert sorted((each.method.upper(), each.path) for each in every) == sorted(OPERATIONS)


@pytest.mark.drawn(12)
@pytest.mark.parametrize(("method", "path"), OPERATIONS, ids=[" ".join(each) for each in OPERATIONS])
def test_no_answer_is_outside_the_document(
    method: str, path: str, documented: BaseSchema, fuzzer: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Built here and not by schemathesis's decorator, which does so for all operations wherever tests are listed."""
    monkeypatch.setattr(permissions, "FAILED_AUTHENTICATIONS", 1_000_000)  # every request is tried without a key too
    parameters = documented[path][method].definition.raw.get("parameters", ())
    lists = {each["name"] for each in parameters if each.get("schema", {}).get("type") == "array"}

    def answered(case: Any) -> None:
        if case.query.get("validate_only") and "Idempotency-Key" not in case.headers:
            return  # the one case in which the header may be missing, which OpenAPI cannot say
        if any(not isinstance(case.query[name], (list, dict)) for name in lists & case.query.keys()):
            return  # one word for a list, as `slug=true`: in a URL that is a list of one
        case.call_and_validate(headers=fuzzer.auth)

    build_operation_test(
        config=documented.config,
        operation=documented[path][method],
        test_func=answered,
        given_kwargs={},
        feedback=FeedbackSources(constants_value_source=make_constants_value_source(documented)),
        explicit_settings=GENERATED,
    )()
