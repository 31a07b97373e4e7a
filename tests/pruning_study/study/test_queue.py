import pytest

from pruning_study.options.config import PruneConfig
from pruning_study.study.plan import Step
from pruning_study.study.queue import FAILED, FOUND, MADE, NOT_MADE, Queue, StepOutcome


def steps(*names):
    """Return steps by name: `A` is a dense run, `Aa` and `Ab` are pruned from it, `Aaa` from `Aa`."""
    return [Step("dense" if len(name) == 1 else "pruned", PruneConfig(), name[:-1], name) for name in names]


def taken(queue, held=(), others=()):
    step = queue.next(held, others)
    return step and step.config_hash


def end(queue, name, state=MADE):
    queue.end(queue.steps[name], StepOutcome(state, "1"))


def test_a_dense_run_comes_before_what_is_pruned_from_it():
    queue = Queue(steps("A", "Aa", "Ab"), {})
    assert taken(queue) == "A"
    assert taken(queue) is None
    end(queue, "A")
    assert [taken(queue, "A"), taken(queue, "A"), taken(queue, "A")] == ["Aa", "Ab", None]


def test_each_level_of_a_chain_waits_for_the_one_before():
    queue = Queue(steps("A", "Aa", "Aaa"), {})
    assert [taken(queue), taken(queue)] == ["A", None]
    end(queue, "A")
    assert [taken(queue), taken(queue)] == ["Aa", None]
    end(queue, "Aa")
    assert [taken(queue), taken(queue)] == ["Aaa", None]
    end(queue, "Aaa")
    assert queue.is_done


def test_a_chain_goes_on_where_a_killed_study_left_it():
    queue = Queue(steps("A", "Aa", "Aaa", "Aaaa"), {"A": "1", "Aa": "2"})
    assert taken(queue) == "Aaa"


def test_a_worker_stays_with_its_models_and_shares_one_only_at_the_end():
    queue = Queue(steps("A", "Aa", "Ab", "B", "Ba"), {})
    assert [taken(queue), taken(queue, others=["A"])] == ["A", "B"]
    for name in "AB":
        end(queue, name)
    assert taken(queue, ["B"], ["A"]) == "Ba"
    assert taken(queue, ["A"], ["B"]) == "Aa"
    assert taken(queue, ["B"], ["A"]) == "Ab"


def test_a_model_in_memory_goes_before_one_that_nobody_holds():
    queue = Queue(steps("A", "Aa", "B", "Ba"), {"A": "1", "B": "2"})
    assert [taken(queue, ["B"]), taken(queue, ["B"])] == ["Ba", "Aa"]


def test_a_new_dense_model_goes_before_one_that_another_worker_holds():
    queue = Queue(steps("A", "Aa", "B"), {"A": "1"})
    assert [taken(queue, (), ["A"]), taken(queue, (), ["A"])] == ["B", "Aa"]


def test_what_a_killed_study_left_comes_before_new_dense_models():
    queue = Queue(steps("A", "Aa", "B", "Ba"), {"A": "1"})
    assert queue.counts[FOUND] == 1
    assert [taken(queue), taken(queue, ["A"])] == ["Aa", "B"]


def test_where_a_run_fails_nothing_that_starts_from_it_is_made():
    queue = Queue(steps("A", "Aa", "Aaa", "Ab", "B"), {})
    assert taken(queue) == "A"
    end(queue, "A", FAILED)
    states = {name: queue.outcomes[name].state for name in queue.outcomes}
    assert states == {"A": FAILED, "Aa": NOT_MADE, "Aaa": NOT_MADE, "Ab": NOT_MADE}
    assert not queue.is_done
    assert taken(queue) == "B"
    end(queue, "B")
    assert queue.is_done
    assert queue.counts == {FOUND: 0, FAILED: 1, NOT_MADE: 3, MADE: 1}
    assert queue.steps_left() == []


def test_a_step_whose_parent_is_not_among_the_steps_is_an_error():
    with pytest.raises(ValueError, match="not among"):
        Queue(steps("A", "Ba"), {})
