import pytest

from tenants.isolation import refusals


@pytest.fixture(autouse=True)
def _nothing_refused_yet() -> None:
    """What another test of this minute was refused keeps a refusal out of this one's log."""
    refusals._counted.counts.clear()
