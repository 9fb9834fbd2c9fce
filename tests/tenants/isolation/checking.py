"""`python -m tests.tenants.isolation.checking`: the example site's process, with one wrong setting after another.

Reads a list of {"setting": value} from its input, and writes for each what `check --tag security` finds: ids and texts.
A value None takes the setting away.
"""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import django
from django.conf import settings
from django.core.checks import Tags, run_checks

ABSENT = object()


@contextmanager
def set_wrongly(wrong: dict[str, Any]) -> Iterator[None]:
    from tenants.isolation import credentials, routing

    source = credentials.source()
    former = {name: getattr(settings, name, ABSENT) for name in wrong}
    for name, value in wrong.items():
        if value is not None:
            setattr(settings, name, value)
        elif hasattr(settings, name):
            delattr(settings, name)
        if name == "TENURE_API_URL" and not value:
            credentials.register(None)
    routing.tenant_labels.cache_clear()
    routing.control_labels.cache_clear()
    try:
        yield
    finally:
        credentials.register(source)
        for name, value in former.items():
            if value is not ABSENT:
                setattr(settings, name, value)
            elif hasattr(settings, name):
                delattr(settings, name)


def main() -> None:
    os.environ["DJANGO_SETTINGS_MODULE"] = "examples.site.settings"
    django.setup()
    answers = []
    for wrong in json.load(sys.stdin):
        with set_wrongly(wrong):
            found = run_checks(tags=[Tags.security])
        answers.append([[each.id, each.msg, each.hint] for each in found])
    json.dump(answers, sys.stdout)


if __name__ == "__main__":
    main()
