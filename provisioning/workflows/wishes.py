"""What somebody asks for when they ask for a tenant, and the checks that every door shares."""

from __future__ import annotations

import hashlib
import json
import unicodedata
from dataclasses import asdict, dataclass, field

from django.db.models import QuerySet

from tenants.errors import TenureError
from tenants.models import Cluster, Plan, Tenant
from tenants.slugs import BadSlug, ReservedSlug, checked_slug
from tenants.states import Tier

NAME_LENGTH = 200
LABELS = 32  # enough to sort a fleet by, small enough to read
LABEL_LENGTH = 63


@dataclass(frozen=True, slots=True)
class TenantWish:
    """A tenant as asked for. `region` may be empty when there is only one; `tier` None means the plan's."""

    slug: str
    name: str
    plan: str
    principal: str
    region: str = ""
    external_ref: str | None = None
    tier: str | None = None
    labels: dict[str, str] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """SHA-256 over all of it, 64 hex digits: two requests are the same if these are."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class FieldError:
    """One thing wrong with one field: what, and what to do about it."""

    field: str
    code: str
    detail: str


class InvalidWish(TenureError):
    """The request names something that cannot be."""

    code = "VALIDATION_FAILED"
    cure = "Correct the fields named in `errors` and send it again."

    def __init__(self, errors: list[FieldError]) -> None:
        super().__init__(" ".join(error.detail for error in errors))
        self.errors = errors


class TenantExists(TenureError):
    """A tenant with this slug or external reference exists already."""

    code = "TENANT_EXISTS"
    cure = "Choose another slug, or read the tenant that is there by its `external_ref`."


class UnsupportedTarget(TenureError):
    """The plan does not include this tier."""

    code = "UNSUPPORTED_TARGET"
    cure = "Leave `tier` out, or choose a plan that includes it: `GET /api/v1/plans`."


@dataclass(frozen=True, slots=True)
class CheckedWish:
    """A wish that can be granted as far as its own words go; capacity and uniqueness are judged by the database."""

    wish: TenantWish
    plan: Plan
    tier: Tier
    region: str


@dataclass(frozen=True, slots=True)
class Offer:
    """What can be wished for: plans by name, and regions."""

    plans: dict[str, Plan]
    regions: list[str]


def offer() -> Offer:
    plans = {plan.name: plan for plan in Plan.objects.order_by("name")}
    return Offer(plans=plans, regions=sorted(set(Cluster.objects.values_list("region", flat=True))))


def checked(wish: TenantWish, offered: Offer | None = None) -> CheckedWish:
    """All of a wish's errors at once. Raises InvalidWish, UnsupportedTarget."""
    offered = offered or offer()
    errors = [*slug_errors(wish.slug), *text_errors(wish), *label_errors(wish.labels)]
    plan = offered.plans.get(wish.plan)
    if plan is None:
        known = ", ".join(offered.plans) or "none yet"
        errors.append(FieldError("plan", "UNKNOWN_PLAN", f"There is no plan {wish.plan[:60]!r}. Plans: {known}."))
    regions = offered.regions
    region = wish.region or (regions[0] if len(regions) == 1 else "")
    if region not in regions:
        known = ", ".join(regions) or "none yet: register a cluster first"
        errors.append(FieldError("region", "UNKNOWN_REGION", f"There is no region {region[:60]!r}. Regions: {known}."))
    if wish.tier is not None and wish.tier not in Tier.values:
        errors.append(FieldError("tier", "UNKNOWN_TIER", f"There is no tier {wish.tier[:60]!r}: {', '.join(Tier)}."))
    if errors or plan is None:
        raise InvalidWish(errors)
    if wish.tier not in {None, plan.tier}:
        raise UnsupportedTarget(f"Plan {plan.name} includes the {plan.tier} tier, not {wish.tier}.")
    return CheckedWish(wish=wish, plan=plan, tier=Tier(plan.tier), region=region)


def slug_errors(slug: str) -> list[FieldError]:
    try:
        checked_slug(slug)
    except (BadSlug, ReservedSlug) as error:
        return [FieldError("slug", error.code, f"{error} {error.cure}")]
    return []


def text_errors(wish: TenantWish) -> list[FieldError]:
    errors = []
    if not printable(wish.name, NAME_LENGTH):
        errors.append(FieldError("name", "BAD_TEXT", f"Give a name of 1 to {NAME_LENGTH} printable characters."))
    if wish.external_ref is not None and not printable(wish.external_ref, NAME_LENGTH):
        errors.append(
            FieldError("external_ref", "BAD_TEXT", f"Leave it out, or give 1 to {NAME_LENGTH} printable characters.")
        )
    return errors


def label_errors(labels: dict[str, str]) -> list[FieldError]:
    if len(labels) > LABELS:
        return [FieldError("labels", "TOO_MANY", f"Give at most {LABELS} labels.")]
    return [
        FieldError("labels", "BAD_TEXT", f"Keys and values of labels are 1 to {LABEL_LENGTH} printable characters.")
        for key, value in labels.items()
        if not (printable(key, LABEL_LENGTH) and printable(value, LABEL_LENGTH))
    ][:1]


def printable(text: str, longest: int) -> bool:
    """Whether a person could read it: no control characters, surrogates or unassigned code points ."""
    return (
        bool(text.strip())
        and len(text) <= longest
        and not any(unicodedata.category(letter) in {"Cc", "Cs", "Cn"} for letter in text)
    )


def clash(wish: TenantWish) -> Tenant | None:
    """The tenant that already has this slug, or this principal's external reference."""
    tenants: QuerySet[Tenant] = Tenant.objects.all()
    if wish.external_ref is not None and (
        known := tenants.filter(principal=wish.principal, external_ref=wish.external_ref).first()
    ):
        return known
    return tenants.filter(slug=wish.slug).first()
