"""At a host name that belongs to no tenant (SITE_HOSTS)."""

from django.http import HttpRequest, HttpResponse
from django.urls import path


def home(_request: HttpRequest) -> HttpResponse:
    return HttpResponse("Your clinic is at its own address.", content_type="text/plain")


urlpatterns = [path("", home)]
