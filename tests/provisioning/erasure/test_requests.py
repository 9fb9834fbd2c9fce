"""The whole life of a request, over a small store: who asks, who approves, what goes and what is said of it."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.db import connections
from django.utils import timezone

from provisioning.engine import control
from provisioning.engine.workflow import Body, Outcome, StepContext, Workflow
from provisioning.erasure import plan, verbs
from provisioning.erasure.certificate import verify
from provisioning.erasure.deadlines import BadExtension, DeadlineInfeasible
from provisioning.erasure.errors import PastTheBar, SamePerson
from provisioning.erasure.issuing import public_key
from provisioning.erasure.stores import Enumeration, Progress, Scope
from provisioning.errors import KeyReused, Transient
from provisioning.models import (
    DataKey,
    ErasureCertificate,
    ErasureRequest,
    ErasureStore,
    ExtensionReason,
    LegalHold,
    Recheck,
    Run,
)
from provisioning.workflows.erase_looks import looks
from provisioning.workflows.erase_sweep import Erasing, sweep_erasures
from provisioning.workflows.legal_holds import place_hold, release_hold
from tenants.errors import StateConflict
from tenants.models import AuditEntry, Tenant
from tests.provisioning.erasure.small import (
    ALICE,
    BOB,
    MAIL,
    House,
    Shelf,
    ShelfEraser,
    approve,
    blockers_of,
    certificate_of,
    house_of,
    housed,
    lines_of,
    settled_acme,
    stopped,
)

pytestmark = pytest.mark.long


@pytest.fixture
def acme(control: None, settings: Any) -> Tenant:
    settings.TENURE_ERASURE_SOAK_S = 0
    return settled_acme()


@pytest.fixture
def small(acme: Tenant) -> House:
    return house_of(acme)


def states(request: ErasureRequest) -> list[str]:
    actions = AuditEntry.objects.filter(public__object_id=str(request.pk)).order_by("seq")
    return [str(entry.public["action"]).removeprefix("erasure.") for entry in actions]


def test_a_tenant_is_erased_by_two_people_and_the_certificate_adds_up(small: House) -> None:
    request = small.approved()
    assert (request.state, small.shelf.items) == ("scheduled", 5)
    small.swept(request)
    assert request.incarnation == small.tenant.incarnation
    small.tenant.refresh_from_db()
    assert (request.state, small.tenant.state, small.shelf.items) == ("checking", "erasing", 0)
    assert request.incarnation != small.tenant.incarnation  # whoever carries the former is refused
    small.swept(request)
    small.tenant.refresh_from_db()
    assert (request.state, small.tenant.state) == ("settling", "erased")
    certificate = certificate_of(request)
    assert lines_of(request) == {"shelf": (5, 5, 0, 0, 0)}
    assert (certificate["stage"], certificate["tombstone"]["seq"]) == ("live", 1)
    kept = ErasureCertificate.objects.get(request=request.pk)
    assert verify(kept.document.encode(), public_key()).document["id"] == certificate["id"]
    assert certificate["plan"]["proposed_by"] != certificate["plan"]["approved_by"]
    over = [{**each, "until": "2026-01-01T00:00:00Z"} for each in certificate["residue"]]
    ErasureRequest.objects.filter(pk=request.pk).update(certificate={**certificate, "residue": over})
    for due in Recheck.objects.filter(request=request).order_by("due_at"):
        Recheck.objects.filter(pk=due.pk).update(due_at=due.due_at - timedelta(days=100))
        small.swept(request)
    final = certificate_of(request)
    assert (request.state, final["stage"], final["supersedes"]) == ("completed", "final", certificate["id"])
    assert (request.identifiers, final["residue"]) == (None, over)
    assert not DataKey.objects.filter(owner_ref=request.pk).exclude(state="destroyed").exists()
    assert states(request) == [
        *("requested", "planning", "proposed", "approved", "freezing", "started", "checking", "settled"),
        *("rechecked",) * 4,
        *("completed", "key_destroyed"),
    ]


def test_a_person_is_erased_and_what_a_law_keeps_is_named(acme: Tenant) -> None:
    small = house_of(acme, Shelf(items=7, retained=2))
    request = small.asked("subject")
    assert (request.state, request.kinds) == ("identifying", ["email"])
    again = small.asked("subject", received_at=request.received_at - timedelta(days=9))
    assert (again.state, again.merged_into_id, again.due_at < request.due_at) == ("merged", request.pk, True)
    request.refresh_from_db()
    assert (request.state, request.due_at) == ("identifying", again.due_at)  # it proves nothing for the first
    small.proved(request)
    small.swept(request)
    verbs.propose_erasure(request, actor=ALICE, key="propose")
    small.swept(approve(request), passes=3)
    assert (request.state, small.shelf.items) == ("settling", 2)
    assert small.shelf.seen[0] == (MAIL.value,)
    assert lines_of(request) == {"shelf": (7, 5, 0, 2, 2)}
    kept = {"locator": "shelf:shelf.law", "n": 2, "ground": "tax law", "until": None}
    assert certificate_of(request)["retained"] == [kept]
    small.tenant.refresh_from_db()
    assert small.tenant.state == "suspended"
    ErasureRequest.objects.filter(pk=again.pk).update(finished_at=timezone.now() - timedelta(days=31))
    sweep_erasures(small.workflows)  # whoever was merged may ask why for a month
    again.refresh_from_db()
    assert (again.identifiers, DataKey.objects.get(owner_ref=again.pk).state) == (None, "destroyed")
    assert found_in_control_database("dana.smith") == []


def found_in_control_database(needle: str) -> list[str]:
    """Every column of every table that holds it, in any case and in any encoding of text."""
    found = []
    with connections["owner"].cursor() as cursor:
        cursor.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        for (table,) in cursor.fetchall():
            hexed = needle.encode().hex()
            cursor.execute(
                f'SELECT count(*) FROM "{table}" t WHERE strpos(lower(t::text), %s) + strpos(t::text, %s) > 0',
                (needle, hexed),
            )
            if cursor.fetchone() != (0,):
                found.append(table)
    return found


class TestGoingBack:
    def test_what_changed_since_the_approval_voids_it(self, small: House) -> None:
        request = small.approved()
        small.shelf.items += 100  # as many as a day's work brings
        small.shelf.places.append("shelf.bottom")
        small.swept(request)
        assert (request.state, request.approval_id, small.shelf.items) == ("planning", None, 105)
        assert stopped(request)[:2] == ("failed", "PLAN_CHANGED")
        assert "voided" in states(request)
        small.swept(request)
        verbs.propose_erasure(request, actor=ALICE, key="once more")
        small.swept(approve(request), passes=2)
        assert (request.state, small.shelf.items) == ("settling", 0)

    def test_blocked_until_nothing_stands_in_the_way(self, small: House) -> None:
        small.shelf.unclassified.append("public.made_by_hand")
        request = small.swept(small.asked())
        assert request.state == "blocked"
        assert blockers_of(request) == [("erasure.unclassified", "Nobody erases public.made_by_hand.")]
        with pytest.raises(StateConflict):
            verbs.propose_erasure(request, actor=ALICE, key="blocked")
        small.shelf.unclassified.clear()
        small.shelf.control = False
        small.swept(request)
        assert (request.state, blockers_of(request)[0][0]) == ("blocked", "erasure.unknown")
        small.shelf.control = True
        assert small.swept(request).state == "planning"

    def test_a_legal_hold_stops_it_in_every_state_and_its_release_resumes_it(self, small: House) -> None:
        request = small.asked()
        for reach in ("planning", "awaiting_approval", "scheduled"):
            if reach != "planning":
                verbs.propose_erasure(request, actor=ALICE, key=str(uuid4()))
            if reach == "scheduled":
                approve(request)
            assert request.state == reach
            today = timezone.now().date()
            hold = place_hold(tenant=small.tenant, ground="court order", review_on=today, actor=BOB)
            small.swept(request, passes=2)
            assert (request.state, small.shelf.items) == ("blocked", 5)
            release_hold(hold=hold, reason="lifted", actor=BOB)
            small.swept(request)
            assert (request.state, blockers_of(request)) == ("planning", [])

    def test_a_hold_that_comes_behind_the_fence_is_still_in_time(self, small: House) -> None:
        request = small.approved()
        held: list[LegalHold] = []

        class Holding(ShelfEraser):
            def enumerate(self, scope: Scope) -> Enumeration:
                today = timezone.now().date()
                held.append(place_hold(tenant=small.tenant, ground="court order", review_on=today, actor=BOB))
                return super().enumerate(scope)

        holding = replaced(small, Holding(small.shelf))
        former = small.tenant.incarnation
        holding.swept(request)
        small.tenant.refresh_from_db()
        assert (request.state, small.shelf.items, small.tenant.state) == ("planning", 5, "suspended")
        assert small.tenant.incarnation != former
        assert small.swept(request).state == "blocked"

    def test_cancelled_up_to_the_bar_and_refused_behind_it(self, small: House) -> None:
        request = small.approved()
        cancelled: list[str] = []

        class Cancelling(ShelfEraser):
            def enumerate(self, scope: Scope) -> Enumeration:
                verbs.cancel_erasure(request, reason="withdrawn", actor=ALICE, key="cancel")
                cancelled.append(request.state)
                return super().enumerate(scope)

        replaced(small, Cancelling(small.shelf)).swept(request)
        assert (request.state, small.shelf.items, cancelled) == ("cancelled", 5, ["cancelled"])
        assert stopped(request)[0] == "cancelled"
        verbs.cancel_erasure(request, reason="withdrawn", actor=ALICE, key="cancel")  # a repeat
        other = small.swept(small.approved())
        assert other.state == "checking"
        with pytest.raises(PastTheBar):
            verbs.cancel_erasure(other, reason="withdrawn", actor=ALICE, key="too late")


class TestErasing:
    def test_what_comes_back_is_erased_once_more_and_counted_as_late(self, acme: Tenant) -> None:
        """The first store is behind the bar before the second's late writer fills it again."""
        small = house_of(acme, Shelf(store="outside", comes_back=3), Shelf(), phases=((3, 6), (5,)))
        request = small.swept(small.approved(), passes=2)
        assert request.state == "settling"
        counts = {line["store"]: (line["deleted"], line["late"]) for line in certificate_of(request)["stores"]}
        assert counts == {"outside": (8, 3), "shelf": (5, 0)}

    def test_what_was_written_during_the_soak_begins_another_round(self, small: House) -> None:
        request = small.swept(small.approved())
        small.shelf.items = 2
        small.swept(request)
        assert (request.state, request.round, request.fence["late_writes"]) == ("erasing", 2, 2)
        small.swept(request, passes=2)
        assert (request.state, certificate_of(request)["fence"]["late_before"]) == ("settling", 2)
        assert lines_of(request) == {"shelf": (7, 7, 0, 0, 0)}

    def test_one_store_that_does_not_answer_stops_no_other(self, acme: Tenant) -> None:
        calls: list[str] = []
        small = house_of(acme, Shelf(store="away", away=3, calls=calls), Shelf(calls=calls))
        request = small.swept(small.approved(), passes=2)
        assert request.state == "settling"
        erased = [call.removeprefix("erase ") for call in calls if call.startswith("erase")]
        assert erased[:4] == ["away", "shelf", "shelf", "shelf"]
        assert found_in_control_database("dana.smith") == []  # its error's text quotes her address

    def test_an_eraser_that_says_done_gets_no_certificate(self, small: House) -> None:
        request = small.approved()
        small.shelf.stuck = True
        small.swept(request)
        assert (request.state, request.certificate) == ("erasing", None)
        assert stopped(request)[:3] == ("parked", "STORES_NOT_CLEAN", "gate")
        assert "shelf.top still holds 5" in stopped(request)[3]

    def test_whoever_cannot_prove_that_he_sees_proves_nothing(self, small: House) -> None:
        request = small.approved()

        class Blinding(ShelfEraser):
            def erase(self, *args: Any) -> Progress:
                self.shelf.control = False
                return super().erase(*args)

        blind = replaced(small, Blinding(small.shelf))
        blind.swept(request)
        assert (stopped(request)[:3], small.shelf.items) == (("parked", "VERDICT_UNKNOWN", "gate"), 0)
        assert ErasureStore.objects.get(request=request).verdict == "unknown"
        small.shelf.control = True
        assert request.run is not None
        control.retry(request.run, reason="It has its role again.", actor=BOB)
        blind.driven()
        assert blind.swept(request).state == "settling"

    def test_a_store_that_nobody_erases_any_more_is_named(self, small: House) -> None:
        request = small.swept(small.approved())
        without = dataclasses.replace(small.registry, erasers=())
        small.workflows = Erasing(small.workflows.erase, small.workflows.again, *looks(without))
        small.swept(request)
        assert (request.state, stopped(request)[1]) == ("checking", "CERTIFICATE_REFUSED")
        assert "shelf" in stopped(request)[3]
        blocked = plan.count(request, without)["blockers"]
        assert [(finding["code"], finding["subject"]) for finding in blocked] == [("erasure.no_eraser", "shelf")]

    def test_a_certificate_is_void_when_a_later_look_finds_something(self, small: House) -> None:
        request = small.swept(small.approved(), passes=2)
        small.shelf.items = 1
        verbs.recheck_erasure(request, actor=BOB, key="look")
        small.swept(request)
        assert (request.state, "regressed_at" in certificate_of(request)) == ("regressed", True)
        assert ErasureCertificate.objects.get(request=request.pk).state == "regressed"
        small.swept(request, passes=3)
        assert (request.state, small.shelf.items) == ("settling", 0)
        assert "regressed_at" not in certificate_of(request)

    def test_what_was_deleted_without_a_word_shows_as_absent(self, small: House) -> None:
        request = small.approved()

        class Dying(ShelfEraser):
            def erase(self, *args: Any) -> Progress:
                before = self.shelf.items
                progress = super().erase(*args)
                if before == 5:
                    raise Transient("The answer never came.")
                return progress

        replaced(small, Dying(small.shelf)).swept(request, passes=2)
        assert lines_of(request) == {"shelf": (5, 3, 2, 0, 0)}

    def test_an_eraser_that_takes_more_than_there_was_stops_the_run(self, small: House) -> None:
        request = small.approved()

        class Greedy(ShelfEraser):
            def erase(self, *args: Any) -> Progress:
                return dataclasses.replace(super().erase(*args), deleted=6)

        replaced(small, Greedy(small.shelf)).swept(request)
        assert (stopped(request)[:2], request.certificate) == (("parked", "COLLATERAL"), None)

    def test_every_step_may_be_called_twice(self, small: House) -> None:
        """A worker may die between a body's end and its record: the body is called again."""
        once, twice = small.workflows.erase, doubled(small.workflows.erase)
        small.workflows = dataclasses.replace(small.workflows, erase=twice, check=doubled(small.workflows.check))
        assert [step.name for step in once.steps] == [step.name for step in twice.steps]
        request = small.swept(small.approved(), passes=2)
        assert (request.state, small.shelf.items) == ("settling", 0)
        assert lines_of(request) == {"shelf": (5, 5, 0, 0, 0)}
        assert ErasureStore.objects.filter(request=request).count() == 1


