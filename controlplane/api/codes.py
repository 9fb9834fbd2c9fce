"""Every code a refusal may carry: one enum makes the code, its page under /problems/ and its place in OpenAPI."""

from __future__ import annotations

from enum import StrEnum


class Code(StrEnum):
    """A stable code, with its HTTP status, what it means, what to do, and whether a repeat can succeed later."""

    status: int
    summary: str
    hint: str
    retryable: bool

    def __new__(cls, value: str, status: int, summary: str, hint: str, retryable: bool = False) -> Code:  # noqa: FBT001, FBT002, PYI034
        code = str.__new__(cls, value)
        code._value_ = value
        code.status, code.summary, code.hint, code.retryable = status, summary, hint, retryable
        return code

    @property
    def page(self) -> str:
        """The last part of the problem's `type`: operation-in-progress."""
        return self.value.lower().replace("_", "-")

    MALFORMED_REQUEST = (
        "MALFORMED_REQUEST",
        400,
        "The request cannot be read",
        "Send JSON as RFC 8259 has it, without NUL characters and unpaired surrogates, and parameters as documented.",
    )
    UNKNOWN_PARAMETER = (
        "UNKNOWN_PARAMETER",
        400,
        "There is no such query parameter",
        "Compare its spelling with the documentation; a misspelt filter must not list the whole fleet.",
    )
    INVALID_CURSOR = (
        "INVALID_CURSOR",
        400,
        "The cursor is not one of ours",
        "Start again without a cursor and follow the answer's `next` and `previous` as they are.",
    )
    IDEMPOTENCY_KEY_MISSING = (
        "IDEMPOTENCY_KEY_MISSING",
        400,
        "This call needs an Idempotency-Key",
        "Send a fresh random key, a UUID for example, and the same one when you repeat the call.",
    )
    IDEMPOTENCY_KEY_INVALID = (
        "IDEMPOTENCY_KEY_INVALID",
        400,
        "The Idempotency-Key cannot be used",
        "Use 16 to 255 visible ASCII characters.",
    )
    NOT_AUTHENTICATED = (
        "NOT_AUTHENTICATED",
        401,
        "The API key is missing or does not open this door",
        "Send `Authorization: Bearer tnr_…`. Unknown, expired and revoked keys look alike; ask for a new one.",
    )
    SCOPE_MISSING = (
        "SCOPE_MISSING",
        403,
        "The API key may not do this",
        "Use a key that holds the scope named in `metadata`.",
    )
    SAME_PERSON = (
        "SAME_PERSON",
        403,
        "Whoever proposed this does not approve it as well",
        "Ask somebody else to read the plan and approve it. Two keys of one owner are the same person.",
    )
    NOT_FOUND = ("NOT_FOUND", 404, "There is no such thing", "Check the id: its prefix, and that it is complete.")
    METHOD_NOT_ALLOWED = (
        "METHOD_NOT_ALLOWED",
        405,
        "This address does not answer to that method",
        "The Allow header lists those it answers to.",
    )
    NOT_ACCEPTABLE = (
        "NOT_ACCEPTABLE",
        406,
        "The answer cannot be given in that form",
        "Accept application/json.",
    )
    OPERATION_IN_PROGRESS = (
        "OPERATION_IN_PROGRESS",
        409,
        "Another operation on this tenant has not finished",
        "Wait for the operation or rollout named in `metadata`, or cancel it.",
        True,
    )
    STATE_CONFLICT = (
        "STATE_CONFLICT",
        409,
        "The state does not allow this",
        "Read it again: its `actions` list what may be done now.",
    )
    DELETION_PROTECTED = (
        "DELETION_PROTECTED",
        409,
        "The tenant is protected from being deleted",
        "PATCH `deletion_protection` to false first, and be sure that it is the tenant you mean.",
    )
    TENANT_EXISTS = (
        "TENANT_EXISTS",
        409,
        "A tenant with this slug or external reference exists",
        "If it is yours, `metadata` names it; otherwise choose another slug.",
    )
    PLAN_CHANGED = (
        "PLAN_CHANGED",
        409,
        "The plan is no longer the one you saw",
        "Ask for the plan again with validate_only, and send its digest.",
    )
    ERASURE_NOT_CERTIFIED = (
        "ERASURE_NOT_CERTIFIED",
        409,
        "There is no such certificate of this erasure yet",
        "`metadata` names what remains; while any store is dirty or not known there is none.",
        True,
    )
    OLDER_RELEASE_RUNS = (
        "OLDER_RELEASE_RUNS",
        409,
        "The release takes away what an older one still uses",
        "Roll the release that made room for it out to those in `metadata` first.",
    )
    REHEARSAL_OBJECTS = (
        "REHEARSAL_OBJECTS",
        409,
        "A rehearsal found what nobody should approve unread",
        "Read the findings in `metadata` and change the release; or approve with `override`, and say in it why.",
    )
    NO_DRIFT = (
        "NO_DRIFT",
        409,
        "The target does not differ from its release, or could not be looked at",
        "Nothing to do. GET /drift/{target} shows how it stands.",
    )
    IDEMPOTENCY_IN_PROGRESS = (
        "IDEMPOTENCY_IN_PROGRESS",
        409,
        "The first request with this key is still being answered",
        "Repeat the request after the time in Retry-After.",
        True,
    )
    KEY_DISABLED = (
        "KEY_DISABLED",
        409,
        "The tenant's data key is disabled",
        "Its data is about to be erased; nothing is encrypted or opened meanwhile.",
    )
    KEY_DESTROYED = (
        "KEY_DESTROYED",
        410,
        "The tenant's data key was destroyed",
        "What it encrypted cannot be read any more, by anybody. Nothing brings it back.",
    )
    ETAG_MISMATCH = (
        "ETAG_MISMATCH",
        412,
        "It has changed since you read it",
        "Read it again and repeat the change on what it is now.",
    )
    REQUEST_TOO_LARGE = (
        "REQUEST_TOO_LARGE",
        413,
        "The body is larger than any request needs to be",
        "Send at most 64 KiB.",
    )
    UNSUPPORTED_MEDIA_TYPE = (
        "UNSUPPORTED_MEDIA_TYPE",
        415,
        "The body is not of a type that can be read here",
        "Send application/json.",
    )
    VALIDATION_FAILED = (
        "VALIDATION_FAILED",
        422,
        "Some fields are not as they should be",
        "`errors` names each field and what is wrong with it.",
    )
    IDEMPOTENCY_KEY_REUSED = (
        "IDEMPOTENCY_KEY_REUSED",
        422,
        "This Idempotency-Key belongs to another request",
        "Use a fresh key for each new request, and the old one only to repeat the old request.",
    )
    UNSUPPORTED_TARGET = (
        "UNSUPPORTED_TARGET",
        422,
        "The plan does not include this tier",
        "Choose a tier of the plan, or a plan with this tier; GET /plans lists them.",
    )
    RELEASE_CANNOT_BE_POOLED = (
        "RELEASE_CANNOT_BE_POOLED",
        422,
        "The tenant application cannot live in tables that tenants share",
        "`detail` names the statement in the way and `hint` what to write instead; or choose a plan of another tier.",
    )
    LEGAL_HOLD = (
        "LEGAL_HOLD",
        422,
        "A law keeps this data for now",
        "Nothing to do: once the hold is released, the request is planned anew by itself.",
    )
    DEADLINE_INFEASIBLE = (
        "DEADLINE_INFEASIBLE",
        422,
        "So long a grace would miss the due date",
        "Ask for a grace of at most `metadata.longest_grace_s` seconds, or leave it out.",
    )
    ROLLOUT_REFUSED = (
        "ROLLOUT_REFUSED",
        422,
        "The release cannot be reached by everything that was chosen",
        "`hint` says what to write instead; publish that, or leave out by `filter` what cannot get there.",
    )
    DRIFT_NOT_REPAIRABLE = (
        "DRIFT_NOT_REPAIRABLE",
        422,
        "The target differs in something that only a person can put right",
        "Put what `metadata.left` names right by hand as the owner role, or adopt it; then ask again.",
    )
    ETAG_REQUIRED = (
        "ETAG_REQUIRED",
        428,
        "A change needs If-Match",
        "Send the ETag you read, or `If-Match: *` to overwrite whatever is there.",
    )
    RATE_LIMITED = (
        "RATE_LIMITED",
        429,
        "Too many requests",
        "Wait for the time in Retry-After. A key's limits can be raised.",
        True,
    )
    INTERNAL = (
        "INTERNAL",
        500,
        "Something is wrong on our side",
        "Report the request id. With an Idempotency-Key the request may be repeated safely.",
    )
    NO_CAPACITY = (
        "NO_CAPACITY",
        503,
        "No cluster has room for this tenant",
        "Open or enlarge a cluster of the region, or choose another region.",
        True,
    )
    NO_RELEASE = (
        "NO_RELEASE",
        503,
        "No release of the tenant application is published",
        "An operator runs `manage.py publish_release`; then repeat the request.",
        True,
    )
    UNAVAILABLE = (
        "UNAVAILABLE",
        503,
        "A part this request needs does not answer",
        "Repeat the request after the time in Retry-After, with the same Idempotency-Key.",
        True,
    )


CODES = [str(code) for code in Code]
