"""Whole applications: migrated by Django, compiled, proven in the scratch database, as publishing does it."""

import pytest
from django.core.management import call_command

from provisioning.databases.blueprint import publish
from provisioning.models import Release
from tests.fleet import BILLING
from tests.shelf import Shelf

pytestmark = pytest.mark.long

HEAD = """
from django.contrib.postgres.indexes import BrinIndex, GinIndex
from django.contrib.postgres.operations import AddConstraintNotValid, AddIndexConcurrently, ValidateConstraint
from django.db.models import F, Q
from django.db.models.functions import Lower
"""
KEY = '("id", models.BigAutoField(primary_key=True))'
# The life of an application, a migration a step: names change, keys change type, links come and go.
HISTORY = {
    "0001_initial": f"""
        migrations.CreateModel("Author", [{KEY}, ("name", models.CharField(max_length=50, unique=True))]),
        migrations.CreateModel("Book", [
            ("id", models.AutoField(primary_key=True)),
            ("title", models.CharField(max_length=80, db_index=True)),
            ("slug", models.SlugField()),
            ("pages", models.IntegerField(default=1)),
            ("author", models.ForeignKey("Author", models.CASCADE)),
            ("sequel_of", models.ForeignKey("self", models.SET_NULL, null=True)),
            ("readers", models.ManyToManyField("Author", related_name="+")),
        ], options={{"unique_together": {{("title", "slug")}}}}),
    """,
    "0002_rename": """
        migrations.RenameModel("Author", "Writer"),
        migrations.RenameField("Book", "slug", "short"),
        migrations.AlterUniqueTogether("Book", {("short", "author"), ("title", "pages")}),
    """,
    "0003_keys": """
        migrations.AlterField("Book", "id", models.BigAutoField(primary_key=True)),
        migrations.AlterField("Writer", "name", models.TextField()),
        migrations.AddField("Book", "cover", models.OneToOneField(
            "Writer", models.SET_NULL, null=True, related_name="+")),
        migrations.AlterField("Book", "sequel_of", models.ForeignKey(
            "self", models.CASCADE, null=True, db_index=False)),
    """,
    "0004_constraints": """
        migrations.AddConstraint("Book", models.UniqueConstraint(
            fields=["title"], condition=Q(pages__gt=3), name="thick_{n}")),
        migrations.AddConstraint("Book", models.UniqueConstraint(
            fields=["short", "pages"], nulls_distinct=False, name="nulls_{n}")),
        migrations.AddConstraint("Book", models.UniqueConstraint(
            fields=["pages", "short"], deferrable=models.Deferrable.DEFERRED, name="late_{n}")),
        migrations.AddConstraint("Book", models.UniqueConstraint(Lower("title"), F("pages").desc(), name="low_{n}")),
        migrations.AddConstraint("Book", models.UniqueConstraint(
            fields=["author"], include=["title"], name="covers_{n}")),
        migrations.AddConstraint("Book", models.CheckConstraint(condition=Q(pages__gte=1), name="some_{n}")),
        AddConstraintNotValid("Book", models.CheckConstraint(condition=Q(pages__lt=9999), name="few_{n}")),
        ValidateConstraint("Book", "few_{n}"),
        migrations.AddField("Book", "double", models.GeneratedField(
            expression=F("pages") * 2, output_field=models.IntegerField(), db_persist=True)),
    """,
    "0005_indexes": """
        migrations.AddField("Book", "about", models.JSONField(default=dict)),
        migrations.AddIndex("Book", GinIndex(fields=["about"], name="gin_{n}")),
        migrations.AddIndex("Book", BrinIndex(fields=["pages"], name="brin_{n}")),
        migrations.AddIndex("Book", models.Index(Lower("title"), name="lower_{n}")),
        migrations.RemoveConstraint("Book", "late_{n}"),
        migrations.RenameIndex("Book", new_name="lowest_{n}", old_name="lower_{n}"),
    """,
    "0006_calm": """AddIndexConcurrently("Book", models.Index(fields=["pages"], name="calm_{n}"))""",
    "0007_sql": '''
        migrations.RunSQL("CREATE VIEW {n}_thick AS SELECT id, title FROM {n}_book WHERE pages > 3"),
        migrations.RunSQL("""
            CREATE FUNCTION {n}_touch() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN NEW.title := trim(NEW.title); RETURN NEW; END $$;
            CREATE TRIGGER touched BEFORE INSERT ON {n}_book FOR EACH ROW EXECUTE FUNCTION {n}_touch();
        """),
        migrations.RunSQL("ALTER TABLE {n}_book ADD COLUMN seen int; UPDATE {n}_book SET seen = 1"),
        migrations.RunPython(lambda apps, editor: editor.execute("CREATE INDEX ON {n}_book (seen)")),
    ''',
    "0008_goodbye": """
        migrations.RemoveField("Book", "readers"),
        migrations.AlterUniqueTogether("Book", set()),
        migrations.AlterField("Book", "author", models.ForeignKey("Writer", models.CASCADE, db_constraint=False)),
        migrations.CreateModel("Leaflet", [("book_ptr", models.OneToOneField(
            "Book", models.CASCADE, parent_link=True, primary_key=True))], bases=("{n}.book",)),
        migrations.DeleteModel("Leaflet"),
    """,
}


