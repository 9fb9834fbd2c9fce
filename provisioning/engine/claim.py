"""Which run this worker drives next: one query, and the whole of recovery.

The query is the function `run_claim` of migration 0002: planning it anew takes longer than running it.
"""

import os
import socket

from provisioning.engine import rows
from provisioning.engine.fence import lease_s
from provisioning.engine.workflow import Workflows
from provisioning.models import Queue, Run

# "Fewer are driven than the limit" is read, then written: one claim at a time holds this advisory lock.
CLAIM_LOCK = 0x54454E55_0001


def claim(*, queue: Queue, known: Workflows) -> Run | None:
    """Take the next run of `queue` that this process has the code for, or None. The row carries our fence and lease.

    One statement and so one transaction: a worker that freezes here cannot hold the lock against the others.
    """
    names, versions = [name for name, _version in known], [version for _name, version in known]
    owner = f"{socket.gethostname()[:100]}:{os.getpid()}"
    return rows.given(Run, "run_claim(%s, %s, %s, %s, %s)", (str(queue), names, versions, owner, lease_s()))
