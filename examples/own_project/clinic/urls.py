"""At a tenant's host name."""

from django.urls import include, path

urlpatterns = [path("", include("patients.urls"))]
