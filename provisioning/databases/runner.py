"""Run the Python of a release's migrations in one target after the other, with Django itself.

Run as a program: `python -m provisioning.databases.runner`. One JSON object a line comes in on stdin and is answered
by one on stdout: `{"ok": …}`, `{"refused": …}` (a Refusal), or `{"missing": "app.name"}`. Orders:

- `start`: settings and apps, and once for all targets which operations will be run. See recorder's Note [Migrations run
  in a process of their own]: in here `default` is the target.
- `connect`, `hang up`: a database. `send`, `enter`, `lines`, `roll back`: as `replaying.sessions.Session`.
- `python`: an operation, in the transaction that `send` has begun. Nothing is committed but by a `send` that says so:
  when whoever gives the orders is gone, so is the transaction.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any, TextIO

import django
from django.conf import settings


def main(orders: TextIO, answers: TextIO) -> None:
    """Until the orders end."""
    configure(json.loads(orders.readline()))
    from provisioning.databases.replaying.desk import Desk
    from provisioning.databases.replaying.errors import Refused
    from provisioning.databases.replaying.history import NotInstalled

    desk = Desk()
    for line in orders:
        order = json.loads(line)
        act = getattr(desk, order.pop("do").replace(" ", "_"))
        try:
            answer: dict[str, Any] = {"ok": act(**order)}
        except Refused as refused:
            answer = {"refused": refused.refusal.as_json()}
        except NotInstalled as missing:
            answer = {"missing": str(missing)}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def configure(installation: dict[str, Any]) -> None:
    """The installation's own settings, with the target as the only database and a cache that nobody shares."""
    os.environ["DJANGO_SETTINGS_MODULE"] = installation["settings_module"]
    settings.DATABASES = {"default": {"ENGINE": "django.db.backends.postgresql", "NAME": "nowhere"}}
    settings.DATABASE_ROUTERS = []
    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
    settings.INSTALLED_APPS = installation["installed_apps"]
    django.setup()


if __name__ == "__main__":
    channel = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # migrations may print; our lines must stay ours
    main(sys.stdin, channel)
