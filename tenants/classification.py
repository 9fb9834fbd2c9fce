"""What a table of the tenant application holds of people, in four words, and who says so: `personal_data.py`.

    # examples/projects/personal_data.py, beside models.py
    PERSONAL_DATA = {"projects_member": Delete(subject={"email": "email"})}

Keys are names of tables, values one word each. Where an app cannot hold such a file (it is somebody else's, or the
application is not written in Django), TENURE_PERSONAL_DATA names a Python file with the same dictionary, which is
believed first.

A row is a person's when one of its `subject` columns equals an identifier of that kind (in whatever case), when one of
its `mentions` contains an identifier, or when it refers by foreign key to a row that goes, or to one that is the
person's by `subject`. That is followed however far it leads, and not into tables of NoPersonalData.
"""

from __future__ import annotations

import runpy
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import lru_cache
from importlib import import_module
from typing import Any, TypeAlias

from django.apps import apps
from django.conf import settings
from django.utils.module_loading import module_has_submodule

from tenants.errors import TenureError

MODULE, NAME = "personal_data", "PERSONAL_DATA"


class NotAClassification(TenureError):
    """A personal_data file does not hold a dictionary of table names and the four words."""

    code = "NOT_A_CLASSIFICATION"
    cure = "Give it PERSONAL_DATA = {'table_name': Delete(…)}, with words of tenants.classification."


@dataclass(frozen=True, slots=True, kw_only=True)
class OfPeople:
    """How a person's rows are told. `subject`: column → kind of identifier, or kinds; `mentions`: columns."""

    subject: Mapping[str, str | tuple[str, ...]] = field(default_factory=dict)
    mentions: tuple[str, ...] = ()

    def kinds_of(self, column: str) -> tuple[str, ...]:
        kinds = self.subject[column]
        return (kinds,) if isinstance(kinds, str) else tuple(kinds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Delete(OfPeople):
    """The person's rows go."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Blank(OfPeople):
    """The person's rows stay, and these columns get these values: None, or a word that says nothing. Never a hash.

    `keeps`: the other columns that could hold words, and hold nothing of the person. None may be forgotten.
    """

    columns: Mapping[str, Any]
    keeps: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Retain(OfPeople):
    """The person's rows stay as they are, on this legal ground, until this day if one is known.

    `keeps`: every column that could hold words, so that nobody keeps one without having thought of it.
    """

    ground: str
    until: date | None = None
    keeps: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NoPersonalData:
    """No row of it is anybody's; `reason` says why not."""

    reason: str


Policy: TypeAlias = Delete | Blank | Retain | NoPersonalData

DJANGO: dict[str, Policy] = {
    "django_migrations": NoPersonalData("names of migrations"),
    "django_content_type": NoPersonalData("names of models"),
    "django_site": NoPersonalData("host names of the installation"),
    "auth_permission": NoPersonalData("names of rights"),
    "auth_group": NoPersonalData("names of groups"),
    "auth_group_permissions": NoPersonalData("rights of groups"),
    "auth_user": Delete(subject={"email": "email", "username": ("username", "email")}),
    "auth_user_groups": Delete(),
    "auth_user_user_permissions": Delete(),
    "django_admin_log": Delete(mentions=("object_repr", "change_message")),
    "django_session": NoPersonalData("names its user by number alone, and ends with the account"),
}
"""Tables of Django's own apps. An application that keeps more in them says so in its file."""


def classified() -> Mapping[str, Policy]:
    """Table → word, of all tenant apps, read once. Raises NotAClassification, or what an app's file raises."""
    return _classified(tuple(settings.TENANT_APPS), str(getattr(settings, "TENURE_PERSONAL_DATA", "") or ""))


@lru_cache(maxsize=8)
def _classified(names: tuple[str, ...], path: str) -> Mapping[str, Policy]:
    found = dict(DJANGO)
    installed = {config.name: config for config in apps.get_app_configs()}
    for name in names:
        config = installed.get(name) or next((each for each in installed.values() if name.startswith(each.name)), None)
        if config is not None and config.module is not None and module_has_submodule(config.module, MODULE):
            module = import_module(f"{config.name}.{MODULE}")
            found.update(_words(vars(module), f"{config.name}.{MODULE}"))
    if path:
        found.update(_words(runpy.run_path(path), path))
    return found


def _words(members: Mapping[str, Any], where: str) -> dict[str, Policy]:
    words = members.get(NAME)
    if not isinstance(words, Mapping):
        raise NotAClassification(f"{where} has no dictionary {NAME}.")
    for table, word in words.items():
        if not isinstance(word, (OfPeople, NoPersonalData)):
            raise NotAClassification(f"{where} says of {table} what is none of the four words.")
    return dict(words)
