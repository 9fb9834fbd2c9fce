"""`python -m tests.journeys.own_project`: a control plane whose tenant application is examples/own_project.

Publishes it, onboards acme into a pool and globex into a schema of its own, and prints what a test
needs to know. In a process of its own: which apps are the tenants' is a setting of the whole process.
"""

import json
import sys

import django

if __name__ == "__main__":
    django.setup()

from controlplane.keys import make_key
from controlplane.models import Scope
from provisioning import lifecycle
from tenants.models import Pool
from tenants.states import Tier
from tests import fleet
from tests.applications.twins import furnish

SCOPES = [Scope.TENANTS_CREDENTIALS, Scope.TENANTS_KEYS, Scope.TENANTS_TOKENS]


def main() -> None:
    furnish()
    tenants = [fleet.onboarded("acme", Tier.POOL), fleet.onboarded("globex", Tier.SCHEMA)]
    key = make_key(principal="clinic", name="clinic", scopes=SCOPES, actor=fleet.BILLING, writes_per_minute=10_000)
    lifecycle.rotate_token_key(actor=fleet.BILLING)
    pool = Pool.objects.get(state=Pool.State.OPEN)
    told = {
        "key": key.token,
        "ids": {tenant.slug: tenant.public_id for tenant in tenants},
        "pool": {"pk": str(pool.pk), "schema": pool.schema},
        "cluster": pool.cluster.database,
    }
    json.dump(told, sys.stdout)


if __name__ == "__main__":
    main()
