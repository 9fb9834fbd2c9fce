"""A new rollout by hand: a form that makes a draft, whose page shows its plan. Nothing is touched until an approval."""

from __future__ import annotations

import re
from datetime import UTC
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from django import forms
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse

from controlplane.admin.asking import Asking, ask
from provisioning import lifecycle
from provisioning.models import Release, Rollout
from provisioning.rollout.budget import CLASSES
from provisioning.rollout.window import DAYS
from tenants.actions import Actor
from tenants.models import Cluster, Plan
from tenants.states import Tier

if TYPE_CHECKING:
    from controlplane.admin.base import ReadOnlyAdmin

OPERATE = "provisioning.operate_rollout"
WAVE = re.compile(r"(\d+)\s*(%?)")
FIELDS = {  # where the verb's words differ from the form's
    "selection.tier": "tier", "selection.labels": "labels", "max_failures": "failures", "window": "days",
    "selection.region": "region", "selection.cluster": "cluster", "selection.plan": "plan", "selection.slugs": "slugs",
}  # fmt: skip


class WordsField(forms.CharField):
    """Words between commas or spaces, as a list."""

    def to_python(self, value: Any) -> Any:
        return [word for word in re.split(r"[\s,]+", value or "") if word]


class LabelsField(forms.CharField):
    """`region=eu, beta=yes`, as an object."""

    def to_python(self, value: Any) -> Any:
        pairs = [pair.partition("=") for pair in re.split(r"\s*,\s*", (value or "").strip()) if pair]
        if not all(name and equals for name, equals, _value in pairs):
            raise forms.ValidationError("Write name=value, and commas between several.")
        return {name.strip(): text.strip() for name, _equals, text in pairs}


class WavesField(forms.CharField):
    """`5, 10 %, 100 %`, as a rollout keeps it."""

    def to_python(self, value: Any) -> Any:
        parts = [part for part in re.split(r"\s*,\s*", (value or "").strip()) if part]
        found = [WAVE.fullmatch(part) for part in parts]
        if not all(found):
            raise forms.ValidationError("Write 5 for the next five targets, 10 % for a share, and commas between them.")
        return [{"percent" if each[2] else "count": int(each[1])} for each in found if each]


class BudgetField(LabelsField):
    """`drift=0, data error=2`, as numbers."""

    def to_python(self, value: Any) -> Any:
        classes = super().to_python(value)
        if not all(text.isdigit() for text in classes.values()):
            raise forms.ValidationError("Write a class and a number, such as drift=0.")
        return {name: int(text) for name, text in classes.items()}


def boxes(label: str, choices: Any = (), help_text: str = "") -> forms.MultipleChoiceField:
    return forms.MultipleChoiceField(
        label=label, choices=choices, required=False, help_text=help_text, widget=forms.CheckboxSelectMultiple
    )


