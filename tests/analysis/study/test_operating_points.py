"""Operating points of networks whose recalls are known: .06 between the classes before pruning, more after it."""

import numpy as np
import pytest

from analysis.study import operating_points
from analysis.study.operating_points import DENSE, Preference, on_test, on_validation, points, preference
from analysis.study.settings import shown_settings
from tests import made_up_levels, made_up_runs
from tests.error_lines import refused

LOSS = {"global-unstructured": 0.01, "l1-structured": 0.02, "none": 0.0}
TOY = ("toy", "net")


def levels(*, treatments=("finetune",), pruners=("global-unstructured", "l1-structured"), **options):
    return made_up_levels.runs(treatments=treatments, pruners=pruners, loss=LOSS, **options)


def chosen(runs, *wanted):
    return points(on_test(runs, shown_settings(runs)), Preference(*wanted))


def of(found, pruner):
    return found[found["pruner"] == pruner].sort_values("sparsity")


def test_unfairness_grows_with_the_sparsity_and_that_of_the_dense_networks_stands_beside():
    found = chosen(levels())
    # A class loses loss x sparsity x (1, 1.1, 1.2, 1.3), so that .3 of it comes between the best and the worst.
    assert of(found, "global-unstructured")["sparsity"].tolist() == pytest.approx([0.2, 0.36, 0.488])
    assert of(found, "global-unstructured")["unfairness"].tolist() == pytest.approx([0.0606, 0.06108, 0.061464])
    assert of(found, "l1-structured")["unfairness_mean_min"].tolist() == pytest.approx([0.0306, 0.03108, 0.031464])
    dense = of(found, DENSE).iloc[0]
    assert (dense["unfairness"], dense["unfairness_mean_min"], dense["sparsity"]) == pytest.approx((0.06, 0.03, 0))
    assert (dense["params.iteration"], dense["networks"]) == ("0", 2)
    assert dense[["params.keep", "params.weight_treatment"]].isna().all()


def test_the_front_is_that_of_the_networks_which_lose_least_and_are_accurate_enough():
    found = chosen(levels(), 0.953)
    # The accuracies are .9552, .95336 and .951888, and .9529 and less.
    assert of(found, "global-unstructured")["meets_floor"].tolist() == [True, True, False]
    assert of(found, "global-unstructured")["on_front_2d"].tolist() == [True, True, False]
    assert not of(found, "l1-structured")["on_front_2d"].any()
    assert of(found, "global-unstructured")["on_front_3d"].tolist() == [True, True, False]
    assert not of(found, "l1-structured")["on_front_3d"].any()


def test_networks_that_guess_are_on_no_front_though_they_look_fair():
    runs = levels(treatments=("finetune", "rewind"))
    guesses = runs["params.weight_treatment"] == "rewind"
    for name in made_up_levels.CLASSES:
        runs.loc[guesses, f"recall_after/{name}"] = 1.0 if name == "0" else 0.0
    runs.loc[guesses, "accuracy_after"] = 0.25
    runs.loc[guesses, "params.sparsity"] = "0.99"
    found = chosen(runs)
    assert found.loc[found["params.weight_treatment"] == "finetune", "on_front_3d"].any()
    assert not found.loc[found["params.weight_treatment"] == "rewind", ["on_front_2d", "on_front_3d"]].any(axis=None)


def test_fairness_worth_a_hundred_times_sparsity_chooses_the_sparsest_here_and_a_thousand_times_the_fairest():
    # .488 - 100 x .061464 = -5.6584 is the most; .2 - 1000 x .0606 = -60.4 is.
    hundred, thousand = (of(chosen(levels(), None, worth), "global-unstructured") for worth in (100.0, 1000.0))
    assert hundred["value"].tolist() == pytest.approx([-5.86, -5.748, -5.6584])
    assert hundred["recommended"].tolist() == [False, False, True]
    assert thousand["recommended"].tolist() == [True, False, False]


def test_by_default_98_percent_or_a_point_less_than_the_dense_networks_have():
    runs = levels()
    assert chosen(runs)["min_accuracy"].unique() == pytest.approx([0.9475])
    more = runs.assign(accuracy_before=runs["accuracy_before"] + 0.03, accuracy_after=runs["accuracy_after"] + 0.03)
    assert chosen(more)["min_accuracy"].unique().tolist() == [0.98]


def test_where_no_level_is_accurate_enough_a_sentence_says_what_there_is():
    found = chosen(levels(), 0.99)
    assert not found["recommended"].any()
    (said,) = operating_points.sentences(found, Preference(0.99), lambda row: row["pruner"])
    assert said == (
        "No pruned level reaches an accuracy of 99.0 %: the most accurate level has 95.5 %, and the dense networks "
        "have 95.8 %. Choose a lower --min-accuracy."
    )


def test_the_recommended_level_is_said_with_its_price():
    said = list(operating_points.sentences(chosen(levels(seeds=1)), Preference(), lambda row: row["pruner"]))
    assert said == [
        "With an accuracy of at least 95.0 %, and if fairness is worth 100 times as much as sparsity, choose "
        "global-unstructured at ratio 1.917.",
        "With it, 48.8 % of the weights are pruned, the accuracy is 95.4 %, and the highest recall of a class is "
        "6.1 points above the lowest.",
        "In the dense networks, the highest recall of a class is 6.0 points above the lowest.",
    ]


