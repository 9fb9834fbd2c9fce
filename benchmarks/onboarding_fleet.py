"""Part of the onboarding benchmark: N tenants accepted at once, until the last is active. Prints JSON."""

import json
import sys
import time

from benchmarks import control


def main(count: int, processes: int) -> None:
    control.furnish()
    with control.worker(processes=processes):
        before = time.perf_counter()
        control.onboard("fleet-", count)
        seconds = time.perf_counter() - before
    print(json.dumps({"seconds": [seconds]}))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
