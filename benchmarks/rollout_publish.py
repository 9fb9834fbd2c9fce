"""Part of the rollout benchmark: publish the release that LEDGER names. Prints JSON.

`there` and `back` are what the paths from the former release and to it send to each schema, as one text in which
`placeholder` stands for the schema's name; empty for the first release, and `there` for one with Python in it.
"""

from __future__ import annotations

import json
from typing import Any

from benchmarks import control


def main() -> None:
    control.furnish()
    from provisioning.databases.paths import path_between
    from provisioning.models import Release

    release = Release.objects.get(current=True)
    told = {"release": release.name, "placeholder": release.placeholder, "there": "", "back": ""}
    former = Release.objects.filter(current=False, state="published").order_by("-published_at").first()
    if former is not None:
        for name, ends in (("there", (former, release)), ("back", (release, former))):
            path = path_between(*ends)
            assert not path.refusals, path.refusals
            told[name] = text_of(path).replace(path.target.placeholder, release.placeholder)
    print(json.dumps(told))


def text_of(path: Any) -> str:
    """Its statements and the rows of django_migrations, without a lock, a look or a comparison."""
    from provisioning.databases.replaying.walks import walk_of

    walk = walk_of(path, pooled=False)
    acts = [f"{act.text};" for stage in walk.stages for act in stage.acts]
    return "\n".join((f"SET LOCAL search_path = {walk.placeholder};", *acts, walk.arrival))


if __name__ == "__main__":
    main()