class ProposalForm(forms.Form):
    """What is asked for. The rules are those of every other door: `lifecycle.propose_rollout` judges the terms."""

    release = forms.ChoiceField(help_text="Where everybody is to get. An older one is a way back.")
    tier = boxes("Tiers", Tier.choices, "Whom it is for; nothing chosen is everybody.")
    region = boxes("Regions")
    cluster = boxes("Clusters")
    plan = boxes("Plans")
    labels = LabelsField(required=False, help_text="name=value, and commas between several.")
    slugs = WordsField(label="Only these tenants", required=False, help_text="Slugs, with commas between them.")
    canary = WordsField(label="Canaries", required=False, help_text="Slugs of those that go first, as wave 0.")
    waves = WavesField(
        initial="5, 10 %, 100 %",
        required=False,
        help_text="5 is the next five targets, 10 % goes on until a tenth is through; the last is 100 %.",
    )
    failures = forms.IntegerField(
        label="Failures it may cost", min_value=0, initial=3, required=False, help_text="One more, and it pauses."
    )
    percent = forms.FloatField(
        label="Failures in percent", min_value=0, max_value=100, required=False, help_text="Of the targets of a wave."
    )
    classes = BudgetField(
        label="Failures of a class", required=False, help_text=f"drift=0, for example. Classes: {', '.join(CLASSES)}."
    )
    parallelism = forms.IntegerField(
        label="Lanes", min_value=1, initial=2, help_text="How many targets of one cluster are at work at once."
    )
    lock_timeout_ms = forms.IntegerField(
        label="Lock timeout",
        min_value=1,
        initial=2_000,
        help_text="In milliseconds, before it lets go and tries later.",
    )
    starts_at = forms.DateTimeField(
        label="Start",
        required=False,
        help_text="In UTC; empty is as soon as it is approved.",
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}),
    )
    days = boxes("Maintenance window", [(day, day) for day in DAYS], "The days on which it opens; none is any time.")
    opens = forms.TimeField(label="Opens", required=False, widget=forms.TimeInput(attrs={"type": "time"}))
    closes = forms.TimeField(
        label="Closes",
        required=False,
        help_text="In UTC; before it opens is on the next day.",
        widget=forms.TimeInput(attrs={"type": "time"}),
    )
    key = forms.CharField(widget=forms.HiddenInput, max_length=255)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        published = Release.objects.filter(state=Release.State.PUBLISHED).order_by("-published_at")
        clusters = list(Cluster.objects.order_by("name").values_list("name", "region"))
        self.choose("release", list(published.values_list("name", flat=True)))
        self.choose("region", sorted({region for _name, region in clusters}))
        self.choose("cluster", [name for name, _region in clusters])
        self.choose("plan", list(Plan.objects.order_by("name").values_list("name", flat=True)))
        self.fields["key"].initial = str(uuid4())

    def choose(self, field: str, words: list[str]) -> None:
        self.fields[field].choices = [(word, word) for word in words]  # type: ignore[attr-defined]  # a ChoiceField

    def clean(self) -> dict[str, Any]:
        typed = super().clean() or self.cleaned_data
        times = [typed.get("opens"), typed.get("closes")]
        if typed.get("days") and None in times:
            self.add_error("opens", "Say when the window opens and closes.")
        if any(times) and not typed.get("days"):
            self.add_error("days", "Say on which days the window opens.")
        return typed

    def terms(self) -> lifecycle.RolloutTerms:
        """As the verb wants it; what was left empty is left out."""
        typed = self.cleaned_data
        chosen = {name: typed[name] for name in ("tier", "region", "cluster", "plan", "labels", "slugs") if typed[name]}
        budget = {"count": typed["failures"], "percent": typed["percent"], "classes": typed["classes"] or None}
        window = {"days": typed["days"], "from": f"{typed['opens']:%H:%M}", "to": f"{typed['closes']:%H:%M}"} if (
            typed["days"]
        ) else None  # fmt: skip
        starts_at = typed["starts_at"].astimezone(UTC) if typed["starts_at"] else None
        return lifecycle.RolloutTerms(
            selection=chosen,
            max_failures={name: most for name, most in budget.items() if most is not None},
            window=window,
            starts_at=starts_at,
            **{name: typed[name] for name in ("canary", "waves", "parallelism", "lock_timeout_ms")},
        )


def propose(request: HttpRequest, admin: ReadOnlyAdmin) -> HttpResponse:
    """The form; a good one makes a draft and leads to it. Sent twice it is one draft."""
    if not request.user.has_perm(OPERATE):
        raise PermissionDenied
    return ask(request, admin, ProposalForm(request.POST or None, initial=request.GET.dict()), _draft, ASKING)


def _draft(form: ProposalForm, actor: Actor) -> Rollout:
    return lifecycle.propose_rollout(
        release=Release.objects.get(name=form.cleaned_data["release"]),
        terms=form.terms(),
        actor=actor,
        key=form.cleaned_data["key"],
    )


ASKING = Asking(
    title="Propose a rollout",
    question="Which release, for whom, and how carefully?",
    lead="This makes a draft and shows its plan. Nothing is touched before somebody else has approved that. Where"
    " nobody has walked from one release to the other yet, that is tried now, on a copy: as long as migrating takes.",
    submit="Make a draft",
    refused="Refused, and no draft was made.",
    fields=FIELDS,
)
