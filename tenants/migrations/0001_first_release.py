import django.core.validators
import django.db.models.deletion
import django.db.models.functions.datetime
import uuid
from django.db import migrations, models


class Migration(migrations.Migration):

    replaces = [
        ('tenants', '0001_initial'),
        ('tenants', '0003_pools'),
        ('tenants', '0004_placed'),
        ('tenants', '0005_context_versions'),
        ('tenants', '0006_events_of_the_fleet'),
        ('tenants', '0008_leaving'),
    ]

    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name='Cluster',
            fields=[
                ('id', models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ('name', models.SlugField(max_length=48, unique=True)),
                ('region', models.SlugField(max_length=48)),
                ('state', models.CharField(choices=[('open', 'Open'), ('draining', 'Draining'), ('closed', 'Closed')], default='open', max_length=16)),
                ('capacity', models.PositiveIntegerField(help_text='The most tenants it may hold.')),
                ('placed', models.PositiveIntegerField(default=0, editable=False, help_text='How many it holds: kept where places are taken and given back.')),
                ('max_running', models.PositiveIntegerField(default=4, help_text='The most operations that may work on it at once.', validators=[django.core.validators.MinValueValidator(1)])),
                ('sealed_url', models.BinaryField(help_text="The provisioning role's URL, sealed with the master key.")),
                ('database', models.CharField(help_text='The shared database, which that URL names, too.', max_length=63)),
                ('context_version', models.PositiveIntegerField(default=1, editable=False, help_text='Of the key its pools sign with.')),
                ('context_secret', models.CharField(blank=True, editable=False, help_text='By a digest: which secret that key is made from.', max_length=16)),
                ('context_since', models.DateTimeField(blank=True, editable=False, help_text='When that version began to sign; empty: it is the only one.', null=True)),
                ('public_host', models.CharField(help_text='Host name that applications connect to.', max_length=255)),
                ('public_port', models.PositiveIntegerField(default=5432)),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False)),
            ],
            options={
                'constraints': [models.CheckConstraint(condition=models.Q(('state__in', ['open', 'draining', 'closed'])), name='cluster_state_known'), models.CheckConstraint(condition=models.Q(('max_running__gte', 1)), name='cluster_max_running_positive')],
            },
        ),
        migrations.CreateModel(
            name='Plan',
            fields=[
                ('id', models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ('name', models.SlugField(max_length=48, unique=True)),
                ('description', models.CharField(blank=True, max_length=200)),
                ('tier', models.CharField(choices=[('pool', 'shared tables under row security'), ('schema', 'schema of its own'), ('database', 'database of its own')], max_length=16)),
                ('bucket_mode', models.CharField(choices=[('own', 'a bucket of its own'), ('prefix', "a prefix of the pool's bucket")], default='own', max_length=16)),
                ('connection_limit', models.PositiveIntegerField(default=20, help_text="Database connections of the tenant's role.")),
                ('own_role', models.BooleanField(default=False, help_text="In a pool: a login role of the tenant's own, as a second boundary beside the signed context.")),
                ('storage_quota_bytes', models.PositiveBigIntegerField(default=10737418240)),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False)),
            ],
            options={
                'constraints': [models.CheckConstraint(condition=models.Q(('tier__in', ['pool', 'schema', 'database'])), name='plan_tier_known'), models.CheckConstraint(condition=models.Q(models.Q(('bucket_mode', 'prefix'), ('tier', 'pool')), models.Q(models.Q(('tier', 'pool'), _negated=True), ('bucket_mode', 'own')), _connector='OR'), name='plan_prefix_in_pools'), models.CheckConstraint(condition=models.Q(('own_role', False), ('tier', 'pool'), _connector='OR'), name='plan_own_role_in_pools')],
            },
        ),
        migrations.CreateModel(
            name='Pool',
            fields=[
                ('id', models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ('schema', models.CharField(max_length=63)),
                ('state', models.CharField(choices=[('open', 'Open'), ('draining', 'Draining'), ('closed', 'Closed')], default='open', max_length=16)),
                ('capacity', models.PositiveIntegerField(default=10000, help_text='The most tenants it may hold.')),
                ('placed', models.PositiveIntegerField(default=0, editable=False, help_text="How many it holds, kept as a cluster's.")),
                ('release', models.CharField(blank=True, help_text='Name of the release its tables are on.', max_length=48)),
                ('sealed_password', models.BinaryField(help_text='Of the login role its tenants share, sealed with the master key.')),
                ('ready_at', models.DateTimeField(blank=True, null=True)),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False)),
                ('cluster', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='pools', to='tenants.cluster')),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('cluster', 'schema'), name='pool_schema_once'), models.CheckConstraint(condition=models.Q(('state__in', ['open', 'draining', 'closed'])), name='pool_state_known')],
            },
        ),
        migrations.CreateModel(
            name='Tenant',
            fields=[
                ('id', models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ('slug', models.CharField(max_length=48, unique=True, validators=[django.core.validators.RegexValidator('^[a-z][a-z0-9-]{1,46}[a-z0-9]$')])),
                ('name', models.CharField(max_length=200)),
                ('principal', models.CharField(help_text='Who asked for it: external_ref is unique per principal.', max_length=80)),
                ('external_ref', models.CharField(blank=True, max_length=200, null=True)),
                ('region', models.SlugField(max_length=48)),
                ('labels', models.JSONField(blank=True, default=dict)),
                ('state', models.CharField(choices=[('provisioning', 'Provisioning'), ('active', 'Active'), ('failed', 'Failed'), ('suspending', 'Suspending'), ('suspended', 'Suspended'), ('resuming', 'Resuming'), ('deleting', 'Deleting'), ('deleted', 'Deleted'), ('erasing', 'Erasing'), ('erased', 'Erased')], default='provisioning', max_length=16)),
                ('state_since', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('incarnation', models.UUIDField(default=uuid.uuid4, editable=False)),
                ('audit_chain', models.UUIDField(default=uuid.uuid4, editable=False, unique=True)),
                ('release', models.CharField(blank=True, help_text='Name of the release its rows are on.', max_length=48)),
                ('deletion_protection', models.BooleanField(default=False)),
                ('delete_reason', models.CharField(blank=True, choices=[('contract_ended', 'its contract ended'), ('unpaid', 'it was not paid for'), ('misuse', 'it was misused'), ('not_needed', 'it was a test or a mistake')], max_length=16)),
                ('purge_at', models.DateTimeField(blank=True, help_text='Of a deleted tenant: from when on its data may be erased.', null=True)),
                ('version', models.PositiveBigIntegerField(default=1)),
                ('event_sequence', models.PositiveBigIntegerField(default=0)),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False)),
                ('updated_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('plan', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, to='tenants.plan')),
            ],
            options={
                'permissions': [('operate_tenant', 'May onboard, suspend, resume, retry, and act on operations'), ('end_tenant', 'May delete and undelete tenants'), ('hold_tenant', 'May place and release legal holds'), ('hand_out_credentials', "May hand out and rotate a tenant's credentials")],
                'indexes': [models.Index(fields=['state', 'region'], name='tenant_state_region'), models.Index(fields=['created_at', 'id'], name='tenant_created'), models.Index(condition=models.Q(('state', 'deleted')), fields=['purge_at'], name='tenant_purge')],
                'constraints': [models.UniqueConstraint(fields=('principal', 'external_ref'), name='tenant_external_ref_per_principal'), models.CheckConstraint(condition=models.Q(('state__in', ['provisioning', 'active', 'failed', 'suspending', 'suspended', 'resuming', 'deleting', 'deleted', 'erasing', 'erased'])), name='tenant_state_known'), models.CheckConstraint(condition=models.Q(('slug__regex', '^[a-z][a-z0-9-]{1,46}[a-z0-9]$')), name='tenant_slug_is_dns_label'), models.CheckConstraint(condition=models.Q(('delete_reason__in', ['', 'contract_ended', 'unpaid', 'misuse', 'not_needed'])), name='tenant_delete_reason_known'), models.CheckConstraint(condition=models.Q(models.Q(('state', 'deleted'), _negated=True), ('purge_at__isnull', False), _connector='OR'), name='tenant_purged_when')],
            },
        ),
        migrations.CreateModel(
            name='Placement',
            fields=[
                ('id', models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ('tier', models.CharField(choices=[('pool', 'shared tables under row security'), ('schema', 'schema of its own'), ('database', 'database of its own')], max_length=16)),
                ('database', models.CharField(max_length=63)),
                ('schema', models.CharField(max_length=63)),
                ('active', models.BooleanField(default=True)),
                ('since', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('retired_at', models.DateTimeField(blank=True, null=True)),
                ('cluster', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='placements', to='tenants.cluster')),
                ('pool', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='placements', to='tenants.pool')),
                ('tenant', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='placements', to='tenants.tenant')),
            ],
            options={
                'indexes': [models.Index(condition=models.Q(('active', True)), fields=['cluster'], name='placement_load'), models.Index(condition=models.Q(('active', True)), fields=['pool'], name='placement_pool_load')],
                'constraints': [models.UniqueConstraint(condition=models.Q(('active', True)), fields=('tenant',), name='placement_one_active_per_tenant'), models.CheckConstraint(condition=models.Q(models.Q(('active', True), ('retired_at', None)), models.Q(('active', False), ('retired_at__isnull', False)), _connector='OR'), name='placement_retired_says_when'), models.CheckConstraint(condition=models.Q(models.Q(('pool__isnull', False), ('tier', 'pool')), models.Q(models.Q(('tier', 'pool'), _negated=True), ('pool', None)), _connector='OR'), name='placement_pool_in_pools')],
            },
        ),
        migrations.CreateModel(
            name='Event',
            fields=[
                ('id', models.BigAutoField(primary_key=True, serialize=False)),
                ('type', models.CharField(max_length=64)),
                ('sequence', models.PositiveBigIntegerField(null=True)),
                ('operation', models.UUIDField(null=True)),
                ('data', models.JSONField(default=dict)),
                ('xid', models.BigIntegerField()),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('tenant', models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='events', to='tenants.tenant')),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('tenant', 'sequence'), name='event_sequence_per_tenant'), models.CheckConstraint(condition=models.Q(models.Q(('sequence__isnull', True), ('tenant__isnull', True)), models.Q(('sequence__isnull', False), ('tenant__isnull', False)), _connector='OR'), name='event_of_tenant_has_sequence')],
            },
        ),
        migrations.CreateModel(
            name='Domain',
            fields=[
                ('id', models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ('domain', models.CharField(max_length=253, unique=True)),
                ('is_primary', models.BooleanField(default=True)),
                ('tenant', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='domains', to='tenants.tenant')),
            ],
            options={
                'constraints': [models.UniqueConstraint(condition=models.Q(('is_primary', True)), fields=('tenant',), name='domain_one_primary')],
            },
        ),
    ]
