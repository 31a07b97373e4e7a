"""Exemplars and class tests of a study's cells, by hand and against the functions of arrays."""

import numpy as np
import pytest
from scipy import stats

from analysis.report.papers.compressed_networks.exemplars import exemplars
from analysis.report.papers.compressed_networks.populations import accuracies, class_significance, significant_classes
from analysis.statistics import populations, votes
from analysis.statistics.recalls import Recalls
from analysis.study.arrays import run_arrays
from analysis.study.labels import level_label
from tests.made_up_runs import runs, study, with_images

NETWORKS, IMAGES = 10, 90
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
    summary, images, _, _, notes = exemplars(run_arrays(MADE), read)
    assert notes == []
    assert summary[["dataset", "model", "method", "level"]].to_numpy().tolist() == [
        ["toy", "net", "mp", 10],
        ["toy", "net", "none", 1],
    ]
    row = summary.iloc[0]
    dense, compressed = stacked(PRUNED["dense_run_id"]), stacked(PRUNED["run_id"])
    expected = votes.exemplars(dense, compressed)
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
    assert row["n_pie_untied"] == (expected.identified & ~expected.dense.tied & ~expected.compressed.tied).sum()
    split, placebo = (votes.Halves(dense, LABEL).against(side) for side in (compressed, dense))
    assert row[["n_pie_halves", "n_pie_placebo"]].tolist() == [split.n_pie[0], placebo.n_pie[0]]
    assert row[["n_pie_halves_untied", "n_pie_placebo_untied"]].tolist() == [split.untied, placebo.untied]
    ends = np.sort(placebo.of_splits)[[0, 18]]  # the first and the last but one of twenty
    assert row[["n_pie_placebo_low", "n_pie_placebo_high"]].tolist() == ends.tolist()
    error = stats.sem(votes.jackknife_values(split.n_pie - placebo.n_pie))
    assert row["n_pie_minus_placebo"] == split.n_pie[0] - placebo.n_pie[0]
    assert row["n_pie_minus_placebo_high"] == pytest.approx(
        row["n_pie_minus_placebo"] + stats.t.isf(0.025, NETWORKS - 1) * error
    )
    assert summary["n_pie_placebo"][1] == row["n_pie_placebo"]
    assert row[["gap_halves", "gap_placebo"]].tolist() == [split.gap[0], placebo.gap[0]]
    values = votes.jackknife_values(split.gap - placebo.gap)
    assert row["gap_minus_placebo"] == pytest.approx(split.gap[0] - placebo.gap[0])
    half = stats.t.isf(0.025, NETWORKS - 1) * stats.sem(values)
    assert row["gap_minus_placebo_low"] == pytest.approx(row["gap_minus_placebo"] - half)
    assert row["gap_placebo_matched"] == pytest.approx(placebo.matched - placebo.pie[0])
    against = votes.exemplars(stacked(NONE["run_id"]), compressed)
    assert row[["n_pie_none", "n_pie_none_untied"]].tolist() == [against.identified.sum(), against.untied]
    assert np.isnan(summary["n_pie_none"][1])
    assert row["disagreement"] == pytest.approx(votes.disagreement(dense, compressed).mean())
    of_cell = images[images["method"] == "mp"]
    assert of_cell["index"].tolist() == np.flatnonzero(expected.identified).tolist()
    assert of_cell["label"].tolist() == LABEL[of_cell["index"]].tolist()
    assert of_cell["dense_mode"].tolist() == expected.dense.label[of_cell["index"]].tolist()
    assert of_cell["compressed_share"].tolist() == expected.compressed.share[of_cell["index"]].tolist()


def test_a_cell_needs_five_networks_for_exemplars_and_two_for_class_tests():
    four = PRUNED.iloc[:4]
    assert [len(frame) for frame in exemplars(run_arrays(four), read)[:2]] == [0, 0]
    assert len(class_significance(run_arrays(four))) == 2
    assert class_significance(run_arrays(PRUNED.iloc[:1])).empty
    assert len(exemplars(run_arrays(PRUNED.iloc[:5]), read).summary) == 1
    assert [len(frame) for frame in exemplars(run_arrays(PRUNED), None)[:2]] == [0, 0]


def test_halves_of_fewer_than_five_networks_have_no_exemplars():
    found = exemplars(run_arrays(PRUNED.iloc[:9]), read)
    (row,) = found.summary.to_dict("records")
    of_halves = [name for name in row if "halves" in name or "placebo" in name]
    assert len(of_halves) == 16
    assert np.isnan([row[name] for name in of_halves]).all()
    assert row["n_pie"] > 0
    assert found.halves == []
    assert exemplars(run_arrays(PRUNED), read).summary[of_halves].notna().all(axis=None)


def test_a_dense_network_that_is_there_twice_is_in_one_half_alone():
    twice = PRUNED["dense_run_id"].where(PRUNED["seed"] > 0, PRUNED["dense_run_id"].iloc[1])
    (row,) = exemplars(run_arrays(PRUNED.assign(dense_run_id=twice)), read).summary.to_dict("records")
    assert (row["n_dense"], row["n_compressed"]) == (9, 10)
    assert np.isnan(row["n_pie_halves"])
    four = [PRUNED["dense_run_id"].iloc[place % 4] for place in range(NETWORKS)]
    assert exemplars(run_arrays(PRUNED.assign(dense_run_id=four)), read).summary.empty


