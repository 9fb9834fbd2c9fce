"""Which version of a cluster's context key signs, and which secret that version is made from.

# Note [The signing version is a row]
Not a variable of the environment: it has to differ between clusters while their keys are exchanged (one may be away),
and must change in all processes without a restart. A process knows it for KNOWN_FOR_S, which harms nothing, since both
versions are good long after the change. The secret itself stays in the environment. A row says by a digest which one
it means, so that `TENURE_CONTEXT_SECRET_FORMER` keeps signing until the exchange reaches a cluster.
"""

import time
from dataclasses import dataclass, field
from hashlib import sha256

from django.conf import settings

from provisioning.errors import Permanent
from tenants.models import Cluster

KNOWN_FOR_S = 10.0
MARK_CHARACTERS = 16


class ContextSecretGone(Permanent):
    """The secret that a cluster's pools are signed with is not among the ones we were given."""

    code = "CONTEXT_SECRET_GONE"
    cure = "Set TENURE_CONTEXT_SECRET_FORMER to the secret before this one, until the keys have been exchanged."


@dataclass(frozen=True, slots=True)
class Signing:
    """What signs now: the version, as the database's guard calls it, and 32 bytes."""

    version: str
    secret: bytes = field(repr=False)


_known: dict[str, tuple[Signing, float]] = {}
"""By the cluster's name: what signs, and until when this process believes it, by the monotonic clock."""


def signing(cluster: str) -> Signing:
    """What signs in the cluster of this name. Raises Cluster.DoesNotExist, ContextSecretGone."""
    known, until = _known.get(cluster, (None, 0.0))
    if known is not None and time.monotonic() < until:
        return known
    return believe(Cluster.objects.only("name", "context_version", "context_secret").get(name=cluster))


def believe(cluster: Cluster, *, for_s: float = KNOWN_FOR_S) -> Signing:
    """Take a row's word, for so many seconds."""
    found = of(cluster)
    _known[cluster.name] = found, time.monotonic() + for_s
    return found


def forget(cluster: Cluster) -> None:
    """The next who asks reads the row."""
    _known.pop(cluster.name, None)


def of(cluster: Cluster) -> Signing:
    """What a row says. A row without a mark is from before secrets were marked: it means the oldest we have."""
    secrets = [secret for secret in (settings.TENURE_CONTEXT_SECRET, settings.TENURE_CONTEXT_SECRET_FORMER) if secret]
    meant = [secret for secret in secrets if cluster.context_secret in {"", mark(secret)}]
    if not meant:
        raise ContextSecretGone(f"Neither of our context secrets is the one that signs for {cluster.name}.")
    return Signing(str(cluster.context_version), meant[-1])


def mark(secret: bytes) -> str:
    """What a row remembers of a secret: enough to know it again, and nothing to sign with."""
    return sha256(b"tenure/context secret\x00" + secret).hexdigest()[:MARK_CHARACTERS]
