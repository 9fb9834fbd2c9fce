"""Whether a schema is what its release says: by its stamp, and where that is new to us by the fingerprint."""

from dataclasses import dataclass

from provisioning.databases.fingerprint import difference, hash_of, shape
from provisioning.databases.servers import Connection
from provisioning.databases.stamp import stamp
from provisioning.models import Release
from provisioning.models.stamps import expected, known, learn

MISSING = "The schema is not there."

_known: set[tuple[str, str]] = set()
"""Fingerprints and stamps that go together, as far as this process has asked. What is known stays true."""


@dataclass(frozen=True, slots=True)
class Seen:
    """The stamp of a schema, and the lines in which it differs from its release: none when it does not."""

    stamp: str
    lines: tuple[str, ...] = ()


def drift_of(connection: Connection, schema: str, release: Release, *, pooled: bool) -> list[str]:
    """What differs from the release, a line a thing, as `fingerprint.difference` says it. Empty: nothing does.

    1.5 ms while the stamp is known; else twenty times that, and the stamp is learned if nothing differs. The database
    has been prepared (`stamp.prepare`). Raises psycopg errors.
    """
    return list(look(connection, schema, release, pooled=pooled).lines)


def look(connection: Connection, schema: str, release: Release, *, pooled: bool) -> Seen:
    """The same with the stamp. In a transaction of its own, or the caller's."""
    found = stamp(connection, schema)
    if not found:
        return Seen("", (MISSING,))
    if is_known(found, release, pooled=pooled):
        return Seen(found)
    lines = shape(connection, schema)
    # Learned only if nobody changed the schema between the two looks.
    unchanged = stamp(connection, schema) == found
    if hash_of(lines) == expected(release, pooled=pooled):
        if unchanged:
            learn(release, found, pooled=pooled)
        return Seen(found)
    wanted = release.pool_shape if pooled else release.shape
    return Seen(found if unchanged else "", tuple(difference(wanted, lines)))


def is_known(stamp: str, release: Release, *, pooled: bool) -> bool:
    """Whether schemas of this stamp have the release's shape. Asks the control database only what it did not know."""
    fingerprint = expected(release, pooled=pooled)
    if (fingerprint, stamp) not in _known:
        _known.update((fingerprint, each) for each in known(release, pooled=pooled))
    return (fingerprint, stamp) in _known
