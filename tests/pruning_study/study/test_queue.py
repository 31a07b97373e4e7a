from pruning_study.config import PruneConfig
from pruning_study.study.plan import Step
from pruning_study.study.queue import FAILED, FOUND, MADE, NOT_MADE, Board, Result


def steps(*names):
    """`A` is a dense run, `Aa` and `Ab` are pruned from it."""
    return [Step("dense" if len(name) == 1 else "pruned", PruneConfig(), name, name[0]) for name in names]


def taken(board, held=None, others=()):
    step = board.next(held, others)
    return step and step.config_hash


def test_a_dense_run_comes_before_what_is_pruned_from_it():
    board = Board(steps("A", "Aa", "Ab"), {})
    assert taken(board) == "A"
    assert taken(board) is None
    board.end(board.steps["A"], Result(MADE, "1"))
    assert [taken(board, "A"), taken(board, "A"), taken(board, "A")] == ["Aa", "Ab", None]


def test_a_worker_stays_with_its_dense_model_and_shares_one_only_at_the_end():
    board = Board(steps("A", "Aa", "Ab", "B", "Ba"), {})
    assert [taken(board), taken(board, others=["A"])] == ["A", "B"]
    for name in "AB":
        board.end(board.steps[name], Result(MADE, "1"))
    assert taken(board, "B", ["A"]) == "Ba"
    assert taken(board, "A", ["B"]) == "Aa"
    assert taken(board, "B", ["A"]) == "Ab"


def test_its_own_dense_model_goes_before_one_that_nobody_holds():
    board = Board(steps("A", "Aa", "B", "Ba"), {"A": "1", "B": "2"})
    assert [taken(board, "B"), taken(board, "B")] == ["Ba", "Aa"]


def test_a_new_dense_model_goes_before_one_that_another_worker_holds():
    board = Board(steps("A", "Aa", "B"), {"A": "1"})
    assert [taken(board, None, ["A"]), taken(board, None, ["A"])] == ["B", "Aa"]


def test_what_a_killed_study_left_comes_before_new_dense_models():
    board = Board(steps("A", "Aa", "B", "Ba"), {"A": "1"})
    assert board.counts[FOUND] == 1
    assert [taken(board), taken(board, "A")] == ["Aa", "B"]


def test_where_a_dense_run_fails_what_is_pruned_from_it_is_not_made():
    board = Board(steps("A", "Aa", "Ab", "B"), {})
    assert taken(board) == "A"
    board.end(board.steps["A"], Result(FAILED, error="diverged"))
    assert [board.results[name].state for name in ("A", "Aa", "Ab")] == [FAILED, NOT_MADE, NOT_MADE]
    assert not board.done
    assert taken(board) == "B"
    board.end(board.steps["B"], Result(MADE, "2"))
    assert board.done
    assert board.counts == {FOUND: 0, FAILED: 1, NOT_MADE: 2, MADE: 1}
    assert board.left() == []
