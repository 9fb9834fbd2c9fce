"""django-oscar 4.2, unmodified, as a tenant application: a shop. 134 migrations, 10 with RunPython."""

import oscar

# Of the control plane's own apps a tenant has these too; the rest of Oscar's list keeps no rows.
APPS = (
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "django.contrib.sessions",
    *(app for app in oscar.INSTALLED_APPS if not app.startswith("django.contrib.")),
    "django.contrib.sites",
    "django.contrib.flatpages",
)
