"""Sessions that were vended before a tenant was shut: denied by the bucket's policy, since nobody can take them back.

# Note [Whose sessions are denied]
A session carries the tenant's id as its name (see `vend`), so the Deny names sessions, not objects: in a pool the
neighbours under the same policy go on, and we ourselves can still count, export and erase. AWS gives that name as the
end of aws:userid for both kinds of session, and of aws:PrincipalArn for a federated one (IAM User Guide, "AWS global
condition context keys"); SeaweedFS 4.48 knows the latter alone. Two statements, because conditions in one would have to
hold both. Unverified on AWS itself.

# Note [A pool's policy forgets]
A policy holds 20 KB, so a pool's could name some 150 tenants at once. It need not name them for ever: nothing is vended
for a tenant that is shut, and a session lives LONGEST_S at most. So a pool's bucket names those that were shut lately.
"""

from datetime import timedelta
from typing import Any

from django.utils import timezone

from provisioning.models import Resource, ResourceKind
from provisioning.providers import policies
from provisioning.providers.transport import ON_BUCKET, ON_OBJECTS

BY_ARN, BY_USER_ID = "DenyShutByArn", "DenyShutByUserId"
KEYS = {BY_ARN: "aws:PrincipalArn", BY_USER_ID: "aws:userid"}
NAMED_FOR = timedelta(hours=2)  # twice as long as a session can last


def settle(bucket: str, *, name: str, pooled: bool, shut: bool) -> None:
    """Deny, or allow again, the sessions called `name`, and in a pool's bucket those of all that were shut lately."""

    def wanted() -> dict[str, Any]:
        others = named_in(bucket) if pooled else set()
        return statements(bucket, (others | {name}) if shut else (others - {name}))

    policies.settled(bucket, wanted)


def denied(bucket: str) -> set[str]:
    """The names of sessions that the policy shuts out, by both keys."""
    found = {each.get("Sid"): each for each in policies.statements(bucket)}
    if not KEYS.keys() <= found.keys():
        return set()
    return set.intersection(
        *({text[-32:] for text in _listed(found[sid]["Condition"]["StringLike"][key])} for sid, key in KEYS.items())
    )


def named_in(bucket: str) -> set[str]:
    """The session names of a pool's tenants that were shut lately. See Note [A pool's policy forgets]."""
    lately = timezone.now() - NAMED_FOR
    rows = Resource.objects.filter(kind=ResourceKind.BUCKET, handle__bucket=bucket, shut_at__gt=lately)
    return {tenant_id.hex for tenant_id in rows.values_list("tenant_id", flat=True)}


def statements(bucket: str, names: set[str]) -> dict[str, Any]:
    """By Sid; None where nobody is shut out. See Note [Whose sessions are denied]."""
    here = f"arn:aws:s3:::{bucket}"
    return {
        sid: {
            "Effect": "Deny",
            "Principal": "*",
            "Action": [*ON_BUCKET, *ON_OBJECTS],
            "Resource": [here, f"{here}/*"],
            "Condition": {"StringLike": {key: [f"*{name}" for name in sorted(names)]}},
        }
        if names
        else None
        for sid, key in KEYS.items()
    }


def _listed(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value)
