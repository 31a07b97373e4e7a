"""Exemplars and class tests of a study's cells, by hand and against the functions of arrays."""

import numpy as np
import pytest

from analysis.compressed_networks.populations import class_significance, exemplars
from analysis.statistics import populations
from tests.made_up_runs import runs, study

NETWORKS, IMAGES = 6, 90
LABEL = np.repeat([0, 1, 2], IMAGES // 3)


def predicting(made, wrong, seed):
    """Predictions of runs that are wrong about this share of the images, and their dense runs about a tenth."""
    rng = np.random.default_rng(seed)
    shares = dict.fromkeys(made["dense_run_id"], 0.1) | dict.fromkeys(made["run_id"], wrong)
    return {
        run: {"label": LABEL, "predicted": np.where(rng.random(IMAGES) < share, rng.integers(0, 3, IMAGES), LABEL)}
        for run, share in shares.items()
    }


PRUNED = runs("toy", "net", "mp", 10, [1.2] * NETWORKS)
NONE = runs("toy", "net", "none", 1, [1.0] * NETWORKS)
MADE = study(PRUNED, NONE)
FOUND = predicting(NONE, 0.1, seed=1) | predicting(PRUNED, 0.5, seed=2)


def read(run_ids):
    return {run: FOUND[run] for run in run_ids}


def stacked(column):
    return np.stack([FOUND[run]["predicted"] for run in column])


def test_rows_are_what_the_functions_of_arrays_give():
    summary, images = exemplars(MADE, read)
    assert summary[["dataset", "model", "method", "level"]].to_numpy().tolist() == [
        ["toy", "net", "mp", 10],
        ["toy", "net", "none", 1],
    ]
    row = summary.iloc[0]
    dense, compressed = stacked(PRUNED["dense_run_id"]), stacked(PRUNED["run_id"])
    expected = populations.exemplars(dense, compressed)
    right = (dense == LABEL).mean(0)
    assert row[["n_dense", "n_compressed", "n_pie", "n_ties"]].tolist() == [
        NETWORKS,
        NETWORKS,
        expected.identified.sum(),
        expected.ties,
    ]
    assert row["n_pie"] > 0
    assert row[["top1_pie", "top1_non_pie", "top1_all"]].tolist() == pytest.approx(
        [right[expected.identified].mean(), right[~expected.identified].mean(), right.mean()]
    )
    assert row["compressed_top1_all"] == pytest.approx((compressed == LABEL).mean())
    assert row["n_pie_halves"] == populations.exemplars_of_halves(dense, compressed)
    assert row["n_pie_placebo"] == summary["n_pie_placebo"][1] == populations.exemplars_of_halves(dense, dense)
    against = populations.exemplars(stacked(NONE["run_id"]), compressed)
    assert row["n_pie_none"] == against.identified.sum()
    assert np.isnan(summary["n_pie_none"][1])
    assert row["disagreement"] == pytest.approx(populations.disagreement(dense, compressed).mean())
    of_cell = images[images["method"] == "mp"]
    assert of_cell["index"].tolist() == np.flatnonzero(expected.identified).tolist()
    assert of_cell["label"].tolist() == LABEL[of_cell["index"]].tolist()
    assert of_cell["dense_mode"].tolist() == expected.dense.label[of_cell["index"]].tolist()
    assert of_cell["compressed_share"].tolist() == expected.compressed.share[of_cell["index"]].tolist()


def test_a_cell_needs_five_networks_for_exemplars_and_two_for_class_tests():
    four = PRUNED.iloc[:4]
    assert [len(frame) for frame in exemplars(four, read)] == [0, 0]
    assert len(class_significance(four)) == 2
    assert class_significance(PRUNED.iloc[:1]).empty
    assert len(exemplars(PRUNED.iloc[:5], read)[0]) == 1
    assert [len(frame) for frame in exemplars(PRUNED, None)] == [0, 0]


def test_class_rows_are_what_the_function_of_arrays_gives():
    varied = runs("toy", "net", "mp", 10, [1.1, 1.3, 1.2, 1.5])
    frame = class_significance(varied)
    names = ["recall_before/a", "recall_before/b"], ["recall_after/a", "recall_after/b"]
    dense, compressed = (varied[list(columns)].to_numpy() for columns in names)
    expected = populations.class_significance(
        dense, compressed, varied["accuracy_before"].to_numpy(), varied["accuracy_after"].to_numpy(), paired=True
    )
    assert frame["class"].tolist() == ["a", "b"]
    assert frame["recall_compressed"].tolist() == pytest.approx(compressed.mean(0).tolist())
    for name in ("difference", "normalised_difference", "p_holm", "p_bh", "p_paired", "significant"):
        assert frame[name].to_numpy() == pytest.approx(getattr(expected, name), nan_ok=True)
    assert frame["n_compressed"].tolist() == [4, 4]
