import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient
from scipy import stats

from analysis.common.errors import StudyError
from analysis.study.study import StudyData
from analysis.study.tuning import exports as tuning_exports
from analysis.study.tuning.results import comparisons
from tests import made_up_runs, made_up_tuning

RESULTS = Path(__file__).parents[4] / "results"


def one(frame, against, metric):
    (row,) = frame[(frame["against"] == against) & (frame["metric"] == metric)].to_dict("records")
    return row


def test_the_primary_comparison_is_the_winner_with_lambda_paired_by_dense_model():
    frame = comparisons(made_up_tuning.finalists(), "accuracy")
    first = frame.iloc[0]
    assert (first["against"], first["metric"], first["primary"]) == ("lambda", "accuracy", True)
    assert frame["primary"].sum() == 1
    # Differences .02, .02, .01: mean .05 / 3, standard deviation .01 / sqrt(3), t with 2 degrees of freedom.
    assert first["difference"] == pytest.approx(0.05 / 3)
    half = stats.t.isf(0.025, 2) * 0.01 / 3
    assert (first["difference_low"], first["difference_high"]) == pytest.approx((0.05 / 3 - half, 0.05 / 3 + half))
    assert first["p"] == first["p_holm"] == pytest.approx(2 * stats.t.sf(5, 2))


def test_the_others_are_corrected_together():
    frame = comparisons(made_up_tuning.finalists(), "accuracy")
    rest = frame[~frame["primary"]].dropna(subset="p").sort_values("p")
    assert len(frame) == 6
    # Alpha against GP has one network that is not at chance, and so no p; it counts among the five.
    assert np.isnan(one(frame, "GP", "alpha")["p"])
    expected = np.minimum(np.maximum.accumulate(rest["p"] * [5, 4, 3, 2]), 1)
    assert rest["p_holm"].to_numpy() == pytest.approx(expected.to_numpy())


@pytest.mark.parametrize("objective", ["alpha", "both"])
def test_alpha_is_primary_where_it_was_the_objective(objective):
    first = comparisons(made_up_tuning.finalists(), objective).iloc[0]
    assert (first["against"], first["metric"], first["primary"]) == ("lambda", "alpha", True)
    assert first["difference"] == pytest.approx(-0.4 / 3)


def test_networks_at_chance_have_no_alpha():
    assert one(comparisons(made_up_tuning.finalists(), "accuracy"), "GP", "alpha")["n"] == 1


def test_new_networks_count_alone_where_there_are_any():
    old, new = made_up_tuning.finalists(), made_up_tuning.finalists(new=True, seeds=(3, 4, 5))
    old["accuracy"] = 0.5
    frame = comparisons(pd.concat([old, new]), "accuracy")
    assert frame["new"].all()
    assert frame["difference"].iloc[0] == pytest.approx(0.05 / 3)
    assert not comparisons(old, "accuracy")["new"].any()


def test_an_anchor_that_won_is_not_compared_with_itself():
    won = made_up_tuning.finalists(epsilons={**made_up_tuning.EPSILONS, "winner": 5e-4})
    frame = comparisons(won, "accuracy")
    assert set(frame["against"]) == {"MP", "GP"}
    assert not frame["primary"].any()


def test_an_anchor_of_another_schedule_is_another_anchor():
    frame = made_up_tuning.finalists(epsilons={**made_up_tuning.EPSILONS, "winner": 5e-4})
    frame.loc[frame["role"] == "winner", "ramp"] = 0.35
    compared = comparisons(frame, "accuracy")
    assert set(compared["against"]) == {"lambda", "MP", "GP"}
    assert compared["primary"].sum() == 1


def scheduled():
    made = made_up_tuning.tuning()
    trials = made.trials.assign(ramp=[0, 0, 0, 0.2, 0.35], distill=[0, 0, 0, 0, 0.05])
    return replace(made, trials=trials)


def test_ramp_and_distillation_are_told_where_there_are_any():
    assert scheduled().summary.startswith("The winner is epsilon 0.1, ramp 0.35, distill 0.05, ratio 10: the best")
    table = scheduled().table()
    assert table["ramp"].tolist() == ["0.35", "0", "0", "0"]
    assert table["distill"].tolist() == ["0.05", "0", "0", "0"]
    assert not {"ramp", "distill"} & set(made_up_tuning.tuning().table())


def decayed():
    made = made_up_tuning.tuning()
    finalists = made.finalists.assign(fine_tune_decay="none")
    finalists.loc[finalists["role"] == "winner", "fine_tune_decay"] = "cosine"
    trials = made.trials.assign(fine_tune_decay=["none", "none", "none", "linear", "cosine"])
    return replace(made, trials=trials, finalists=finalists)


def test_a_decay_is_told_where_it_was_searched_and_comes_back_from_files(tmp_path):
    (folder := tmp_path / "tuning" / "1").mkdir(parents=True)
    for name, content in made_up_tuning.files(decayed()).items():
        (folder / name).write_bytes(content)
    (read,) = tuning_exports.read([tmp_path])
    for search in (decayed(), read):
        assert search.summary.startswith("The winner is epsilon 0.1, fine_tune_decay cosine, ratio 10: the best")
        assert search.table()["fine_tune_decay"].tolist() == ["cosine", "none", "none", "none"]
    assert "fine_tune_decay" not in made_up_tuning.tuning().table()


def test_an_anchor_of_another_decay_is_another_anchor():
    frame = decayed().finalists
    frame.loc[frame["role"] == "winner", "epsilon"] = 5e-4
    assert set(comparisons(frame, "accuracy")["against"]) == {"lambda", "MP", "GP"}


