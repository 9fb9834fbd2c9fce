from pathlib import Path

from tenants.models import Tenant
from tests.provisioning.engine.building import WHOLE, calls, inventory
from tests.provisioning.engine.conftest import Begin, drive_on


def test_a_run_ends_with_every_effect_there_once(begin: Begin, site: Path, acme: Tenant) -> None:
    run = drive_on(begin())
    assert (run.state, run.error, run.lease_until, run.deadline_at) == ("succeeded", None, None, None)
    assert inventory(site) == WHOLE
    assert calls(site) == {"survey": 1, "foundation": 1, "count": 1, "walls": 5, "roof": 1}
    acme.refresh_from_db()
    assert acme.version == 2
