"""Read a folder of SQL files: `0001_name.sql`, and where there is a way back `0001_name.down.sql`."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from provisioning.databases.sqlfiles.errors import FileMisnamed, FileOutOfOrder, FileUnreadable, FolderEmpty
from provisioning.databases.sqlfiles.reading import script_of

DOWN = ".down.sql"
_NAME = re.compile(r"(?P<name>(?P<number>[0-9]{1,9})_[a-z][a-z0-9_]{0,99})(?P<down>\.down)?\.sql")


@dataclass(frozen=True, slots=True)
class SqlFile:
    """One step: `name` is the file's without `.sql`; `up` and `down` are texts, `down` None where there is no file."""

    name: str
    up: str
    down: str | None = None

    @property
    def number(self) -> int:
        return int(self.name.partition("_")[0])

    def row(self) -> dict[str, Any]:
        """As a release keeps it."""
        return asdict(self)


def read(folder: Path) -> list[SqlFile]:
    """The files in order; what is no `.sql` file is passed over. Raises SqlRefused."""
    texts = dict(_texts(folder))
    downs = {name: texts.pop(name) for name in [name for name in texts if name.endswith(DOWN)]}
    if lost := sorted(name for name in downs if f"{name.removesuffix(DOWN)}.sql" not in texts):
        raise FileMisnamed(f"{lost[0]} is the way back of a file that is not there.")
    if not texts:
        raise FolderEmpty(f"There is no .sql file in {folder}.")
    stems = [name.removesuffix(".sql") for name in texts]
    files = [SqlFile(stem, texts[f"{stem}.sql"], downs.get(f"{stem}{DOWN}")) for stem in stems]
    files.sort(key=lambda file: (file.number, file.name))
    _refuse_disorder(files)
    for name, text in {**texts, **downs}.items():
        script_of(name, text)
    return files


def _texts(folder: Path) -> Iterator[tuple[str, str]]:
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() != ".sql" or not path.is_file():
            continue
        if not _NAME.fullmatch(path.name):
            raise FileMisnamed(f"{path.name} is no name of a file of this kind.")
        try:
            yield path.name, path.read_text("utf-8-sig")  # with line feeds, however it was checked out
        except UnicodeDecodeError as error:
            raise FileUnreadable(f"{path.name} is not in UTF-8.") from error


def _refuse_disorder(files: Iterable[SqlFile]) -> None:
    for former, file in pairwise(files):
        if file.number == former.number:
            raise FileOutOfOrder(f"{former.name} and {file.name} have one number.")
        if file.name < former.name:
            raise FileOutOfOrder(f"By number {former.name} comes before {file.name}, by name it comes after.")
