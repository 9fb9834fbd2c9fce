from django.urls import path

from patients import views
from patients.api import Patients

urlpatterns = [
    path("", views.patients, name="patients"),
    path("letters/<uuid:pk>/", views.letter, name="letter"),
    path("api/patients/", Patients.as_view()),
]
