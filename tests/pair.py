"""acme and globex side by side, in different tiers, onboarded once for a test session."""

from dataclasses import dataclass, field

from django.core.files.storage import default_storage

from controlplane.keys import make_key
from controlplane.models import Scope
from controlplane.stack.embedded import Stack
from examples.projects.models import Document, Member, Project, Tag
from provisioning import lifecycle
from tenants.context import TenantContext, tenant_scope
from tenants.states import Tier
from tests import databases, fleet

TEMPLATE = "pair"


@dataclass(frozen=True, slots=True)
class Pair:
    """`key`: of the API, with the scopes that an application needs."""

    acme: TenantContext
    globex: TenantContext
    key: str = field(repr=False)


def make(stack: Stack) -> Pair:
    """Both, in a control database that is kept as a template."""
    databases.load(stack, "furnished")
    acme = fleet.onboarded("acme", Tier.SCHEMA).context()
    globex = fleet.onboarded("globex", Tier.DATABASE).context()
    scopes = [Scope.TENANTS_CREDENTIALS, Scope.TENANTS_KEYS]
    key = make_key(principal="site", name="application", scopes=scopes, actor=fleet.BILLING, writes_per_minute=100_000)
    lifecycle.rotate_token_key(actor=fleet.BILLING)  # one for all tests: an application asks for new ones once a minute
    databases.save_as(stack, TEMPLATE)
    return Pair(acme, globex, key.token)


def wipe(pair: Pair) -> None:
    """Back to the rows that a release begins with; each tenant keeps its tags."""
    for context in (pair.acme, pair.globex):
        with tenant_scope(context):
            for model in (Document, Project, Member):
                model.objects.all().delete()
            Tag.objects.exclude(pk__lte=4).delete()
            remove_files("")


def remove_files(folder: str) -> None:
    """Of the open scope, below `folder`, which is empty or ends with a slash."""
    folders, files = default_storage.listdir(folder)
    for name in files:
        default_storage.delete(f"{folder}{name}")
    for name in folders:
        remove_files(f"{folder}{name}/")
