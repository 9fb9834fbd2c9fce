"""The terms of a rollout as a command line says them, taken apart."""

from __future__ import annotations

import re
from argparse import ArgumentTypeError
from datetime import UTC, datetime
from typing import Any

from django.core.management.base import CommandParser
from django.utils.dateparse import parse_datetime

from provisioning.lifecycle import RolloutTerms
from provisioning.rollout.budget import CLASSES
from provisioning.rollout.window import DAYS
from tenants.states import Tier

WAVE = re.compile(r"(?P<count>[1-9][0-9]*)|(?P<percent>[0-9]+(\.[0-9]+)?)%")
WINDOW = re.compile(r"(?P<days>[a-z]{3}(,[a-z]{3})*) +(?P<from>[0-9]{1,2}:[0-9]{2}) *- *(?P<to>[0-9]{1,2}:[0-9]{2})")
MS = 1_000


def add_terms(parser: CommandParser) -> None:
    """The options of what a rollout is about and how it goes."""
    parser.add_argument("--to", required=True, metavar="RELEASE", help="a published release; an older one: backwards")
    which = parser.add_argument_group("which part of the fleet (all of it; several of one kind mean `or`)")
    which.add_argument("--tier", action="append", choices=[*Tier])
    which.add_argument("--region", action="append")
    which.add_argument("--cluster", action="append")
    which.add_argument("--plan", action="append", help="the name of a plan")
    which.add_argument("--slug", action="append", help="a tenant; its pool as a whole, if it lives in one")
    which.add_argument("--label", action="append", type=label, metavar="NAME=TEXT", help="tenants that have all")
    how = parser.add_argument_group("how")
    how.add_argument("--canary", action="append", default=[], metavar="SLUG", help="goes first, before all waves")
    how.add_argument("--wave", action="append", type=wave, metavar="5|10%", help="in order; the last is 100%% (100%%)")
    how.add_argument("--max-failures", type=int, metavar="N", help="more than so many pause it (0)")
    how.add_argument("--max-failures-percent", type=float, metavar="P", help="or this share of a wave")
    how.add_argument(
        "--max-failures-of", action="append", type=of_class, metavar="CLASS=N", help=f"of {', '.join(CLASSES)}"
    )
    how.add_argument("--parallelism", type=int, default=2, metavar="N", help="targets of a cluster at once (2)")
    how.add_argument("--lock-timeout", type=float, default=2.0, metavar="S", help="seconds a statement waits (2)")
    how.add_argument("--starts-at", type=moment, metavar="TIME", help="not before, such as 2026-12-05T22:00Z")
    how.add_argument("--window", type=window, metavar='"sat,sun 22:00-04:00"', help="when it may work, in UTC")


def terms_of(options: dict[str, Any]) -> RolloutTerms:
    """From what `add_terms` has read."""
    chosen = {name: options[name] for name in ("tier", "region", "cluster", "plan") if options[name]}
    if options["slug"]:
        chosen["slugs"] = options["slug"]
    if options["label"]:
        chosen["labels"] = dict(options["label"])
    budget = {"count": options["max_failures"], "percent": options["max_failures_percent"]}
    classes = {"classes": dict(options["max_failures_of"])} if options["max_failures_of"] else {}
    return RolloutTerms(
        selection=chosen,
        canary=options["canary"],
        waves=options["wave"] or [],
        parallelism=options["parallelism"],
        lock_timeout_ms=round(options["lock_timeout"] * MS),
        max_failures={**{name: most for name, most in budget.items() if most is not None}, **classes},
        starts_at=options["starts_at"],
        window=options["window"],
    )


def wave(text: str) -> dict[str, Any]:
    """`5` is the next five targets; `10%` goes on until so many percent of all are through."""
    if (found := WAVE.fullmatch(text)) is None:
        raise ArgumentTypeError(f"{text!r} is neither a number such as 5 nor a share such as 10%")
    if found["count"]:
        return {"count": int(found["count"])}
    percent = float(found["percent"])
    return {"percent": int(percent) if percent.is_integer() else percent}


def window(text: str) -> dict[str, Any]:
    """`sat,sun 22:00-04:00`: the days on which it opens, and from when to when, in UTC."""
    found = WINDOW.fullmatch(text.strip().lower())
    if found is None or not {*(days := found["days"].split(","))} <= {*DAYS}:
        raise ArgumentTypeError(f'{text!r} is not like "sat 22:00-04:00" or "{",".join(DAYS[:5])} 01:00-05:00"')
    return {"days": days, "from": found["from"].zfill(5), "to": found["to"].zfill(5)}


def moment(text: str) -> datetime:
    """ISO 8601; without an offset it is UTC."""
    try:
        found = parse_datetime(text)
    except ValueError:
        found = None
    if found is None:
        raise ArgumentTypeError(f"{text!r} is no time such as 2026-12-05T22:00Z")
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def label(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals and value):
        raise ArgumentTypeError(f"{text!r} is not like team=north")
    return name, value


def of_class(text: str) -> tuple[str, int]:
    name, _, number = text.rpartition("=")
    if name not in CLASSES or not number.isdigit():
        raise ArgumentTypeError(f"{text!r} is not like drift=0; the classes are {', '.join(CLASSES)}")
    return name, int(number)


def add_options(name: str, verb: CommandParser) -> None:
    """Of the verbs about one rollout."""
    verb.add_argument("rollout", metavar="ROLLOUT", help="its id, rol_…")
    if name == "skip":
        verb.add_argument("target", metavar="TARGET", help="a tenant's slug or id, or a pool as pool_1@cluster")
    if name == "approve":
        verb.add_argument("--plan-digest", required=True, help="of the plan that you have read")
        verb.add_argument("--override", default="", help="why, in spite of what the rehearsal found")
    if name == "rehearse":
        verb.add_argument("--copies", type=int, default=3, help="of how many of the largest targets")
    if name in {"skip", "cancel"}:
        verb.add_argument("--reason", required=True, help="why; it is kept")
    if name in {"pause", "resume", "retry-failed"}:
        verb.add_argument("--reason", default="", help="why; going on over the budget needs it")
    if name in {"approve", "resume", "retry-failed"}:
        verb.add_argument("--follow", action="store_true", help="watch it afterwards")
    if name == "show":
        verb.add_argument("--statements", action="store_true", help="show the text of each statement")
