import json
from dataclasses import dataclass, replace
from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from provisioning.engine.start import newest
from provisioning.engine.workflow import Step, Workflow, WorkflowMistake
from provisioning.models import Queue
from tests.provisioning.engine.building import BUILD, SELL, House, put_up, survey, take_down


def of(*steps: Step) -> Workflow:
    return Workflow(name="w", version=1, queue=Queue.OPERATIONS, input=House, steps=steps)


PLAIN = Step(name="a", do=put_up, undo=take_down)


def test_each_step_before_the_pivot_needs_a_way_back() -> None:
    with pytest.raises(WorkflowMistake, match="may be undone"):
        of(Step(name="a", do=put_up))
    with pytest.raises(WorkflowMistake, match="may be undone"):
        of(Step(name="a", do=put_up), Step(name="b", do=put_up, pivot=True))
    of(PLAIN, Step(name="b", do=put_up, pivot=True), Step(name="c", do=put_up))


def test_a_step_that_changes_nothing_needs_none_and_may_have_none() -> None:
    of(Step(name="a", do=survey, changes_nothing=True))
    with pytest.raises(WorkflowMistake, match="changes nothing"):
        Step(name="a", do=survey, undo=take_down, changes_nothing=True)


def test_there_is_one_pivot_at_most() -> None:
    pivots = [Step(name=name, do=put_up, pivot=True) for name in "ab"]
    with pytest.raises(WorkflowMistake, match="one pivot"):
        of(*pivots)


def test_steps_have_names_of_their_own() -> None:
    with pytest.raises(WorkflowMistake):
        of(PLAIN, PLAIN)
    with pytest.raises(WorkflowMistake):
        of()


def test_no_body_may_run_longer_than_an_hour() -> None:
    with pytest.raises(WorkflowMistake, match="one hour"):
        replace(PLAIN, timeout=timedelta(hours=2))


def test_the_digest_changes_with_names_order_and_pivot_only() -> None:
    other = replace(PLAIN, name="b")
    base = of(PLAIN, other).digest
    assert of(replace(PLAIN, do=survey, timeout=timedelta(seconds=1)), other).digest == base
    assert len({base, of(other, PLAIN).digest, of(PLAIN).digest, of(PLAIN, replace(other, pivot=True)).digest}) == 4


def test_new_runs_take_the_highest_version() -> None:
    second = Workflow(name="build", version=2, queue=BUILD.queue, input=House, steps=BUILD.steps)
    assert newest({w.key: w for w in (second, BUILD, SELL)}, "build") is second
    with pytest.raises(KeyError):
        newest({BUILD.key: BUILD}, "demolish")


@dataclass(frozen=True)
class Order:
    house: UUID
    owner: UUID | None = None
    rooms: tuple[str, ...] = ()
    floors: int = 1


def test_an_input_comes_back_from_its_row_as_it_went_in() -> None:
    workflow = Workflow(name="w", version=1, queue=Queue.OPERATIONS, input=Order, steps=(PLAIN,))
    order = Order(house=uuid4(), owner=uuid4(), rooms=("hall", "kitchen"), floors=2)
    assert workflow.load(workflow.dump(order)) == order
    assert workflow.dump(order) == json.loads(json.dumps(workflow.dump(order)))  # a repeat compares equal to its row


def test_an_old_row_meets_new_code_with_the_defaults_of_what_it_lacks() -> None:
    workflow = Workflow(name="w", version=1, queue=Queue.OPERATIONS, input=Order, steps=(PLAIN,))
    house = uuid4()
    assert workflow.load({"house": str(house), "gone": "field"}) == Order(house=house)
