"""What is generated from the OpenAPI document never gets a 500, nor an answer that the document does not know.

test_document.py holds that the document read here is the one that is served.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from django.conf import settings as django_settings
from django.core.wsgi import get_wsgi_application
from hypothesis import HealthCheck, Phase, settings
from schemathesis.config import SchemathesisConfig

from controlplane.api import permissions
from controlplane.stack.embedded import Stack
from provisioning.models import Run
from tests import databases
from tests.controlplane.api.conftest import ACME, Caller, caller
from tests.fleet import driven

EXAMPLES = 30  # for each operation
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
known: dict[str, str] = {"name": "standard"}


@pytest.fixture(scope="module")
def fuzzer(stack: Stack, furnished: None, django_db_blocker: Any) -> Iterator[Caller]:
    """One control plane for all of it, with one tenant and one operation to be found."""
    with django_db_blocker.unblock():
        house = databases.fresh(stack, "furnished")
        next(house)
        caller_ = caller()
        answer = caller_.post("tenants", ACME).json()
        driven(Run.objects.get())
        known.update(tenant=answer["tenant"]["id"], operation=answer["operation"]["id"])
        yield caller_
        next(house, None)


@documented.hook
def map_path_parameters(_context: Any, path_parameters: dict[str, Any] | None) -> dict[str, Any]:
    """Half of the well-formed ids exist, or no request would get past 404."""
    return {
        name: known.get(name, value) if re.fullmatch(r"(\w+_[0-9a-f]+|[A-Za-z-]+)[0-7a-k]", str(value)) else value
        for name, value in (path_parameters or {}).items()
    }


@documented.hook
def map_body(_context: Any, body: Any) -> Any:
    """A plan that exists, or no onboarding would get past 422."""
    wanted = isinstance(body, dict) and isinstance(body.get("plan"), str)
    return {**body, "plan": "standard"} if wanted else body


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
