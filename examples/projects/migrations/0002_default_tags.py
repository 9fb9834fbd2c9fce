from django.db import migrations

DEFAULT_TAGS = ("idea", "in progress", "in review", "done")


def add_default_tags(apps, schema_editor):
    tags = apps.get_model("projects", "Tag").objects.using(schema_editor.connection.alias)
    for name in DEFAULT_TAGS:
        tags.get_or_create(name=name)


class Migration(migrations.Migration):
    dependencies = [("projects", "0001_initial")]

    operations = [migrations.RunPython(add_default_tags, migrations.RunPython.noop)]
