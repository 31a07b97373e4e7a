"""The tables of width/, on recalls whose slopes and growth of the error are known by hand."""

import network_measures
import numpy as np
import pandas as pd
import pytest
import width
from scipy import stats

from analysis.study.arrays import run_arrays
from tests import made_up_runs

SHARE = np.full(3, 1 / 3)
CONTROLS = np.array([[0.9, 0.8, 0.7], [0.8, 0.7, 0.6], [0.9, 0.7, 0.7], [0.9, 0.8, 0.6]])


def test_if_every_error_grows_by_half_then_s_is_k_and_alpha_the_odds_ratio():
    recall = np.tile([0.9, 0.8, 0.7], (4, 1))
    # The accuracy falls from .8 to .7: the odds of an error grow from 1 / 4 to 3 / 7.
    assert network_measures.slopes(recall, 1 - 1.5 * (1 - recall), SHARE) == pytest.approx([12 / 7, 1.5, 1.0])


def test_if_every_class_loses_the_same_then_only_s_over_k_is_below_one():
    recall = np.tile([0.9, 0.8, 0.7], (4, 1))
    # The error grows from .2 to .3, and the gaps stay.
    assert network_measures.slopes(recall, recall - 0.1, SHARE) == pytest.approx([0.8 / 0.7, 1.0, 1 / 1.5])


def test_networks_whose_errors_all_grow_by_half_have_the_same_pseudo_values_of_s_and_k():
    values = network_measures.pseudo_values(CONTROLS, 1 - 1.5 * (1 - CONTROLS), SHARE)
    assert values[:, 1:] == pytest.approx(np.tile([1.5, 1.0], (4, 1)))


def test_pseudo_values_have_the_variance_of_the_jackknife():
    after = CONTROLS - np.array([[0.1, 0.1, 0.2], [0.0, 0.1, 0.1], [0.1, 0.2, 0.3], [0.1, 0.0, 0.1]])
    parts = [network_measures.slopes(np.delete(CONTROLS, i, 0), np.delete(after, i, 0), SHARE) for i in range(4)]
    # The jackknife's variance of an estimate is (n - 1) / n times the sum of squares of its values without one network.
    expected = 3 / 4 * np.square(parts - np.mean(parts, 0)).sum(0)
    assert network_measures.pseudo_values(CONTROLS, after, SHARE).var(0, ddof=1) / 4 == pytest.approx(expected)


def networks(dataset, ratio=20.0, schedule="cubic"):
    key = {"dataset": dataset, "pruner": "mp", "schedule": schedule, "ratio": ratio}
    values = {0.5: [1.1, 1.2, 1.3], 1.0: [5.0, 6.0, 7.0], 2.0: [1.0, 1.2, 1.1]}
    return pd.DataFrame(
        {**key, "width": each, "alpha": value, "raw_slope": 2 * value, "alpha_beyond": value - 1}
        for each, own in values.items()
        for value in own
    )


def test_the_smallest_width_is_compared_with_the_largest_by_welchs_test():
    table = width.comparisons(networks("mnist")).set_index("outcome")
    p = stats.ttest_ind([1.1, 1.2, 1.3], [1.0, 1.2, 1.1], equal_var=False).pvalue
    assert table["difference"].to_dict() == pytest.approx({"alpha": 0.1, "raw_slope": 0.2, "alpha_beyond": 0.1})
    assert table["p"].tolist() == pytest.approx([p] * 3)
    assert table["n"].eq(6).all()


def test_only_gradual_pruning_at_20_is_primary_and_holm_counts_both_data_sets():
    others = networks("mnist", ratio=10.0, schedule="one-shot")
    table = width.comparisons(pd.concat([networks("mnist"), networks("fashion-mnist"), others]))
    primary = table[table["p_holm"].notna()]
    assert primary[["dataset", "ratio", "outcome"]].to_numpy().tolist() == [
        ["fashion-mnist", 20.0, "alpha_beyond"],
        ["mnist", 20.0, "alpha_beyond"],
    ]
    assert primary["p_holm"].tolist() == pytest.approx((2 * primary["p"]).tolist())


