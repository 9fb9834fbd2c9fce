"""`manage.py export_tenant` and `check_passport`: a file that is there whole, or not at all."""

from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from tenants.models import Tenant
from tenants.states import TenantState, Tier
from tests.fleet import onboarded


def said(*words: str) -> str:
    out = StringIO()
    call_command(*words, stdout=out)
    return out.getvalue()


def test_a_tenant_is_exported_into_a_file_and_checked(house: None, tmp_path: Path) -> None:
    acme, file = onboarded("acme", Tier.POOL), tmp_path / "acme.tar"
    export = ("export_tenant", "acme", "--reason", "they asked", "--to", str(file))
    digest = said(*export).split()[-1]
    assert digest in said("check_passport", str(file), "--sha256", digest)
    with pytest.raises(CommandError, match="another passport"):
        said("check_passport", str(file), "--sha256", "0" * 64)
    with pytest.raises(CommandError, match="is there already"):
        said(*export)
    assert file.stat().st_mode & 0o077 == 0
    file.write_bytes(file.read_bytes()[:-20_000])
    with pytest.raises(CommandError, match="SPOILED"):
        said("check_passport", str(file))
    file.unlink()
    Tenant.objects.filter(pk=acme.pk).update(state=TenantState.ERASING)
    with pytest.raises(CommandError, match="erasing"):
        said(*export)
    assert list(tmp_path.iterdir()) == []
