from collections.abc import Callable

import pytest

from provisioning.databases.replaying import Arrived, LockTimeout, ShapeDiffers, Stand, StatementFailed, Trouble, trouble_of
from provisioning.databases.tiers import connect as connect_as_tenant
from tests.provisioning.databases.replaying.conftest import Books, Rows

Look = Callable[[Books], Rows]
COLUMNS = """
    migrations.AddField("Book", "isbn", models.CharField(max_length=13, default="")),
    migrations.AddField("Book", "year", models.IntegerField(null=True)),
    migrations.AddIndex("Book", models.Index(fields=["year"], name="book_year"))
"""
SHORT = """migrations.AddConstraint("Book", models.CheckConstraint(
    condition=models.Q(pages__lt=1000), name="book_not_too_long"))"""
PYTHON = """
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