def test_a_cell_whose_networks_predict_different_images_is_named():
    other = PRUNED["run_id"].iloc[2]
    fewer = FOUND | {other: {name: values[1:] for name, values in FOUND[other].items()}}
    found = exemplars(run_arrays(MADE), lambda run_ids: {run: fewer[run] for run in run_ids})
    assert found.summary["method"].tolist() == ["none"]
    (note,) = found.notes
    assert note.startswith("no PIEs are counted for one cell, ")
    assert note.endswith(": toy, mp at 10")


def test_a_cell_that_lacks_predictions_is_left_to_the_note_of_the_cells():
    lacking = PRUNED["run_id"].iloc[2]
    found = exemplars(run_arrays(MADE), lambda run_ids: {run: FOUND[run] for run in run_ids if run != lacking})
    assert found.summary["method"].tolist() == ["none"]
    assert found.notes == []


def test_top_five_is_that_of_the_networks_and_nothing_of_five_classes():
    many = runs("toy", "net", "mp", 10, [1.2] * NETWORKS)
    more = {f"{side}/{name}": many[f"{side}/a"] for side in ("recall_before", "recall_after") for name in "cdef"}
    many = many.assign(**more)
    in_top5 = {run: np.arange(IMAGES) % 10 >= place for place, run in enumerate(dict.fromkeys(many["dense_run_id"]))}
    in_top5 |= {run: np.arange(IMAGES) % 2 == 0 for run in many["run_id"]}
    known = {run: FOUND[run] | {"in_top5": right} for run, right in in_top5.items()}

    def first_row(made, predictions):
        return exemplars(run_arrays(made), lambda run_ids: {run: predictions[run] for run in run_ids}).summary.iloc[0]

    row = first_row(many, known)
    # Network i lacks i of ten images: 0 to 9, 4.5 in the mean.
    assert row["top5_all"] == pytest.approx(0.55)
    assert row["compressed_top5_all"] == pytest.approx(0.5)
    pies = votes.exemplars(stacked(many["dense_run_id"]), stacked(many["run_id"])).identified
    share = np.mean([in_top5[run] for run in many["dense_run_id"]], axis=0)
    assert row["top5_pie"] == pytest.approx(share[pies].mean())
    odd = many["run_id"].iloc[0]
    assert np.isnan(first_row(many, known | {odd: FOUND[odd]})["top5_all"])
    assert np.isnan(first_row(PRUNED, known)["top5_all"])


@pytest.mark.filterwarnings("ignore:Precision loss")  # of SciPy, for the dense networks are alike
def test_class_rows_are_what_the_function_of_arrays_gives():
    varied = runs("toy", "net", "mp", 10, [1.1, 1.3, 1.2, 1.5])
    frame = class_significance(run_arrays(varied))
    names = ["recall_before/a", "recall_before/b"], ["recall_after/a", "recall_after/b"]
    dense, compressed = (varied[list(columns)].to_numpy() for columns in names)
    sides = Recalls(dense, varied["accuracy_before"]), Recalls(compressed, varied["accuracy_after"])
    expected = populations.class_significance(*sides, paired=True)
    assert frame["class"].tolist() == ["a", "b"]
    assert frame["recall_compressed"].tolist() == pytest.approx(compressed.mean(0).tolist())
    for name in ("difference", "normalised_difference", "p_holm", "p_bh", "p_paired", "p_paired_holm", "significant"):
        assert frame[name].to_numpy() == pytest.approx(getattr(expected, name), nan_ok=True)
    assert frame["n_compressed"].tolist() == [4, 4]
    ratios = [
        side / varied[f"accuracy_{when}"].to_numpy()[:, None]
        for side, when in ((dense, "before"), (compressed, "after"))
    ]
    assert frame["p_ratio"].to_numpy() == pytest.approx(stats.ttest_ind(*ratios, equal_var=False).pvalue)
    # Recall of a is .91, .93, .92, .95 where it was .9: equation 3 is their mean over .9.
    assert frame["relative_recall"][0] == pytest.approx(np.mean([0.91, 0.93, 0.92, 0.95]) / 0.9)


@pytest.mark.filterwarnings("ignore:Precision loss")  # of SciPy, for the dense networks are alike
def test_relative_recall_stands_beside_what_proportional_errors_make_of_it():
    # Recalls of .9 and .7, and an error of .2 that grows by half: in proportion .85 and .55 are left.
    after = {"accuracy_after": 0.7, "recall_after/a": 0.8, "recall_after/b": 0.6}
    frame = class_significance(run_arrays(with_images(runs("toy", "net", "mp", 10, [1.0] * 4).assign(**after))))
    assert frame["relative_recall"].tolist() == pytest.approx([0.8 / 0.9, 0.6 / 0.7])
    assert frame["relative_recall_expected"].tolist() == pytest.approx([0.85 / 0.9, 0.55 / 0.7])


