from typing import ClassVar
from uuid import uuid4

from django.db import models

from tenants.isolation.blind_index import BlindIndexField
from tenants.isolation.fields import EncryptedTextField


class Patient(models.Model):
    """No tenant field: whose row it is comes from the scope that is open when it is saved."""

    id = models.UUIDField(primary_key=True, default=uuid4, editable=False)  # an encrypted value is bound to it
    name = models.CharField(max_length=120, unique=True)
    insurance = EncryptedTextField(blank=True, default="")
    insurance_index = BlindIndexField(of="insurance")
    letter = models.FileField(upload_to="letters/", blank=True)
    words = models.PositiveIntegerField(null=True, help_text="Of the letter, counted by a task.")

    class Meta:
        ordering: ClassVar = ["name"]

    def __str__(self) -> str:
        return self.name
