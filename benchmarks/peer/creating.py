"""Create tenants the way django-tenants does: by cloning the schema PEER_BASE names, else by migrating.

`python -m benchmarks.peer.creating N PREFIX` prints one line of JSON: {"seconds": [of each]}.
"""

import json
import sys
import time

import django
from django.core.management import call_command


def main(count: int, prefix: str) -> None:
    django.setup()
    from benchmarks.peer.models import Customer  # after setup

    call_command("migrate_schemas", shared=True, verbosity=0)
    seconds = []
    for number in range(count):
        before = time.perf_counter()
        Customer(schema_name=f"{prefix}{number}", name=f"{prefix}{number}").save(verbosity=0)
        seconds.append(time.perf_counter() - before)
    sys.stdout.write(json.dumps({"seconds": seconds}) + "\n")


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
