"""Wagtail 8, unmodified: published, onboarded in all tiers, and worked in by two tenants at once, in pages and admin.

In a process of its own: which apps are the tenants' is a setting of the whole process.
"""

import pytest

from controlplane.stack.embedded import Stack
from tenants.states import Tier
from tests.applications import running

TIERS = tuple(str(tier) for tier in Tier)

pytestmark = [
    pytest.mark.drawn(1, among="other people's applications"),
    pytest.mark.wagtail,
    pytest.mark.timeout(300),
]


@pytest.fixture(scope="module")
def stories(stack: Stack, migrated: None) -> running.Told:
    return running.told(stack, "tests.wagtail")


@pytest.mark.parametrize("slug", ["acme", "globex"])
@pytest.mark.parametrize("tier", TIERS)
def test_an_editor_works_in_her_own_tenant_alone(stories: running.Told, tier: str, slug: str) -> None:
    story = stories[tier][f"{slug}-{tier}"]
    work, name = story["work"], f"{slug.title()}-{tier.title()}"
    assert work["titles"] == sorted([f"{name} copy", f"{name} item 1", f"{name} item zero", f"News of {slug}-{tier}"])
    assert work["tree"] == ["/home/item-1/", "/home/news/", "/home/news/item-0/", "/home/copy/"]
    assert work["found"] == work["completed"] == work["titles"]
    assert work["others found"] == []
    assert (work["may edit"], work["may publish"]) == ([True, True], [True, False])
    assert work["document"] == f"the plan of {slug}-{tier}"
    assert work["problems"] == []


@pytest.mark.parametrize("tier", TIERS)
def test_an_upsert_finds_its_own_rows(stories: running.Told, tier: str) -> None:
    for story in stories[tier].values():
        assert story["work"]["tags"] == [[f"Second {number}", f"tag-{number}"] for number in range(3)]


@pytest.mark.parametrize("tier", TIERS)
def test_the_admin_lets_an_editor_in_and_shows_her_own_site(stories: running.Told, tier: str) -> None:
    for slug, story in stories[tier].items():
        visit, name = story["visit"], slug.title()
        assert (visit["turned away"], visit["signed in"], visit["dashboard"]) == (302, 302, True)
        assert visit["listed"] == [f"{name} item zero"]
        assert (visit["edited"], visit["history"], visit["documents"]) == (302, 200, True)
        assert visit["searched"] == [f"{name} item 1", f"{name} item anew"]
        assert (visit["front"], visit["front again"]) == (True, True)
        assert (visit["signed out"], visit["turned away again"]) == (302, 302)


@pytest.mark.parametrize("tier", TIERS)
def test_each_tenant_finds_its_own_traces_and_none_of_the_other(stories: running.Told, tier: str) -> None:
    """Asked of every table, after both have worked: which rows hold my name, and which the other's?"""
    for story in stories[tier].values():
        assert story["traces"]["others"] == {}
        assert {"wagtailcore_page", "wagtailsearch_indexentry", "auth_user"} <= set(story["traces"]["own"])


def test_the_morning_is_the_same_in_both_tenants_of_every_tier(stories: running.Told) -> None:
    """Titles, trees, aggregates, counts and, of what the release brought, ids."""
    told = [running.without_names(story) for pair in stories.values() for story in pair.values()]
    chapters = [{name: story[name] for name in ("work", "visit", "reckon")} for story in told]
    assert len(chapters) == 2 * len(TIERS)
    assert all(each == chapters[0] for each in chapters)
    assert len(chapters[0]["work"]["types"]) > 40
