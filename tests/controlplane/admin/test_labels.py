import re
from collections.abc import Iterable
from pathlib import Path

import pytest
from django.conf import settings

from controlplane.admin.labels import LABELS, Tone, label
from provisioning.models import (
    ErasureCertificate,
    ErasureState,
    Judged,
    RehearsalState,
    Release,
    Resource,
    RolloutState,
    RunState,
    StepState,
    TargetState,
)
from provisioning.rollout import drift
from tenants.actions import Outcome
from tenants.findings import Severity
from tenants.models import Cluster
from tenants.states import TenantState

CHOICES: dict[str, Iterable[str]] = {
    "tenant": TenantState,
    "run": RunState,
    "step": StepState,
    "rollout": RolloutState,
    "target": TargetState,
    "rehearsal": RehearsalState,
    "drift": drift.State,
    "resource": Resource.State,
    "erasure": ErasureState,
    "verdict": Judged,
    "certificate": ErasureCertificate.State,
    "cluster": Cluster.State,
    "release": Release.State,
    "severity": Severity,
    "outcome": Outcome,
}
CSS = (Path(settings.BASE_DIR) / "controlplane" / "static" / "tenure" / "ops.css").read_text()


@pytest.mark.parametrize("kind", CHOICES)
def test_every_state_has_a_label(kind: str) -> None:
    assert {str(state) for state in CHOICES[kind]} <= set(LABELS[kind])


@pytest.mark.parametrize("kind", LABELS)
def test_letters_and_words_tell_the_states_of_a_kind_apart(kind: str) -> None:
    labels = LABELS[kind].values()
    assert len({each.letter for each in labels}) == len({each.word for each in labels}) == len(labels)


def test_a_state_that_is_not_in_the_table_is_shown_as_it_is_in_grey() -> None:
    assert (label("run", "new").word, label("run", "new").tone) == ("new", Tone.QUIET)


def colours(theme: str) -> dict[str, str]:
    block = CSS.split(":root {" if theme == "light" else ".dark {", 1)[1].split("}", 1)[0]
    return dict(re.findall(r"--tn-([a-z-]+): (#[0-9a-f]{6});", block))


def luminance(colour: str) -> float:
    """WCAG 2.2, "relative luminance"."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("tone", Tone)
def test_every_tone_can_be_read_and_seen(theme: str, tone: Tone) -> None:
    known = colours(theme)
    assert contrast(known[f"{tone}-text"], known[f"{tone}-ground"]) >= 4.5
    assert contrast(known[f"{tone}-bar"], known["card"]) >= 3


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("text", ["ink", "text", "faint", "link"])
@pytest.mark.parametrize("ground", ["card", "back"])
def test_every_text_can_be_read(theme: str, text: str, ground: str) -> None:
    known = colours(theme)
    assert contrast(known[text], known[ground]) >= 4.5


def test_our_own_files_stay_small() -> None:
    folder = Path(settings.BASE_DIR) / "controlplane" / "static" / "tenure"
    assert len((folder / "ops.css").read_text().splitlines()) < 300
    assert len((folder / "ops.js").read_text().splitlines()) < 100
