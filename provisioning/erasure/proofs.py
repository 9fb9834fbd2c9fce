"""What a certificate says that no single store tells: names searched for, neighbours, data keys, the audit log.

Asked when everything is clean, by those who never delete, once more.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Max

from provisioning.databases import vantage
from provisioning.erasure import checkpoints, collateral
from provisioning.erasure.needles import needles_of
from provisioning.erasure.stores import Scope
from provisioning.erasure.verifiers import VERIFIERS
from provisioning.erasure.verifiers.clusters import clusters_of
from provisioning.models import DataKey, ErasureRequest
from provisioning.providers.keys import INDEX, PURPOSE, keyring_errors
from tenants import audit
from tenants.audit.checkpoints import newest
from tenants.models import AuditChain, Tenant

SEARCHED = ("bucket", "cache", "queues", "control_rows")
OF_PEOPLE = ("pool_rows", "schema", "database")
"""Where a person's identifiers are searched for, too. A tenant's name may stand in a neighbour's rows by right."""
KEYRING_BACKUPS = timedelta(days=7)  # the most that docs/production.md allows


def of(scope: Scope) -> dict[str, Any]:
    """`needles`, `collateral`, `keys` and `audit`, as docs/certificates.md has them. Raises Transient, Permanent."""
    return {
        "needles": _needles(scope),
        "collateral": _collateral(scope),
        "keys": _keys(scope),
        "audit": _audit(scope),
    }


def _needles(scope: Scope) -> Mapping[str, int]:
    """Each identifier in the forms it may be written in, in every place that the verifiers know, counted now."""
    stores = (*SEARCHED, *(OF_PEOPLE if scope.kind == "subject" else ()))
    looking = [each for each in VERIFIERS if each.store in stores and scope.kind in each.scopes]
    found = [tally for each in looking for tally in each.count(scope) if tally.action not in {"retain", "expire"}]
    places = sum(len(each.coverage(scope).covered) for each in looking)
    searched = len(needles_of(scope.identifiers).texts)
    return {"searched": searched, "places": places, "hits": sum(tally.n or 0 for tally in found)}


def _collateral(scope: Scope) -> Mapping[str, bool | int]:
    """Whether what must be there of everybody else is there, and whether what stood beside is as it was."""
    clusters = clusters_of(scope.tenant_id)
    fence = ErasureRequest.objects.values_list("fence", flat=True).get(pk=scope.request_id)
    seen = collateral.compared(fence.get("neighbours", {}), since=datetime.fromisoformat(fence["closed_at"]))
    return {
        "neighbours_equal": seen.same,
        "neighbours_changed": seen.changed,
        "control_tenant_equal": all(map(vantage.control_row_stands, clusters)),
        "others_present": not any(collateral.missing_on(cluster, scope.tenant_id) for cluster in clusters),
    }


def _keys(scope: Scope) -> Mapping[str, str | None]:
    """When the last of the tenant's data keys was destroyed, and when its backups have run out. A person has none."""
    destroyed: datetime | None = None
    if scope.kind == "tenant":
        with keyring_errors():
            keys = DataKey.objects.filter(owner_ref=scope.tenant_id, purpose__in=[PURPOSE, INDEX])
            destroyed = keys.aggregate(last=Max("destroyed_at"))["last"]
    gone = None if destroyed is None else destroyed + KEYRING_BACKUPS
    return {"destroyed_at": _moment(destroyed), "irrecoverable_at": _moment(gone)}


def _audit(scope: Scope) -> Mapping[str, Any]:
    """The tenant's chain, verified whole. The checkpoint is signed first, so that it covers what is verified.

    Not against the copies outside, which `verify_audit` does: a restored control database differs from them for good.
    """
    checkpoints.keep(at_once=True)
    chain = Tenant.objects.values_list("audit_chain", flat=True).get(pk=scope.tenant_id)
    report = audit.verify(chain)
    end = AuditChain.objects.get(pk=chain)
    last = newest()
    return {
        "chain": str(chain),
        "size": end.size,
        "head": f"sha256:{bytes(end.head).hex()}",
        "checkpoint": 0 if last is None else last.n,
        "verdict": report.status,
    }


def _moment(value: datetime | None) -> str | None:
    return None if value is None else value.isoformat(timespec="seconds").replace("+00:00", "Z")
