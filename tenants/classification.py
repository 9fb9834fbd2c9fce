"""The four words in which an app says, table by table, what erasing does to its rows.

One entry a table; a table without one is unclassified, and what is unclassified blocks an erasure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, TypeAlias


@dataclass(frozen=True, slots=True)
class Delete:
    """The rows go. `subject` is the column that names the person they are about; None: found by what they hold."""

    subject: str | None = None


@dataclass(frozen=True, slots=True)
class Blank:
    """The rows stay, without these columns' values: null, empty or random, and never a hash, which can be guessed."""

    values: Mapping[str, Any]
    subject: str | None = None


@dataclass(frozen=True, slots=True)
class Retain:
    """The rows stay as they are, on this ground. `until` is a date, or how long after the erasure; None: for good."""

    ground: str
    until: date | timedelta | None


@dataclass(frozen=True, slots=True)
class NoPersonalData:
    """The table holds nothing about anybody, and the reason why that is so."""

    reason: str


Classification: TypeAlias = Delete | Blank | Retain | NoPersonalData
