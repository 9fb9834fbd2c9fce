import psycopg
import pytest

from controlplane.stack.embedded import Stack
from provisioning.databases.replaying import (
    Arrived,
    LockTimeout,
    ShapeDiffers,
    Stand,
    StandsElsewhere,
    StatementFailed,
    Trouble,
    trouble_of,
)
from provisioning.databases.tiers import connect as connect_as_tenant
from tests.provisioning.databases.replaying.conftest import Books, Look

pytestmark = [pytest.mark.long, pytest.mark.drawn(1)]  # of the three tiers, for each test

COLUMNS = """
    migrations.AddField("Book", "isbn", models.CharField(max_length=13, default="")),
    migrations.AddField("Book", "year", models.IntegerField(null=True)),
    migrations.AddIndex("Book", models.Index(fields=["year"], name="book_year"))
"""
SHORT = """migrations.AddConstraint("Book", models.CheckConstraint(
    condition=models.Q(pages__lt=1000), name="book_not_too_long"))"""
SHELF = """
    migrations.CreateModel("Shelf", [("id", models.BigAutoField(primary_key=True)), ("name", models.TextField())]),
    migrations.AddField("Book", "shelf", models.ForeignKey("Shelf", models.CASCADE, null=True))
"""
NAME_SHELVES = """
def name_shelves(apps, schema_editor):
    apps.get_model("contenttypes", "ContentType").objects.get_or_create(app_label="{app}", model="shelf")
"""
SHOUT = """
def shout(apps, schema_editor):
    for book in apps.get_model("{app}", "Book").objects.all():
        book.title = book.title.upper()
        book.save()
"""


def test_columns_and_an_index_arrive_and_rows_stay(books: Books, rows: Look) -> None:
    for each in books.tenants:
        rows(books).add(each.context, each.context.slug)
    books.write(COLUMNS)
    path = books.published()
    for target in books.targets():
        assert books.stand(target, path) == Stand.SOURCE
        outcome = books.replay(target, path)
        assert isinstance(outcome, Arrived)
        assert not outcome.already
        assert books.stand(target, path) == Stand.TARGET
    for each in books.tenants:
        assert rows(books).of(each.context, "title, isbn, year") == [(each.context.slug, "", None)]


def test_a_second_replay_does_nothing(books: Books) -> None:
    books.write(COLUMNS)
    path = books.published()
    for target in books.targets():
        books.replay(target, path)
        again = books.replay(target, path)
        assert isinstance(again, Arrived)
        assert again.already


def test_a_new_table_is_the_tenants_to_use_and_the_verifiers_to_read(books: Books) -> None:
    books.write(SHELF)
    path = books.published()
    for target in books.targets():
        books.replay(target, path)
    for each in books.tenants:
        with connect_as_tenant(each.context) as connection:
            connection.execute(f"INSERT INTO {books.shelf.name}_shelf (name) VALUES ('top')")
            found = connection.execute(f"SELECT name FROM {books.shelf.name}_shelf").fetchall()
        assert found == [("top",)]
    for target in books.targets():
        with books.connected(target) as connection, connection.transaction():
            connection.execute("SET LOCAL ROLE tenure_verifier")
            assert connection.execute(f"SELECT name FROM {target.schema}.{books.shelf.name}_shelf").fetchall()


def test_a_row_that_breaks_a_new_constraint_rolls_back_everything_and_is_told_by_name(books: Books, rows: Look) -> None:
    books.write(COLUMNS)
    books.write(SHORT)
    acme = books.tenants[0].context
    rows(books).add(acme, "a secret title", pages=2_000)
    path = books.published()
    target = books.targets()[0]
    with pytest.raises(StatementFailed) as caught:
        books.replay(target, path)
    assert trouble_of(caught.value) == Trouble.DATA
    said = caught.value.metadata
    assert (said["sqlstate"], said["constraint"]) == ("23514", "book_not_too_long")
    assert said["migration"] == f"{books.shelf.name}.0003_later"
    assert "book_not_too_long" in str(said["statement"])
    assert "secret" not in f"{caught.value}{said}"
    assert books.stand(target, path) == Stand.SOURCE
    assert rows(books).of(acme) == [("a secret title", 2_000)]
    with pytest.raises(psycopg.errors.UndefinedColumn):
        rows(books).of(acme, "isbn")
    rows(books).ask(target, "UPDATE {book} SET pages = 1")
    assert isinstance(books.replay(target, path), Arrived)


def test_a_reader_in_the_way_costs_a_lock_timeout_and_nothing_else(books: Books, stack: Stack) -> None:
    books.write(COLUMNS)
    path = books.published()
    target = books.targets()[0]
    with books.superuser(target, stack.superuser_url) as reader, reader.transaction():
        reader.execute(f"SELECT count(*) FROM {books.table}")
        with pytest.raises(LockTimeout) as caught:
            books.replay(target, path)
        assert trouble_of(caught.value) == Trouble.LOCK_TIMEOUT
        assert books.stand(target, path) == Stand.SOURCE
    assert isinstance(books.replay(target, path), Arrived)


