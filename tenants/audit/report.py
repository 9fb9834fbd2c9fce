"""What a verification of the audit log can say: a closed list of findings, and a report that counts them."""

from dataclasses import dataclass
from typing import Literal, TypeAlias
from uuid import UUID

What: TypeAlias = Literal[
    "number", "link", "hash", "end", "payload", "signature",
    "missing", "resurrected", "late", "truncated", "forked", "unreadable", "unsealed",
]  # fmt: skip
Status: TypeAlias = Literal["clean", "dirty", "unknown"]
SHOWN = 100  # places that a report lists; all are counted

SAID: dict[What, str] = {
    "number": "its number is wrong",
    "link": "its link is wrong",
    "hash": "its hash is wrong",
    "end": "its end is wrong",
    "payload": "its sealed value is wrong",
    "signature": "its signature is wrong",
    "missing": "its sealed value is gone, and no entry says that it was erased",
    "resurrected": "its sealed value, or its key, was erased and is back",
    "late": "its value was sealed under a key that had been erased",
    "truncated": "a signed checkpoint knows more",
    "forked": "a signed checkpoint knows another",
    "unreadable": "its key is out of reach, and no entry says that it was erased",
    "unsealed": "no signed checkpoint covers the last half hour",
}
NOT_KNOWN = frozenset[What]({"unreadable", "unsealed"})
TAMPERED = frozenset[What]({"number", "link", "hash", "end", "payload", "signature"})


@dataclass(frozen=True, slots=True)
class Wrong:
    """One place where the log is not what was written, or where nobody can tell. `seq` is where it shows."""

    chain: UUID
    seq: int
    what: What

    @property
    def verdict(self) -> str:
        """The word of docs/audit-log.md."""
        return "tampered" if self.what in TAMPERED else self.what

    def __str__(self) -> str:
        return f"{self.verdict}: chain {self.chain}, entry {self.seq}: {SAID[self.what]}"


@dataclass(frozen=True, slots=True)
class Report:
    """What a verification saw. `wrong` and `unknown` count every place, `places` lists the first SHOWN of them.

    `sealed` and `erased` count personal values that opened and agreed, and that are erased as their chain says.
    """

    chains: int
    entries: int
    wrong: int
    places: tuple[Wrong, ...]
    unknown: int = 0
    sealed: int = 0
    erased: int = 0
    checkpoints: int = 0

    @property
    def intact(self) -> bool:
        return self.status == "clean"

    @property
    def status(self) -> Status:
        """As the judgement over any store: what nobody could look at is not clean."""
        if self.wrong:
            return "dirty"
        return "unknown" if self.unknown else "clean"
