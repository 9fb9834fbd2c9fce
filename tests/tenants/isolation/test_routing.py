import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from asgiref.sync import sync_to_async
from django.db import ProgrammingError, connections, transaction

from examples.projects.models import Document, Project, Tag
from tenants.context import TenantContext, tenant_scope
from tenants.errors import NoTenant, WrongTenant
from tenants.isolation.connections import alias_of
from tenants.models import Tenant
from tests.pair import Pair

PLACE = "SELECT current_database(), current_schema(), session_user"


def names() -> list[str]:
    return list(Project.objects.values_list("name", flat=True))


def test_two_tenants_use_the_same_name_and_see_only_their_own(pair: Pair) -> None:
    for context in (pair.acme, pair.globex):
        with tenant_scope(context):
            Project.objects.create(name="Launch", description=context.slug)
    for context in (pair.acme, pair.globex):
        with tenant_scope(context):
            assert [project.description for project in Project.objects.all()] == [context.slug]


def test_a_tenant_is_served_by_a_role_and_a_place_of_its_own(pair: Pair) -> None:
    for context in (pair.acme, pair.globex):
        with tenant_scope(context), connections[alias_of(context)].cursor() as cursor:
            cursor.execute(PLACE)
            assert cursor.fetchone() == (context.database, context.schema, context.key)


def test_a_tenants_role_is_refused_in_anothers_schema(pair: Pair) -> None:
    with tenant_scope(pair.acme), connections[alias_of(pair.acme)].cursor() as cursor:
        cursor.execute("SELECT count(*) FROM projects_project")
        with pytest.raises(ProgrammingError, match=r"does not exist|permission denied"):
            cursor.execute(f'SELECT * FROM "{pair.globex.schema}".projects_project')


def test_rows_that_a_data_migration_made_are_there(pair: Pair) -> None:
    for context in (pair.acme, pair.globex):
        with tenant_scope(context):
            assert set(Tag.objects.values_list("name", flat=True)) == {"done", "idea", "in progress", "in review"}


def test_without_a_scope_a_query_is_refused(pair: Pair) -> None:
    with pytest.raises(NoTenant, match=r"projects\.Project belongs to the tenant application"):
        Project.objects.count()


def test_without_a_scope_a_tenants_connection_is_refused(pair: Pair) -> None:
    with tenant_scope(pair.acme):
        connection = connections[alias_of(pair.acme)]
    with pytest.raises(NoTenant), connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    with pytest.raises(NoTenant), transaction.atomic(using=connection.alias):
        pass


def test_a_cursor_that_outlives_its_scope_is_refused(pair: Pair) -> None:
    with tenant_scope(pair.acme):
        cursor = connections[alias_of(pair.acme)].cursor()
    with pytest.raises(NoTenant):
        cursor.execute("SELECT 1")
    with tenant_scope(pair.globex), pytest.raises(WrongTenant):
        cursor.execute("SELECT 1")


def test_another_tenants_connection_is_refused_inside_a_scope(pair: Pair) -> None:
    acme = alias_of(pair.acme)
    with tenant_scope(pair.globex), pytest.raises(WrongTenant):
        Project.objects.using(acme).count()


def test_a_queryset_belongs_to_the_scope_that_evaluates_it(pair: Pair) -> None:
    with tenant_scope(pair.acme):
        Project.objects.create(name="acme's")
        later = Project.objects.all()
    with tenant_scope(pair.globex):
        assert list(later) == []


def test_an_object_of_one_tenant_is_neither_saved_nor_followed_in_anothers_scope(pair: Pair) -> None:
    with tenant_scope(pair.acme):
        project = Project.objects.create(name="acme's")
    with tenant_scope(pair.globex):
        with pytest.raises(WrongTenant, match="read in another tenant's scope"):
            project.save()
        with pytest.raises(WrongTenant):
            project.delete()
        with pytest.raises(WrongTenant):
            list(project.documents.all())
        with pytest.raises(WrongTenant):
            Document(project=project, title="stolen")
        assert names() == []


def test_inside_a_scope_the_nouns_stay_in_the_control_database(pair: Pair) -> None:
    with tenant_scope(pair.acme):
        assert Tenant.objects.using("default").count() == Tenant.objects.count() == 2


def test_a_scope_inside_anothers_is_refused(pair: Pair) -> None:
    with tenant_scope(pair.acme), pytest.raises(WrongTenant), tenant_scope(pair.globex):
        pass
    with tenant_scope(pair.acme), tenant_scope(pair.acme):
        assert names() == []


def test_while_one_tenants_transaction_is_open_no_other_is_served(pair: Pair) -> None:
    with tenant_scope(pair.acme):
        open_transaction = transaction.atomic(using=alias_of(pair.acme))
        open_transaction.__enter__()
    try:
        with tenant_scope(pair.globex), pytest.raises(WrongTenant, match="transaction of another tenant"):
            Project.objects.count()
    finally:
        open_transaction.__exit__(None, None, None)
    with tenant_scope(pair.globex):
        assert names() == []


def test_a_thread_that_the_code_starts_has_no_scope(pair: Pair) -> None:
    refused: list[BaseException] = []

    def work() -> None:
        try:
            Project.objects.count()
        except NoTenant as error:
            refused.append(error)

    with tenant_scope(pair.acme):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert len(refused) == 1


def add(context: TenantContext, number: int) -> None:
    with tenant_scope(context):
        project = Project.objects.create(name=f"{context.slug} {number}")
        assert Project.objects.get(pk=project.pk).name == f"{context.slug} {number}"
        assert all(name.startswith(context.slug) for name in names())


def test_threads_that_alternate_between_tenants_never_mix_them(pair: Pair) -> None:
    ready = threading.Barrier(6)

    def work(thread: int) -> None:
        ready.wait()
        try:
            for number in range(12):
                add((pair.acme, pair.globex)[(thread + number) % 2], thread * 100 + number)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(work, range(6)))
    for context in (pair.acme, pair.globex):
        with tenant_scope(context):
            assert len(names()) == 36


def test_coroutines_that_alternate_between_tenants_never_mix_them(pair: Pair) -> None:
    async def work(context: TenantContext, number: int) -> None:
        with tenant_scope(context):
            await asyncio.sleep(0)
            await Project.objects.acreate(name=f"{context.slug} {number}")
            await asyncio.sleep(0)
            assert all([project.name.startswith(context.slug) async for project in Project.objects.all()])
            await sync_to_async(add)(context, 1_000 + number)

    async def all_at_once() -> None:
        await asyncio.gather(*(work((pair.acme, pair.globex)[number % 2], number) for number in range(40)))
        await sync_to_async(connections.close_all)()

    asyncio.run(all_at_once())
    for context in (pair.acme, pair.globex):
        with tenant_scope(context):
            assert len(names()) == 40
