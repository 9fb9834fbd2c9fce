"""A second net below "inputs and outputs hold references, never secrets": what is named like a secret is not shown."""

import re
from collections.abc import Mapping
from typing import Any

SECRET = re.compile(r"pass(word|wd)?|secret|token|credential|private|authorization|signature", re.IGNORECASE)
BLANK = "•••"


def redacted(value: Any) -> Any:
    """The same JSON value, with the values of secret-looking names replaced at any depth."""
    if isinstance(value, Mapping):
        return {key: BLANK if SECRET.search(str(key)) else redacted(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [redacted(each) for each in value]
    return value
