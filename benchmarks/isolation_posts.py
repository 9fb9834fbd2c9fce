"""Part of the isolation benchmark: from `POST` to active, pool and schema tier in turns. Prints JSON."""

import json
import sys

from benchmarks.onboarding_posts import WARM, post_to_active, served

PLANS = {"pool": "pool", "schema": "standard"}


def main(count: int) -> None:
    with served() as (port, token):
        rounds = [
            {tier: post_to_active(port, token, plan) for tier, plan in PLANS.items()} for _turn in range(count + WARM)
        ]
    print(json.dumps({tier: [each[tier] for each in rounds[WARM:]] for tier in PLANS}))


if __name__ == "__main__":
    main(int(sys.argv[1]))
