from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("ledger", "0001_entries")]
    operations = [
        migrations.AddField("entry", "currency", models.CharField(default="EUR", max_length=3)),
        migrations.AddField("entry", "due_at", models.DateTimeField(null=True)),
        migrations.AddIndex("entry", models.Index(fields=["due_at"], name="entry_due")),
    ]
