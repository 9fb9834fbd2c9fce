"""TENANT_SETTINGS: what the tenant application's own apps read, and nothing of ours. TENANT_SQL: its folder."""

import os
import subprocess
import sys
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


def test_a_folder_of_sql_files_is_one_that_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TENANT_SQL", str(tmp_path))
    assert env.folder("TENANT_SQL") == tmp_path.resolve()
    monkeypatch.setenv("TENANT_SQL", "")
    assert env.folder("TENANT_SQL") is None
    monkeypatch.setenv("TENANT_SQL", str(tmp_path / "gone"))
    with pytest.raises(ImproperlyConfigured, match=r"TENANT_SQL is '.*gone', where there is no folder"):
        env.folder("TENANT_SQL")


@pytest.mark.parametrize(
    ("apps", "says"),
    [({}, "[]"), ({"TENANT_APPS": "examples.projects"}, "TENANT_SQL and TENANT_APPS are both set. Unset one")],
)
def test_an_application_is_made_of_files_or_of_apps(tmp_path: Path, apps: dict[str, str], says: str) -> None:
    ran = subprocess.run(
        (sys.executable, "-c", "from controlplane import settings; print(settings.TENANT_APPS)"),
        env={**os.environ, "TENANT_SQL": str(tmp_path), **apps},
        capture_output=True,
        text=True,
        check=False,
    )
    assert says in ran.stdout + ran.stderr
