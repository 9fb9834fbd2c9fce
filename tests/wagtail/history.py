"""Wagtail's own releases, from 2.0 to the one that is installed, as far as their migrations go.

`RELEASES` says which migrations each has brought, as its git tag has them: numbers, or the name of a squash. What is
installed has them all, so an older release is a folder for each app with those that were there.
"""

import secrets
import shutil
from importlib import import_module
from pathlib import Path

FIRST, NEWEST = "2.0", "8.0"
PACKAGES = {
    "wagtailcore": "wagtail",
    "wagtailadmin": "wagtail.admin",
    "wagtaildocs": "wagtail.documents",
    "wagtailembeds": "wagtail.embeds",
    "wagtailforms": "wagtail.contrib.forms",
    "wagtailimages": "wagtail.images",
    "wagtailredirects": "wagtail.contrib.redirects",
    "wagtailsearch": "wagtail.search",
    "wagtailusers": "wagtail.users",
}
RELEASES = {
    "2.0": "wagtailcore 1-40, wagtailadmin 1, wagtaildocs 1-7, wagtailembeds 1-3, wagtailforms 1-3, wagtailimages 1-19,"
    " wagtailredirects 1-5, wagtailsearch 1-3, wagtailusers 1-6, wagtailcore 0001_squashed_0016_change_page_url_path_to"
    "_text_field",
    "2.1": "wagtailimages 20, wagtailusers 7-8",
    "2.2": "wagtaildocs 8, wagtailimages 21, wagtailredirects 6",
    "2.4": "wagtailcore 41, wagtaildocs 9-10, wagtailembeds 4, wagtailimages 0001_squashed_0021, wagtailsearch 4,"
    " wagtailusers 9",
    "2.5": "wagtailembeds 5",
    "2.8": "wagtailcore 42-45, wagtailforms 4",
    "2.9": "wagtailimages 22",
    "2.10": "wagtailcore 46-52",
    "2.11": "wagtailcore 53-59",
    "2.12": "wagtailcore 60, wagtailadmin 2, wagtaildocs 11-12, wagtailembeds 6-8, wagtailimages 23",
    "2.13": "wagtailcore 61-62, wagtailadmin 3, wagtailusers 10",
    "2.14": "wagtailembeds 9",
    "2.15": "wagtailcore 63-66, wagtailsearch 5-6",
    "2.16": "wagtailredirects 7",
    "3.0": "wagtailcore 67-69, wagtailforms 5, wagtailimages 24, wagtailredirects 8",
    "4.0": "wagtailcore 70-76",
    "4.1": "wagtailcore 77-78, wagtailsearch 7, wagtailusers 11",
    "4.2": "wagtailcore 79-83, wagtailimages 25",
    "5.0": "wagtailusers 12",
    "5.1": "wagtailcore 84-89",
    "6.0": "wagtailcore 90-91, wagtailsearch 8",
    "6.1": "wagtailcore 92-93, wagtaildocs 13, wagtailimages 26, wagtailusers 13",
    "6.2": "wagtailcore 94, wagtailadmin 4-5",
    "6.3": "wagtaildocs 14, wagtailimages 27, wagtailusers 14",
    "7.1": "wagtailcore 95, wagtailsearch 9, wagtailusers 15",
    "7.3": "wagtailcore 96",
    "7.4": "wagtailcore 97, wagtailadmin 6, wagtailsearch 10",
    "8.0": "wagtailcore 98",
}
ENDS = (FIRST, NEWEST)


class History:
    """The migrations of one release of Wagtail, as a package of `folder`: MIGRATION_MODULES are its `settings`."""

    def __init__(self, folder: Path) -> None:
        """`folder` is on Python's path."""
        self.name = f"history_{secrets.token_hex(4)}"
        self.settings = f"{self.name}.settings"
        self.modules = {app: f"{self.name}.{app}" for app in PACKAGES}
        self._folder = folder / self.name
        self._at = ""
        for app in PACKAGES:
            (self._folder / app).mkdir(parents=True)
            (self._folder / app / "__init__.py").touch()
        (self._folder / "__init__.py").touch()
        text = f"from tests.wagtail.settings import *  # noqa: F403\nMIGRATION_MODULES = {self.modules}\n"
        (self._folder / "settings.py").write_text(text)

    def go_to(self, version: str) -> None:
        """From the release that it is at, or from nothing."""
        versions = list(RELEASES)
        start = versions.index(self._at) + 1 if self._at else 0
        for each in versions[start : versions.index(version) + 1]:
            for brought in RELEASES[each].split(", "):
                app, _space, which = brought.partition(" ")
                for path in _files(app, which):
                    shutil.copy(path, self._folder / app)
        self._at = version

    def lacks(self) -> list[str]:
        """Migrations that are installed and not here."""
        return sorted(
            f"{app}.{path.stem}"
            for app in PACKAGES
            for path in _installed(app).glob("[0-9]*.py")
            if not (self._folder / app / path.name).exists()
        )


def _files(app: str, which: str) -> list[Path]:
    if "_" in which:
        return [_installed(app) / f"{which}.py"]
    first, _dash, last = which.partition("-")
    numbers = range(int(first), int(last or first) + 1)
    found = [path for path in sorted(_installed(app).glob("[0-9]*.py")) if "_squashed_" not in path.name]
    return [path for path in found if int(path.name[:4]) in numbers]


def _installed(app: str) -> Path:
    (folder,) = import_module(f"{PACKAGES[app]}.migrations").__path__
    return Path(folder)
