"""`python -m tests.django_suite.compare [MODULE …]`: the modules in every tier and on plain PostgreSQL, side by side.

Prints the share that passes per module, then each test that passes on plain PostgreSQL and not in a tenant. Exits with
1 if a neighbour's rows have changed, or if other tests differ than those in known.py.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from controlplane.stack import embedded
from controlplane.stack.files import scratch_folder
from tests.django_suite import MODULES, source
from tests.django_suite.known import KNOWN

CHECKOUT = Path(__file__).resolve().parents[2]
APPS = tuple(f"django.contrib.{name}" for name in ("contenttypes", "auth", "sites", "sessions"))
SHOWN = 160  # characters of what went wrong

Endings = dict[str, str]
_MIGRATE = "import django; django.setup(); from tests import databases; databases.migrate()"


def run_all(modules: list[str], folder: Path) -> tuple[Endings, dict[str, Any]]:
    """How each test ended on plain PostgreSQL, and what `run` reports of the tiers. Side by side, on two servers."""
    tests = source.folder()
    with (
        scratch() as here,
        scratch() as there,
        embedded.start(here, durable=False) as stack,
        embedded.start(there, durable=False) as plain,
        (folder / "plain.log").open("w") as log,
    ):
        beside = subprocess.Popen(
            (sys.executable, "runtests.py", "--settings=tests.django_suite.plain", "--parallel=1", *modules),
            cwd=tests,
            env=environment(stack, tests)
            | {"PLAIN_URL": plain.superuser_url, "PLAIN_ENDINGS": str(folder / "plain.json")},
            stdout=log,
            stderr=log,
        )
        run_in_tenants(stack, tests, modules, folder)
        beside.wait()
    return json.loads((folder / "plain.json").read_text()), json.loads((folder / "tiers.json").read_text())


def run_in_tenants(stack: embedded.Stack, tests: Path, modules: list[str], folder: Path) -> None:
    variables = environment(stack, tests) | {"DJANGO_SETTINGS_MODULE": "controlplane.settings"}
    subprocess.run((sys.executable, "-c", _MIGRATE), env=variables, cwd=CHECKOUT, check=True)
    variables |= {"TENANT_APPS": ",".join((*APPS, *MODULES)), "TENANT_SETTINGS": "tests.django_suite.settings"}
    with (folder / "tiers.json").open("w") as out:
        program = (sys.executable, "-m", "tests.django_suite.run", *modules)
        subprocess.run(program, cwd=CHECKOUT, env=variables, stdout=out, check=True)


def environment(stack: embedded.Stack, tests: Path) -> dict[str, str]:
    path = os.pathsep.join((str(CHECKOUT), str(tests)))
    return {**os.environ, **stack.environment, "TENURE_TESTING": "true", "PYTHONPATH": path}


@contextmanager
def scratch() -> Iterator[Path]:
    folder = scratch_folder()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def passes(ending: str | None) -> bool:
    return ending == "ok"


def table(modules: list[str], plain: Endings, tiers: dict[str, Any]) -> str:
    """A line a module: how many tests ran and passed on plain PostgreSQL, and how many of these in each tier."""
    lines = [f"{'module':28}{'plain':>8}" + "".join(f"{tier:>18}" for tier in tiers)]
    for module in (*modules, "in all"):
        chosen = {
            test for test, ending in plain.items() if passes(ending) and module in {test.partition(".")[0], "in all"}
        }
        line = f"{module:28}{len(chosen):>8}"
        for told in tiers.values():
            passed = sum(passes(told["endings"].get(test)) for test in chosen)
            line += f"{passed:>10}{100 * passed / max(1, len(chosen)):>6.1f} %"
        lines.append(line)
    return "\n".join(lines)


def differing(plain: Endings, endings: Endings) -> dict[str, str]:
    """What passes on plain PostgreSQL only, with its words here."""
    return {
        test: endings.get(test) or _of_its_class(test, endings)
        for test, ending in sorted(plain.items())
        if passes(ending) and not passes(endings.get(test))
    }


def _of_its_class(test: str, endings: Endings) -> str:
    """A class whose set-up failed has one ending for all its tests."""
    name = test.rpartition(".")[0]
    return next((ending for each, ending in endings.items() if f"({name})" in each), "did not run")


def main(modules: list[str]) -> int:
    """Returns the exit status."""
    with tempfile.TemporaryDirectory(prefix="tenure-") as folder:
        plain, tiers = run_all(modules, Path(folder))
    print(table(modules, plain, tiers))  # noqa: T201
    wrong = 0
    for tier, told in tiers.items():
        found, known = differing(plain, told["endings"]), KNOWN[tier]
        new = {test: ending for test, ending in found.items() if test not in known}
        gone = [test for test in known if test.partition(".")[0] in modules and test not in found]
        changed = told["neighbours changed"]
        wrong += len(new) + len(gone) + len(changed)
        rows = told["neighbours rows"]
        print(f"\n{tier}: the neighbour's {rows} rows: {', '.join(changed) or 'unchanged'}")  # noqa: T201
        for cause, times in Counter(known[test] for test in found if test in known).most_common():
            print(f"  {times:4} {cause}")  # noqa: T201
        for test, ending in new.items():
            print(f"  NEW  {test}: {ending[:SHOWN]}")  # noqa: T201
        for test in gone:
            print(f"  PASSES, take it out of known.py: {test}")  # noqa: T201
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or MODULES))
