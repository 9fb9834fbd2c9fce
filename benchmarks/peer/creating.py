"""Create tenants the way django-tenants does: by cloning the schema PEER_BASE names, else by migrating.

`python -m benchmarks.peer.creating` creates one for each line it reads, a schema's name, and answers with seconds.
"""

import sys
import time

import django
from django.core.management import call_command


def main() -> None:
    django.setup()
    from benchmarks.peer.models import Customer  # after setup

    call_command("migrate_schemas", shared=True, verbosity=0)
    for line in sys.stdin:
        name = line.strip()
        before = time.perf_counter()
        Customer(schema_name=name, name=name).save(verbosity=0)
        print(time.perf_counter() - before, flush=True)


if __name__ == "__main__":
    main()
