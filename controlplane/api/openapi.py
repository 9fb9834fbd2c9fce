"""The OpenAPI document: problems, headers, security, and what drf-spectacular cannot know by itself."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any, Literal

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse
from rest_framework import serializers

from controlplane.api.codes import CODES, Code
from controlplane.api.errors import MEDIA_TYPE
from controlplane.api.examples import EXAMPLES

HEADER: Literal["header"] = "header"
UUID_SCHEMA = {"type": "string", "format": "uuid"}
SECONDS = {"type": "integer", "minimum": 1}


def _reply(name: str, schema: dict[str, Any], meaning: str, statuses: list[int] | bool) -> OpenApiParameter:  # noqa: FBT001
    return OpenApiParameter(name, schema, HEADER, response=statuses, description=meaning)


REQUEST_ID = OpenApiParameter(
    "Request-Id", str, HEADER, description="A UUID of yours to find this request by; anything else is replaced."
)
IDEMPOTENCY_KEY = OpenApiParameter(
    "Idempotency-Key",
    {"type": "string", "pattern": "^[!-~]{16,255}$"},
    HEADER,
    required=True,
    description="16 to 255 visible ASCII characters, fresh for each new request. A repeat gets the first answer.",
)
IDEMPOTENCY_KEY_OPTIONAL = OpenApiParameter(
    "Idempotency-Key",
    {"type": "string", "pattern": "^[!-~]{16,255}$"},
    HEADER,
    description="With it, a repeat gets the first answer instead of acting again.",
)
IF_MATCH = OpenApiParameter(
    "If-Match", str, HEADER, description="The ETag that was read, or `*`. Otherwise 412 when it has changed."
)
IF_MATCH_REQUIRED = OpenApiParameter(
    "If-Match", str, HEADER, required=True, description="The ETag that was read, or `*` to overwrite whatever is there."
)
IF_NONE_MATCH = OpenApiParameter("If-None-Match", str, HEADER, description="The ETag you have: 304 if it is the same.")
IDEMPOTENT_REPLAYED = _reply(
    "Idempotent-Replayed", {"type": "string", "const": "true"}, "This is the first answer, again.", [200, 201, 202]
)
LOCATION = _reply("Location", {"type": "string"}, "Where the operation, or what was made, is.", [201, 202])
ETAG = _reply("ETag", {"type": "string"}, "For If-Match and If-None-Match.", [200, 201, 304])
POLL_AFTER = _reply("Retry-After", SECONDS, "While it is not done: seconds until asking again is worth it.", [200])
NO_STORE = _reply("Cache-Control", {"type": "string", "const": "no-store"}, "Never to be kept by a cache.", [200])
REPLY_HEADERS = (
    REQUEST_ID,
    _reply("Request-Id", UUID_SCHEMA, "Yours, or one that was made.", True),
    _reply("Retry-After", SECONDS, "Seconds to wait.", [409, 429, 503]),
    _reply("WWW-Authenticate", {"type": "string"}, "How to authenticate.", [401]),
    _reply("Allow", {"type": "string"}, "The methods this address answers to.", [405]),
)


class FieldProblemShape(serializers.Serializer[Any]):
    field = serializers.CharField(help_text="The name of the field; `labels.team` inside another one.")
    code = serializers.CharField()
    detail = serializers.CharField()


class ProblemShape(serializers.Serializer[Any]):
    """Why a request was refused (RFC 9457)."""

    type = serializers.CharField(help_text="The address of the page that explains the code.")
    title = serializers.CharField()
    status = serializers.IntegerField(min_value=400, max_value=599)
    detail = serializers.CharField(help_text="What is wrong with this request.")
    instance = serializers.CharField(help_text="The path that was called.")
    code = serializers.ChoiceField(choices=CODES)
    retryable = serializers.BooleanField(help_text="Whether the very same request can succeed later.")
    errors = FieldProblemShape(many=True)  # type: ignore[assignment]  # a field of the body, not of the class
    metadata = serializers.DictField(help_text="The thing in the way, by name.")
    hint = serializers.CharField(help_text="What to do about it.")
    request_id = serializers.UUIDField()


def problem_responses(codes: Iterable[Code]) -> dict[tuple[int, str], OpenApiResponse]:
    """One response per status, naming and showing each code that it may carry."""
    by_status: defaultdict[int, list[Code]] = defaultdict(list)
    for code in dict.fromkeys(codes):
        by_status[code.status].append(code)
    return {
        (status, MEDIA_TYPE): OpenApiResponse(
            ProblemShape,
            description="; ".join(f"`{code}`: {code.summary}" for code in found),
            examples=[_example(code) for code in found],
        )
        for status, found in sorted(by_status.items())
    }


def _example(code: Code) -> OpenApiExample:
    errors = [{"field": "slug", "code": "BAD_SLUG", "detail": "'Acme!' is not a usable slug."}]
    return OpenApiExample(
        code,
        summary=code.summary,
        response_only=True,
        media_type=MEDIA_TYPE,
        status_codes=[str(code.status)],
        value={
            "type": f"https://tenure.example/api/v1/problems/{code.page}",
            "title": code.summary,
            "status": code.status,
            "detail": f"{code.summary}.",
            "instance": "/api/v1/tenants",
            "code": str(code),
            "retryable": code.retryable,
            "errors": errors if code is Code.VALIDATION_FAILED else [],
            "metadata": {},
            "hint": code.hint,
            "request_id": "0198c1f2-b1c4-7d10-a3f0-9e6d5b7c8a21",
        },
    )


class Document(AutoSchema):
    """Shapes are called in the document what they are the shape of."""

    def get_serializer_name(self, serializer: Any, direction: Any) -> str:  # noqa: ARG002  the direction is in the name
        return type(serializer).__name__.removesuffix("Shape")


class KeyScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]  # registers itself by a metaclass
    """`Authorization: Bearer tnr_…` in the document, and the Authorize button of the page to try it."""

    target_class = "controlplane.api.permissions.ApiKeyAuthentication"
    name = "apiKey"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:  # noqa: ARG002
        return {"type": "http", "scheme": "bearer", "bearerFormat": "tnr_<key id>_<secret>"}


def finished(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """A postprocessing hook: what a request may hold is closed; what many answers share is written once."""
    components = result["components"]
    for name, schema in components["schemas"].items():
        if name.endswith("Request"):
            schema["additionalProperties"] = False
    shared: dict[str, dict[str, Any]] = {"responses": {}, "examples": {}, "parameters": {}}
    for operation in (operation for path in result["paths"].values() for operation in path.values()):
        for status, response in operation["responses"].items():
            if MEDIA_TYPE in response.get("content", {}):
                operation["responses"][status] = _shared_problem(status, response, shared)
            elif "application/json" in response.get("content", {}):
                _show_an_example(response["content"]["application/json"], shared)
        operation["parameters"] = [_shared_parameter(each, shared) for each in operation.get("parameters", [])]
    components.update({kind: dict(sorted(found.items())) for kind, found in shared.items()})
    return result


def _shared_problem(status: str, response: dict[str, Any], shared: dict[str, dict[str, Any]]) -> dict[str, str]:
    """A reference to the response of this status and these codes, and in it references to the codes' examples."""
    content = response["content"][MEDIA_TYPE]
    examples = {example["value"]["code"]: example for example in content["examples"].values()}
    shared["examples"].update(examples)
    content["examples"] = {code: {"$ref": f"#/components/examples/{code}"} for code in examples}
    codes = "".join(word.title() for code in content["examples"] for word in code.split("_"))
    name = f"Problem{status}{codes}"
    shared["responses"][name] = response
    return {"$ref": f"#/components/responses/{name}"}


def _show_an_example(content: dict[str, Any], shared: dict[str, dict[str, Any]]) -> None:
    name = content["schema"].get("$ref", "").rpartition("/")[2]
    if name in EXAMPLES:
        shared["examples"][name] = {"value": EXAMPLES[name]}
        content["examples"] = {name: {"$ref": f"#/components/examples/{name}"}}


def _shared_parameter(parameter: dict[str, Any], shared: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Headers and paths mean the same everywhere; query parameters belong to their list."""
    if parameter["in"] == "query":
        return parameter
    name = f"{parameter['name'].title().replace('-', '')}{'Required' if parameter.get('required') else ''}"
    shared["parameters"][name] = parameter
    return {"$ref": f"#/components/parameters/{name}"}
