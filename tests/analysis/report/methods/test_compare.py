"""Methods compared: which pairs, differences worked by hand, families, and what cannot be compared."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis.report.methods import compare as methods
from analysis.report.methods import tables
from analysis.report.methods.compare import METHOD_COLUMNS, OUTCOMES
from analysis.runs import exports, frames
from analysis.runs.primaries import Primary, settings_of
from analysis.statistics import two_way
from analysis.statistics.new_images import pooled_slope, slope_parts
from analysis.study.arrays import run_arrays
from tests import made_up_levels, made_up_mitigations, made_up_runs

ONE_SHOT = {"schedule": "one-shot"}
CUBIC = {"schedule": "cubic", "ramp": "0.5", "ramp_steps": "1", "regrow": "false"}
PLAIN = {"distill": "0.0"}
DISTILLED = {"distill": "0.5", "temperature": "2.0"}
PRIMARY = Primary("mp cubic", "mp", 20.0, ("alpha_new", "accuracy", "weakest_recall"))


def toy(pruner, ratio, alphas, *params, **more):
    params = {name: value for of in params for name, value in of.items()}
    return made_up_runs.runs("toy", "net", pruner, ratio, alphas, **params).assign(**more)


def grid(alphas=(1.0, 1.2), ratios=(10, 20)):
    """mp, gp, up in one shot and gradually, with and without distillation, and `none` with both."""
    made = [
        toy(pruner, ratio, alphas, schedule, distill)
        for pruner in ("mp", "gp", "up")
        for ratio in ratios
        for schedule in (ONE_SHOT, CUBIC)
        for distill in (PLAIN, DISTILLED)
    ]
    return made_up_runs.study(*made, *(toy("none", 1, alphas, ONE_SHOT, distill) for distill in (PLAIN, DISTILLED)))


def pairs(frame):
    return set(
        frame[["comparison", "ratio", "method", "baseline"]].drop_duplicates().itertuples(index=False, name=None)
    )


def one(frame, outcome, **of):
    (row,) = frame[(frame["outcome"] == outcome) & (frame[list(of)] == pd.Series(of)).all(axis=1)].to_dict("records")
    return row


def test_every_method_is_compared_with_its_baseline_and_nothing_else():
    frame = methods.compare(run_arrays(grid(ratios=[20])))
    assert list(frame.columns) == METHOD_COLUMNS
    assert pairs(frame) == {
        *(("schedule", 20.0, f"{p} cubic{d}", f"{p}{d}") for p in ("mp", "gp", "up") for d in ("", " distill 0.5")),
        *(("distillation", 20.0, f"{p}{s} distill 0.5", p + s) for p in ("mp", "gp", "up") for s in ("", " cubic")),
        ("distillation", 1.0, "none distill 0.5", "none"),
        *(
            ("pruner", 20.0, f"{p}{s}{d}", f"mp{s}{d}")
            for p in ("gp", "up")
            for s in ("", " cubic")
            for d in ("", " distill 0.5")
        ),
        *(
            ("control", 20.0, f"{p}{s}{d}", f"none{d}")
            for p in ("mp", "gp", "up")
            for s in ("", " cubic")
            for d in ("", " distill 0.5")
        ),
    }
    assert len(frame) == (6 + 6 + 1 + 8 + 12) * len(OUTCOMES)


def test_what_spares_classes_is_compared_with_nothing_that_does_and_with_a_control_that_is_spared_alike():
    unspared = {"class_offsets": "none", "class_weights": "none"}
    offsets = unspared | {"class_offsets": "dense"}
    weighted = unspared | {"class_weights": "dense", "class_weight_power": "1.0"}
    both = weighted | {"class_offsets": "dense"}
    made = made_up_runs.study(
        *(toy("mp", 20, [1, 1.1], spared) for spared in (unspared, offsets, weighted, both)),
        *(toy("none", 1, [1, 1.1], spared) for spared in (unspared, offsets)),
        toy("none", 1, [1, 1.1], weighted | {"class_weight_power": "2.0"}),
    )
    every = pairs(methods.compare(run_arrays(made)))
    weights = "class weights (power 1.0)"
    together = f"class offsets {weights}"
    assert {pair[1:] for pair in every if pair[0] == "mitigation"} == {
        *((20.0, f"mp {spared}", "mp") for spared in ("class offsets", weights, together)),
        *((1.0, f"none {spared}", "none") for spared in ("class offsets", "class weights (power 2.0)")),
    }
    assert {pair[1:] for pair in every if pair[0] == "control"} == {
        (20.0, "mp", "none"),
        (20.0, "mp class offsets", "none class offsets"),
        *((20.0, f"mp {spared}", "none") for spared in (weights, together)),
    }


def test_the_control_is_no_method_beside_magnitude_pruning_at_ratio_1():
    made = made_up_runs.study(toy("mp", 1, [1, 1.1], ONE_SHOT), toy("none", 1, [1, 1.1], ONE_SHOT))
    assert pairs(methods.compare(run_arrays(made))) == {("control", 1.0, "mp", "none")}


def test_each_ramp_is_compared_with_one_shot_and_each_epsilon_with_mp():
    made = made_up_runs.study(
        toy("mp", 20, [1, 1.1], ONE_SHOT),
        toy("mp", 20, [1, 1.1], CUBIC),
        toy("mp", 20, [1, 1.1], CUBIC | {"ramp": "0.25"}),
        toy("up", 20, [1, 1.1], ONE_SHOT, {"epsilon": "0.1"}),
        toy("up", 20, [1, 1.1], ONE_SHOT, {"epsilon": "0.2"}),
    )
    assert pairs(methods.compare(run_arrays(made))) == {
        ("schedule", 20.0, "mp cubic (ramp 0.5)", "mp"),
        ("schedule", 20.0, "mp cubic (ramp 0.25)", "mp"),
        ("pruner", 20.0, "up (epsilon 0.1)", "mp"),
        ("pruner", 20.0, "up (epsilon 0.2)", "mp"),
    }


def test_pruning_while_training_is_compared_with_one_shot_and_not_with_the_control():
    """It differs from one shot in schedule, scope and its lack of fine-tuning, which all belong to the start."""
    tuned = {"fine_tune_epochs": "15", "fine_tune_learning_rate": "0.01"}
    dense = {"start": "dense", "scope": "global"}
    anew = {"start": "initialization", "scope": "layer", "begin": "0", "end": "9", "frequency": "1", "regrow": "true"}
    made = made_up_runs.study(
        toy("mp", 20, [1, 1.1], ONE_SHOT, dense, tuned),
        toy("mp", 20, [1, 1.1], CUBIC, dense, tuned),
        toy("mp", 20, [1.2, 1.3], {"schedule": "cubic"}, anew),
        toy("mp", 10, [1.2, 1.3], {"schedule": "cubic"}, anew),
        toy("gp", 20, [1.2, 1.3], {"schedule": "cubic"}, anew),
        toy("none", 1, [1, 1.1], ONE_SHOT, dense, tuned),
    )
    frame = methods.compare(run_arrays(made))
    assert pairs(frame) == {
        ("schedule", 20.0, "mp cubic", "mp"),
        ("start", 20.0, "mp initialization scope layer", "mp"),
        ("pruner", 20.0, "gp initialization scope layer", "mp initialization scope layer"),
        ("control", 20.0, "mp", "none"),
        ("control", 20.0, "mp cubic", "none"),
    }
    assert one(frame, "alpha", comparison="start")["difference"] == pytest.approx(0.2)


def test_pruners_are_compared_though_each_has_a_scope_of_its_own():
    layer, globally = {"scope": "layer"}, {"scope": "global"}
    made = made_up_runs.study(
        toy("mp", 20, [1, 1.1], globally),
        toy("gp", 20, [1, 1.1], layer),
        toy("l1-unstructured", 20, [1, 1.1], layer),
    )
    assert pairs(methods.compare(run_arrays(made))) == {("pruner", 20.0, "l1-unstructured", "mp")}


def test_weights_of_few_bits_are_compared_with_32_bits():
    made = made_up_runs.study(
        toy("none", 1, [1, 1.1], {"weight_bits": "32"}),
        toy("none", 1, [1.1, 1.2], {"weight_bits": "4", "quantization": "while-training"}),
    )
    found = {each for each in pairs(methods.compare(run_arrays(made))) if each[0] == "weight_bits"}
    assert found == {("weight_bits", 1.0, "none weight_bits 4", "none")}


def test_a_number_format_of_a_pruned_network_is_compared_with_32_bits():
    """That of a dense network is compared with nothing here: every outcome is measured from the dense networks."""
    made = made_up_runs.study(
        toy("mp", 20, [1, 1.1], {"number_format": "float32"}),
        toy("mp", 20, [1.1, 1.2], {"number_format": "fixed-int8"}),
        toy("mp", 1, [1, 1.1], {"number_format": "float32"}),
        toy("none", 1, [1, 1.1], {"number_format": "float32"}),
        toy("fixed-int8", 1, [1.1, 1.2], {"number_format": "fixed-int8"}),
    )
    assert pairs(methods.compare(run_arrays(made))) == {
        ("number_format", 20.0, "mp fixed-int8", "mp"),
        ("control", 20.0, "mp", "none"),
        ("control", 20.0, "mp fixed-int8", "none"),
        ("control", 1.0, "mp", "none"),
    }


def test_each_epsilon_is_compared_with_the_papers():
    made = made_up_runs.study(
        toy("up", 20, [1.3, 1.4, 1.8], {"epsilon": "0.1"}),
        toy("up", 20, [1.1, 1.5], {"epsilon": "0.0005"}),
        toy("up", 10, [1.1, 1.5], {"epsilon": "0.1"}),
        toy("up-sum", 10, [1.1, 1.5], {"epsilon": "0.0005"}),
    )
    frame = methods.compare(run_arrays(made), primaries=[Primary("up", "up epsilon 5e-4", 20.0, ("alpha",))])
    assert pairs(frame) == {("epsilon", 20.0, "up (epsilon 0.1)", "up (epsilon 0.0005)")}
    alpha = one(frame, "alpha")
    assert (alpha["n"], alpha["primary"]) == (2, True)
    assert alpha["difference"] == pytest.approx(0.05)
    assert alpha["p_holm"] == alpha["p"]


def test_any_pruner_may_be_the_baseline_at_ratios_of_its_own():
    made = made_up_runs.study(
        toy("up", 20, [1.3, 1.4, 1.8], {"epsilon": "0.1"}, accuracy_after=[0.80, 0.82, 0.84]),
        toy("gp", 20, [1.3, 1.4, 1.8], accuracy_after=[0.70, 0.71, 0.75]),
        toy("gp", 12, [1.1, 1.3, 1.5], accuracy_after=[0.75, 0.76, 0.77]),
        toy("mp", 20, [1.1, 1.3, 1.5]),
    )
    made = made_up_runs.with_images(made)
    against_gp = methods.compare(run_arrays(made), baseline="gp")
    assert pairs(against_gp) == {("pruner", 20.0, "mp", "gp"), ("pruner", 20.0, "up", "gp")}
    # .10, .11 and .09
    assert one(against_gp, "accuracy", method="up")["difference"] == pytest.approx(0.1)
    against_12 = methods.compare(run_arrays(made[made["pruner"] != "mp"]), baseline="gp", baseline_ratios={20.0: 12.0})
    assert pairs(against_12) == {("pruner", 20.0, "up", "gp")}
    # .05, .06 and .07
    assert one(against_12, "accuracy")["difference"] == pytest.approx(0.06)


def test_networks_are_paired_by_seed_and_given_weights():
    weights = {"seed": [0, 0, 1], "params.weights_digest": ["one", "two", "one"]}
    made = made_up_runs.study(
        toy("up", 20, [1.3, 1.4, 1.8], accuracy_after=[0.80, 0.82, 0.84], **weights)[::-1],
        toy("mp", 20, [1.1, 1.3, 1.5], accuracy_after=[0.75, 0.76, 0.77], **weights),
    )
    accuracy = one(methods.compare(run_arrays(made)), "accuracy")
    # .05, .06 and .07, of standard deviation .01
    assert (accuracy["n"], accuracy["difference"]) == (3, pytest.approx(0.06))
    assert accuracy["difference_low"] == pytest.approx(0.06 - 4.302653 * 0.01 / 3**0.5, abs=1e-6)


def test_methods_with_the_same_label_are_shown_apart():
    made = made_up_runs.study(
        toy("up", 20, [1.3, 1.4], {"epsilon": "0.07158707475562237"}),
        toy("up", 20, [1.1, 1.5], {"epsilon": "0.07158712345678901"}),
        toy("mp", 20, [1.1, 1.3]),
    )
    shown = tables.shown(methods.compare(run_arrays(made)))
    assert shown["method"].tolist() == [f"up (epsilon 0.071587{end})" for end in ("07475562237", "12345678901")]
    assert shown["alpha"].nunique() == 2


def test_other_settings_are_never_mixed_and_nothing_is_compared_without_a_baseline():
    made = made_up_runs.study(
        toy("mp", 20, [1, 1.1], ONE_SHOT, {"epochs": "5"}), toy("mp", 20, [1, 1.1], CUBIC, {"epochs": "10"})
    )
    made = made_up_runs.study(made, toy("mp", 20, [1, 1.1], ONE_SHOT, {"epochs": "20"}))
    frame = methods.compare(run_arrays(made))
    assert frame.empty
    assert list(frame.columns) == METHOD_COLUMNS


def test_differences_by_hand():
    gradual = toy("mp", 20, [1.2, 1.1, 1.6], CUBIC, accuracy_after=[0.75, 0.76, 0.77])
    # In another order, and with a seed that the other lacks.
    one_shot = toy("mp", 20, [1.5, 1.3, 1.9, 9.0], ONE_SHOT, accuracy_after=[0.70, 0.72, 0.74, 0.1])[::-1]
    frame = methods.compare(run_arrays(made_up_runs.with_images(made_up_runs.study(gradual, one_shot))))
    accuracy = one(frame, "accuracy")
    assert accuracy["n"] == 3
    assert [accuracy["of_method"], accuracy["of_baseline"]] == pytest.approx([0.76, 0.72])
    # .05, .04, .03: mean .04, standard deviation .01, t(.975, 2 dof) = 4.302653
    assert accuracy["difference"] == pytest.approx(0.04)
    assert accuracy["difference_low"] == pytest.approx(0.04 - 4.302653 * 0.01 / 3**0.5, abs=1e-6)
    assert accuracy["effect_size"] == pytest.approx(4)
    assert accuracy["p"] == pytest.approx(2 * stats.t.sf(4 * 3**0.5, 2))
    # The weakest class has .8 - .1 alpha; the balance, in accuracies of its own, is not what recalls are.
    assert one(frame, "weakest_recall")["difference"] == pytest.approx(0.1 * (0.3 + 0.2 + 0.3) / 3)
    assert one(frame, "weakest_recall")["of_baseline"] == pytest.approx(0.8 - 0.1 * (1.5 + 1.3 + 1.9) / 3)
    # Of .7 it loses .1 (alpha - 1), and the other class gains.
    assert one(frame, "largest_loss")["difference"] == pytest.approx(-0.1 * (0.3 + 0.2 + 0.3) / 3)
    assert one(frame, "largest_loss")["of_method"] == pytest.approx(0.1 * (0.2 + 0.1 + 0.6) / 3)


def test_alpha_of_new_images_is_pooled_and_its_interval_over_seeds_by_hand():
    made = made_up_runs.study(toy("mp", 20, [1.2, 1.1, 1.6], CUBIC), toy("mp", 20, [1.5, 1.3, 1.9], ONE_SHOT))
    row = one(methods.compare(run_arrays(made_up_runs.with_images(made))), "alpha_new")
    # Numerators alpha / 32; denominators 1/32 - K(v), v = .09 / 99 and .21 / 99, K(v) = (1 - 1/2) sum v / .64.
    known = 1 - 32 * 0.5 * (0.09 + 0.21) / 99 / 0.64
    assert [row["of_method"], row["of_baseline"]] == pytest.approx([1.3 / known, 4.7 / 3 / known])
    assert row["difference"] == pytest.approx(-0.8 / 3 / known)
    # Differences -.3, -.2, -.3: standard deviation .1 / sqrt(3)
    assert row["difference_high"] == pytest.approx((-0.8 / 3 + 4.302653 * 0.1 / 3) / known, abs=1e-6)
    assert row["dof"] == pytest.approx(2)
    assert row["effect_size"] == pytest.approx(-0.8 / 3 / (0.1 / 3**0.5))
    assert row["resampled"] == "seeds"


def test_without_images_there_is_no_alpha_of_new_ones():
    made = made_up_runs.study(toy("mp", 20, [1.2, 1.1], CUBIC), toy("mp", 20, [1.5, 1.3], ONE_SHOT))
    row = one(methods.compare(run_arrays(made)), "alpha_new")
    assert np.isnan([row["difference"], row["p"], row["p_holm"], row["difference_low"]]).all()


def test_classes_that_cannot_be_told_apart_have_no_alpha_of_new_images():
    made = made_up_runs.study(toy("mp", 20, [1.2, 1.1], CUBIC), toy("mp", 20, [1.5, 1.3], ONE_SHOT))
    made[["recall_before/a", "recall_before/b"]] = [0.81, 0.79]
    assert np.isnan(one(methods.compare(run_arrays(made_up_runs.with_images(made))), "alpha_new")["difference"])
    assert np.isfinite(one(methods.compare(run_arrays(made_up_runs.with_images(made))), "alpha")["difference"])


def test_networks_at_chance_are_out_of_slopes_and_count_in_other_outcomes():
    gradual = toy("mp", 20, [1.2, 1.1, 1.6, 1.0], CUBIC)
    # 100 of 200 images is what anyone gets who always names the same class.
    one_shot = toy("mp", 20, [9.0, 1.3, 1.9, 1.1], ONE_SHOT, accuracy_after=[0.5, 0.7, 0.8, 0.75])
    frame = methods.compare(run_arrays(made_up_runs.with_images(made_up_runs.study(gradual, one_shot))))
    assert {
        name: one(frame, name)["n"] for name in ("alpha_new", "alpha", "raw_slope", "accuracy", "largest_loss")
    } == {
        **dict.fromkeys(("alpha_new", "alpha", "raw_slope"), 3),
        **dict.fromkeys(("accuracy", "largest_loss"), 4),
    }
    assert set(frame["n_at_chance"]) == {1}
    # (.8 - .5, .8 - .7, .8 - .8, .8 - .75) / 4
    assert one(frame, "accuracy")["difference"] == pytest.approx(0.45 / 4)
    assert one(frame, "alpha")["of_baseline"] == pytest.approx((1.3 + 1.9 + 1.1) / 3, abs=0.5)
    assert one(frame, "weakest_recall")["of_baseline"] == pytest.approx(0.8 - 0.1 * (9 + 4.3) / 4)


def test_largest_excess_and_raw_slope_by_hand():
    # The accuracy falls by .1. One recall falls from .9 to .8 + .1 alpha, the other from .7 to .8 - .1 alpha.
    gradual = toy("mp", 20, [0.5, 1.5, 2.0], CUBIC, accuracy_after=0.7)
    one_shot = toy("mp", 20, [1.0, 1.0, 1.0], ONE_SHOT, accuracy_after=0.8)
    frame = methods.compare(run_arrays(made_up_runs.with_images(made_up_runs.study(gradual, one_shot))))
    excess, slope = one(frame, "largest_excess"), one(frame, "raw_slope")
    # The worst classes lose .05 - .1, .05 - .1 and .1 - .1.
    assert excess["of_method"] == pytest.approx((-0.05 - 0.05 + 0.0) / 3)
    assert excess["of_baseline"] == pytest.approx(0, abs=1e-12)
    # Balances are (.1, -.1) before, and (.1 + .1 alpha, .1 - .1 alpha) after.
    assert slope["of_method"] == pytest.approx(4 / 3)
    assert slope["of_baseline"] == pytest.approx(1)
    # Divided by accuracies it is 4/3 * .8 / .7.
    assert one(frame, "alpha")["of_method"] == pytest.approx(4 / 3 * 0.8 / 0.7)


def at_accuracies(pruner, *points, networks=4, **params):
    """Cells of networks that are all alike: a ratio, an accuracy, and the alpha at it."""
    for ratio, accuracy, slope in points:
        raw = slope * accuracy / 0.8
        made = made_up_runs.runs("toy", "net", pruner, ratio, [raw] * networks, **params)
        made["accuracy_after"] = accuracy
        made[["recall_after/a", "recall_after/b"]] += accuracy - 0.8
        yield made


def with_images(*cells):
    return made_up_runs.with_images(made_up_runs.study(*cells))


def test_at_equal_accuracy_by_hand():
    baseline = list(at_accuracies("mp", (10, 0.78, 1.1), (20, 0.70, 1.5)))
    method = list(at_accuracies("up", (10, 0.76, 1.25), (20, 0.72, 1.3), (50, 0.66, 1.9)))
    frame = methods.compare(run_arrays(with_images(*baseline, *method)))
    # At .76, a quarter of the way from .78 to .70, the baseline has 1.2; at .72 it has 1.4.
    at_10, at_20 = (one(frame, "alpha", ratio=ratio) for ratio in (10.0, 20.0))
    assert [at_10["at_equal_accuracy"], at_20["at_equal_accuracy"]] == pytest.approx([0.05, -0.1])
    # Networks that are alike do not show how far they vary by chance.
    assert np.isnan([at_10["at_equal_accuracy_low"], at_10["at_equal_accuracy_high"]]).all()
    assert at_10["difference"] == pytest.approx(0.15)
    assert np.isnan(one(frame, "raw_slope", ratio=10.0)["at_equal_accuracy"])


def test_a_method_outside_the_range_of_its_baseline_is_not_comparable():
    baseline = list(at_accuracies("mp", (10, 0.78, 1.1), (20, 0.70, 1.5)))
    for accuracy in (0.79, 0.69):
        frame = methods.compare(run_arrays(with_images(*baseline, *at_accuracies("up", (20, accuracy, 1.3)))))
        row = one(frame, "alpha")
        assert np.isnan([row["at_equal_accuracy"], row["at_equal_accuracy_low"]]).all()
        assert row["difference"] == pytest.approx(-0.2)


def test_one_ratio_of_the_baseline_is_no_curve():
    made = with_images(*at_accuracies("mp", (10, 0.75, 1.1)), *at_accuracies("up", (10, 0.75, 1.3)))
    assert np.isnan(one(methods.compare(run_arrays(made)), "alpha")["at_equal_accuracy"])


@pytest.mark.parametrize(("half_gap", "is_known"), [(0.1, True), (0.02, False)])
def test_a_pooled_slope_that_noise_hides_is_not_compared_at_equal_accuracy_either(half_gap, is_known):
    """A hundred images a class have a noise of (.82 * .18 + .78 * .22) / 99 / 2 = .0016, above 2 * .02² = .0008."""
    cells = [*at_accuracies("mp", (10, 0.78, 1.1), (20, 0.70, 1.5)), *at_accuracies("up", (10, 0.76, 1.25))]
    before = {"recall_before/a": 0.8 + half_gap, "recall_before/b": 0.8 - half_gap}
    row = one(methods.compare(run_arrays(with_images(*(cell.assign(**before) for cell in cells)))), "alpha_new")
    assert row["n"] == 4
    for name in ("of_method", "at_equal_accuracy"):
        assert np.isfinite(row[name]) == is_known


def test_the_control_is_the_baseline_at_ratio_1():
    control = at_accuracies("none", (1, 0.80, 1.0))
    made = with_images(*control, *at_accuracies("mp", (10, 0.76, 1.4)), *at_accuracies("up", (10, 0.77, 1.35)))
    frame = methods.compare(run_arrays(made))
    # Three quarters of the way from the control to magnitude pruning: 1.3.
    row = one(frame, "alpha", comparison="pruner")
    assert row["at_equal_accuracy"] == pytest.approx(0.05)
    assert np.isnan(one(frame, "alpha", comparison="control", method="up")["at_equal_accuracy"])


def test_a_ratio_at_which_a_network_guesses_is_no_part_of_the_curve():
    cells = [*at_accuracies("mp", (10, 0.78, 1.1), (20, 0.74, 1.2)), *at_accuracies("mp", (50, 0.70, 1.0))]
    cells[-1].loc[0, "accuracy_after"] = 0.5
    made = with_images(*cells, *at_accuracies("up", (20, 0.72, 1.3)))
    assert np.isnan(one(methods.compare(run_arrays(made)), "alpha")["at_equal_accuracy"])
    made.loc[8, "accuracy_after"] = 0.70
    assert np.isfinite(one(methods.compare(run_arrays(made)), "alpha")["at_equal_accuracy"])


def noisy(made):
    """Runs with images, whose accuracies and recalls differ by chance."""
    rng = np.random.default_rng(0)
    made["accuracy_after"] = 0.8 + 0.01 * rng.standard_normal(len(made))
    for name, sign in (("a", 1), ("b", -1)):
        made[f"recall_after/{name}"] = 0.8 + sign * rng.normal(0.12, 0.02, len(made))
    return made_up_runs.with_images(made)


@pytest.mark.slow
def test_the_primary_comparison_has_a_level_of_its_own():
    made = noisy(grid(alphas=np.zeros(6)))
    frame = methods.compare(run_arrays(made), primaries=[PRIMARY])
    primary = frame[frame["primary"]]
    assert set(primary["outcome"]) == {"alpha_new", "accuracy", "weakest_recall"}
    assert pairs(primary) == {("schedule", 20.0, "mp cubic", "mp")}
    smallest = primary.loc[primary["p"].idxmin()]
    assert smallest["p_holm"] == pytest.approx(min(3 * smallest["p"], 1))
    # Level .05 / 3 against .05 / 1 of one outcome.
    alone = methods.compare(run_arrays(made), primaries=[PRIMARY._replace(outcomes=("accuracy",))])
    assert alone["primary"].sum() == 1
    assert (
        one(alone[alone["primary"]], "accuracy")["detectable_difference"]
        < (one(primary, "accuracy")["detectable_difference"])
    )


def test_slopes_that_say_nearly_the_same_share_no_family():
    frame = methods.compare(run_arrays(noisy(grid(alphas=np.zeros(6), ratios=[20]))))
    assert not frame["primary"].any()
    for is_control in (True, False):
        rest = frame[(frame["comparison"] == "control") == is_control]
        own = ["alpha", "raw_slope", "alpha_beyond"]
        for members in (rest[~rest["outcome"].isin(own)], *(rest[rest["outcome"] == slope] for slope in own)):
            assert members["p_holm"].min() == pytest.approx(min(len(members) * members["p"].min(), 1))


def test_a_method_that_loses_more_accuracy_in_proportion_has_no_higher_alpha_beyond_it():
    # Dense errors of .1 and .3 grow to .12 and .36 by magnitude pruning, and to .15 and .45 by the other.
    cells = [toy("none", 1, np.ones(4))]
    for pruner, factor in (("mp", 1.2), ("up", 1.5)):
        made = toy(pruner, 10, np.ones(4))
        after = {name: 1 - factor * (1 - made[name]) for name in ("recall_after/a", "recall_after/b")}
        cells.append(made.assign(**after, accuracy_after=1 - factor * 0.2))
    made = made_up_runs.study(*cells)
    images = {f"support/{name}": 1000.0 for name in "ab"}
    images |= {
        f"both_right/{name}": made[[f"recall_before/{name}", f"recall_after/{name}"]].min(axis=1) for name in "ab"
    }
    frame = methods.compare(run_arrays(made.assign(**images)))
    row = frame.query("method == 'up' and baseline == 'mp'").set_index("outcome")
    assert row["of_method"]["alpha"] == pytest.approx(12 / 7)  # odds of 3 : 7 after 2 : 8
    assert row["of_method"]["alpha_beyond"] == pytest.approx(row["of_method"]["alpha_new"] / (12 / 7))
    assert row["of_method"]["alpha_beyond"] == pytest.approx(1, abs=0.01)
    assert row["difference"]["alpha_new"] > 0.3
    assert row["difference"]["alpha_beyond"] == pytest.approx(0, abs=0.01)


def test_methods_that_share_no_dense_network_are_not_compared():
    cubic = toy("mp", 20, [1.0, 1.2, 1.1], CUBIC, {"epochs": "5"})
    one_shot = toy("mp", 20, [1.0, 1.2, 1.1], ONE_SHOT, {"epochs": "30"})
    assert methods.compare(run_arrays(made_up_runs.study(cubic, one_shot)), primaries=[PRIMARY])["primary"].any()
    apart = one_shot.assign(dense_run_id=["x", "y", "z"])
    assert methods.compare(run_arrays(made_up_runs.study(cubic, apart)), primaries=[PRIMARY]).empty


def test_slopes_share_no_family_of_a_primary_comparison_either():
    made = noisy(grid(alphas=np.zeros(6), ratios=[20]))
    frame = methods.compare(run_arrays(made), primaries=[PRIMARY._replace(outcomes=("accuracy", "alpha", "alpha_new"))])
    primary = frame[frame["primary"]]
    alpha, rest = one(primary, "alpha"), primary[primary["outcome"] != "alpha"]
    assert alpha["p_holm"] == alpha["p"]
    assert rest["p_holm"].min() == pytest.approx(min(2 * rest["p"].min(), 1))


def test_a_family_has_as_many_tests_as_were_planned():
    made = noisy(grid(alphas=np.zeros(6), ratios=[20]))
    planned = PRIMARY._replace(outcomes=("accuracy",), datasets=("toy", "of another folder"))
    (row,) = methods.compare(run_arrays(made), primaries=[planned]).query("primary").to_dict("records")
    assert row["p_holm"] == pytest.approx(min(2 * row["p"], 1))


def known(*rows):
    """The settings of the first run of each cell."""
    return tuple(settings_of({frames.param(name): value for name, value in row.iloc[0].items()}) for row in rows)


def test_only_cells_with_the_settings_of_the_study_s_grid_are_primary():
    cubic, control = toy("mp", 20, [1.0, 1.2, 1.1], CUBIC), toy("none", 1, [1.1, 1.1, 1.2], ONE_SHOT)
    planned = Primary("mp", "none", 20.0, ("accuracy",), ("toy",))
    resolved = planned._replace(methods=known(cubic[["pruner", "ratio", "params.schedule"]]),
                                baselines=known(control[["pruner", "ratio"]]))  # fmt: skip
    alone = methods.compare(run_arrays(made_up_runs.study(cubic, control)), primaries=[planned])
    assert list(alone[alone["primary"]]["method"]) == ["mp cubic"]
    later = run_arrays(made_up_runs.study(cubic, control, toy("mp", 20, [1.3, 1.2, 1.4], ONE_SHOT)))
    for primary, method in ((planned, "mp"), (resolved, "mp cubic")):
        frame = methods.compare(later, primaries=[primary])
        assert list(frame[frame["primary"]]["method"]) == [method]


def test_a_family_has_the_planned_tests_of_a_model_whose_networks_are_missing():
    made = noisy(grid(alphas=np.zeros(6), ratios=[20]))
    here = ((("model", "net"), ("pruner", "mp"), ("ratio", 20.0), ("schedule", "cubic")),)
    planned = PRIMARY._replace(
        outcomes=("accuracy",),
        datasets=("toy",),
        methods=(*here, (("model", "other"), *here[0][1:])),
        baselines=((*here[0][1:3], ("schedule", "one-shot")),),
    )
    small, large = (
        methods.compare(run_arrays(made), primaries=[planned._replace(methods=cells)]).query("primary").iloc[0]
        for cells in (here, planned.methods)
    )
    assert small["p_holm"] == small["p"] == large["p"]
    assert large["p_holm"] == pytest.approx(min(2 * large["p"], 1))
    assert large["detectable_difference"] > small["detectable_difference"]


def test_a_primary_comparison_without_networks_is_named():
    made = run_arrays(made_up_runs.study(*(toy("mp", 20, [1, 1.2], schedule) for schedule in (ONE_SHOT, CUBIC))))
    missing = PRIMARY._replace(method="up")
    assert methods.compare(made, primaries=[PRIMARY, missing]).attrs["unpaired"] == [missing]


@pytest.mark.parametrize("outcome", ["accuracy", "alpha", "alpha_new"])
def test_a_difference_that_was_predicted_has_a_one_sided_p(outcome):
    runs = [toy("mp", 20, np.zeros(6), schedule) for schedule in (ONE_SHOT, CUBIC)]
    made = run_arrays(noisy(made_up_runs.study(*runs)))
    two, less, greater = (
        one(methods.compare(made, primaries=[PRIMARY._replace(outcomes=(outcome,), direction=direction)]), outcome,
            primary=True)
        for direction in ("two-sided", "less", "greater")
    )  # fmt: skip
    assert (two["alternative"], less["alternative"], greater["alternative"]) == ("two-sided", "less", "greater")
    predicted, other = (less, greater) if two["difference"] < 0 else (greater, less)
    assert predicted["p"] == pytest.approx(two["p"] / 2)
    assert other["p"] == pytest.approx(1 - two["p"] / 2)
    assert less["difference_low"] == greater["difference_low"] == two["difference_low"]
    assert predicted["detectable_difference"] < two["detectable_difference"]


def test_a_primary_comparison_may_be_of_any_two_methods():
    made = made_up_runs.study(
        toy("mp", 20, [1.1, 1.3, 1.5]),
        toy("gp", 20, [1.3, 1.4, 1.8], ONE_SHOT),
        toy("up", 20, [1.2, 1.3, 1.4], CUBIC),
    )
    frame = methods.compare(run_arrays(made), primaries=[Primary("up cubic", "gp", 20.0, ("alpha",))])
    (row,) = frame[frame["primary"]].to_dict("records")
    assert (row["comparison"], row["method"], row["baseline"]) == ("other", "up cubic", "gp")
    assert row["difference"] == pytest.approx(-0.2)


@pytest.mark.parametrize(
    "other",
    [
        {"datasets": ("other",)},
        {"method": "rp cubic"},
        {"ratio": 50.0},
        {"baseline": "rp"},
        {"method": "mp cubic distill 0.9"},
    ],
)
def test_a_study_may_not_have_the_primary_comparison(other):
    made = run_arrays(made_up_runs.study(*(toy("mp", 20, [1, 1.2], schedule) for schedule in (ONE_SHOT, CUBIC))))
    assert methods.compare(made, primaries=[PRIMARY])["primary"].any()
    assert not methods.compare(made, primaries=[PRIMARY._replace(**other)])["primary"].any()


def test_a_study_may_have_no_primary_comparison():
    assert not methods.compare(run_arrays(grid(ratios=[20])))["primary"].any()


def test_several_primary_comparisons_and_those_with_the_control_are_families_each():
    rng = np.random.default_rng(0)
    cells = [
        toy(pruner, ratio, 1 + 0.1 * rng.standard_normal(6)) for pruner, ratio in (("mp", 2), ("mp", 10), ("up", 10))
    ]
    made = made_up_runs.study(*cells, toy("none", 1, 1 + 0.1 * rng.standard_normal(6)))
    both = made_up_runs.study(made, made.assign(dataset="other", dense_run_id=made["dense_run_id"] + "o"))
    both["accuracy_after"] = 0.8 + 0.01 * rng.standard_normal(len(both))
    of_up, of_control = Primary("up", "mp", 10.0, ("alpha",)), Primary("mp", "none", 2.0, ("alpha",))
    frame = methods.compare(run_arrays(both), primaries=[of_up, of_control])
    primary = frame[frame["primary"]]
    assert primary[["dataset", "method", "baseline"]].to_numpy().tolist() == [
        ["other", "up", "mp"], ["toy", "up", "mp"], ["other", "mp", "none"], ["toy", "mp", "none"]
    ]  # fmt: skip
    for members in (primary[:2], primary[2:]):
        assert members["p_holm"].min() == pytest.approx(min(2 * members["p"].min(), 1))
    for is_control in (True, False):
        rest = frame[~frame["primary"] & ((frame["comparison"] == "control") == is_control)]
        rest = rest[~rest["outcome"].isin(["alpha", "raw_slope", "alpha_beyond"])]
        assert rest["p_holm"].min() == pytest.approx(min(len(rest) * rest["p"].min(), 1))


LABEL = np.repeat([0, 1], 100)


def answered(made):
    """Recalls, and the store of predictions that they are of, of networks right by chance about each image."""
    rng = np.random.default_rng(1)
    found, right = {}, {}
    recalls = dict.fromkeys(made["dense_run_id"], (0.97, 0.75))
    gradual = made["params.schedule"] == "cubic"
    recalls |= dict.fromkeys(made["run_id"][gradual], (0.96, 0.72)) | dict.fromkeys(
        made["run_id"][~gradual], (0.99, 0.66)
    )
    for run_id, of_classes in recalls.items():
        right[run_id] = rng.random(len(LABEL)) < np.array(of_classes)[LABEL]
        found[run_id] = {"label": LABEL, "predicted": np.where(right[run_id], LABEL, 1 - LABEL)}
    before, after = (np.array([right[run_id] for run_id in made[name]]) for name in ("dense_run_id", "run_id"))
    measured = {"accuracy_before": before.mean(1), "accuracy_after": after.mean(1)}
    for index, name in enumerate("ab"):
        shares = {"recall_before": before, "recall_after": after, "both_right": before & after}
        measured |= {f"{of}/{name}": values[:, index == LABEL].mean(1) for of, values in shares.items()}
    made = made.assign(**measured, **{"support/a": 100.0, "support/b": 100.0})
    return made, lambda run_ids: {run_id: found[run_id] for run_id in run_ids}


def test_predictions_make_the_interval_one_for_new_images_too():
    made = made_up_runs.study(toy("mp", 20, np.ones(8), CUBIC), toy("mp", 20, np.ones(8), ONE_SHOT))
    made, predictions = answered(made)
    alone = one(methods.compare(run_arrays(made)), "alpha_new")
    row = one(methods.compare(run_arrays(made), predictions), "alpha_new")
    assert (row["resampled"], alone["resampled"]) == ("seeds and images", "seeds")
    assert [row["difference"], row["effect_size"]] == pytest.approx([alone["difference"], alone["effect_size"]])
    # Networks that agree by chance do not make it narrower than the images allow.
    assert row["difference_low"] < alone["difference_low"]
    # p is the level at which the interval touches 0, here that of Student's t without images.
    assert row["p"] > alone["p"] == pytest.approx(2 * stats.t.sf(abs(alone["statistic"]), 7))


def test_images_that_move_both_methods_alike_do_not_count():
    made = made_up_runs.study(toy("mp", 20, np.ones(4), CUBIC), toy("mp", 20, np.ones(4), ONE_SHOT))
    made, predictions = answered(made)
    row = one(methods.compare(run_arrays(made), predictions), "alpha_new")
    slopes = []
    for schedule in ("cubic", "one-shot"):
        sides = made.loc[made["params.schedule"] == schedule, ["dense_run_id", "run_id"]].to_numpy().T
        right = (np.array([predictions([run])[run]["predicted"] == LABEL for run in side]) for side in sides)
        slopes.append(pooled_slope(slope_parts(LABEL, *right)))
    gradual, one_shot = slopes
    together = two_way.variances(gradual.pseudo_values - one_shot.pseudo_values, gradual.moves - one_shot.moves)
    apart = gradual.variances.images + one_shot.variances.images
    assert together.images < 0.8 * apart
    assert row["difference"] == pytest.approx(gradual.estimate - one_shot.estimate)
    assert row["difference_high"] - row["difference"] == pytest.approx(two_way.half_width(together))
    assert row["p"] == pytest.approx(two_way.p_value(together, row["difference"]))


def test_images_in_another_order_are_not_drawn_together():
    made = made_up_runs.study(toy("mp", 20, np.ones(8), CUBIC), toy("mp", 20, np.ones(8), ONE_SHOT))
    one_shot = made["params.schedule"] == "one-shot"
    made.loc[one_shot, "dense_run_id"] += " again"
    made, predictions = answered(made)
    backwards = set(made.loc[one_shot, ["run_id", "dense_run_id"]].to_numpy().ravel())

    def of_other_images(run_ids):
        return {
            run_id: {name: array[::-1] if run_id in backwards else array for name, array in found.items()}
            for run_id, found in predictions(run_ids).items()
        }

    row = one(methods.compare(run_arrays(made), of_other_images), "alpha_new")
    assert np.isfinite(row["p"])
    assert row["resampled"] == "seeds"


def test_what_is_shown_has_a_row_for_each_comparison():
    gradual = toy("mp", 20, [1.2, 1.1, 1.6], CUBIC, accuracy_after=[0.85, 0.86, 0.87])
    one_shot = toy("mp", 20, [1.5, 1.3, 1.9], ONE_SHOT, accuracy_after=[0.80, 0.82, 0.84])
    compared = methods.compare(run_arrays(made_up_runs.study(gradual, one_shot)), primaries=[PRIMARY])
    (row,) = tables.shown(compared).to_dict("records")
    assert (row["ratio"], row["method"], row["baseline"], row["n"]) == ("20", "mp cubic", "mp", "3")
    # By Holm's correction of three, one of which is missing: .0153 x 3 of the weakest recall, and so of the accuracy.
    assert row["primary"] == "yes"
    assert row["accuracy, points"] == "+4.0 (+1.5 to +6.5) *"
    assert row["alpha (new)"] == "n/a"


def test_of_several_baselines_the_one_with_the_same_settings_counts():
    made = made_up_runs.study(
        made_up_runs.runs("toy", "net", "up", 10, [1.3, 1.4], gradient_batches="all"),
        made_up_runs.runs("toy", "net", "gp", 10, [1.2, 1.2], gradient_batches="all"),
    )
    other = made_up_runs.runs("toy", "net", "gp", 10, [3.0, 3.1], gradient_batches="4")
    for runs in (made, made_up_runs.study(made, other), made_up_runs.study(other, made)):
        compared = methods.compare(run_arrays(runs), baseline="gp")
        (row,) = compared[(compared["comparison"] == "pruner") & (compared["outcome"] == "alpha")].to_dict("records")
        assert row["difference"] == pytest.approx(0.15)


def test_where_no_baseline_is_nearer_than_another_nothing_is_compared():
    made = made_up_runs.study(
        made_up_runs.runs("toy", "net", "mp", 10, [1.3, 1.4]),
        *(made_up_runs.runs("toy", "net", "up", 10, [1.2, 1.2], epsilon=epsilon) for epsilon in ("0.1", "0.2")),
    )
    compared = methods.compare(run_arrays(made), baseline="up")
    assert "pruner" not in set(compared["comparison"])


RESULTS = Path(__file__).parents[4] / "results"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("study", "dataset", "of", "difference", "at_equal_accuracy"),
    [
        ("gradual", "fashion-mnist", ("schedule", "mp cubic", 20.0), -0.041, (0.007, -0.018, 0.032)),
        ("gradual", "cifar10-jpeg", ("distillation", "mp distill 0.5", 10.0), 0.114, (0.118, 0.078, 0.155)),
        ("lenet5", "fashion-mnist", ("pruner", "up", 10.0), 0.062, (0.028, 0.006, 0.052)),
    ],
)
def test_at_equal_accuracy_beside_what_a_review_found_by_drawing_networks(
    study, dataset, of, difference, at_equal_accuracy
):
    read, _ = exports.read([RESULTS / study / "frames.zip"])
    found = exports.select_dataset(read, dataset)
    made = found.runs[found.runs["pruner"].isin(["mp", "none", of[1].split()[0]])].reset_index(drop=True)
    row = one(
        methods.compare(run_arrays(made)), "alpha_new", **dict(zip(("comparison", "method", "ratio"), of, strict=True))
    )
    assert row["difference"] == pytest.approx(difference, abs=0.002)
    assert row["at_equal_accuracy"] == pytest.approx(at_equal_accuracy[0], abs=0.001)
    # The review's ends are quantiles of drawn networks, ours are the jackknife's.
    ends = [row["at_equal_accuracy_low"], row["at_equal_accuracy_high"]]
    assert ends == pytest.approx(at_equal_accuracy[1:], abs=0.005)


def test_levels_of_an_iteration_are_compared_though_their_ratios_differ_and_treatments_with_fine_tuning():
    levels = made_up_levels.runs(pruners=("l1-structured", "global-unstructured", "none"), levels=2)
    other = levels["pruner"] == "l1-structured"
    levels = levels.assign(ratio=levels["ratio"].mask(other, levels["ratio"] - 0.01))
    frame = methods.compare(run_arrays(levels), baseline="global-unstructured")
    assert list(frame.columns) == [*METHOD_COLUMNS, "params.iteration"]
    named = frame[["comparison", "params.iteration", "method", "baseline"]].drop_duplicates()
    names, expected = ("l1-structured", "global-unstructured", "none"), set()
    for level, of in (("1", "finetune"), ("1", "rewind"), ("2", "finetune"), ("2", "rewind")):
        expected |= {("pruner", level, f"l1-structured {of}", f"global-unstructured {of}")}
        expected |= {
            ("control", level, f"{name} {of}", f"none {of}") for name in ("l1-structured", "global-unstructured")
        }
    for level in ("1", "2"):
        names = ("l1-structured", "global-unstructured", "none")
        expected |= {("weight_treatment", level, f"{name} rewind", f"{name} finetune") for name in names}
    assert set(named.itertuples(index=False, name=None)) == expected
    # Accuracy falls by 1.15 x loss x sparsity, .5 against .1; rewinding costs as much again.
    second = {"method": "l1-structured rewind", "params.iteration": "2"}
    row = one(frame, "accuracy", comparison="pruner", **second)
    assert row["difference"] == pytest.approx(-2 * 1.15 * 0.4 * 0.36)
    row = one(
        frame, "accuracy", method="l1-structured rewind", comparison="weight_treatment", **{"params.iteration": "2"}
    )
    assert row["difference"] == pytest.approx(-1.15 * 0.5 * 0.36)


def test_weights_rewound_to_a_step_are_compared_with_those_rewound_to_the_first_values():
    first = made_up_levels.runs(pruners=("global-unstructured",), levels=2)
    rewound = first[first["params.weight_treatment"] == "rewind"]
    early = rewound.assign(accuracy_after=rewound["accuracy_after"] + 0.01)
    both = pd.concat([first.assign(**{"params.rewind_step": "0"}), early.assign(**{"params.rewind_step": "375"})])
    frame = methods.compare(run_arrays(both.reset_index(drop=True)), baseline="global-unstructured")
    found = frame[(frame["comparison"] == "rewind_step") & (frame["outcome"] == "accuracy")]
    assert found["params.iteration"].tolist() == ["1", "2"]
    assert set(found["baseline"]) == {"global-unstructured rewind"}
    assert found["difference"].tolist() == pytest.approx([0.01, 0.01])


def test_the_class_that_pays_and_the_one_that_is_spared_are_read_beyond_the_accuracies():
    """GP loses 12, 13 and 14 of 100 images of class a more than MP, and 3 of c less: 3, 10 / 3 and 11 / 3 of all."""
    mp, _ = made_up_mitigations.cell("mp", 10, [(80, 90, 85)] * 3)
    gp, _ = made_up_mitigations.cell("gp", 10, [(68, 90, 88), (67, 90, 88), (66, 90, 88)])
    frame = methods.compare(run_arrays(pd.concat([mp, gp], ignore_index=True)))
    row = one(frame, "largest_excess", method="gp")
    assert (row["cost_class"], row["spared_class"]) == ("a", "c")
    assert row["cost"] == pytest.approx(0.13 - 10 / 300)
    assert row["spared"] == pytest.approx(0.03 + 10 / 300)
    # Costs of a are 9, 29 / 3 and 31 / 3 points: t for two degrees of freedom at .025 a side is 4.303.
    half = 4.3027 * np.std([0.09, 0.29 / 3, 0.31 / 3], ddof=1) / 3**0.5
    assert [row["cost_low"], row["cost_high"]] == pytest.approx([0.29 / 3 - half, 0.29 / 3 + half], abs=1e-5)
    assert row["cost_p"] < 0.05
    assert one(frame, "accuracy", method="gp")["cost_class"] == ""
    assert np.isnan(one(frame, "accuracy", method="gp")["cost"])
