"""ETags: If-Match guards a change against what the caller did not see, If-None-Match saves an answer (RFC 9110 §13)."""

from __future__ import annotations

import re
from hashlib import sha256

from rest_framework.request import Request

from controlplane.api.codes import Code
from controlplane.api.errors import Problem

ETAG = re.compile(r'(?P<weak>W/)?"(?P<tag>[^"]*)"')


def etag_of_version(version: int) -> str:
    return f'"{version}"'


def etag_of_body(body: bytes) -> str:
    return f'"{sha256(body).hexdigest()[:32]}"'


def required_version(request: Request, version: int) -> int | None:
    """The version a change expects, None for `If-Match: *`. Raises ETAG_REQUIRED without the header, ETAG_MISMATCH."""
    if "If-Match" not in request.headers:
        raise Problem(Code.ETAG_REQUIRED)
    return expected_version(request, version)


def expected_version(request: Request, version: int) -> int | None:
    """As `required_version`, and None where the header was left out: verbs honour it when it is given."""
    header = request.headers.get("If-Match", "*").strip()
    if header == "*":
        return None
    # Strong comparison (RFC 9110 §8.8.3.2): a weak tag never matches here.
    if str(version) not in {match["tag"] for match in ETAG.finditer(header) if not match["weak"]}:
        raise Problem(Code.ETAG_MISMATCH, metadata={"current": etag_of_version(version)})
    return version


def unchanged(request: Request, etag: str) -> bool:
    """Whether If-None-Match says that the caller has this answer already; weak comparison (RFC 9110 §13.1.2)."""
    header = request.headers.get("If-None-Match", "").strip()
    return header == "*" or etag.strip('"') in {match["tag"] for match in ETAG.finditer(header)}
