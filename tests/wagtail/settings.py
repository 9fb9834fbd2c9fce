"""What Wagtail asks a project to say: https://docs.wagtail.org/en/stable/reference/settings.html."""

WAGTAIL_SITE_NAME = "Tenure"
WAGTAILADMIN_BASE_URL = "http://localhost"
WAGTAILDOCS_EXTENSIONS = ["txt"]
