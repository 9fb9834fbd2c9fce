from django.db import migrations, models

COUNT = """
    UPDATE tenants_cluster SET placed =
        (SELECT count(*) FROM tenants_placement WHERE active AND cluster_id = tenants_cluster.id);
    UPDATE tenants_pool SET placed =
        (SELECT count(*) FROM tenants_placement WHERE active AND pool_id = tenants_pool.id);
"""


class Migration(migrations.Migration):
    dependencies = [
        ("tenants", "0003_pools"),
    ]

    operations = [
        migrations.AddField(
            model_name="cluster",
            name="placed",
            field=models.PositiveIntegerField(
                default=0, editable=False, help_text="How many it holds: kept where places are taken and given back."
            ),
        ),
        migrations.AddField(
            model_name="pool",
            name="placed",
            field=models.PositiveIntegerField(
                default=0, editable=False, help_text="How many it holds, kept as a cluster's."
            ),
        ),
        migrations.RunSQL(COUNT, migrations.RunSQL.noop),
    ]
