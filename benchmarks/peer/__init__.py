"""A project as django-tenants' own documentation lays it out: the peer that onboarding is measured against."""
