"""A finding is one thing that is wrong, in the shape of Django's system checks."""

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
    CRITICAL = "critical"


@dataclass(frozen=True, slots=True)
class Finding:
    """`subject` names the thing (a slug, a role, a bucket), `hint` says what to do. Neither ever holds a secret."""

    code: str
    severity: Severity
    subject: str
    message: str
    hint: str = ""

    def as_json(self) -> dict[str, str]:
        """As a row or a document keeps it."""
        return {
            "code": self.code,
            "severity": self.severity.value,
            "subject": self.subject,
            "message": self.message,
            "hint": self.hint,
        }
