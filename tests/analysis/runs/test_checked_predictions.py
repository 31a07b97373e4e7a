"""Predictions that contradict the recalls of their runs are not used, and a note says so."""

import numpy as np
import pandas as pd
import pytest

from analysis.runs.checked_predictions import CheckedPredictions
from analysis.study.study import StudyData

LABEL = np.repeat([0, 1, 2], [40, 50, 60])
NAMES = ("ant", "bee", "cow")
SEEDS = range(4)


def guesses(seed: int, wrong: tuple[int, int, int]) -> np.ndarray:
    """Predictions with so many wrong images of each class, at other places for each seed."""
    generator = np.random.default_rng(seed)
    predicted = LABEL.copy()
    for label, count in enumerate(wrong):
        chosen = generator.choice(np.flatnonzero(label == LABEL), count, replace=False)
        predicted[chosen] = (label + 1) % 3
    return predicted


def dense(seed: int) -> str:
    return f"dense {seed}"


def pruned(seed: int) -> str:
    return f"pruned {seed}"


@pytest.fixture
def found() -> dict[str, dict[str, np.ndarray]]:
    """The predictions of a dense and a pruned network of each seed."""
    before = {dense(seed): guesses(seed, (4 + seed, 10, 3 + seed)) for seed in SEEDS}
    after = {pruned(seed): guesses(10 + seed, (8, 15 + seed, 20 - seed)) for seed in SEEDS}
    return {run_id: {"label": LABEL, "predicted": predicted} for run_id, predicted in (before | after).items()}


@pytest.fixture
def runs(found) -> pd.DataFrame:
    """The runs as their predictions have them."""
    rows = []
    for seed in SEEDS:
        before, after = (found[run_id]["predicted"] == LABEL for run_id in (dense(seed), pruned(seed)))
        row = {"dataset": "farm", "model": "net", "pruner": "mp", "ratio": 2.0, "seed": seed}
        row |= {"accuracy_before": before.mean(), "accuracy_after": after.mean()}
        for label, name in enumerate(NAMES):
            of_class = label == LABEL
            row |= {f"recall_before/{name}": before[of_class].mean(), f"recall_after/{name}": after[of_class].mean()}
            row |= {f"support/{name}": float(of_class.sum()), f"both_right/{name}": (before & after)[of_class].mean()}
        rows.append(row | {"dense_run_id": dense(seed), "run_id": pruned(seed)})
    return pd.DataFrame(rows)


def read(runs: pd.DataFrame, found: dict) -> tuple[set[str], list[str]]:
    """Return the runs whose predictions are not used, and the notes."""
    checked = CheckedPredictions(runs, lambda run_ids: {run_id: found[run_id] for run_id in run_ids})
    kept = checked(list(found))
    assert set(checked(list(found))) == set(kept)
    return found.keys() - kept.keys(), checked.notes


def test_predictions_that_fit_their_runs_are_used_without_a_note(runs, found):
    assert read(runs, found) == (set(), [])


@pytest.mark.attack
def test_predictions_of_another_network_than_the_run__are_not_used(runs, found):
    found[pruned(1)] = found[pruned(2)]
    assert read(runs, found) == (
        {pruned(1)},
        ["predictions.npz of 1 run not used, they contradict the recalls that the runs have logged: pruned 1"],
    )


@pytest.mark.attack
def test_names_of_classes_that_are_swapped_in_one_seed__are_seen_in_its_predictions(runs, found):
    """No metric of the seed contradicts another: its dense run and its pruned run have the same names."""
    swap = {f"{group}/{one}": f"{group}/{other}" for group in GROUPS for one, other in (("ant", "bee"), ("bee", "ant"))}
    runs.loc[2, list(swap)] = runs.loc[2, list(swap.values())].to_numpy()
    lost, (note,) = read(runs, found)
    assert lost == {dense(2), pruned(2)}
    assert "contradict the recalls that the runs have logged: dense 2, pruned 2" in note
    order = '["ant", "bee", "cow"]'
    assert read(runs.assign(class_names=[order, order, '["bee", "ant", "cow"]', order]), found) == (set(), [])


GROUPS = ("recall_before", "recall_after", "both_right")


@pytest.mark.attack
def test_a_report_on_predictions_that_contradict_their_runs__does_without_them_and_says_so(runs, found):
    study = StudyData(runs, lambda run_ids: {run_id: found[run_id] for run_id in run_ids})
    assert study.cells["alpha_f1"].notna().all()
    found[pruned(1)] = found[pruned(2)]
    study = StudyData(runs, lambda run_ids: {run_id: found[run_id] for run_id in run_ids})
    assert study.cells["alpha_f1"].isna().all()
    assert any("they contradict the recalls" in note for note in study.cells.attrs["notes"])


def test_predictions_of_runs_that_are_not_in_the_study_are_passed_on(runs, found):
    found["another run"] = {"label": LABEL[:3], "predicted": LABEL[:3]}
    assert read(runs, found) == (set(), [])
