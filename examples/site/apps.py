from django.apps import AppConfig


class SiteConfig(AppConfig):
    name = "examples.site"
    label = "example_site"  # `site` alone would be taken for django.contrib.sites by a reader
