"""What the sweeper does for the evidence, between its passes over operations. Any number of processes may do it."""

import logging
import time

from provisioning.erasure import checkpoints, ledger, restored
from provisioning.errors import Permanent, Transient

LOOK_EVERY_S = 300.0  # after restored databases; /readyz looks more often, where somebody asks it

_log = logging.getLogger(__name__)


class _Last:
    """When this process did what, as time.monotonic() counts."""

    looked = copied = float("-inf")
    said = False


def keep_evidence() -> None:
    """Sign a checkpoint if it is time, copy what is not outside yet, and look for databases older than an erasure."""
    try:
        made = checkpoints.keep()
    except (Permanent, Transient) as error:
        _log.warning("No checkpoint of the audit log was signed: %s", error)
        return
    if made is not None or time.monotonic() > _Last.copied + LOOK_EVERY_S:
        copy_outside()
    if time.monotonic() > _Last.looked + LOOK_EVERY_S:
        look_for_restored()


def copy_outside() -> None:
    """A store that is away or refuses is said in the log, and asked again in some minutes."""
    _Last.copied = time.monotonic()
    try:
        if not _Last.said and is_write_once() is False:
            _log.warning(
                "The object store is not write-once: it deleted a locked object. Checkpoints are copied still."
            )
        _Last.said = True
        checkpoints.copy_outside()
        store = checkpoints.bucket()
        if store is not None and (outside := ledger.copy_outside(store)) > (inside := ledger.last()):
            _log.error(
                "The keyring is older than erasures: it knows %d tombstones of %d. See %s.", inside, outside, store
            )
    except (Permanent, Transient) as error:
        _log.warning("Checkpoints were not copied outside: %s", error)


def is_write_once() -> bool | None:
    """Whether the bucket of checkpoints keeps what it was told to keep; None: nothing was ever signed."""
    store = checkpoints.bucket()
    return None if store is None else store.holds()


def look_for_restored() -> None:
    """Each database that is older than an erasure is a line of the log, at every look, until it is replayed."""
    _Last.looked = time.monotonic()
    try:
        for each in restored.behind():
            _log.error("%s", each)
    except Transient as error:
        _log.warning("The ledger of erasures was not read: %s", error)