def test_a_decay_that_is_no_text_is_named(tmp_path):
    (folder := tmp_path / "tuning" / "1").mkdir(parents=True)
    made = decayed()
    for name, content in made_up_tuning.files(replace(made, trials=made.trials.assign(fine_tune_decay=1.5))).items():
        (folder / name).write_bytes(content)
    with pytest.raises(StudyError, match=r"tuning/1: .*fine_tune_decay must be strings"):
        tuning_exports.read([tmp_path])


def test_searches_of_before_a_decay_was_searched_read_as_they_did():
    searches = tuning_exports.read([RESULTS / "lenet5-up" / "frames.zip"])
    (search,) = (each for each in searches if each.name.startswith("mnist-"))
    assert search.further == []
    assert search.table()["epsilon"].tolist() == ["0.0109", "0.0005", "same as mp", "0"]
    assert "fine_tune_decay" not in {*search.trials, *search.finalists, *search.table()}


@pytest.fixture(scope="session")  # a name is free once in a store, and xdist may come back to a module
def searches(session_store, tmp_path_factory):
    """Two finished searches and one that still runs."""
    folder = tmp_path_factory.mktemp("searches")
    client = MlflowClient(session_store)
    experiment = client.create_experiment("searches", artifact_location=(folder / "artifacts").as_uri())
    made = made_up_tuning.tuning()
    other = replace(made, name="other", finalists=made.finalists.assign(run_id="elsewhere"))
    for search, status in ((made, "FINISHED"), (other, "FINISHED"), (made, "RUNNING")):
        run_id = client.create_run(experiment, tags={"kind": "tuning"}).info.run_id
        for name, content in made_up_tuning.files(search).items():
            (folder / name).write_bytes(content)
            client.log_artifact(run_id, str(folder / name))
        if status == "FINISHED":
            client.set_terminated(run_id)
    return session_store


def test_searches_come_back_from_a_folder_as_from_the_store(searches, tmp_path):
    from_store = tuning_exports.pulled("searches", tracking_uri=searches)
    assert len(tuning_exports.write(from_store, tmp_path)) == 8
    for read, pulled in zip(tuning_exports.read([tmp_path]), from_store, strict=True):
        assert read.name == pulled.name
        assert read.summary == pulled.summary
        assert read.table().equals(pulled.table())


def test_a_search_is_exported_with_the_runs_that_it_tested(searches, tmp_path):
    pulled = tuning_exports.pulled("searches", tracking_uri=searches)
    runs = made_up_runs.runs("mnist", "lenet5", "mp", 2, [1.2, 1.3])
    for run_id, names in (("another", []), ("elsewhere", ["other"])):
        study = StudyData(runs.assign(run_id=["a", run_id]), tunings=pulled, dense_runs=made_up_runs.dense(runs))
        study.export(tmp_path / run_id)
        assert [search.name for search in tuning_exports.read([tmp_path / run_id])] == names


@pytest.mark.parametrize("damage", [lambda path: path.unlink(), lambda path: path.write_text("a,b\n1,2\n")])
def test_a_damaged_search_is_named(damage, tmp_path):
    (folder := tmp_path / "tuning" / "1").mkdir(parents=True)
    for name, content in made_up_tuning.files(made_up_tuning.tuning()).items():
        (folder / name).write_bytes(content)
    damage(folder / "trials.csv")
    with pytest.raises(StudyError, match=r"tuning/1: .*export again"):
        tuning_exports.read([tmp_path])


def test_a_search_of_before_there_were_schedules_is_read_as_one_shot(tmp_path):
    made = made_up_tuning.tuning()
    (folder := tmp_path / "tuning" / "1").mkdir(parents=True)
    for name, content in made_up_tuning.files(made, without=["ramp", "distill"]).items():
        (folder / name).write_bytes(content)
    (read,) = tuning_exports.read([tmp_path])
    assert read.summary == made.summary
    assert read.table().equals(made.table())


def test_table():
    table = made_up_tuning.tuning().table()
    assert table[""].tolist() == ["winner", "lambda", "MP", "GP"]
    assert table["epsilon"].tolist() == ["0.1", "0.0005", "same as mp", "0"]
    assert table["validation accuracy"].tolist() == ["0.8550", "0.8500", "0.8530", "0.1200"]
    assert table["test accuracy"].tolist() == ["0.8700", "0.8533", "0.8600", "0.2400"]
    assert table["alpha"].tolist() == ["1.100", "1.233", "1.300", "1.500 (2 at chance)"]


def test_sentences():
    winner, images, *compared = made_up_tuning.tuning().sentences
    assert re.search("epsilon 0.1, ratio 10: the best.* 1 stopped early", winner)
    assert re.search("3 dense models .*flatter", images)
    assert re.search(r"primary.* lambda: accuracy \+1\.67 points \(.*\+0\.23 to \+3\.10\), p 0\.038, n 3", compared[0])
    assert len(compared) == 6
    assert any(re.search("GP: alpha, no interval, n 1", sentence) for sentence in compared)


def test_the_summary_has_a_line_for_each_sentence():
    made = made_up_tuning.tuning()
    assert [line.removeprefix("- ") for line in made.summary.splitlines()] == made.sentences


def test_lambda_that_won_says_so():
    made = made_up_tuning.tuning()
    trials = made.trials.assign(winner=made.trials["anchor"] == "lambda")
    finalists = made_up_tuning.finalists(epsilons={**made_up_tuning.EPSILONS, "winner": 5e-4})
    won = type(made)("", "accuracy", "", trials, finalists, comparisons(finalists, "accuracy"))
    assert "lambda itself has won" in won.sentences[2]
    assert won.table()[""].iloc[0] == "winner (lambda)"
