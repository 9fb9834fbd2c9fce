from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('provisioning', '0003_two_people'),
    ]

    operations = [
        migrations.AddField(
            model_name='erasurestore',
            name='sentinel',
            field=models.BooleanField(help_text='Null: none is planted in such a store.', null=True),
        ),
    ]
