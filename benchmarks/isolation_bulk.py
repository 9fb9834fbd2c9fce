"""Part of the isolation benchmark: a billing export of N tenants into one pool, by the command, with three worker
processes, as `make run` has them, until the last is active. Prints JSON.

`first` and `last` are seconds of work on single tenants: a tenth of all, just after the file was read, and at the end.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import control

SLUG = "bulk-"


def main(count: int) -> None:
    control.furnish()
    from django.db.models import F, Max

    from provisioning.models import Run
    from tenants.models import Placement

    with tempfile.TemporaryDirectory() as folder, control.worker(processes=3):
        export = Path(folder) / "export.csv"
        lines = (f"{SLUG}{number},Tenant {number},pool\n" for number in range(count))
        export.write_text("slug,name,plan\n" + "".join(lines))
        before = time.perf_counter()
        command = (sys.executable, "manage.py", "onboard", str(export))
        subprocess.run(command, cwd=control.ROOT, check=True, stdout=sys.stderr)
        seconds = time.perf_counter() - before
    pools = Placement.objects.filter(tenant__slug__startswith=SLUG).values_list("pool__schema").distinct()
    assert len(pools) == 1, pools
    runs = Run.objects.filter(tenant__slug__startswith=SLUG, state="succeeded")
    assert runs.count() == count
    read = runs.aggregate(at=Max("created_at"))["at"]
    alone = runs.filter(started_at__gt=read).order_by("started_at").annotate(work=F("finished_at") - F("started_at"))
    work = [run.work.total_seconds() for run in alone]
    print(json.dumps({"seconds": [seconds], "first": work[: count // 10], "last": work[-count // 10 :]}))


if __name__ == "__main__":
    main(int(sys.argv[1]))