def test_one_shot_pruning_has_the_sparsity_of_all_parameters():
    runs = made_up_runs.study(*(made_up_runs.runs(*TOY, "mp", ratio, [1.0, 1.2]) for ratio in (2, 10)))
    found = of(points(on_test(runs, shown_settings(runs)), Preference(0.5)), "mp")
    assert found["sparsity"].tolist() == pytest.approx([0.5, 0.9])
    # Recalls are .8 + .1 alpha and .8 - .1 alpha.
    assert found["unfairness"].tolist() == pytest.approx([0.22, 0.22])
    assert found["on_front_2d"].tolist() == [False, True]


def test_a_choice_is_shown_for_iterative_pruning_or_where_it_is_asked_for():
    one_shot = made_up_runs.runs(*TOY, "mp", 2, [1.0])
    assert operating_points.wanted_of(one_shot, None) is None
    assert operating_points.wanted_of(one_shot, Preference(0.9)) == Preference(0.9)
    assert operating_points.wanted_of(levels(), None) == Preference(None, 100.0)
    assert operating_points.wanted_of(levels(pruners=("none",)), Preference(0.9)) is None


def test_on_validation_images_recalls_are_counted_and_runs_without_them_left_out():
    runs = made_up_runs.runs(*TOY, "mp", 2, [1.0, 1.0])
    label = np.array([0, 0, 0, 0, 1, 1])
    answers = {"toy net 0": [0, 0, 0, 0, 1, 1], runs["run_id"][0]: [0, 0, 0, 1, 0, 1]}
    found = on_validation(
        runs,
        lambda ids: {i: {"label": label, "predicted": np.array(answers[i])} for i in ids if i in answers},
        [],
    )
    assert found["pruner"].tolist() == [DENSE, "mp"]
    assert found["accuracy"].tolist() == pytest.approx([1, 4 / 6])
    assert found["unfairness"].tolist() == pytest.approx([0, 0.25])
    assert found["unfairness_mean_min"].tolist() == pytest.approx([0, 0.125])


def test_pareto_csv_has_the_settings_by_name_and_iterations_as_numbers():
    table = operating_points.table(chosen(levels(treatments=("finetune", "rewind"), levels=11)))
    assert list(table.columns) == [
        *("dataset", "model", "pruner", "weight_treatment", "keep", "iteration", "ratio", "sparsity"),
        *(
            f"{name}{end}"
            for name in ("accuracy", "unfairness", "unfairness_mean_min")
            for end in ("", "_low", "_high")
        ),
        *("networks", "min_accuracy", "meets_floor", "on_front_2d", "on_front_3d", "value", "recommended"),
    ]
    own = table[(table["pruner"] == "l1-structured") & (table["weight_treatment"] == "rewind")]
    assert own["iteration"].tolist() == list(range(1, 12))


@pytest.mark.parametrize(
    ("accuracy", "worth", "option"), [(1.1, None, "--min-accuracy"), (None, -1, "--fairness-value")]
)
def test_a_preference_out_of_range_is_an_error(accuracy, worth, option):
    with refused(option):
        preference(accuracy, worth)
    assert preference(None, None) is None
    assert preference(0.9, None) == Preference(0.9, 100.0)


def test_dense_networks_of_two_recipes_are_not_averaged():
    short, long = levels(seeds=1), levels(seeds=1)
    short = short.assign(**{"params.epochs": "3", "accuracy_before": 0.9, "dense_run_id": "short"})
    long = long.assign(**{"params.epochs": "30", "run_id": long["run_id"] + " long"})
    found = chosen(made_up_runs.study(short, long))
    dense = of(found, DENSE)
    assert dense[["params.epochs", "networks"]].values.tolist() == [["3", 1], ["30", 1]]
    assert dense["accuracy"].tolist() == pytest.approx([0.9, 0.96])
    said = list(operating_points.sentences(found, Preference(), lambda row: f"{row['pruner']} {row['params.epochs']}"))
    assert "In the dense networks (dense 30), the highest recall of a class is 6.0 points above the lowest." in said


def test_intervals_of_shares_are_written_no_further_than_shares_go():
    said = {"unfairness": 0.03, "unfairness_low": -0.027, "unfairness_high": 0.087}
    assert operating_points.in_points(said, "unfairness") == "3.0 (0.0 to 8.7)"
    assert operating_points.in_points({"a": 0.98, "a_low": 0.93, "a_high": 1.03}, "a") == "98.0 (93.0 to 100.0)"
    assert operating_points.in_points({"a": 0.98, "a_low": np.nan, "a_high": np.nan}, "a") == "98.0"


def test_weights_that_were_not_pruned_do_not_count_as_sparsity():
    """`up-signed` was asked to prune 90 % of the weights of a network, half of whose parameters are weights."""
    runs = made_up_runs.runs(*TOY, "up-signed", 1 / 0.55, [1.0, 1.2], sparsity="0.9")
    as_asked, fewer = runs.assign(realized_ratio=1 / 0.5501), runs.assign(realized_ratio=1 / 0.7)
    assert operating_points.sparsity(as_asked).tolist() == [0.9, 0.9]
    assert operating_points.sparsity(fewer).tolist() == pytest.approx([0.6, 0.6])
