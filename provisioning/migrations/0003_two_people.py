"""Whoever asks for an erasure does not approve it: keys that Django cannot declare."""

from django.db import migrations

# Composite foreign keys, which Django cannot say. Not deferrable: whoever cheats is told at once. See the model's Note.
KEYS = """
ALTER TABLE provisioning_erasureapproval
    ADD CONSTRAINT erasureapproval_requested_by FOREIGN KEY (request_id, requested_by)
        REFERENCES provisioning_erasurerequest (id, requested_by),
    ADD CONSTRAINT erasureapproval_proposed_by FOREIGN KEY (request_id, digest, proposed_by)
        REFERENCES provisioning_erasureplan (request_id, digest, proposed_by);
ALTER TABLE provisioning_erasurerequest
    ADD CONSTRAINT erasurerequest_approval_of_its_plan FOREIGN KEY (approval_id, id, plan_digest)
        REFERENCES provisioning_erasureapproval (id, request_id, digest);
"""
UNDO = """
ALTER TABLE provisioning_erasurerequest DROP CONSTRAINT erasurerequest_approval_of_its_plan;
ALTER TABLE provisioning_erasureapproval
    DROP CONSTRAINT erasureapproval_requested_by, DROP CONSTRAINT erasureapproval_proposed_by;
"""


class Migration(migrations.Migration):

    replaces = [('provisioning', '0014_erasure')]
    dependencies = [('provisioning', '0002_claim')]

    operations = [
        migrations.RunSQL(KEYS, UNDO, hints={"model_name": "erasurerequest"}),
    ]
