"""Ordinary tasks: whoever sends one inside a tenant's scope has it run inside the same."""

import logging

from celery import shared_task

from patients.models import Patient

logger = logging.getLogger(__name__)


@shared_task
def count_words(patient_id: str) -> None:
    patient = Patient.objects.get(pk=patient_id)
    with patient.letter.open() as letter:
        patient.words = len(letter.read().split())
    patient.save(update_fields=["words"])
    logger.info("Counted %d words.", patient.words)
