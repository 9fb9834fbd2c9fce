"""Everything that can count what is there, a file a store. Never imports an eraser: what counts must not delete."""

from provisioning.erasure.stores import Verifier
from provisioning.erasure.verifiers.bucket import BucketVerifier
from provisioning.erasure.verifiers.cache import CacheVerifier
from provisioning.erasure.verifiers.control_rows import ControlRowsVerifier
from provisioning.erasure.verifiers.keys import KeysVerifier
from provisioning.erasure.verifiers.queues import QueuesVerifier

VERIFIERS: tuple[Verifier, ...] = (
    BucketVerifier(),
    QueuesVerifier(),
    CacheVerifier(),
    KeysVerifier(),
    ControlRowsVerifier(),
)
