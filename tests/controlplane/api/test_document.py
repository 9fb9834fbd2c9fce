"""The OpenAPI document is checked in and complete."""

from io import StringIO
from pathlib import Path

from django.conf import settings
from django.core.management import call_command

from controlplane.api.codes import Code
from tests.controlplane.api.conftest import Caller

DOCUMENT = Path(settings.BASE_DIR) / "docs" / "openapi.yaml"


def test_the_document_that_is_checked_in_is_the_one_the_code_makes(control: None) -> None:
    made = StringIO()
    call_command("spectacular", "--validate", "--fail-on-warn", stdout=made)
    assert DOCUMENT.read_text() == made.getvalue(), "run `make openapi`"


def test_every_problem_is_in_the_document(billing: Caller) -> None:
    document = billing.client.get("/api/v1/schema").json()
    assert set(document["components"]["examples"]) == {str(code) for code in Code}
