"""What a caller sends about an erasure. What names a person is read here, and is in no answer and no refusal."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.core.validators import RegexValidator
from drf_spectacular.utils import OpenApiExample, extend_schema_serializer
from rest_framework import serializers

from controlplane.api.bodies import Shape
from controlplane.api.fields import IdOf, Text, Whole
from provisioning import lifecycle
from provisioning.erasure.identifiers import KINDS, MOST
from provisioning.erasure.intake import MOST_GRACE
from provisioning.erasure.verbs import REASONS
from provisioning.models import Basis, DeadlinePolicy, ErasureKind, ExtensionReason

DIGEST = "sha256:5c1aa68fa672f0b75638586908351a728969b9aa674309b3b513c965a0a616fa"
CLOSING = sorted(REASONS)
LONGEST_VALUE = 500


class IdentifierRequest(Shape):
    """One value that names a person."""

    kind = serializers.ChoiceField(
        choices=sorted(KINDS),
        # Django REST framework's own words repeat the choice: a value that was sent in its place would come back.
        error_messages={"invalid_choice": f"The kinds are {', '.join(sorted(KINDS))}."},
    )
    value = Text(max_length=LONGEST_VALUE, help_text="It is sealed at once, and in no answer.")

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, dict) and not set(data) <= set(self.fields):  # a name, too, may be what must not come back
            raise serializers.ValidationError("An identifier has a kind and a value, and nothing else.")
        return super().to_internal_value(data)


@extend_schema_serializer(
    examples=[
        OpenApiExample(
            "A person asks",
            value={
                "scope": "subject",
                "tenant": "ten_0198c1f2a7e07c3e9b1d5a4c8e2f6b70",
                "basis": "consent_withdrawn",
                "identifiers": [{"kind": "email", "value": "dana.smith@example.org"}],
            },
        )
    ]
)
class AskErasureRequest(Shape):
    """Whose data, why, and since when it is asked for."""

    scope = serializers.ChoiceField(choices=ErasureKind.choices, help_text="A whole tenant, or one person within it.")
    tenant = IdOf("ten")
    basis = serializers.ChoiceField(choices=Basis.choices, required=False, help_text="Left out: `contract_end`.")
    policy = serializers.ChoiceField(
        choices=DeadlinePolicy.choices, required=False, help_text="By when: `eu`, a calendar month, or `contract`."
    )
    received_at = serializers.DateTimeField(required=False, help_text="From when the time runs. Left out: now.")
    grace_days = Whole(
        required=False,
        min_value=0,
        max_value=MOST_GRACE.days,
        help_text="Between the approval and the beginning. Left out: 7 for a tenant, 1 for a person.",
    )
    time_zone = Text(required=False, max_length=64, help_text="Whose midnight ends the due date. Left out: UTC.")
    contract_days = Whole(required=False, help_text="Under the policy `contract` alone. Left out: 30.")
    identifiers = serializers.ListField(
        child=IdentifierRequest(), required=False, max_length=MOST, help_text="Of the person; none for a tenant."
    )


@extend_schema_serializer(
    examples=[OpenApiExample("A proof", value={"evidence": "0198c1f2-b1c4-7d10-a3f0-9e6d5b7c8a21"})]
)
class IdentityProofRequest(Shape):
    """That whoever asked is the one."""

    evidence = serializers.UUIDField(help_text="The id of the proof, which you keep; never the proof itself.")


@extend_schema_serializer(examples=[OpenApiExample("The plan that was read", value={"plan_digest": DIGEST})])
class ErasureApprovalRequest(Shape):
    """Which plan is approved."""

    plan_digest = Text(
        validators=[RegexValidator(r"^sha256:[0-9a-f]{64}\Z")], help_text="Of the plan you read: 409 when it changed."
    )


@extend_schema_serializer(examples=[OpenApiExample("A reason", value={"reason": "withdrawn"})])
class ErasureClosingRequest(Shape):
    """Why nothing is erased: a word, as a sentence would be one more place for a name."""

    reason = serializers.ChoiceField(choices=CLOSING)


@extend_schema_serializer(
    examples=[
        OpenApiExample("Two months", value={"months": 2, "reason": "complex", "notice_sent_at": "2026-11-25T09:00:00Z"})
    ]
)
class ExtensionRequest(Shape):
    """GDPR Art. 12(3): once, with notice to whoever asked before the first due date."""

    months = Whole(min_value=1, max_value=2)
    reason = serializers.ChoiceField(choices=ExtensionReason.choices)
    notice_sent_at = serializers.DateTimeField(help_text="When whoever asked was told why.")


def wish_of(asked: dict[str, Any]) -> lifecycle.ErasureWish:
    """From a body that AskErasureRequest has read."""
    given: dict[str, Any] = {
        name: asked[name]
        for name in ("basis", "policy", "received_at", "time_zone", "contract_days")
        if name in asked
    }  # fmt: skip
    if "grace_days" in asked:
        given["grace"] = timedelta(days=asked["grace_days"])
    named = (lifecycle.ErasureIdentifier(each["kind"], each["value"]) for each in asked.get("identifiers", ()))
    return lifecycle.ErasureWish(kind=asked["scope"], identifiers=tuple(named), **given)


def digest_of(text: str) -> bytes:
    """The 32 bytes of a digest that ErasureApprovalRequest has read."""
    return bytes.fromhex(text.removeprefix("sha256:"))
