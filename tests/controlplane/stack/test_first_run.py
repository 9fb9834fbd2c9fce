"""What a first run makes once and a later one leaves alone. The whole of it runs in test_make_run.py."""

import re
import stat
from datetime import timedelta
from pathlib import Path

from django.contrib.auth import authenticate, get_user_model
from django.utils import timezone

from controlplane.keys import key_of
from controlplane.models import ApiKey, Scope
from controlplane.stack.first_run import OPERATOR, PLANS, first_secrets, keep_application_key, make_plans
from tenants.models import Plan
from tenants.states import Tier


def test_secrets_are_shown_once_and_work(control: None) -> None:
    shown = first_secrets()
    password = re.search(rf"Sign in +{OPERATOR} / (\S+)", shown)
    token = re.search(r"API key +(\S+)", shown)
    assert password
    assert token
    assert authenticate(username=OPERATOR, password=password[1]) == get_user_model().objects.get()
    assert key_of(token[1]) == ApiKey.objects.get()
    assert first_secrets() == ""


def test_the_example_is_one_command_that_names_the_key(control: None) -> None:
    shown = first_secrets()
    token = re.search(r"API key +(\S+)", shown)
    assert token
    assert f"-H 'Authorization: Bearer {token[1]}'" in shown
    assert re.search(r"-H 'Idempotency-Key: \S{16,}'", shown)
    assert all(line.endswith("\\") for line in shown[shown.index("curl") :].splitlines()[:2])


def test_there_is_a_plan_for_each_tier_to_begin_with(control: None) -> None:
    make_plans()
    make_plans()
    assert dict(Plan.objects.values_list("name", "tier")) == {name: tier for name, (tier, _text) in PLANS.items()}


def test_no_plan_is_added_to_somebodys_own(control: None) -> None:
    Plan.objects.create(name="mine", tier=Tier.SCHEMA)
    make_plans()
    assert [plan.name for plan in Plan.objects.all()] == ["mine"]


def test_the_application_has_a_key_that_hands_out_credentials_and_nothing_else(control: None, tmp_path: Path) -> None:
    path = tmp_path / "application-key"
    keep_application_key(path)
    first = path.read_text()
    key = key_of(first)
    assert key
    assert key.scopes == [Scope.TENANTS_CREDENTIALS, Scope.TENANTS_KEYS]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    keep_application_key(path)
    assert path.read_text() == first


def test_the_applications_key_is_replaced_long_before_it_ends(control: None, tmp_path: Path) -> None:
    path = tmp_path / "application-key"
    keep_application_key(path)
    first = path.read_text()
    ApiKey.objects.update(expires_at=timezone.now() + timedelta(days=30))
    keep_application_key(path)
    assert path.read_text() != first
    assert key_of(first)  # until processes with the new one are up


def test_a_key_of_another_control_database_is_replaced(control: None, tmp_path: Path) -> None:
    path = tmp_path / "application-key"
    path.write_text(f"tnr_{'0' * 32}_{'0' * 64}")
    keep_application_key(path)
    assert key_of(path.read_text())
