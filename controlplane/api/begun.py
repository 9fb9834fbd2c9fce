"""202 of work that is about no single tenant: where its operation is."""

from __future__ import annotations

from drf_spectacular.utils import inline_serializer

from controlplane.api.idempotency import Answer
from controlplane.api.operation_shape import OperationShape, operation_json
from provisioning.models import Run

BegunShape = inline_serializer("Begun", {"operation": OperationShape()})


def begun(run: Run) -> Answer:
    return Answer(202, {"operation": operation_json(run)}, {"Location": f"/api/v1/operations/{run.public_id}"}, run)