def test_records_that_are_held_stay_and_go_by_a_follow_up(small: House) -> None:
    request = small.proposed("subject")
    hold = verbs.hold_records(
        request,
        store="shelf",
        locator="shelf.law",
        ground="tax law",
        review_at=timezone.now() + timedelta(days=300),
        actor=BOB,
        key="hold",
    )
    request.refresh_from_db()
    assert (request.state, request.plan_digest) == ("planning", None)
    small.shelf.retained = 1
    small.swept(request)
    verbs.propose_erasure(request, actor=ALICE, key="propose")
    small.swept(approve(request), passes=3)
    assert (request.state, request.retained_items, small.shelf.items) == ("settling", 1, 1)
    small.shelf.retained = 0
    follow = verbs.release_records(hold, actor=BOB, key="release")
    assert (follow.follows_id, follow.state, follow.due_at) == (request.pk, "planning", request.due_at)
    assert verbs.release_records(hold, actor=BOB, key="release").pk == follow.pk
    small.swept(follow)
    verbs.propose_erasure(follow, actor=ALICE, key="propose the rest")
    with pytest.raises(SamePerson):
        approve(follow, by=BOB)  # whoever released it has asked for it


def test_a_deleted_tenant_is_purged_by_a_request_and_not_once_it_is_undeleted(small: House) -> None:
    deleted = Tenant.objects.filter(pk=small.tenant.pk)
    deleted.update(state="deleted", purge_at=timezone.now() + timedelta(days=1))
    sweep_erasures(small.workflows)
    assert not ErasureRequest.objects.exists()
    deleted.update(purge_at=timezone.now())
    for _again in range(2):
        sweep_erasures(small.workflows)
    request = ErasureRequest.objects.get()
    small.swept(request)
    verbs.propose_erasure(request, actor=ALICE, key="propose")
    approve(request)
    deleted.update(state="suspended", purge_at=None)
    sweep_erasures(small.workflows)
    request.refresh_from_db()
    assert (request.state, small.shelf.items) == ("cancelled", 5)


