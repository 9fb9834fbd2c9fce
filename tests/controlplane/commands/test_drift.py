import json
from io import StringIO

import psycopg
import pytest
from django.core.management import CommandError, call_command

from controlplane.stack.embedded import Stack
from provisioning.models import AdoptedDrift
from provisioning.rollout.drift import target_named
from tests.fleet import onboarded

pytestmark = pytest.mark.long


@pytest.fixture
def spoilt(house: None, stack: Stack) -> str:
    """acme, with a column that somebody added by hand, beside globex, whom nobody touched. Answers acme's schema."""
    onboarded("acme")
    onboarded("globex")
    target = target_named("acme")
    with psycopg.connect(stack.superuser_url, dbname=target.database, autocommit=True) as connection:
        connection.execute(f"ALTER TABLE {target.schema}.projects_project ADD spare int")
    return target.schema


def said(*words: str) -> str:
    out = StringIO()
    call_command("drift", *words, stdout=out, stderr=StringIO())
    return out.getvalue()


def refused(*words: str) -> tuple[str, CommandError]:
    out = StringIO()
    with pytest.raises(CommandError) as caught:
        call_command("drift", *words, stdout=out, stderr=StringIO())
    return out.getvalue(), caught.value


def test_what_differs_is_named_and_makes_the_exit_status_1(spoilt: str) -> None:
    out, error = refused("--tier", "schema")
    assert "acme: not as release" in out
    assert "unexpected column projects_project.spare integer" in out
    assert "1 as released, 1 drifted, 0 adopted, 0 away" in out
    assert error.returncode == 1


def test_a_part_without_drift_makes_it_0(spoilt: str) -> None:
    assert "1 as released, 0 drifted" in said("--slug", "globex")
    assert "0 as released, 0 drifted" in said("--tier", "database")
    assert "0 as released, 0 drifted" in said("--cluster", "elsewhere")


def test_as_json_there_is_a_line_for_each_that_differs(spoilt: str) -> None:
    out, _error = refused("--json")
    (line,) = (json.loads(line) for line in out.splitlines())
    assert (line["target"], line["tier"], line["cluster"], line["state"]) == ("acme", "schema", "local-1", "drifted")
    assert line["lines"] == ["unexpected column projects_project.spare integer"]


def test_what_is_accepted_with_a_reason_is_shown_and_makes_the_exit_status_0(spoilt: str) -> None:
    _out, error = refused("--adopt", "acme")
    assert "Say in a sentence why" in str(error)
    assert "acme: accepted as it is" in said("--adopt", "acme", "--reason", "their report")
    assert AdoptedDrift.objects.get().actor == "command:drift"
    assert "1 adopted" in said("--slug", "acme")


def test_a_repair_is_shown_first_and_done_when_told(spoilt: str) -> None:
    statement = f'ALTER TABLE "{spoilt}"."projects_project" DROP COLUMN "spare";  -- what it holds is lost\n'
    assert statement in said("--repair", "acme", "--plan")
    assert "1 drifted" in refused("--slug", "acme")[0]
    assert "acme: as release" in said("--repair", "acme", "--yes")
    assert "1 as released, 0 drifted" in said("--slug", "acme")
    assert "Nothing to repair" in said("--repair", "acme", "--plan")


def test_a_name_of_nobody_is_refused_with_a_cure(house: None) -> None:
    _out, error = refused("--repair", "nobody", "--yes")
    assert "by its cluster and schema: local-1/pool_1" in str(error)
