"""Wagtail 8, unmodified, as the tenant application: published once, copied into both tiers, used as each tenant."""

import json
import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

import pytest
from django.conf import settings as installed

from benchmarks import wagtail
from controlplane.stack.embedded import Stack
from provisioning.databases import tiers
from provisioning.databases.releases import current_release
from provisioning.databases.tiers import LoginRole
from tenants.states import Tier
from tests.provisioning.databases.conftest import MakeTenant
from tests.provisioning.databases.making import Made

pytestmark = [pytest.mark.wagtail, pytest.mark.timeout(300)]

# Run as a tenant, through Wagtail's own models: a user, a page, and a search that uses its full-text index.
WORK = """
import json, sys
import django
from django.conf import settings
settings.DATABASE_ROUTERS = []
django.setup()
from django.contrib.auth.models import User
from wagtail.models import Page, Site
name = sys.argv[1]
User.objects.create_superuser(name, password="a long enough password")
home = Site.objects.get().root_page
home.add_child(instance=Page(title=f"Numbers of {name}", slug=name)).save_revision().publish()
print(json.dumps({
    "users": sorted(User.objects.values_list("username", flat=True)),
    "pages": sorted(Page.objects.values_list("title", flat=True)),
    "found": [page.title for page in Page.objects.search("numbers")],
    "acme": Page.objects.search("acme").count(),
}))
"""


def wagtail_process(stack: Stack, *words: str, **variables: str) -> str:
    """A process with Wagtail's apps as TENANT_APPS: settings are one a process. Its last line."""
    environment = {**os.environ, **stack.environment, "TENANT_APPS": ",".join(wagtail.APPS), **variables}
    done = subprocess.run(
        [sys.executable, *words],
        cwd=Path(installed.BASE_DIR),
        env={**environment, "DJANGO_SETTINGS_MODULE": "controlplane.settings"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


def at_work(stack: Stack, made: Made) -> dict[str, object]:
    """What a process sees that connects as the tenant's own role."""
    role, password = made.context.key, quote(LoginRole().password(made.context))
    url = f"postgresql://{role}:{password}@127.0.0.1:{stack.ports.postgres}/{made.context.database}"
    seen: dict[str, object] = json.loads(wagtail_process(stack, "-c", WORK, made.context.slug, DATABASE_URL=url))
    return seen


def test_wagtail_lives_in_both_tiers(house: None, stack: Stack, tenant: MakeTenant) -> None:
    assert wagtail_process(stack, "manage.py", "publish_release", "wagtail", "--quiet") == "Published wagtail."
    release = current_release()
    assert release is not None
    assert release.name == "wagtail"
    assert {table["table"] for table in release.seed} >= {"wagtailcore_page", "wagtailcore_site", "auth_permission"}

    acme, globex = tenant("acme", Tier.SCHEMA), tenant("globex", Tier.DATABASE)
    for made in (acme, globex):
        assert tiers.fingerprint(made.context) == release.fingerprint
        assert made.findings() == []
    for made, found in ((acme, 1), (globex, 0)):
        name = made.context.slug
        assert at_work(stack, made) == {
            "users": [name],
            "pages": [f"Numbers of {name}", "Root", "Welcome to your new Wagtail site!"],
            "found": [f"Numbers of {name}"],
            "acme": found,
        }
