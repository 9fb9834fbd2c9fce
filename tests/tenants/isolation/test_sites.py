"""The sites a process has read; tests/journeys/test_other_applications.py has them under a real application."""

from typing import Any

from tenants.context import tenant_scope
from tenants.isolation.sites import SitesOfScope
from tests.pair import Pair


def test_each_scope_has_sites_of_its_own(pair: Pair) -> None:
    kept: Any = SitesOfScope()
    with tenant_scope(pair.acme):
        kept[1] = "acme's site"
    with tenant_scope(pair.globex):
        assert 1 not in kept
        kept[1] = "globex's site"
        kept.clear()
    with tenant_scope(pair.acme):
        assert dict(kept) == {1: "acme's site"}
        del kept[1]
        assert len(kept) == 0


def test_without_a_scope_there_is_none_of_anybodys(pair: Pair) -> None:
    kept: Any = SitesOfScope()
    with tenant_scope(pair.acme):
        kept[1] = "acme's site"
    assert list(kept) == []
