"""202 of work that an operation does: where that is."""

from __future__ import annotations

from drf_spectacular.utils import inline_serializer

from controlplane.api.bodies import Json
from controlplane.api.idempotency import Answer
from controlplane.api.operation_shape import OperationShape, operation_json
from provisioning.models import Run

BegunShape = inline_serializer("Begun", {"operation": OperationShape()})


def begun(run: Run, **beside: Json) -> Answer:
    """`beside`: what else is shown, by its name in the answer."""
    body = {"operation": operation_json(run), **beside}
    return Answer(202, body, {"Location": f"/api/v1/operations/{run.public_id}"}, run)
