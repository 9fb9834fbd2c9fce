"""Idempotency-Key: a request that is repeated gets the first answer, and does nothing twice.

# Note [The answer is stored with the work]
Key, work and answer are written in one transaction. So there is no "in progress" row that a crash could leave behind:
the row is visible only when it is complete, a refusal takes it along in its rollback, and a crash between commit and
answer costs nothing, because the repeat finds the stored answer. Two requests with one key meet at the row's primary
key: the second waits there for at most 2 s.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from hashlib import sha256
from typing import Any
from urllib.parse import urlencode

from django.db import OperationalError, connection, transaction
from django.http import HttpResponse
from django.utils import timezone
from psycopg.errors import LockNotAvailable
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request

from controlplane.api.bodies import body_of
from controlplane.api.codes import Code
from controlplane.api.errors import Problem
from controlplane.models import ApiKey
from provisioning.models import IdempotencyKey, Run

HEADER = "Idempotency-Key"
KEY = re.compile(r"[\x21-\x7e]{16,255}")
KEPT = timedelta(days=7)  # billing systems retry for days
LOCK_WAIT = "2s"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a view answers: a body of JSON values, and the run it started, if any."""

    status: int
    body: Any
    headers: Mapping[str, str] = field(default_factory=dict)
    run: Run | None = None


def required_key(request: Request) -> str:
    """The caller's key. Raises Problem IDEMPOTENCY_KEY_MISSING or IDEMPOTENCY_KEY_INVALID."""
    if (key := optional_key(request)) is None:
        raise Problem(Code.IDEMPOTENCY_KEY_MISSING)
    return key


def optional_key(request: Request) -> str | None:
    """As `required_key`, and None where none was sent. Quotes are tolerated: the header is a string (RFC 8941)."""
    if HEADER not in request.headers:
        return None
    key = request.headers[HEADER].strip()
    if len(key) > 1 and key[0] == key[-1] == '"':
        key = key[1:-1]
    if not KEY.fullmatch(key):
        raise Problem(Code.IDEMPOTENCY_KEY_INVALID)
    return key


def once(
    request: Request, *, key: str | None, do: Callable[[], Answer], fingerprint: bytes | None = None
) -> HttpResponse:
    """Call `do` in a transaction and answer; or answer again what was answered to this key. Without a key: just do it.

    `fingerprint` tells this request from others where a plain hash of its body would give away what is in it.

    `do` writes rows only: while it runs, requests with the same key wait. Raises Problem IDEMPOTENCY_IN_PROGRESS or
    IDEMPOTENCY_KEY_REUSED; whatever `do` raises leaves no trace of the key.
    """
    with transaction.atomic():
        if key is None:
            return _response(do())
        principal, fingerprint = _principal(request), fingerprint or fingerprint_of(request)
        if not _taken(principal, key, fingerprint):
            return _replayed(principal, key, fingerprint)
        answer = do()
        response = _response(answer)
        IdempotencyKey.objects.filter(principal=principal, key=key).update(
            status=answer.status, headers=dict(answer.headers), body=response.content, run=answer.run
        )
        return response


def answered(request: Request, *, key: str, fingerprint: bytes | None = None) -> HttpResponse | None:
    """The first answer, if this key has one: for a view that has something to do before the transaction of `once`."""
    principal = _principal(request)
    if not IdempotencyKey.objects.filter(principal=principal, key=key).exists():
        return None
    return _replayed(principal, key, fingerprint or fingerprint_of(request))


def fingerprint_of(request: Request) -> bytes:
    """SHA-256 of method, path, query and canonical JSON: sorted names, NFC, nothing filled in."""
    body = json.dumps(body_of(request), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    query = urlencode(sorted(request.query_params.items()))  # where a DELETE says why
    text = "\n".join((str(request.method), request.path, query, unicodedata.normalize("NFC", body)))
    return sha256(text.encode()).digest()


def _taken(principal: str, key: str, fingerprint: bytes) -> bool:
    """Whether the key is ours now; False when it has an answer already."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('lock_timeout')")
        (before,) = cursor.fetchone()
        cursor.execute("SELECT set_config('lock_timeout', %s, true)", [LOCK_WAIT])
        try:
            cursor.execute(
                "INSERT INTO provisioning_idempotencykey (principal, key, fingerprint, status, headers, body,"
                " created_at, expires_at) VALUES (%s, %s, %s, 0, '{}', '', statement_timestamp(), %s)"
                " ON CONFLICT DO NOTHING",
                [principal, key, fingerprint, timezone.now() + KEPT],
            )
        except OperationalError as error:
            if isinstance(error.__cause__, LockNotAvailable):
                raise Problem(Code.IDEMPOTENCY_IN_PROGRESS, headers={"Retry-After": "2"}) from error
            raise
        taken: bool = cursor.rowcount == 1
        cursor.execute("SELECT set_config('lock_timeout', %s, true)", [before])
    return taken


def _replayed(principal: str, key: str, fingerprint: bytes) -> HttpResponse:
    stored = IdempotencyKey.objects.filter(principal=principal, key=key).first()
    if stored is None:  # it expired and was pruned in this very moment
        raise Problem(Code.IDEMPOTENCY_IN_PROGRESS, headers={"Retry-After": "2"})
    if bytes(stored.fingerprint) != fingerprint:
        raise Problem(Code.IDEMPOTENCY_KEY_REUSED)
    headers = {**stored.headers, "Idempotent-Replayed": "true"}
    return HttpResponse(bytes(stored.body), status=stored.status, headers=headers, content_type="application/json")


def _response(answer: Answer) -> HttpResponse:
    return HttpResponse(
        JSONRenderer().render(answer.body),
        status=answer.status,
        headers=dict(answer.headers),
        content_type="application/json",
    )


def _principal(request: Request) -> str:
    """Whose keys these are: the owner's, so that a caller may exchange its API key and still repeat a request."""
    if not isinstance(request.auth, ApiKey):
        raise Problem(Code.NOT_AUTHENTICATED)
    return request.auth.principal
