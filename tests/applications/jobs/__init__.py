"""procrastinate 3.10, unmodified: a queue of jobs made of RunSQL alone, with types, functions and triggers."""

APPS = ("django.contrib.contenttypes", "django.contrib.auth", "procrastinate.contrib.django")