def write(shelf: Shelf, history: dict[str, str]) -> None:
    before = ""
    for name, operations in history.items():
        path = shelf.write(name, operations.replace("{n}", shelf.name), before=before, head=HEAD)
        if "Concurrently" in operations:
            path.write_text(path.read_text() + "    atomic = False\n")
        before = name


def test_an_application_with_a_long_history_can_be_pooled(house: None, shelf: Shelf) -> None:
    write(shelf, HISTORY)
    release = publish(actor=BILLING)
    assert release.pool_refusals == []
    assert len(release.pool_fingerprint) == 64
    assert release.placeholder in release.pool_script
    lines = [line.replace(shelf.name, "app") for line in release.pool_shape]
    for line in (
        "index app_book.calm_app: CREATE INDEX calm_app ON app_book USING btree (tenant_id, pages)",
        "index app_book.gin_app: CREATE INDEX gin_app ON app_book USING gin (about)",
        "index app_book.covers_app: CREATE UNIQUE INDEX covers_app ON app_book USING btree (tenant_id, author_id)",
        "view app_thick: ",
        "trigger app_book.touched: ",
        "column app_book.tenant_id: uuid NOT NULL",
        "policy app_writer.tenure: * permissive USING",
    ):
        assert any(found.startswith(line) for found in lines), line


def test_a_release_that_cannot_be_pooled_is_published_and_says_why(
    house: None, shelf: Shelf, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its texts are read whole, a transaction written into one of them too."""
    do, copy = "DO $$ BEGIN NULL; END $$", "CREATE TABLE m AS SELECT 1 AS one"
    shelf.write(
        "0001_initial",
        f'migrations.RunSQL("{do}"), migrations.RunSQL("{copy}"), migrations.RunSQL("{do}"),'
        ' migrations.RunSQL("BEGIN; CREATE TABLE t (id int); COMMIT")',
    )
    call_command("publish_release")
    assert "Not for pools: What a DO block does" in capsys.readouterr().err
    release = Release.objects.get(current=True)
    assert (release.state, release.current) == (Release.State.PUBLISHED, True)
    assert (release.pool_script, release.pool_fingerprint, release.pool_shape) == ("", "", [])
    assert [refusal["statement"] for refusal in release.pool_refusals] == [do, copy, "BEGIN"]
    assert all(refusal["reason"] and refusal["instead"] for refusal in release.pool_refusals)


def test_what_only_the_server_can_know_refuses_too(house: None, shelf: Shelf) -> None:
    """Grouping by a key alone is only right while it is the whole key."""
    write(shelf, {"0001_initial": HISTORY["0001_initial"]})
    view = "CREATE VIEW {n}_v AS SELECT id, title, count(*) AS n FROM {n}_book GROUP BY id".replace("{n}", shelf.name)
    shelf.write("0002_view", f'migrations.RunSQL("{view}")', before="0001_initial")
    (refusal,) = publish(actor=BILLING).pool_refusals
    assert "0002_view" in refusal["reason"]
    assert "must appear in the GROUP BY clause" in refusal["reason"]


def test_a_trigger_that_a_cascade_sets_off_refuses(house: None, shelf: Shelf) -> None:
    """It would run as the owner, past row security."""
    write(shelf, {"0001_initial": HISTORY["0001_initial"]})
    text = '''migrations.RunSQL("""
        ALTER TABLE {n}_book_readers ADD CONSTRAINT gone FOREIGN KEY (book_id) REFERENCES {n}_book ON DELETE CASCADE;
        CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN OLD; END $$;
        CREATE TRIGGER t BEFORE DELETE ON {n}_book_readers FOR EACH ROW EXECUTE FUNCTION f()""")'''
    shelf.write("0002_trigger", text.replace("{n}", shelf.name), before="0001_initial")
    (refusal,) = publish(actor=BILLING).pool_refusals
    assert "before the cascade of gone" in refusal["reason"]
    assert "AFTER trigger" in refusal["instead"]


def test_a_compiler_that_has_changed_compiles_again_what_is_published(
    house: None, monkeypatch: pytest.MonkeyPatch, shelf: Shelf
) -> None:
    write(shelf, {"0001_initial": HISTORY["0001_initial"]})
    release = publish(actor=BILLING)
    Release.objects.filter(pk=release.pk).update(pool_script="", pool_fingerprint="", pool_shape=[])
    assert publish(actor=BILLING).pool_script == ""
    monkeypatch.setattr("provisioning.databases.inputs.COMPILER", 999)
    again = publish(actor=BILLING)
    assert (again.pk, again.pool_script) == (release.pk, release.pool_script)
