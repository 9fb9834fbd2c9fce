"""django.contrib.sites, told apart by tenant: it keeps the sites it has read in a variable of the process."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, MutableMapping
from threading import Lock
from typing import TYPE_CHECKING, Any

from tenants.context import TenantContext, current_or_none

if TYPE_CHECKING:
    from django.contrib.sites.models import Site

MOST_KEPT = 1_000  # tenants; most have one site


class SitesOfScope(MutableMapping[Any, "Site"]):
    """What `SITE_CACHE` is in a process of tenants: to each scope a mapping of its own, by site id or host name."""

    def __init__(self) -> None:
        self._kept: OrderedDict[TenantContext | None, dict[Any, Site]] = OrderedDict()
        self._changing = Lock()

    def _mine(self) -> dict[Any, Site]:
        """By the whole context: another life of the tenant, or another placement, has read nothing yet."""
        scope = current_or_none()
        with self._changing:
            mine = self._kept.setdefault(scope, {})
            self._kept.move_to_end(scope)
            if len(self._kept) > MOST_KEPT:
                self._kept.popitem(last=False)
        return mine

    def __getitem__(self, key: Any) -> Site:
        return self._mine()[key]

    def __setitem__(self, key: Any, site: Site) -> None:
        self._mine()[key] = site

    def __delitem__(self, key: Any) -> None:
        del self._mine()[key]

    def __iter__(self) -> Iterator[Any]:
        return iter(self._mine())

    def __len__(self) -> int:
        return len(self._mine())


def keep_sites_apart() -> None:
    """Where the application has django.contrib.sites. `clear_cache()` would put an ordinary dict in our place."""
    from django.contrib.sites import models

    kept = SitesOfScope()
    module: Any = models
    module.SITE_CACHE = kept
    module.SiteManager.clear_cache = lambda _self: kept.clear()
