"""What a release is made from, as it is installed here now: Django apps, or a folder of SQL files."""

import json
from dataclasses import dataclass
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from typing import Any

import django
from django.apps import AppConfig
from django.conf import settings

from provisioning.databases import sqlfiles
from provisioning.databases.pooling.proof import COMPILER


@dataclass(frozen=True, slots=True)
class Inputs:
    """Fields of a Release; one of `apps` and `files` is empty. Equal digests: publishing would bring nothing new."""

    apps: list[str]
    files: list[dict[str, Any]]
    digest: str


def found() -> Inputs:
    """By TENANT_SQL where it is set, else by TENANT_APPS. Raises SqlRefused."""
    if settings.TENANT_SQL:
        files = sqlfiles.read(Path(settings.TENANT_SQL))
        sqlfiles.refuse_rewritten(files)
        rows = [file.row() for file in files]
        return Inputs([], rows, _hash_of_files(rows))
    return Inputs(list(settings.TENANT_APPS), [], _hash_of_apps(settings.TENANT_APPS))


def _hash_of_files(rows: list[dict[str, Any]]) -> str:
    return sha256(f"sql, pools {COMPILER}\n{json.dumps(rows)}".encode()).hexdigest()


def _hash_of_apps(tenant_apps: list[str]) -> str:
    """The apps in order, files of their migration packages, Django's and our versions."""
    digest = sha256(f"django {django.get_version()}, pools {COMPILER}".encode())
    for entry in tenant_apps:
        app = AppConfig.create(entry)
        module_name = settings.MIGRATION_MODULES.get(app.label, f"{app.name}.migrations")
        digest.update(f"\n{entry} {module_name}".encode())
        for path in _files_of(module_name):
            digest.update(f"\n{path.name} {sha256(path.read_bytes()).hexdigest()}".encode())
    return digest.hexdigest()


def _files_of(module_name: str | None) -> list[Path]:
    """Python and data files of one migrations package; none if the app has no migrations."""
    if module_name is None:
        return []
    try:
        package = import_module(module_name)
    except ModuleNotFoundError:
        return []
    folders = [Path(folder) for folder in package.__path__]
    found = (path for folder in folders for path in folder.rglob("*") if path.is_file())
    return sorted(path for path in found if "__pycache__" not in path.parts)
