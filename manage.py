#!/usr/bin/env python
"""Django's command line for Tenure: `python manage.py help` lists the verbs."""

import os
import sys

from django.core.management import execute_from_command_line

from controlplane.stack.running import adopt

if __name__ == "__main__":
    adopt()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "controlplane.settings")
    execute_from_command_line(sys.argv)
