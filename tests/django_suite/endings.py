"""How each test ended, in a word or in the first lines of what went wrong."""

# ruff: noqa: N802  unittest's names
import unittest
from dataclasses import dataclass, field
from typing import Any

FIRST_LINES = 3


@dataclass
class Endings(unittest.TestResult):
    """How each test ended: "ok", "skipped", or the last line of what went wrong."""

    by_test: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__init__()

    def addSuccess(self, test: unittest.TestCase) -> None:
        self.by_test.setdefault(test.id(), "ok")

    def addSkip(self, test: unittest.TestCase, reason: str) -> None:
        self.by_test.setdefault(test.id(), f"skipped: {reason}")

    def addExpectedFailure(self, test: unittest.TestCase, err: Any) -> None:
        self.by_test.setdefault(test.id(), "ok")

    def addUnexpectedSuccess(self, test: unittest.TestCase) -> None:
        self.by_test[test.id()] = "unexpected success"

    def addFailure(self, test: unittest.TestCase, err: Any) -> None:
        self._went_wrong(test.id(), err)

    def addError(self, test: unittest.TestCase, err: Any) -> None:
        self._went_wrong(test.id(), err)

    def addSubTest(self, test: unittest.TestCase, subtest: unittest.TestCase, err: Any) -> None:
        if err is not None:
            self._went_wrong(test.id(), err)

    def _went_wrong(self, test: str, err: Any) -> None:
        lines = [line.strip() for line in str(err[1]).splitlines() if line.strip()]
        self.by_test[test] = f"{err[0].__name__}: {' / '.join(lines[:FIRST_LINES])}"
