"""When an approval of one plan is none of another; and which state may follow which."""

from typing import Any
from uuid import UUID

import pytest

from provisioning.erasure.acting import VERBS
from provisioning.erasure.plan import digest, drift, frozen
from provisioning.erasure.rounds import united
from provisioning.models import ENDED_REQUESTS, ERASURE_TRANSITIONS, LEFT_OF_THE_BAR, RIGHT_OF_THE_BAR, ErasureState
from provisioning.models.erasure_states import SAYS

SCOPE = {"kind": "tenant", "tenant": "t", "incarnation": "i", "identifiers": 0}
HOLD = {"store": "rows", "locator": "invoice", "ground": "tax law"}
BLOCKER = {"subject": "bucket", "message": "2 objects are locked."}


def document(rows: int = 1_000, files: int | None = 50, **more: Any) -> dict[str, Any]:
    stores = [("rows", "public.member", rows), *([("bucket", "t-1", files)] if files is not None else [])]
    return {
        "scope": SCOPE,
        "stores": [
            {"store": store, "tallies": [{"locator": where, "n": n, "action": "delete"}]} for store, where, n in stores
        ],
        "catalog": "sha256:1",
        "holds": [],
        "blockers": [],
        **more,
    }


@pytest.mark.parametrize("now", [document(), document(1_100), document(950), document(1_000, 150)])
def test_a_days_work_of_a_living_tenant_is_no_drift(now: dict[str, Any]) -> None:
    assert drift(document(), now) == []


def test_five_in_a_hundred_of_many_is_no_drift() -> None:
    assert drift(document(100_000), document(104_999)) == []


@pytest.mark.parametrize(
    ("now", "why"),
    [
        (document(1_101), "public.member holds 1101, not 1000."),
        (document(899), "public.member holds 899, not 1000."),
        (document(catalog="sha256:2"), "The catalog of what there is to erase has changed."),
        (document(holds=[HOLD]), "Held since: invoice."),
        (document(blockers=[BLOCKER]), "bucket: 2 objects are locked."),
        (document(scope={**SCOPE, "identifiers": 1}), "It is about somebody else now."),
    ],
)
def test_what_was_not_approved_is_drift(now: dict[str, Any], why: str) -> None:
    assert drift(document(), now) == [why]


def test_a_new_store_and_a_new_place_are_drift_however_little_is_there() -> None:
    assert drift(document(files=None), document(files=1)) == ["The store bucket is new."]
    elsewhere = document()
    elsewhere["stores"][0]["tallies"].append({"locator": "public.note", "n": 1, "action": "delete"})
    assert drift(document(), elsewhere) == ["public.note of rows is new."]


def test_the_digest_is_of_who_proposed_what_and_of_nothing_else() -> None:
    alice, bob = UUID(int=1), UUID(int=2)
    signed, first = frozen(document(), proposed_by=alice, nth=1)
    assert first == digest(dict(reversed(signed.items())))
    assert len({first, *(frozen(document(), proposed_by=who, nth=nth)[1] for who, nth in ((alice, 2), (bob, 1)))}) == 3
    assert frozen(document(999), proposed_by=alice, nth=1)[1] != first


def test_a_new_enumeration_adds_to_the_former_one() -> None:
    former = {"keys": ["a", "b"], "tables": {"x": [1]}, "last": 3}
    assert united(former, {"keys": ["b", "c"], "tables": {"x": [2], "y": [1]}, "last": 4, "more": True}) == {
        "keys": ["a", "b", "c"],
        "tables": {"x": [1, 2], "y": [1]},
        "last": 4,
        "more": True,
    }


def test_nothing_leads_back_over_the_bar() -> None:
    assert set(ERASURE_TRANSITIONS) == set(SAYS) == set(ErasureState)
    for state in RIGHT_OF_THE_BAR:
        assert ERASURE_TRANSITIONS[state] <= set(RIGHT_OF_THE_BAR)
    crossing = {state for state in LEFT_OF_THE_BAR if ERASURE_TRANSITIONS[state] & set(RIGHT_OF_THE_BAR)}
    assert crossing == {ErasureState.FREEZING}
    for state in LEFT_OF_THE_BAR:
        assert ErasureState.CANCELLED in ERASURE_TRANSITIONS[state]
    for verb in VERBS.keys() - {"release_records"}:
        assert VERBS[verb].isdisjoint(ENDED_REQUESTS)
