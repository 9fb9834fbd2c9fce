"""django-hordak 2.0, unmodified: double-entry bookkeeping whose rules are triggers, functions and views of SQL."""

APPS = ("django.contrib.contenttypes", "django.contrib.auth", "mptt", "hordak")