def test_networks_of_other_seeds_trainings_and_cells_are_left_out():
    kept = {"pruner": "mp", "schedule": "cubic", "ratio": 20.0, "dataset": "mnist", "training": "falling, last"}
    kept |= {"model": "lenet5", "seed": 300}
    others = [
        {"seed": 320},
        {"training": "falling, best"},
        {"ratio": 10.0},
        {"dataset": "cifar10-jpeg"},
        {"pruner": "gp"},
    ]
    control = {"pruner": "none", "schedule": "cubic", "ratio": 1.0}
    runs = [kept, *(kept | other for other in others), kept | control, kept | {"model": "lenet5-half"}]
    assert width.of_widths(pd.DataFrame(runs)).index.size == 3


def test_the_papers_tests_and_sentences_compare_widths_and_ratios_of_both_schedules():
    alphas = {"lenet5-double": [1.0, 1.1, 1.2], "lenet5": [1.1, 1.2, 1.3], "lenet5-half": [1.5, 1.6, 1.7]}
    cells = [
        made_up_runs.runs("mnist", model, pruner, ratio, np.add(own, more), schedule=schedule)
        for model, own in alphas.items()
        for pruner, ratio, schedule, more in (("mp", 10, "one-shot", 0), ("mp", 20, "cubic", [0.1, 0.2, 0.3]))
    ]
    runs = made_up_runs.study(*cells).assign(training="falling, last")
    runs["params.ramp"] = runs["params.schedule"].map({"cubic": "0.5"})
    table = width.tests_of_the_paper(runs).set_index(["table", "column", "row"])["difference"]
    assert table.to_dict() == pytest.approx(
        {
            **{(1, f"{model} (MP)", "10 vs 20"): -0.2 for model in ("lenet5-half", "LeNet", "lenet5-double")},
            **{(5, f"t={ratio} (MP)", "lenet5-half vs LeNet"): 0.4 for ratio in (10, 20)},
            **{(5, f"t={ratio} (MP)", "LeNet vs lenet5-double"): 0.1 for ratio in (10, 20)},
        }
    )
    judged = width.claims_of_the_paper(runs)
    assert judged["slug"].unique().tolist() == ["smaller-models-intensify"]
    assert sorted(judged["estimate"].round(9)) == pytest.approx([0.1, 0.1, 0.4, 0.4, 0.5, 0.5])


def test_a_named_class_pays_the_recall_that_it_loses_beyond_the_accuracy():
    def cell(dataset, name, pruner, ratio, alphas):
        made = made_up_runs.runs(dataset, "lenet5-half", pruner, ratio, alphas).assign(schedule="cubic")
        return made.rename(columns=lambda column: column.replace("/a", f"/{name}"))

    # At alpha a, the named class has .8 + .1 a of its images right; the accuracy stays .8.
    cells = [
        cell(dataset, name, pruner, ratio, alphas)
        for dataset, name in (("fashion-mnist", "Shirt"), ("mnist", "9"))
        for pruner, ratio, alphas in (("none", 1, [1.0, 1.0]), ("mp", 20, [0.8, 0.6]))
    ]
    table = width.named_classes(run_arrays(made_up_runs.study(*cells)))
    assert table[["dataset", "class", "width", "n"]].to_numpy().tolist() == [
        ["fashion-mnist", "Shirt", 0.5, 2],
        ["mnist", "9", 0.5, 2],
    ]
    assert table["cost"].tolist() == pytest.approx([3.0, 3.0])


def test_holm_counts_a_data_set_whose_networks_are_missing():
    table = width.comparisons(networks("mnist"))
    (row,) = table[table["p_holm"].notna()].to_dict("records")
    assert row["p_holm"] == pytest.approx(2 * row["p"])
