from datetime import UTC, datetime, timedelta

from django.db import migrations

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


def give_due_dates(apps, _schema_editor):
    for entry in apps.get_model("ledger", "Entry").objects.order_by("pk"):
        entry.due_at = EPOCH + timedelta(days=len(entry.subject))
        entry.save(update_fields=["due_at"])


class Migration(migrations.Migration):
    dependencies = [("ledger", "0002_currency_and_due")]
    operations = [migrations.RunPython(give_due_dates, migrations.RunPython.noop)]
