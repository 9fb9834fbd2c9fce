"""Everything that can delete, a file a store. Never imports a verifier: what deletes must not count.

In the order of their work: by phase, and inside a phase as they stand. A store that is erased in two phases has two
entries, which differ in their phase alone.
"""

from provisioning.erasure.erasers.bucket import BucketEraser
from provisioning.erasure.erasers.cache import CacheEraser
from provisioning.erasure.erasers.control_rows import ControlRowsEraser
from provisioning.erasure.erasers.keys import DESTROY, DISABLE, KeysEraser
from provisioning.erasure.erasers.queues import QueuesEraser
from provisioning.erasure.stores import Eraser

ERASERS: tuple[Eraser, ...] = (
    KeysEraser(phase=DISABLE),
    BucketEraser(phase=3),
    QueuesEraser(phase=4),
    CacheEraser(phase=4),
    BucketEraser(phase=6),
    QueuesEraser(phase=6),
    CacheEraser(phase=6),
    KeysEraser(phase=DESTROY),
    ControlRowsEraser(),
)
