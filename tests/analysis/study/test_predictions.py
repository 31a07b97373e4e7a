"""Predictions of pairs of networks: read once, and only of the same images."""

import numpy as np

from analysis.statistics.new_images import alpha_new_from_predictions
from analysis.study.predictions import StudyPredictions
from tests.made_up_runs import runs

MADE = runs("toy", "net", "mp", 2, [1, 1])
LABEL = np.array([0, 0, 2])


def found():
    dense = dict.fromkeys(MADE["dense_run_id"], LABEL)
    pruned = {run: np.array([0, place, 2 * place]) for place, run in enumerate(MADE["run_id"])}
    return {run: {"label": LABEL, "predicted": predicted} for run, predicted in (dense | pruned).items()}


def reader(predictions):
    asked = []

    def read(run_ids):
        asked.append(list(run_ids))
        return {run: predictions[run] for run in run_ids if run in predictions}

    return read, asked


def test_what_networks_have_right():
    pairs = StudyPredictions(reader(found())[0]).of_runs(MADE)
    assert pairs.images.label.tolist() == [0, 0, 2]
    assert pairs.images.place.tolist() == [0, 0, 1]
    before, after = pairs.right
    assert before.tolist() == [[True, True, True], [True, True, True]]
    assert after.tolist() == [[True, True, False], [True, False, True]]


def test_no_pairs_unless_all_networks_predicted_the_same_images():
    last = MADE["run_id"].iloc[-1]
    incomplete = {run: arrays for run, arrays in found().items() if run != last}
    other = found() | {last: {"label": LABEL[::-1], "predicted": LABEL}}
    assert StudyPredictions(reader(found())[0]).of_runs(MADE) is not None
    assert StudyPredictions(reader(incomplete)[0]).of_runs(MADE) is None
    assert StudyPredictions(reader(other)[0]).of_runs(MADE) is None


def test_predictions_are_read_once_and_what_follows_is_worked_out_once():
    read, asked = reader(found())
    predictions = StudyPredictions(read)
    assert StudyPredictions.shared(predictions) is predictions
    pairs = predictions.of_runs(MADE)
    assert predictions.of_runs(MADE) is pairs
    assert pairs.pooled is pairs.pooled
    predictions.of_pairs(*(MADE["run_id"].iloc[[place]] for place in (0, 1)))
    assert len(asked) == 1


def test_pooled_slope_is_alpha_new_of_the_predictions():
    rng = np.random.default_rng(5)
    label = np.repeat([0, 1, 2], 50)
    made = runs("toy", "net", "mp", 2, [1, 1, 1])
    guesses = {
        run: np.where(rng.random(150) < 0.6 + 0.15 * label, label, 2 - label)
        for run in (*made["dense_run_id"], *made["run_id"])
    }
    read, _ = reader({run: {"label": label, "predicted": guess} for run, guess in guesses.items()})
    before, after = (np.array([guesses[run] == label for run in made[name]]) for name in ("dense_run_id", "run_id"))
    expected = alpha_new_from_predictions(label, before, after, confidence=0.9)
    assert StudyPredictions(read).of_runs(made).pooled.interval(0.9) == expected
