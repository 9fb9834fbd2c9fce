"""What the tenant application's own source keeps in the process, where the next tenant's request would find it."""

from __future__ import annotations

import ast
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.apps import apps
from django.core.checks import Warning  # noqa: A004  Django's own name

from tenants.isolation.routing import is_tenant_app

CACHES = frozenset({"lru_cache", "cache"})  # of functools
LEFT_OUT = frozenset({"migrations", "tests", "node_modules"})
IDIOM = "queryset"  # of Django's and REST framework's views, which ask for a copy at each request
INSTALLED = tuple(Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "purelib", "platlib"))


def nothing_is_kept_for_all(**_options: Any) -> Iterator[Warning]:
    """tenants.W001: a cache of the process, or a queryset that is made once and keeps its rows, in a tenant app.

    Looks at the project's own code. What was installed from elsewhere is its maintainers' to judge, and yours to read.
    """
    for config in apps.get_app_configs():
        folder = Path(config.path).resolve()
        if not is_tenant_app(config.label) or any(folder.is_relative_to(each) for each in INSTALLED):
            continue
        for file in sorted(folder.rglob("*.py")):
            if not LEFT_OUT & set(file.relative_to(folder).parts):
                yield from _kept_by(file, f"{config.name}/{file.relative_to(folder)}")


def _kept_by(file: Path, shown: str) -> Iterator[Warning]:
    tree = ast.parse(file.read_bytes(), filename=str(file))
    for node in _caches(tree):
        yield Warning(
            f"{shown}:{node.lineno} keeps results for the life of the process, whichever tenant they were of.",
            hint="Use django.core.cache, whose keys name the tenant, or make the tenant's key one of the arguments.",
            id="tenants.W001",
        )
    for assigned in _querysets(tree):
        yield Warning(
            f"{shown}:{assigned.lineno} makes a queryset once; whoever reads it first leaves their rows in it.",
            hint="Make it where it is used, in a function or a method.",
            id="tenants.W001",
        )


def _caches(tree: ast.AST) -> Iterator[ast.expr]:
    """Decorators and calls, by a name that comes from functools in this file."""
    named, modules = set(), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "functools":
            named |= {each.asname or each.name for each in node.names if each.name in CACHES}
        elif isinstance(node, ast.Import):
            modules |= {each.asname or each.name for each in node.names if each.name == "functools"}
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            uses = [each.func if isinstance(each, ast.Call) else each for each in node.decorator_list]
        elif isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(node.value, ast.Call):
            uses = [node.value.func, *([node.value.func.func] if isinstance(node.value.func, ast.Call) else [])]
        else:
            continue
        for use in uses:
            if (isinstance(use, ast.Name) and use.id in named) or (
                isinstance(use, ast.Attribute) and use.attr in CACHES and _is_name_of(use.value, modules)
            ):
                yield use


def _querysets(tree: ast.Module) -> Iterator[ast.expr]:
    """`X = Model.objects.…` in a module or a class body."""
    bodies = [(tree.body, False)] + [(node.body, True) for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    for body, in_class in bodies:
        for statement in body:
            if not isinstance(statement, ast.Assign | ast.AnnAssign) or statement.value is None:
                continue
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            if in_class and any(_is_name_of(target, {IDIOM}) for target in targets):
                continue
            if isinstance(statement.value, ast.Call) and _begins_with_objects(statement.value):
                yield statement.value


def _begins_with_objects(node: ast.expr) -> bool:
    while isinstance(node, ast.Call | ast.Attribute):
        if isinstance(node, ast.Attribute) and node.attr in {"objects", "_default_manager"}:
            return True
        node = node.func if isinstance(node, ast.Call) else node.value
    return False


def _is_name_of(node: ast.expr, names: set[str]) -> bool:
    return isinstance(node, ast.Name) and node.id in names
