"""At a host name that belongs to no tenant."""

from django.urls import path

from examples.site.views import home

urlpatterns = [path("", home)]
