"""What shape a target must end in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from psycopg import sql

from provisioning.databases.fingerprint import difference, hash_of
from provisioning.databases.replaying.errors import ShapeDiffers
from provisioning.databases.stamp import stamp_demanded, stamp_expression
from provisioning.models import Release


class Expected(Protocol):
    """Judges a target before its transaction is committed."""

    def question(self, schema: str) -> str:
        """One SELECT of one text, which goes along with the last statements; empty if nothing need be asked.

        It runs as the owner, or as the provisioning role after RESET ROLE, with the schema as the search path.
        """

    def demand(self, schema: str) -> str:
        """A statement that fails with the code UNJUDGED unless the answer is known to be right; empty if none can.

        So a COMMIT may stand behind it. Runs as the question does, and after RESET ROLE.
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

    def demand(self, schema: str) -> str:  # noqa: ARG002
        return ""

    def judge(self, schema: str, answer: str | None, lines: Callable[[], list[str]]) -> None:  # noqa: ARG002
        found = lines()
        if hash_of(found) != self.fingerprint:
            raise ShapeDiffers(schema, difference(self.lines, found))


@dataclass(frozen=True, slots=True)
class Stamped:
    """The same in a twentieth of the time: the shape is read only under a stamp that is not known yet, and then it is.

    `known` is the caller's, who may keep it from one process to the next; see stamp's Note [Equal stamps are equal
    shapes].
    """

    shape: Shape
    known: set[str]

    def question(self, schema: str) -> str:
        return f"RESET ROLE; SELECT {stamp_expression(sql.Literal(schema)).as_string()}"

    def demand(self, schema: str) -> str:
        return f"SELECT {stamp_demanded(schema, self.known)}" if self.known else ""

    def judge(self, schema: str, answer: str | None, lines: Callable[[], list[str]]) -> None:
        if answer not in self.known:
            self.shape.judge(schema, answer, lines)
            self.known.update({answer} if answer else ())
