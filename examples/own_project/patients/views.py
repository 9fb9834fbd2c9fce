from django import forms
from django.core.cache import cache
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render

from patients.models import Patient
from patients.tasks import count_words


class PatientForm(forms.ModelForm):
    class Meta:
        model = Patient
        fields = ("name", "insurance", "letter")


def patients(request: HttpRequest) -> HttpResponse:
    form = PatientForm(request.POST or None, request.FILES or None)
    if form.is_bound and form.is_valid():
        with transaction.atomic():
            patient = form.save()
            if patient.letter:
                transaction.on_commit(lambda: count_words.delay(str(patient.pk)))
        return redirect("patients")
    cache.add("views", 0, timeout=None)
    page = {"form": form, "patients": Patient.objects.all(), "views": cache.incr("views")}
    return render(request, "patients/list.html", page)


def letter(_request: HttpRequest, pk: str) -> HttpResponse:
    """To the object store's own link, which lives for minutes."""
    return redirect(get_object_or_404(Patient, pk=pk).letter.url)