def test_a_tenant_that_still_works_is_shut_before_its_grace_is_over(small: House) -> None:
    request = small.approved(grace=timedelta(days=3))
    Tenant.objects.filter(pk=small.tenant.pk).update(state="active")
    for _again in range(2):
        ErasureRequest.objects.filter(pk=request.pk).update(look_at=request.received_at)
        sweep_erasures(small.workflows)
    request.refresh_from_db()
    assert [run.workflow for run in Run.objects.filter(finished_at=None)] == ["suspend"]
    assert (request.state, request.starts_at is not None) == ("scheduled", True)


def test_the_clock_runs_from_receipt_and_is_extended_once(small: House) -> None:
    with pytest.raises(DeadlineInfeasible) as refused:
        small.asked(grace=timedelta(days=40))
    assert 20 <= int(str(refused.value.metadata["longest_grace_s"])) // 86_400 <= 27
    key = str(uuid4())
    wish = verbs.ErasureWish(kind="subject", identifiers=(MAIL,))
    made = [verbs.request_erasure(tenant=small.tenant, wish=wish, actor=ALICE, key=key) for _again in range(2)]
    assert made[0].pk == made[1].pk
    with pytest.raises(KeyReused):
        verbs.request_erasure(
            tenant=small.tenant, wish=dataclasses.replace(wish, time_zone="Asia/Tokyo"), actor=ALICE, key=key
        )
    now = timezone.now()
    for _again in range(2):
        verbs.extend_erasure(
            made[0], months=2, reason=ExtensionReason.COMPLEX, notice_sent_at=now, actor=ALICE, key="extend"
        )
    assert made[0].extended_until is not None
    assert made[0].extended_until > made[0].due_at + timedelta(days=58)
    with pytest.raises(BadExtension):
        verbs.extend_erasure(
            made[0], months=1, reason=ExtensionReason.COMPLEX, notice_sent_at=now, actor=ALICE, key="more"
        )


def replaced(small: House, eraser: ShelfEraser) -> House:
    """The same house with another eraser."""
    return housed(small.tenant, small.shelves, dataclasses.replace(small.registry, erasers=(eraser,)))


def doubled(workflow: Workflow) -> Workflow:
    def twice(body: Body) -> Body:
        def do(ctx: StepContext) -> Outcome:
            body(ctx)
            return body(ctx)

        return do

    steps = tuple(dataclasses.replace(step, do=twice(step.do)) for step in workflow.steps)
    return dataclasses.replace(workflow, steps=steps)
