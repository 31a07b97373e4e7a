import re
from dataclasses import replace
from pathlib import Path

from analysis.rendering import tuning_text
from analysis.runs import exports, tunings
from pruning_study.study.tuning.winner_comparisons import comparisons
from tests import made_up_tuning

RESULTS = Path(__file__).parents[3] / "results"


def scheduled():
    made = made_up_tuning.tuning()
    trials = made.trials.assign(ramp=[0, 0, 0, 0.2, 0.35], distill=[0, 0, 0, 0, 0.05])
    return replace(made, trials=trials)


def test_ramp_and_distillation_are_told_where_there_are_any():
    assert tuning_text.summary(scheduled()).startswith(
        "The winner is epsilon 0.1, ramp 0.35, distill 0.05, ratio 10: the best"
    )
    table = tuning_text.table(scheduled())
    assert table["ramp"].tolist() == ["0.35", "0", "0", "0"]
    assert table["distill"].tolist() == ["0.05", "0", "0", "0"]
    assert not {"ramp", "distill"} & set(tuning_text.table(made_up_tuning.tuning()))


def test_a_decay_is_told_where_it_was_searched_and_comes_back_from_files():
    files = made_up_tuning.files(made_up_tuning.decayed())
    (read,) = tunings.of_artifacts({name: {"1": content} for name, content in files.items()})
    for search in (made_up_tuning.decayed(), read):
        assert tuning_text.summary(search).startswith(
            "The winner is epsilon 0.1, fine_tune_decay cosine, ratio 10: the best"
        )
        assert tuning_text.table(search)["fine_tune_decay"].tolist() == ["cosine", "none", "none", "none"]
    assert "fine_tune_decay" not in tuning_text.table(made_up_tuning.tuning())


def test_searches_of_before_a_decay_was_searched_read_as_they_did():
    searches = tunings.of_artifacts(exports.read_artifacts([RESULTS / "lenet5-up" / "frames.zip"]))
    (search,) = (each for each in searches if each.name.startswith("mnist-"))
    assert search.further == []
    assert tuning_text.table(search)["epsilon"].tolist() == ["0.0109", "0.0005", "same as mp", "0"]
    assert "fine_tune_decay" not in {*search.trials, *search.finalists, *tuning_text.table(search)}


def test_table():
    table = tuning_text.table(made_up_tuning.tuning())
    assert table[""].tolist() == ["winner", "lambda", "MP", "GP"]
    assert table["epsilon"].tolist() == ["0.1", "0.0005", "same as mp", "0"]
    assert table["validation accuracy"].tolist() == ["0.8550", "0.8500", "0.8530", "0.1200"]
    assert table["test accuracy"].tolist() == ["0.8700", "0.8533", "0.8600", "0.2400"]
    assert table["alpha"].tolist() == ["1.100", "1.233", "1.300", "1.500 (2 at chance)"]


def test_sentences():
    winner, images, *compared = tuning_text.sentences(made_up_tuning.tuning())
    assert re.search("epsilon 0.1, ratio 10: the best.* trials stopped early: 1", winner)
    assert re.search("3 dense models .*looks too good", images)
    assert re.search(r"primary.* lambda: accuracy \+1\.67 points \(.*\+0\.23 to \+3\.10\), p 0\.038, n 3", compared[0])
    assert len(compared) == 6
    assert any(re.search("GP: alpha, no interval, n 1", sentence) for sentence in compared)


def test_trials_without_a_result_are_counted_and_named():
    made = made_up_tuning.tuning()
    winner = tuning_text.sentences(made)[0]
    for refused, sentence in (
        (("epsilon 1 strength 0.5 ratio 10",), "1 trial has no result, because the numbers became NaN or infinite: "),
        (("epsilon 1 ratio 2", "epsilon 3 ratio 2"), "2 trials have no result, because the numbers became NaN or "),
    ):
        told = tuning_text.sentences(replace(made, refused=refused))[0]
        assert told.startswith(f"{winner} {sentence}")
        assert told.endswith(f": {'; '.join(refused)}.")


def test_lambda_that_won_says_so():
    made = made_up_tuning.tuning()
    trials = made.trials.assign(winner=made.trials["anchor"] == "lambda")
    finalists = made_up_tuning.finalists(epsilons={**made_up_tuning.EPSILONS, "winner": 5e-4})
    won = type(made)("", "accuracy", "", trials, finalists, comparisons(finalists, "accuracy"))
    assert "lambda itself has won" in tuning_text.sentences(won)[2]
    assert tuning_text.table(won)[""].iloc[0] == "winner (lambda)"
