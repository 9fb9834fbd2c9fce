"""`manage.py erasure`: whoever uses it counts as one person."""

from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from provisioning.models import ErasureRequest
from tests import standing_erasures as made
from tests.fleet import BILLING, accepted


def said(*words: str) -> str:
    out = StringIO()
    call_command("erasure", *words, stdout=out)
    return out.getvalue()


def test_a_request_is_imported_proposed_and_not_approved_by_the_same_hand(house: Any, tmp_path: Path) -> None:
    accepted("acme")
    file = tmp_path / "letters.csv"
    file.write_text("tenant,scope,identifiers\nacme,subject,email=dana.smith@example.org\nacme,subject,email=dana\n")
    with pytest.raises(CommandError, match="Some rows were bad"):
        said("import", str(file))
    with pytest.raises(CommandError, match="Some rows were bad"):
        said("import", str(file))
    request = made.counted(ErasureRequest.objects.get())
    assert f"{request.public_id}  planning           person of acme" in said("list")
    shown = said("propose", request.public_id)
    assert "pool_rows: delete 48211 of projects_project (exact)" in shown
    digest = next(word for word in shown.split() if word.startswith("sha256:"))
    with pytest.raises(CommandError, match="requested or proposed"):
        said("approve", request.public_id, f"--plan-digest={digest}")
    assert "is cancelled" in said("cancel", request.public_id, "--reason", "withdrawn")
    assert said("list") == "No erasure request is open.\n"

    other = made.proposed(made.asked(request.tenant, BILLING))
    digest = f"sha256:{bytes(other.plan_digest or b'').hex()}"
    assert "is scheduled" in said("approve", other.public_id, f"--plan-digest={digest}")
    with pytest.raises(CommandError, match="Say it so: manage"):
        said("show")
