"""TENANT_SETTINGS: what the tenant application's own apps read, and nothing of ours."""

from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from controlplane import env


def module(folder: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> str:
    name = f"settings_{folder.name.replace('-', '_')}"
    (folder / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(folder)
    return name


def test_upper_case_names_are_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = module(tmp_path, monkeypatch, 'import os\nWAGTAIL_SITE_NAME = "Acme"\nhelper = 1\n')
    assert env.settings_of(name, taken=()) == {"WAGTAIL_SITE_NAME": "Acme"}


def test_what_the_control_plane_sets_cannot_be_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = module(tmp_path, monkeypatch, "DEBUG = True\nSECRET_KEY = 'known'\nFREE = 1\n")
    with pytest.raises(ImproperlyConfigured, match="sets DEBUG, SECRET_KEY, which the control plane sets"):
        env.settings_of(name, taken=("SECRET_KEY", "DEBUG"))


def test_a_module_that_is_not_there_is_named() -> None:
    with pytest.raises(ImproperlyConfigured, match=r"TENANT_SETTINGS names no\.such\.module"):
        env.settings_of("no.such.module", taken=())
