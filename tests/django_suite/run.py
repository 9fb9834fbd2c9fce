"""Run the modules inside tenants; run as a program by `compare`. JSON on stdout: by tier, by test, how it ended.

# Note [What stands in for Django's own runner]
The tables come from a published release, not from Django's test runner, and no test may make or flush a database. So a
TransactionTestCase is cleaned up after with DELETE where Django says TRUNCATE (a tenant owns no table), and the names
of databases that a test class asks for are read as "the tenant of the open scope", and a thread is started inside the
scope. Everything else is Django's.
"""

import json
import logging
import sys
import unittest
import warnings
from contextlib import suppress
from contextvars import copy_context
from threading import Thread
from typing import Any

import django

if __name__ == "__main__":
    django.setup()

from django.apps import apps
from django.db import connection, transaction
from django.test import SimpleTestCase, TestCase, TransactionTestCase, override_settings
from django.test.runner import DiscoverRunner
from django.test.utils import setup_test_environment
from django.utils import deprecation

from tenants.context import TenantContext, tenant_scope
from tenants.isolation.routing import is_tenant_app, tenant_labels
from tests import databases, fleet
from tests.applications.twins import onboarded
from tests.django_suite import AS_DJANGO_RUNS_THEM
from tests.django_suite.endings import Endings


class WhicheverTenant(frozenset[str]):
    """Django's decorators ask, while a module is imported, whether a class may use the connection of that moment."""

    def __contains__(self, _alias: object) -> bool:
        return True


def stand_in() -> None:
    """See Note [What stands in for Django's own runner]."""
    for case in (SimpleTestCase, TransactionTestCase, TestCase):
        case._add_databases_failures = classmethod(lambda _cls: None)  # type: ignore[attr-defined]
        case._remove_databases_failures = classmethod(lambda _cls: None)  # type: ignore[attr-defined]
        case._databases_names = classmethod(lambda _cls, include_mirrors=True: ["default"])  # type: ignore[attr-defined]
    TransactionTestCase.databases = WhicheverTenant({"default"})  # type: ignore[assignment]
    TransactionTestCase._fixture_teardown = lambda _self: delete_all()  # type: ignore[attr-defined]
    start_threads_in_the_scope()
    TransactionTestCase._reset_sequences = lambda _self, _alias: None  # type: ignore[attr-defined]


def start_threads_in_the_scope() -> None:
    """What docs/known-limits.md tells an application to write for a thread of its own."""
    of_django: Any = Thread
    start, run = of_django.start, of_django.run

    def started(thread: Any) -> None:
        thread.scope = copy_context()
        start(thread)

    of_django.start, of_django.run = started, lambda thread: thread.scope.run(run, thread)


def delete_all() -> None:
    """Every row but those the release brought: content types, permissions, sites."""
    kept = {"django_content_type", "auth_permission", "django_site", "django_migrations"}
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL DEFERRED")
        for table in sorted(set(tables()) - kept):
            cursor.execute(f'DELETE FROM "{table}"')


def tables() -> list[str]:
    """Of the tenant application, and there."""
    there = set(connection.introspection.table_names())
    models = (
        model
        for config in apps.get_app_configs()
        if is_tenant_app(config.label)
        for model in config.get_models(include_auto_created=True)
    )
    return sorted({model._meta.db_table for model in models} & there)


def contents() -> dict[str, tuple[int, str]]:
    """Rows and a digest of each table, as the open scope sees it."""
    with connection.cursor() as cursor:
        found = {}
        for table in tables():
            cursor.execute(
                f"""SELECT count(*), md5(string_agg(row::text, chr(10) ORDER BY row::text)) FROM "{table}" row"""
            )
            found[table] = tuple(cursor.fetchone())
        return found


def fill(suite: unittest.TestSuite) -> None:
    """The neighbour's rows: what the test classes prepare for themselves, kept. So both use the same values."""
    for case in sorted({type(test) for test in _tests(suite) if isinstance(test, TestCase)}, key=repr):
        with suppress(Exception), transaction.atomic():  # two classes may prepare the same rows
            case.setUpTestData()


def _tests(suite: unittest.TestSuite) -> list[unittest.TestCase]:
    return [inner for each in suite for inner in (_tests(each) if isinstance(each, unittest.TestSuite) else [each])]


def ended(modules: list[str], context: TenantContext) -> dict[str, str]:
    """Run the modules in one tenant's scope."""
    endings = Endings()
    with tenant_scope(context):
        suite = DiscoverRunner(verbosity=0, interactive=False).build_suite(modules)
        for case in {type(test) for test in _tests(suite)}:
            case.databases = WhicheverTenant({"default"})  # type: ignore[attr-defined]  # some ask for two
        suite.run(endings)
    return endings.by_test


def main(modules: list[str]) -> None:
    logging.getLogger().handlers = [logging.NullHandler()]
    fleet.furnish()
    contexts = onboarded()
    tenant_labels()  # before a test narrows the installed apps
    setup_test_environment()
    stand_in()
    report: dict[str, Any] = {}
    with override_settings(**AS_DJANGO_RUNS_THEM), warnings.catch_warnings():
        for release in ("60", "61"):  # as Django's own runner does; the types are of a later Django
            warnings.simplefilter("error", getattr(deprecation, f"RemovedInDjango{release}Warning"))
        for tier, (acme, globex) in contexts.items():
            with tenant_scope(globex):
                fill(DiscoverRunner(verbosity=0, interactive=False).build_suite(modules))
                before = contents()
            endings = ended(modules, acme)
            with tenant_scope(globex):
                after = contents()
            report[str(tier)] = {
                "endings": endings,
                "neighbours rows": sum(rows for rows, _digest in before.values()),
                "neighbours changed": sorted(table for table in before if before[table] != after[table]),
            }
    print(json.dumps(report))  # noqa: T201  the answer


if __name__ == "__main__":
    main(sys.argv[1:])
    databases.close_all()
