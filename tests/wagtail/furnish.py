"""A control plane whose tenant application is Wagtail, with acme and globex in it. Run as a program."""

import django

if __name__ == "__main__":
    django.setup()
    from tenants.states import Tier
    from tests import databases, fleet

    fleet.furnish()
    fleet.onboarded("acme", Tier.SCHEMA)
    fleet.onboarded("globex", Tier.DATABASE)
    databases.close_all()