def test_drift_is_found_before_it_counts(books: Books, rows: Look) -> None:
    books.write(COLUMNS)
    path = books.published()
    target = books.targets()[0]
    rows(books).ask(target, "ALTER TABLE {book} ADD COLUMN by_hand text")
    for others in ((), ("the stamp of others",)):  # the server itself refuses what is not among stamps that are known
        books.known.update(others)
        with pytest.raises(ShapeDiffers, match="by_hand") as caught:
            books.replay(target, path)
        assert trouble_of(caught.value) == Trouble.DRIFT
        assert caught.value.metadata["difference"] == [f"unexpected column {books.table}.by_hand text"]
        assert books.stand(target, path) == Stand.SOURCE
    rows(books).ask(target, "ALTER TABLE {book} DROP COLUMN by_hand")
    assert isinstance(books.replay(target, path), Arrived)
    assert (books.stand(target, path), len(books.known)) == (Stand.TARGET, 2)


def test_who_is_on_no_end_of_the_path_is_left_alone(books: Books, rows: Look) -> None:
    books.write(COLUMNS)
    path = books.published()
    target = books.targets()[0]
    rows(books).ask(target, "INSERT INTO django_migrations (app, name, applied) VALUES ('x', '0001', now())")
    assert books.stand(target, path) == Stand.ELSEWHERE
    with pytest.raises(StandsElsewhere):
        books.replay(target, path)


def test_data_and_shape_change_in_their_order_each_tenants_rows_as_that_tenant(books: Books, rows: Look) -> None:
    """The second Python act needs the column that comes between."""
    for each in books.tenants:
        rows(books).add(each.context, each.context.slug)
    books.write("migrations.RunPython(shout)", head=SHOUT)
    books.write("""
        migrations.AddField("Book", "loud", models.CharField(max_length=90, default="")),
        migrations.RunSQL("UPDATE {table} SET loud = title || '!'")
    """)
    copied = "def copy(apps, schema_editor):\n    from django.db.models import F\n"
    copied += '    apps.get_model("{app}", "Book").objects.update(title=F("loud"))\n'
    books.write("migrations.RunPython(copy)", head=copied)
    path = books.published()
    for target in books.targets():
        assert isinstance(books.replay(target, path), Arrived)
        assert books.stand(target, path) == Stand.TARGET
    for each in books.tenants:
        loud = f"{each.context.slug.upper()}!"
        assert rows(books).of(each.context, "title, loud") == [(loud, loud)]


def test_python_that_raises_changes_nothing_and_the_next_target_is_served(books: Books, rows: Look) -> None:
    acme, globex = (each.context for each in books.tenants)
    rows(books).add(acme, "poison")
    rows(books).add(globex, "bread")
    head = SHOUT.replace("book.save()", 'book.save(); 1 / len(book.title.replace("POISON", ""))')
    books.write("migrations.RunPython(shout)", head=head)
    path = books.published()
    with pytest.raises(StatementFailed, match="division by zero") as caught:
        books.replay(books.targets()[0], path)
    said = caught.value.metadata
    assert (said["error"], said["operation"]) == ("ZeroDivisionError", "RunPython")
    assert str(said["statement"]).startswith("UPDATE")
    assert "poison" not in str(said).lower()
    assert rows(books).of(acme) == [("poison", 1)]
    assert rows(books).of(globex) == [("bread", 1)]
    rows(books).ask(books.targets()[0], "UPDATE {book} SET title = 'wine' WHERE title = 'poison'")
    for target in books.targets():
        assert isinstance(books.replay(target, path), Arrived)
    assert rows(books).of(acme) == [("WINE", 1)]
    assert rows(books).of(globex) == [("BREAD", 1)]


def test_a_new_content_type_has_the_blueprints_id_where_that_is_free(books: Books, rows: Look) -> None:
    books.write(SHELF)
    path = books.published()
    acme, globex = (each.context for each in books.tenants)
    pooled = books.pools != []
    mine = ", tenant_id", f", '{globex.tenant_id}'"
    columns, more = mine if pooled else ("", "")
    target = books.targets()[-1]
    (wanted,) = path.rows[0]["copy"].split("\t")[:1]
    rows(books).ask(
        target,
        f"INSERT INTO django_content_type (id, app_label, model{columns}) VALUES ({wanted}, 'own', 'thing'{more})",
    )
    for each in books.targets():
        books.replay(each, path)
    query = "SELECT id FROM django_content_type WHERE model = 'shelf'"
    ids = [
        rows(books).ask(rows(books).of_tenant(each), query + (f" AND tenant_id = '{each.tenant_id}'" if pooled else ""))
        for each in (acme, globex)
    ]
    assert ids[0] == [(int(wanted),)]
    assert ids[1] != ids[0]
    assert len(ids[1]) == 1


def test_a_content_type_that_python_makes_has_the_blueprints_id_as_well(books: Books, rows: Look) -> None:
    books.write(SHELF)
    books.write("migrations.RunPython(name_shelves)", head=NAME_SHELVES)
    path = books.published()
    assert "shelf" not in str(path.rows)  # it was there when post_migrate came
    (wanted,) = [
        line.split("\t")[0]
        for table in path.target.seed
        if table["table"] == "django_content_type"
        for line in table["copy"].split("\n")
        if line.endswith("\tshelf")
    ]
    for each in books.targets():
        books.replay(each, path)
    for tenant in (each.context for each in books.tenants):
        mine = f" AND tenant_id = '{tenant.tenant_id}'" if books.pools else ""
        found = rows(books).ask(
            rows(books).of_tenant(tenant), f"SELECT id FROM django_content_type WHERE model = 'shelf'{mine}"
        )
        assert found == [(int(wanted),)]
