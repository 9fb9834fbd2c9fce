"""Who is whom: a person's random reference, the same through every door."""

from django.contrib.auth import get_user_model

from provisioning.models import Person
from tenants.actions import Actor


def person_of(actor: Actor) -> Person:
    """Whoever answers for the actor. A key of the API whose principal is a user's name is that user's."""
    return Person.objects.get_or_create(answerable=answerable(actor))[0]


def answerable(actor: Actor) -> str:
    """By what the same person is known. Two keys of one owner are one person, and so are a user and his own key."""
    if actor.principal:
        user = get_user_model().objects.filter(username=actor.principal).values_list("pk", flat=True).first()
        if user is not None:
            return f"user:{user}"
    return actor.answerable
