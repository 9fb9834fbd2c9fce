"""Which release a tenant is born on, and which one its rows are on."""

from functools import lru_cache
from uuid import UUID

from provisioning.engine.rows import answer
from provisioning.errors import Permanent
from provisioning.models import Handle, Release
from tenants.context import TenantContext
from tenants.models import Tenant

TEXTS = ("files", "script", "seed", "finish", "shape", "pool_script", "pool_shape")  # hundreds of kilobytes

_PUBLISHED = "SELECT id FROM provisioning_release WHERE name = %s AND state = %s"


class NoRelease(Permanent):
    """No release of the tenant application has been published."""

    code = "NO_RELEASE"
    cure = "Run `manage.py publish_release`."


def current_release() -> Release | None:
    """The release that new tenants are born on, without its texts: those are read when they are first asked for."""
    return Release.objects.filter(current=True).defer(*TEXTS).first()


def has_current() -> bool:
    """Whether new tenants have a release to be born on."""
    return answer("SELECT true FROM provisioning_release WHERE current", ()) is not None


def release_named(name: str) -> Release:
    """A published release, kept in memory: its scripts never change. Raises NoRelease."""
    found = answer(_PUBLISHED, [name, Release.State.PUBLISHED])
    if found is None:
        raise NoRelease(f"There is no published release {name!r}.")
    return _kept(found[0])


def release_of(tenant: TenantContext, handle: Handle) -> Release:
    """The release a tenant's rows are on; until it is active, the one it is being made of."""
    named = Tenant.objects.filter(pk=tenant.tenant_id).values_list("release", flat=True).first()
    return release_named(named or handle["release"])


@lru_cache(maxsize=4)  # each holds some hundred kilobytes of script
def _kept(pk: UUID) -> Release:
    return Release.objects.get(pk=pk)
