import datetime
import django.contrib.postgres.fields
import django.core.validators
import django.db.models.expressions
import django.db.models.functions.datetime
import uuid
from django.db import migrations, models


class Migration(migrations.Migration):

    replaces = [
        ('controlplane', '0001_initial'),
        ('controlplane', '0002_keys_and_tokens'),
        ('controlplane', '0003_rollout_scopes'),
        ('controlplane', '0004_scopes_of_leaving'),
        ('controlplane', '0005_erasure_scopes'),
    ]

    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name='ApiKey',
            fields=[
                ('id', models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ('principal', models.CharField(help_text='Who owns it: the person or system that answers for its use.', max_length=80)),
                ('name', models.CharField(help_text='What it is for, for example: billing.', max_length=80)),
                ('scopes', django.contrib.postgres.fields.ArrayField(base_field=models.CharField(choices=[('tenants:read', 'read tenants, operations, plans, tiers, clusters and releases'), ('tenants:write', 'onboard, change, suspend and resume tenants, rotate their passwords'), ('tenants:delete', 'delete tenants; their data is kept until the purge date'), ('holds:write', 'place and release legal holds'), ('tenants:credentials', "hand out a tenant's credentials"), ('tenants:keys', "hand out a tenant's data keys, which open its encrypted fields"), ('tenants:tokens', "mint tokens that let their bearer in at a tenant's application"), ('operations:write', 'pause, resume, retry, skip, undo and cancel operations'), ('rollouts:read', 'read rollouts, their plans and their targets'), ('rollouts:write', 'propose, pause, resume and cancel rollouts, retry and skip their targets'), ('rollouts:approve', 'approve rollouts that somebody else proposed'), ('erasure:read', 'read erasure requests, their plans and their certificates'), ('erasure:request', 'request, propose, extend, cancel and check erasures; not beside erasure:approve'), ('erasure:approve', 'approve or reject erasures of others; not beside erasure:request')], max_length=32), size=None)),
                ('secret_hash', models.BinaryField(max_length=32)),
                ('reads_per_minute', models.PositiveIntegerField(default=600, validators=[django.core.validators.MinValueValidator(1)])),
                ('writes_per_minute', models.PositiveIntegerField(default=60, validators=[django.core.validators.MinValueValidator(1)])),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False)),
                ('expires_at', models.DateTimeField()),
                ('last_used_at', models.DateTimeField(blank=True, editable=False, null=True)),
                ('revoked_at', models.DateTimeField(blank=True, editable=False, null=True)),
            ],
            options={
                'verbose_name': 'API key',
                'permissions': [('manage_apikey', 'May make and revoke API keys')],
                'constraints': [models.CheckConstraint(condition=models.Q(('scopes__contained_by', ['tenants:read', 'tenants:write', 'tenants:delete', 'holds:write', 'tenants:credentials', 'tenants:keys', 'tenants:tokens', 'operations:write', 'rollouts:read', 'rollouts:write', 'rollouts:approve', 'erasure:read', 'erasure:request', 'erasure:approve']), ('scopes__len__gte', 1)), name='apikey_scopes_known'), models.CheckConstraint(condition=models.Q(('expires_at__lte', django.db.models.expressions.CombinedExpression(models.F('created_at'), '+', models.Value(datetime.timedelta(days=366))))), name='apikey_expires_within_a_year'), models.CheckConstraint(condition=models.Q(('scopes__contains', ['erasure:request', 'erasure:approve']), _negated=True), name='apikey_one_side_of_an_erasure')],
            },
        ),
    ]