@pytest.mark.filterwarnings("ignore:Precision loss")  # of SciPy, for the dense networks are alike
def test_no_class_is_expected_to_lose_more_recall_than_it_has():
    # An error of .2 grows by the factor 4.25 to .85: the error of a from .1 to .425, and that of b from .3 beyond 1.
    after = {"accuracy_after": 0.15, "recall_after/a": 0.2, "recall_after/b": 0.1}
    frame = class_significance(run_arrays(with_images(runs("toy", "net", "mp", 10, [1.0] * 4).assign(**after))))
    assert frame["relative_recall_expected"].tolist() == pytest.approx([0.575 / 0.9, 0])


def test_significant_classes_are_counted_with_their_mean_decrease_and_increase():
    # Recalls of a rise by .1 alpha - .1 and those of b fall by as much: 2, 3 and 4 points.
    counted = significant_classes(class_significance(run_arrays(runs("toy", "net", "mp", 10, [1.2, 1.3, 1.4, 1.3]))))
    (row,) = counted.to_dict("records")
    assert (row["classes"], row["significant"], row["decreased"], row["increased"]) == (2, 2, 1, 1)
    assert row["mean_decrease"] == pytest.approx(0.03)
    assert row["mean_increase"] == pytest.approx(0.03)
    assert row["significant_holm"] == row["significant_ratio"] == 2
    assert row["n_dense"] == 4
    assert np.isnan([row["placebo"], row["placebo_low"], row["placebo_high"]]).all()  # the dense recalls are equal
    assert significant_classes(class_significance(run_arrays(PRUNED.iloc[:1]))).empty


def test_a_small_change_of_the_same_networks_is_significant_by_the_paired_test_alone():
    """Seeds differ by up to ten points, and each network loses half a point of a, give or take a tenth, to b."""
    made = runs("toy", "net", "fixed-int8", 1, [1.0] * 4, number_format="fixed-int8")
    own, lost = np.array([-0.05, -0.02, 0.03, 0.05]), np.array([0.004, 0.005, 0.005, 0.006])
    recalls = {"recall_before/a": 0.8 + own, "recall_after/a": 0.8 + own - lost}
    recalls |= {"recall_before/b": 0.8 - own, "recall_after/b": 0.8 - own + lost}
    tests = class_significance(run_arrays(made.assign(accuracy_before=0.8, accuracy_after=0.8, **recalls)))
    wanted = stats.ttest_1samp(lost, 0).pvalue
    assert tests["p_paired"].tolist() == pytest.approx([wanted, wanted])
    assert tests["p_paired_holm"].tolist() == pytest.approx([2 * wanted, 2 * wanted])
    assert tests["significant_paired"].tolist() == [True, True]
    assert tests["significant"].tolist() == [False, False]
    (row,) = significant_classes(tests).to_dict("records")
    counts = [row[name] for name in ("significant", "significant_paired", "significant_paired_holm")]
    assert counts == [0, 2, 2]
    assert row["largest_shift_paired"] == pytest.approx(0.005)


def test_accuracies_are_described_by_numpys_quantiles():
    made = PRUNED.iloc[:6].assign(accuracy_after=[0.80, 0.82, 0.84, 0.86, 0.88, 0.90])
    (row,) = accuracies(run_arrays(made)).to_dict("records")
    assert row["n"] == 6
    ends = [row[f"accuracy_{end}"] for end in ("min", "q1", "median", "q3", "max")]
    assert ends == pytest.approx([0.80, 0.825, 0.85, 0.875, 0.90])
    assert row["accuracy_mean"] == pytest.approx(0.85)
    assert row["accuracy_sd"] == pytest.approx(np.std(made["accuracy_after"], ddof=1))
    assert row["dense_median"] == 0.8


def test_a_cell_is_named_by_method_and_level():
    formats = {"params.number_format": "fixed-int8"}
    quantized = PRUNED.assign(pruner="fixed-int8", ratio=1.0, **formats)
    gradual = PRUNED.assign(**{"params.start": "initialization", "params.sparsity": "0.9"})
    named = accuracies(run_arrays(study(PRUNED, quantized, gradual)))
    assert {(row["method"], row["level"]) for row in named.to_dict("records")} == {
        ("mp", 10.0),
        ("fixed-int8", 8.0),
        ("mp initialization", 0.9),
    }
    assert sorted(level_label(row, row["level"]) for row in named.to_dict("records")) == [
        "8 bits",
        "ratio 10",
        "sparsity 0.9",
    ]
    # All runs of a study may start from initial weights, so that no table says it.
    (alone,) = accuracies(run_arrays(gradual)).to_dict("records")
    assert (alone["method"], level_label(alone, alone["level"])) == ("mp", "sparsity 0.9")
    near = [PRUNED.assign(**{"params.epsilon": epsilon}) for epsilon in ("0.071587001", "0.071587002")]
    assert accuracies(run_arrays(study(*near)))["method"].nunique() == 2
