"""What a program reads with a tenant's token."""

from django.db.models import QuerySet
from rest_framework.generics import ListAPIView
from rest_framework.serializers import ModelSerializer

from patients.models import Patient


class PatientShape(ModelSerializer):
    class Meta:
        model = Patient
        fields = ("name", "insurance", "words")


class Patients(ListAPIView):
    """`?insurance=…` finds one by its number, through the blind index."""

    token_scopes = {"GET": "patients:read"}
    queryset = Patient.objects.all()
    serializer_class = PatientShape

    def filter_queryset(self, queryset: QuerySet) -> QuerySet:
        number = self.request.query_params.get("insurance")
        return queryset.filter(insurance_index=number) if number else queryset
