"""Wagtail 8, unmodified, as the tenant application: published, onboarded in both tiers, and worked in by an editor.

In processes of their own: which apps are the tenants' is a setting of the whole process.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import wagtail
from controlplane.stack.embedded import Stack
from tests import databases

pytestmark = [pytest.mark.wagtail, pytest.mark.timeout(300)]

EDIT = Path(__file__).resolve().parents[1] / "wagtail" / "edit.py"


def run(stack: Stack, *arguments: str) -> str:
    """What a program printed. Its words on stderr are in the failure."""
    variables = {"TENANT_APPS": ",".join(wagtail.APPS), "TENANT_SETTINGS": "tests.wagtail.settings"}
    settings = {"DJANGO_SETTINGS_MODULE": "controlplane.settings"}
    ran = subprocess.run(
        (sys.executable, *arguments),
        env={**os.environ, **stack.environment, **settings, **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


@pytest.fixture(scope="module")
def furnished_with_wagtail(stack: Stack, migrated: None) -> None:
    databases.load(stack, "migrated")
    run(stack, "-m", "tests.wagtail.furnish")


@pytest.fixture(scope="module")
def stories(stack: Stack, furnished_with_wagtail: None) -> dict[str, dict[str, Any]]:
    """What an editor did and saw in each tenant, one after the other."""
    shell = ("manage.py", "tenant_shell", "-v", "0", "-c", EDIT.read_text())
    return {slug: json.loads(run(stack, *shell, slug)) for slug in ("acme", "globex")}


@pytest.mark.parametrize(("slug", "other"), [("acme", "globex"), ("globex", "acme")])
def test_an_editor_works_in_her_own_tenant_alone(stories: dict[str, dict[str, Any]], slug: str, other: str) -> None:
    story, name = stories[slug], slug.title()
    assert story["titles"] == sorted([f"{name} copy", f"{name} item 1", f"{name} item zero", f"News of {slug}"])
    assert story["tree"] == ["/home/copy/", "/home/item-1/", "/home/news/", "/home/news/item-0/"]
    assert set(story["own"]) == set(story["titles"])
    assert story["others"] == []
    assert story["autocomplete"]
    assert (story["signs_in"], story["may_edit"], story["log"]) == (True, True, True)
    assert story["document"] == f"the plan of {slug}"
    assert story["problems"] == []
    assert story["place"] != stories[other]["place"]


def test_both_tenants_have_the_same_ids_for_what_the_release_brought(stories: dict[str, dict[str, Any]]) -> None:
    acme, globex = stories["acme"], stories["globex"]
    assert acme["types"] == globex["types"]
    assert len(acme["types"]) > 40
