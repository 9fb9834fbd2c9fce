from typing import ClassVar

from django.db import models


class Entry(models.Model):
    """As it is after the last of the migrations."""

    subject = models.CharField(max_length=120)
    amount = models.DecimalField(max_digits=10, decimal_places=2)
    currency = models.CharField(max_length=3, default="EUR")
    due_at = models.DateTimeField(null=True)

    class Meta:
        app_label = "ledger"
        indexes: ClassVar = [models.Index(fields=["due_at"], name="entry_due")]

    def __str__(self) -> str:
        return self.subject
