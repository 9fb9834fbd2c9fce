"""From a request's scope to what the databases are asked for, and the names of files that one person's rows hold."""

from collections.abc import Mapping
from dataclasses import dataclass

from provisioning.databases.erasing import changing
from provisioning.databases.erasing.people import Person
from provisioning.databases.erasing.places import Place, places_of
from provisioning.erasure.needles import needles_of
from provisioning.erasure.stores import Identifier, Scope
from tenants.classification import OfPeople, Policy, Retain, classified
from tenants.states import Tier

HOLD_ROWS = frozenset({"pool_rows", "schema", "database"})
"""The stores whose rows can be held while the rest goes. An object's versions, a cached value, a key cannot."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldRows(Retain):
    """A person's rows in a table that is held for this request: they stay as they are, all columns of them."""


def person_of(scope: Scope) -> Person:
    identifiers = tuple((each.kind, each.value) for each in scope.identifiers)
    return Person(identifiers, needles_of(scope.identifiers).texts)


def home_of(scope: Scope, *tiers: Tier) -> Place | None:
    """Where the tenant lives now, if that is in one of these tiers (none named: in any)."""
    return next((each for each in places_of(scope.tenant_id, scope.incarnation, *tiers) if each.active), None)


def policies_of(scope: Scope, place: Place) -> Mapping[str, Policy]:
    """Table → word: the application's own, but where rows are held, a law's."""
    words, held = dict(classified()), {each.locator: each for each in scope.held}
    for table, word in classified().items():
        hold = held.get(f"{place}.{table}")
        if hold is not None and isinstance(word, OfPeople):
            words[table] = HeldRows(
                subject=word.subject, mentions=word.mentions, ground=hold.ground, until=hold.until.date()
            )
    return words


def files_of(scope: Scope, *tiers: Tier) -> tuple[str, ...]:
    """Names of files in columns that hold such, of rows that will go: for whoever erases the bucket, before they do.

    Empty for a whole tenant, whose bucket goes as it is. Raises ServerUnavailable.
    """
    if scope.kind != "subject" or (place := home_of(scope, *tiers)) is None:
        return ()
    return changing.file_names(place, person_of(scope), policies_of(scope, place))


def files_named(scope: Scope) -> tuple[Identifier, ...]:
    """The same as identifiers: rows that go know the names of files that go, too. Raises as `files_of`."""
    return tuple(Identifier("object_key", name) for name in files_of(scope))
