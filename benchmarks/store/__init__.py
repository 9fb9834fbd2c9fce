"""An ordinary Django app of five tables that know each other: what the isolation benchmark reads and writes."""

APPS = ("django.contrib.contenttypes", "benchmarks.store")
