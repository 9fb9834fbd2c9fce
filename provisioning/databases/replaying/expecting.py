"""What shape a target must end in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from provisioning.databases.fingerprint import difference, hash_of
from provisioning.databases.replaying.errors import ShapeDiffers
from provisioning.models import Release


class Expected(Protocol):
    """Judges a target before its transaction is committed."""

    def question(self, schema: str) -> str:
        """One SELECT of one text, which goes along with the last statements; empty if nothing need be asked.

        It runs as the owner, with the schema as the search path.
        """

    def judge(self, schema: str, answer: str | None, lines: Callable[[], list[str]]) -> None:
        """Raises ShapeDiffers unless the answer is right. `lines` reads the whole shape, which takes its time."""


@dataclass(frozen=True, slots=True)
class Shape:
    """The release's own fingerprint, asked of each target: exact, and slow."""

    fingerprint: str
    lines: list[str]

    @classmethod
    def of(cls, release: Release, *, pooled: bool) -> Shape:
        if pooled:
            return cls(release.pool_fingerprint, release.pool_shape)
        return cls(release.fingerprint, release.shape)

    def question(self, schema: str) -> str:  # noqa: ARG002
        return ""

    def judge(self, schema: str, answer: str | None, lines: Callable[[], list[str]]) -> None:  # noqa: ARG002
        found = lines()
        if hash_of(found) != self.fingerprint:
            raise ShapeDiffers(schema, difference(self.lines, found))
