"""The OpenAPI document is checked in and complete."""

from io import StringIO
from pathlib import Path

import pytest
import yaml
from django.conf import settings
from django.core.management import call_command
from jsonschema_rs import Draft202012Validator

from controlplane.api.codes import Code
from controlplane.api.examples import EXAMPLES
from tests.controlplane.api.conftest import Caller

pytestmark = pytest.mark.long

DOCUMENT = Path(settings.BASE_DIR) / "docs" / "openapi.yaml"


def test_the_document_that_is_checked_in_is_the_one_the_code_makes(control: None) -> None:
    made = StringIO()
    call_command("spectacular", "--validate", "--fail-on-warn", stdout=made)
    assert DOCUMENT.read_text() == made.getvalue(), "run `make openapi`"


def test_every_problem_is_in_the_document(billing: Caller) -> None:
    document = billing.client.get("/api/v1/schema").json()
    assert {str(code) for code in Code} <= set(document["components"]["examples"])


def test_every_example_is_as_its_schema_says() -> None:
    document = yaml.safe_load(DOCUMENT.read_text())
    shown = {name: one["value"] for name, one in document["components"]["examples"].items()}
    assert set(EXAMPLES) <= set(shown)
    for name, value in shown.items():
        schema = "Problem" if name in Code.__members__ else name
        wanted = {"$ref": f"#/components/schemas/{schema}", "components": document["components"]}
        Draft202012Validator(wanted, validate_formats=True).validate(value)
