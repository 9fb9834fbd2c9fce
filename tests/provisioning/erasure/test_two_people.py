"""Two persons, kept by the database: every way to do without the second, tried as the control plane's own role."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from django.contrib.auth import get_user_model
from django.db import IntegrityError
from psycopg.errors import CheckViolation, ForeignKeyViolation, InsufficientPrivilege

from controlplane import settings as project
from provisioning.erasure import verbs
from provisioning.erasure.errors import SamePerson
from provisioning.erasure.people import answerable, person_of
from provisioning.errors import PlanChanged
from provisioning.models import ErasureApproval, ErasureRequest
from tenants.actions import Actor
from tenants.models import Tenant
from tests.provisioning.erasure.small import ALICE, BOB, approve, house_of, settled_acme

REFUSED = InsufficientPrivilege
CHEATS: dict[str, tuple[str, type[psycopg.Error]]] = {
    "approves as who requested": ("{approve} %(digest)s, %(alice)s, %(alice)s, %(alice)s)", CheckViolation),
    "names another as who requested": ("{approve} %(digest)s, %(bob)s, %(alice)s, %(alice)s)", CheckViolation),
    "names two others": ("{approve} %(digest)s, %(bob)s, %(bob)s, %(alice)s)", ForeignKeyViolation),
    "names another as who proposed": ("{approve} %(digest)s, %(alice)s, %(bob)s, %(carol)s)", ForeignKeyViolation),
    "approves a plan that nobody froze": (
        "{approve} decode(repeat('00', 32), 'hex'), %(alice)s, %(alice)s, %(bob)s)",
        ForeignKeyViolation,
    ),
    "says that somebody else had asked": (
        "UPDATE provisioning_erasurerequest SET requested_by = %(bob)s WHERE id = %(request)s",
        REFUSED,
    ),
    "begins without an approval": (
        "UPDATE provisioning_erasurerequest SET state = 'scheduled' WHERE id = %(request)s",
        CheckViolation,
    ),
    "makes one up": (
        "UPDATE provisioning_erasurerequest SET state = 'scheduled', approval_id = %(carol)s WHERE id = %(request)s",
        ForeignKeyViolation,
    ),
    "takes another request's": (
        "UPDATE provisioning_erasurerequest SET state = 'scheduled', approval_id = %(approval)s WHERE id = %(request)s",
        ForeignKeyViolation,
    ),
    "takes it for another plan": (
        "UPDATE provisioning_erasurerequest SET plan_digest = decode(repeat('00', 32), 'hex') WHERE id = %(other)s",
        ForeignKeyViolation,
    ),
    "takes it for no plan, which no key would compare": (
        "UPDATE provisioning_erasurerequest SET plan_digest = NULL WHERE id = %(other)s",
        CheckViolation,
    ),
    "changes who approved": (
        "UPDATE provisioning_erasureapproval SET approved_by = %(carol)s WHERE id = %(approval)s",
        REFUSED,
    ),
    "changes who proposed": (
        "UPDATE provisioning_erasureplan SET proposed_by = %(carol)s WHERE request_id = %(request)s",
        REFUSED,
    ),
    "takes the plan away": ("DELETE FROM provisioning_erasureplan WHERE request_id = %(request)s", REFUSED),
    "takes the request away": ("DELETE FROM provisioning_erasurerequest WHERE id = %(request)s", REFUSED),
    "takes the rule away": (
        "ALTER TABLE provisioning_erasureapproval DROP CONSTRAINT erasureapproval_by_another",
        REFUSED,
    ),
    "switches keys off": ("SET session_replication_role = 'replica'", REFUSED),
}
APPROVE = (
    "INSERT INTO provisioning_erasureapproval (id, request_id, digest, requested_by, proposed_by, approved_by)"
    " VALUES (gen_random_uuid(), %(request)s,"
)


@pytest.fixture
def acme(control: None) -> Tenant:
    return settled_acme()


@pytest.fixture
def runtime() -> Iterator[psycopg.Connection[Any]]:
    entry = project.DATABASES["default"]
    names = {"host": "HOST", "port": "PORT", "user": "USER", "password": "PASSWORD", "dbname": "NAME"}
    with psycopg.connect(**{name: entry[key] for name, key in names.items()}, autocommit=True) as connection:
        yield connection


def test_nobody_erases_alone(acme: Tenant, runtime: psycopg.Connection[Any]) -> None:
    small = house_of(acme)
    request, other = small.proposed(), small.approved("subject")
    frozen = verbs.plan_of_erasure(request)
    assert frozen is not None
    digest = bytes(frozen.digest)
    with pytest.raises(SamePerson):
        approve(request, by=ALICE)
    with pytest.raises(IntegrityError):
        ErasureApproval.objects.create(
            request=request,
            digest=digest,
            requested_by=request.requested_by,
            proposed_by=frozen.proposed_by,
            approved_by=request.requested_by,
        )
    named = {
        "request": request.pk,
        "other": other.pk,
        "approval": other.approval_id,
        "digest": digest,
        "alice": request.requested_by,
        "bob": person_of(BOB).pk,
        "carol": uuid4(),
    }
    before = list(ErasureRequest.objects.order_by("pk").values())
    for name, (cheat, refusal) in CHEATS.items():
        assert refused_as(runtime, cheat.replace("{approve}", APPROVE), named) is refusal, name
    assert list(ErasureRequest.objects.order_by("pk").values()) == before
    with pytest.raises(PlanChanged):
        verbs.approve_erasure(request, digest=bytes(32), actor=BOB, key="other plan")
    key = str(uuid4())
    for _again in range(2):  # the control for all refusals above, and its repeat
        verbs.approve_erasure(request, digest=digest, actor=BOB, key=key)
    assert (request.state, request.approvals.count()) == ("scheduled", 1)


def test_two_keys_of_one_owner_are_one_person_and_so_is_the_user_of_that_name(control: None) -> None:
    first, second = (Actor("api_key", str(uuid4()), name, principal="dana") for name in ("one", "two"))
    assert person_of(first) == person_of(second)
    assert person_of(first) != person_of(BOB)
    dana = get_user_model().objects.create(username="dana")
    assert answerable(first) == f"user:{dana.pk}" == answerable(Actor("user", str(dana.pk), "Dana"))


def refused_as(runtime: psycopg.Connection[Any], cheat: str, named: dict[str, Any]) -> type[psycopg.Error] | None:
    try:
        runtime.execute(cheat, named)
    except psycopg.Error as error:
        return type(error)
    return None
