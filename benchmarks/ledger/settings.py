"""The control plane's settings, with as many of the ledger's migrations as LEDGER says."""

from benchmarks import ledger
from controlplane.settings import *  # noqa: F403

MIGRATION_MODULES = ledger.modules()
