"""What gunicorn serves as the tenants' application."""

import os

from django.core.wsgi import get_wsgi_application

os.environ["DJANGO_SETTINGS_MODULE"] = "examples.site.settings"
application = get_wsgi_application()
