"""The paper's sentences held against studies in which they are true, false, or cannot be told."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis.report.papers import claims as shared
from analysis.report.papers.claims import (
    ABOVE,
    ALIKE,
    BELOW,
    CLAIM_COLUMNS,
    DIFFERS,
    FAILS,
    HOLDS,
    NOT_ABOVE,
    NOT_BELOW,
    UNCLEAR,
    UNTRIED,
    Check,
    Claim,
    estimate,
)
from analysis.report.papers.recall_distortion import claims, section
from analysis.report.papers.recall_distortion.sentences import CLAIMS
from analysis.runs.frames import column
from analysis.statistics.resampling import mean_interval
from analysis.study.study import StudyData
from tests import made_up_runs

# Sums to 0, so that a cell's mean is its centre.
NOISE = np.array([-0.05, -0.03, -0.01, 0.01, 0.03, 0.05])
OTHER_NOISE = NOISE[[2, 5, 0, 4, 1, 3]]
HIGHER, LOW, HIGH = "more-pruning-intensifies", "low-ratios-below-1", "high-ratios-above-1"
BOTH_SIDES, CORRECTIVE = "weak-and-strong-classes", "moderate-pruning-corrects"
RANDOM, NEGATIVE, RANDOM_DIFFERS, LOWEST = "random-below-1", "random-negative", "random-differs", "random-lowest"
UP_MP, UP_GP, POSITIVE, ALWAYS = "up-below-mp", "up-below-gp", "up-positive", "pooled-up-below-mp"
DIFFER, ACCURATE, MAGNITUDE = "pruners-differ", "up-more-accurate", "mp-more-accurate-than-gp"
LIGHT, HEAVY, VARIANCE = "light-pruning", "heavy-pruning", "recall-variance-grows"
LINEAR, MEAN_RATIO, HARDER = "linear-at-origin", "mean-ratio-volatile", "harder-data-intensify"
SMALLER, SMALLER_UP = "smaller-models-intensify", "smaller-models-intensify-up"
EXPRESSIVE, TICKETS, CHIP = "recall-most-expressive", "lth-threshold", "chip-rises"


def cell(pruner, ratio, alpha, *, dataset="mnist", model="lenet5", noise=NOISE, **columns):
    return made_up_runs.runs(dataset, model, pruner, ratio, alpha + noise).assign(**columns)


def held(*cells):
    return claims.claims(made_up_runs.study(*cells))


def of(frame, slug):
    return frame[frame["slug"] == slug].reset_index(drop=True)


def verdict(frame, slug):
    (one,) = of(frame, slug)["verdict"].unique()
    return one


def shown(frame, slug):
    """The row of a claim as it is shown."""
    return shared.shown(of(frame, slug)).iloc[0]


def mp_and_up(*ups, ratios=(2, 10, 20)):
    """alpha of MP is 1 at every ratio."""
    return [
        made
        for ratio, up in zip(ratios, ups, strict=True)
        for made in (cell("mp", ratio, 1.0), cell("up", ratio, up, noise=OTHER_NOISE))
    ]


def test_every_sentence_has_its_source_and_a_row_even_untried():
    frame = held(cell("mp", 2, 1.0))
    assert list(frame.columns) == CLAIM_COLUMNS
    assert sorted(frame["claim"].unique()) == list(range(1, len(CLAIMS) + 1))
    assert frame["slug"].drop_duplicates().tolist() == [claim.slug for claim in CLAIMS]
    assert frame["source"].ne("").all()
    assert verdict(frame, UP_MP) == UNTRIED
    assert of(frame, UP_MP)[["place", "n", "n_at_chance"]].to_numpy().tolist() == [["", 0, 0]]


def test_the_estimate_and_its_interval_by_hand():
    frame = of(held(*mp_and_up(0.8, ratios=[10])), UP_MP)
    (row,) = frame.to_dict("records")
    # Differences of up and mp: -.2 plus these six, of standard error .0707 / sqrt(6); t(.975, 5) is 2.5706.
    changes = OTHER_NOISE - NOISE
    half = 2.5706 * changes.std(ddof=1) / np.sqrt(6)
    assert row["estimate"] == pytest.approx(-0.2)
    assert (row["low"], row["high"]) == pytest.approx((-0.2 - half, -0.2 + half), abs=1e-5)
    assert (row["place"], row["where"], row["claimed"]) == ("mnist, lenet5", "up minus mp, t=10", BELOW)
    assert (row["n"], row["n_at_chance"], row["holds"], row["verdict"]) == (6, 0, "yes", HOLDS)


def test_the_interval_of_a_slope_is_the_one_of_its_mark():
    # Of two ratios, so that 97.5 % each hold together with 95 %.
    row = of(held(cell("mp", 2, 0.9), cell("mp", 10, 1.0)), LOW).iloc[0]
    assert row[["low", "high"]].tolist() == pytest.approx(mean_interval(NOISE - 0.1, 0.975))
    assert (row["where"], row["estimate"]) == ("mp, t=2", pytest.approx(-0.1))


@pytest.mark.parametrize(
    ("ups", "most", "always"),
    [
        ((0.7, 0.7, 0.7), HOLDS, HOLDS),
        ((0.7, 0.7, 1.0), HOLDS, UNCLEAR),
        ((0.7, 0.7, 1.3), HOLDS, FAILS),
        ((0.7, 1.0, 1.0), UNCLEAR, UNCLEAR),
        ((1.3, 1.0, 1.3), FAILS, FAILS),
    ],
)
def test_a_tendency_needs_more_than_half_and_always_needs_all(ups, most, always):
    frame = held(*mp_and_up(*ups))
    assert (verdict(frame, UP_MP), verdict(frame, ALWAYS)) == (most, always)


def test_p_are_those_of_one_sided_t_tests():
    first, second = 0.96 + OTHER_NOISE, 1.0 + NOISE
    (row,) = of(held(*mp_and_up(0.96, ratios=[10])), UP_MP).to_dict("records")
    expected = [stats.ttest_rel(first, second, alternative=side).pvalue for side in ("less", "greater")]
    assert [row["p_for"], row["p_against"]] == pytest.approx(expected)
    # In two-sided tests it would be .137, which one-sided is .068.
    assert expected[0] == pytest.approx(0.068, abs=1e-3)
    assert row["holds"] == "?"
    (row,) = of(held(*mp_and_up(0.95, ratios=[10])), UP_MP).to_dict("records")
    assert (row["high"] > 0, row["holds"]) == (True, "yes")


def test_p_between_data_sets_are_those_of_welchs_test():
    easy, hard = (cell("mp", 10, 1.0 + NOISE.mean(), dataset=name) for name in ("mnist", "cifar10"))
    hard = cell("mp", 10, 1.02, dataset="cifar10", noise=np.array([-0.1, 0, 0.1]))
    (row,) = of(held(easy, hard), HARDER).to_dict("records")
    samples = 1.02 + np.array([-0.1, 0, 0.1]), 1.0 + NOISE
    test = stats.ttest_ind(*samples, equal_var=False, alternative="greater")
    two_sided = stats.ttest_ind(*samples, equal_var=False).confidence_interval()
    assert row["p_for"] == pytest.approx(test.pvalue)
    assert (row["low"], row["high"]) == pytest.approx(tuple(two_sided))
    assert row["n"] == 9


@pytest.mark.parametrize(
    ("claimed", "p_for", "p_against"),
    [
        # Estimate .1, standard error .1, nine degrees of freedom: t are (.1 - bound) / .1.
        (BELOW, stats.t.cdf(1, 9), stats.t.sf(1, 9)),
        (ABOVE, stats.t.sf(1, 9), stats.t.cdf(1, 9)),
        (NOT_BELOW, stats.t.sf(1.5, 9), stats.t.cdf(1.5, 9)),
        (NOT_ABOVE, stats.t.cdf(0.5, 9), stats.t.sf(0.5, 9)),
        (DIFFERS, 2 * stats.t.sf(1, 9), stats.t.cdf(0.5, 9)),
        (ALIKE, stats.t.cdf(-1.5, 9), 2 * stats.t.sf(3.5, 9)),
    ],
)
def test_p_of_every_kind_of_claim(claimed, p_for, p_against):
    check = Check((), "alpha", {"difference": 0.1, "error": 0.1, "dof": 9, "n": 10}, claimed)
    if claimed == ALIKE:
        # Beyond .25 on the nearer side: p of .1 - .25 is above a half.
        p_against = 1.0
    assert shared.p_values(check) == pytest.approx((p_for, p_against))


def test_one_uncorrected_no_refutes_nothing_where_every_comparison_is_claimed():
    # A difference of .047 has a one-sided p of .045: alone it refutes, among three it does not.
    against = [cell("mp", 10, 1.0), cell("up", 10, 1.047, noise=OTHER_NOISE)]
    alone = of(held(*against), ALWAYS).iloc[0]
    assert alone["p_against"] == pytest.approx(0.045, abs=2e-3)
    assert (alone["holds"], alone["verdict"]) == ("no", FAILS)
    three = of(held(*against, *mp_and_up(0.5, 0.5, ratios=[2, 20])), ALWAYS)
    row = three[three["where"] == "up minus mp, t=10"].iloc[0]
    assert row["p_against"] == pytest.approx(3 * alone["p_against"])
    assert (row["holds"], row["verdict"]) == ("?", UNCLEAR)
    # The same comparison of a tendency is not corrected.
    assert of(held(*against, *mp_and_up(0.5, 0.5, ratios=[2, 20])), UP_MP)["holds"].tolist() == ["yes", "no", "yes"]


def test_every_comparison_is_corrected_by_holm_and_those_at_chance_do_not_count():
    ups = (0.5, 0.9, 0.951)
    cells = mp_and_up(*ups)
    alone = [of(held(*mp_and_up(up, ratios=[2])), ALWAYS)["p_for"].iloc[0] for up in ups]
    assert of(held(*cells), ALWAYS)["p_for"].tolist() == pytest.approx([3 * alone[0], 2 * alone[1], alone[2]])
    guessing = [cell(pruner, 50, 1.0, accuracy_after=0.5) for pruner in ("mp", "up")]
    found = of(held(*cells, *guessing), ALWAYS)
    assert found["p_for"].tolist()[:3] == pytest.approx([3 * alone[0], 2 * alone[1], alone[2]])
    assert np.isnan(found["p_for"].iloc[3])


def test_a_true_sentence_about_every_ratio_is_seldom_refuted():
    """Six ratios at which UP and MP are alike: uncorrected, a quarter of studies would have a `no`."""
    rng = np.random.default_rng(0)
    refuted = 0
    for _ in range(200):
        checks = [
            Check((), "alpha", estimate(pd.Series(rng.standard_normal(8))), BELOW, part=str(ratio))
            for ratio in range(6)
        ]
        claim = Claim("always", "", "", "", lambda place, checks=checks: checks)
        refuted += any(judged.holds == "no" for judged in shared.judge(claim, (None,)))
    # .05 and three standard errors of 200 studies.
    assert refuted / 200 < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 200)


def test_networks_are_paired_by_their_seed():
    mp, up = mp_and_up(0.8, ratios=[10])
    (row,) = of(held(mp, up[up["seed"] >= 2]), UP_MP).to_dict("records")
    assert (row["n"], row["estimate"]) == (4, pytest.approx((0.8 + OTHER_NOISE - 1.0 - NOISE)[2:].mean()))


def test_half_of_the_ratios_are_not_most():
    assert verdict(held(*mp_and_up(0.7, 1.0, ratios=[2, 10])), UP_MP) == UNCLEAR


def test_pruning_below_1_is_not_corrective_where_the_control_is_as_far_below():
    # In these runs alpha is the spread ratio too.
    pruned = [cell("mp", 2, 0.8), cell("mp", 4, 0.8)]
    same = held(*pruned, cell("none", 1, 0.8, noise=OTHER_NOISE))
    assert verdict(same, LOW) == HOLDS
    assert verdict(same, CORRECTIVE) == UNCLEAR
    assert verdict(held(*pruned, cell("none", 1, 1.0, noise=OTHER_NOISE)), CORRECTIVE) == HOLDS
    assert verdict(held(*pruned, cell("none", 1, 0.6, noise=OTHER_NOISE)), CORRECTIVE) == FAILS
    assert verdict(held(*pruned), CORRECTIVE) == UNTRIED
    strong = held(*pruned, cell("mp", 6, 0.8), cell("none", 1, 1.0))
    assert of(strong, CORRECTIVE)["where"].tolist() == ["mp minus none, t=2"] * 2 + ["mp minus none, t=4"] * 2
    assert of(strong, CORRECTIVE)["quantity"].tolist() == ["alpha", "spread ratio"] * 2


def test_classes_that_changed_places_are_no_correction():
    swapped = held(cell("mp", 2, -1.0), cell("none", 1, 1.0, noise=OTHER_NOISE))
    assert verdict(swapped, LOW) == HOLDS
    assert of(swapped, CORRECTIVE)["estimate"].tolist() == pytest.approx([-2.0, 0.0])
    assert verdict(swapped, CORRECTIVE) == UNCLEAR


def test_similar_or_stronger_at_the_next_ratio_but_not_weaker():
    steps = {1.0: HOLDS, 1.2: HOLDS, 0.98: HOLDS, 0.8: FAILS}
    quiet = [held(cell("mp", 2, 1.0, noise=NOISE / 9), cell("mp", 4, a, noise=OTHER_NOISE / 9)) for a in steps]
    assert [verdict(frame, HIGHER) for frame in quiet] == list(steps.values())
    assert of(quiet[1], HIGHER)[["where", "estimate"]].to_numpy().tolist() == [
        ["mp, t=4 minus t=2", pytest.approx(0.2)]
    ]


def test_weak_classes_may_fall_back_without_strong_ones_gaining():
    # Balances before: .1, -.1 of accuracy .8; the weak class falls to .6, the strong one stays as it is.
    weak_only = cell("mp", 10, 1.0, **{"recall_after/b": 0.6 + NOISE / 10})
    frame = of(held(weak_only), BOTH_SIDES)
    assert frame["where"].tolist() == ["weak classes, mp, t=10", "strong classes, mp, t=10"]
    assert frame["estimate"].tolist() == pytest.approx([1.0, 0.0])
    assert frame["holds"].tolist() == ["yes", "?"]


def test_random_pruning_may_be_below_1_and_yet_not_negative():
    frame = held(cell("rp", 2, 0.5), cell("rp", 10, -0.5))
    assert (verdict(frame, RANDOM), verdict(frame, NEGATIVE)) == (HOLDS, FAILS)
    frames = [held(cell("rp", 2, 0.5), cell("gp", 2, alpha, noise=OTHER_NOISE)) for alpha in (0.2, 1.0)]
    assert [verdict(frame, RANDOM_DIFFERS) for frame in frames] == [HOLDS, HOLDS]
    assert [verdict(frame, LOWEST) for frame in frames] == [FAILS, HOLDS]
    assert verdict(held(cell("up", 2, 0.2), cell("up", 4, -0.2)), POSITIVE) == UNCLEAR


def test_networks_at_chance_are_not_read_for_slopes():
    # Two classes without supports: chance is below .75.
    guessing = cell("mp", 50, 9.0, accuracy_after=0.5 + OTHER_NOISE / 10)
    frame = held(
        cell("mp", 2, 0.5), cell("mp", 10, 1.5, noise=OTHER_NOISE), guessing, cell("gp", 50, 1.0, accuracy_after=0.8)
    )
    steps = of(frame, HIGHER)
    assert steps["where"].tolist() == ["mp, t=10 minus t=2", "mp, t=50 minus t=10"]
    assert steps["holds"].tolist() == ["yes", "at chance"]
    assert np.isnan(steps["estimate"][1])
    assert (steps["n"][1], steps["n_at_chance"][1], steps["verdict"][1]) == (0, 6, HOLDS)
    assert of(frame, HIGH)["where"].tolist() == ["mp, t=10", "gp, t=50"]
    # The mean accuracies are .5 and .8.
    accuracies = of(frame, MAGNITUDE)
    assert accuracies[["holds", "n", "n_at_chance"]].to_numpy().tolist() == [["no", 6, 0]]
    assert accuracies["estimate"].tolist() == pytest.approx([-0.3])
    assert of(frame, VARIANCE)["n"].tolist() == [6, 6, 6]
    # The half width of the interval of OTHER_NOISE - NOISE: 2.5706 x .0551 / sqrt(6) = .058.
    told = shown(frame, HIGHER)["mnist, lenet5"]
    assert told == "holds: 1 of 1, 1 at chance; alpha +1.00 (+0.94 to +1.06)"
    assert verdict(held(cell("rp", 2, 0.5, accuracy_after=0.5)), RANDOM) == UNCLEAR


def test_single_networks_at_chance_are_left_out_and_counted():
    some = cell("mp", 20, 1.5)
    some.loc[some["seed"] == 0, ["accuracy_after", "recall_after/a"]] = [0.5, 9.0]
    (row,) = of(held(cell("mp", 2, 0.5), some), HIGH).to_dict("records")
    assert (row["n"], row["n_at_chance"]) == (5, 1)
    assert row["estimate"] == pytest.approx(0.5 + NOISE[1:].mean())


def test_a_pair_of_which_either_network_is_at_chance_is_counted_once():
    light, heavy = cell("mp", 2, 0.5), cell("mp", 10, 1.5)
    for arm, seeds in ((light, [0, 1]), (heavy, [1, 2])):
        arm.loc[arm["seed"].isin(seeds), ["accuracy_after", "recall_after/a"]] = [0.5, 9.0]
    (row,) = of(held(light, heavy), HIGHER).to_dict("records")
    assert (row["n"], row["n_at_chance"]) == (3, 3)


def test_a_seed_that_is_there_twice_counts_once():
    twice = pd.concat([cell("mp", 10, 1.5), cell("mp", 10, 1.5).assign(run_id=list("abcdef"))])
    (row,) = of(held(twice), HIGH).to_dict("records")
    assert row["n"] == 6


def test_that_pruners_differ_is_refuted_within_the_margin_only():
    # Their differences have the standard error .045: an equivalence test at +-.05 cannot tell.
    near = held(cell("mp", 10, 1.0, noise=2 * NOISE), cell("up", 10, 1.0, noise=2 * OTHER_NOISE))
    far = held(*mp_and_up(1.2, ratios=[10]))
    close = [cell("mp", 10, 1.0, noise=NOISE / 10), cell("up", 10, 1.0, noise=OTHER_NOISE / 10)]
    assert [verdict(frame, DIFFER) for frame in (near, far, held(*close))] == [UNCLEAR, HOLDS, FAILS]
    assert of(far, DIFFER)["claimed"].tolist() == [DIFFERS]


def test_lighter_pruning_needs_both_accuracy_and_slope():
    gains, loses = 0.82 + NOISE / 10, 0.78 + NOISE / 10
    (better, worse) = (held(cell("mp", 2, 0.8, accuracy_after=accuracy)) for accuracy in (gains, loses))
    assert of(better, LIGHT)["where"].tolist() == ["accuracy, mp, t=2", "mp, t=2"]
    assert of(better, LIGHT)["estimate"].iloc[0] == pytest.approx(0.02)
    assert (verdict(better, LIGHT), verdict(worse, LIGHT)) == (HOLDS, FAILS)
    assert verdict(held(cell("mp", 20, 1.6, accuracy_after=0.77 + NOISE / 10)), HEAVY) == HOLDS


def test_the_variance_of_recall():
    # Recalls .9, .7 have the variance .01 (ddof 0); .8 +- .15, at alpha 1.5, .0225.
    row = of(held(cell("mp", 2, 1.5, noise=NOISE * 0)), VARIANCE).iloc[0]
    assert row["estimate"] == pytest.approx(0.0125)
    assert verdict(held(cell("mp", 2, 1.5)), VARIANCE) == HOLDS


def four_classes(near, far, seeds=6):
    """Balances before +-.05 and +-.2, after these slopes times them, of accuracies .8."""
    rng = np.random.default_rng(0)
    before = 0.8 * (1 + np.array([0.05, -0.05, 0.2, -0.2]))
    slopes = np.repeat([near, far], 2) + np.repeat(rng.normal(0, 0.01, (seeds, 2)), 2, axis=1)
    after = 0.8 + slopes * (before - 0.8)
    frame = pd.DataFrame(
        {"dataset": "mnist", "model": "lenet5", "pruner": "mp", "ratio": 2.0, "seed": range(seeds)}
        | {"accuracy_before": 0.8, "accuracy_after": 0.8}
    )
    for place, name in enumerate("abcd"):
        frame[f"recall_before/{name}"] = before[place]
        frame[f"recall_after/{name}"] = after[:, place]
    return frame.assign(
        dense_run_id=[f"d{seed}" for seed in range(seeds)], run_id=[f"r{seed}" for seed in range(seeds)]
    )


def test_the_pooled_slope_is_of_all_points():
    up = four_classes(1.0, 2.0).assign(pruner="up")
    (row,) = of(claims.claims(made_up_runs.study(four_classes(1.0, 1.0), up)), ALWAYS).to_dict("records")
    # (2 * .05^2 + 2 * 2 * .2^2) / (2 * .05^2 + 2 * .2^2) - 1
    assert row["estimate"] == pytest.approx(0.08 / 0.085, abs=0.01)


def test_a_bend_at_the_origin():
    bent, straight = claims.claims(four_classes(2.0, 1.0)), claims.claims(four_classes(1.0, 1.0))
    assert of(bent, LINEAR)["estimate"].iloc[0] == pytest.approx(1.0, abs=0.02)
    assert of(bent, LINEAR)["claimed"].tolist() == [ALIKE]
    assert (verdict(bent, LINEAR), verdict(straight, LINEAR)) == (FAILS, HOLDS)


def test_the_mean_ratio_goes_astray_with_a_class_next_to_the_accuracy():
    runs = four_classes(1.5, 1.5)
    runs["recall_before/a"], runs["recall_after/a"] = 0.8 + 1e-4 * OTHER_NOISE, 0.8 + NOISE
    row = of(claims.claims(runs), MEAN_RATIO).iloc[0]
    assert (row["quantity"], row["verdict"]) == ("log of ratio", HOLDS)
    assert verdict(claims.claims(four_classes(1.5, 1.5)), MEAN_RATIO) != HOLDS
    # A class with the accuracy as its recall has no ratio, and the network keeps the others'.
    runs["recall_before/a"] = 0.8
    assert (
        of(claims.claims(runs), MEAN_RATIO)["n"].tolist()
        == of(claims.claims(four_classes(1.5, 1.5)), MEAN_RATIO)["n"].tolist()
    )


def test_harder_data_are_compared_with_the_same_model_or_the_papers():
    easy, hard = cell("mp", 10, 1.0), cell("mp", 10, 1.5, dataset="cifar10-jpeg")
    frame = held(easy, hard)
    (row,) = of(frame, HARDER).to_dict("records")
    assert row["place"] == "mnist, lenet5 and cifar10-jpeg, lenet5"
    assert (row["estimate"], row["claimed"], row["verdict"]) == (pytest.approx(0.5), ABOVE, HOLDS)
    assert verdict(held(easy, cell("mp", 10, 1.5, dataset="cifar10-jpeg", model="resnet20")), HARDER) == UNTRIED
    assert verdict(held(easy, cell("mp", 10, 1.5, dataset="fashion-mnist")), HARDER) == UNTRIED
    assert verdict(held(easy, cell("mp", 10, 1.5, dataset="cifar10", model="resnet56")), HARDER) == HOLDS
    hundred = cell("mp", 10, 2.0, dataset="cifar100")
    assert [verdict(held(hard, hundred), HARDER), verdict(held(hundred, hard), HARDER)] == [HOLDS, HOLDS]


def test_smaller_models_by_magnitude_and_by_undecayed_pruning():
    frame = held(
        *(cell(pruner, 10, 1.5, model="resnet20") for pruner in ("mp", "up-signed")),
        cell("mp", 10, 1.2, model="resnet56"),
        cell("up-signed", 10, 1.8, model="resnet56"),
    )
    assert of(frame, SMALLER)["estimate"].tolist() == pytest.approx([0.3])
    assert of(frame, SMALLER_UP)["where"].tolist() == ["up-signed, t=10"]
    assert (verdict(frame, SMALLER), verdict(frame, SMALLER_UP)) == (HOLDS, FAILS)
    assert verdict(held(*(cell("mp", 10, 1.5, model=name) for name in ("zoo:big", "zoo:small"))), SMALLER) == UNTRIED
    assert verdict(held(*(cell("mp", 10, 1.5, model=name) for name in ("lenet5", "resnet20"))), SMALLER) == UNTRIED


def test_narrower_lenets_are_smaller_models():
    widths = {"lenet5-double": 1.1, "lenet5": 1.3, "lenet5-half": 1.2}
    frame = of(held(*(cell("mp", 10, alpha, model=name) for name, alpha in widths.items())), SMALLER)
    # Half minus one, half minus double, one minus double.
    assert frame["estimate"].tolist() == pytest.approx([-0.1, 0.1, 0.2])


def test_recall_against_precision_needs_predictions():
    # Class 0 is predicted too often after pruning: recalls 1, .5; precisions 2/3, 1. Before: recalls .75, .5.
    label = np.repeat([0, 1], 4)
    before, after = np.array([0, 0, 0, 1, 1, 1, 0, 0]), np.array([0, 0, 0, 0, 1, 1, 0, 0])
    runs = made_up_runs.runs("mnist", "lenet5", "mp", 2, [0.5, 0.6])

    def predictions(run_ids):
        dense = set(runs["dense_run_id"])
        return {run: {"label": label, "predicted": before if run in dense else after} for run in run_ids}

    frame = of(claims.claims(runs, predictions), EXPRESSIVE)
    # Precision before: 3/5 and 2/3, balances -+1/19; after 2/3 and 1, -+1/5: slope 3.8, 2.8 from 1.
    assert frame["where"].tolist() == ["recall minus precision, mp, t=2", "recall minus f1, mp, t=2"]
    assert frame["estimate"].iloc[0] == pytest.approx(0.45 - 2.8)
    assert verdict(claims.claims(runs), EXPRESSIVE) == UNTRIED


def tickets(alpha_of_level, *, pruner="mp", keep=0.8, treatment="rewind", **params):
    """Levels 11 to 14 of lottery tickets; print's alpha is .997 at level 11, and above 1 from level 12 on."""
    params = {"keep": repr(keep), "weight_treatment": treatment, **params}
    levels = []
    for place, (level, alpha) in enumerate(alpha_of_level.items()):
        noise = NOISE if place % 2 else OTHER_NOISE
        of_level = {column(name): value for name, value in ({"iteration": str(level)} | params).items()}
        made = cell(pruner, 0.8**-level, alpha, noise=noise).assign(**of_level)
        levels.append(made.assign(run_id=made["run_id"] + f" {level} {keep} {treatment}"))
    return made_up_runs.study(*levels)


ABOVE_FROM_12 = {11: 0.9, 12: 1.2, 13: 1.3, 14: 1.4}


def test_tickets_are_above_1_at_every_level_beyond_prints_threshold():
    frame = held(tickets(ABOVE_FROM_12))
    found = of(frame, TICKETS)
    assert found["where"].tolist() == [f"level {level}, mp, t={0.8**-level:.4g}" for level in (12, 13, 14)]
    assert found["estimate"].tolist() == pytest.approx([0.2, 0.3, 0.4])
    assert found["claimed"].tolist() == [ABOVE] * 3
    # The interval of a level is joint over the four levels.
    assert found[["low", "high"]].to_numpy()[0].tolist() == pytest.approx(mean_interval(NOISE + 0.2, 1 - 0.05 / 4))
    assert verdict(frame, TICKETS) == HOLDS
    assert verdict(held(tickets(ABOVE_FROM_12 | {13: 0.7})), TICKETS) == FAILS
    assert verdict(held(tickets(ABOVE_FROM_12 | {13: 1.0})), TICKETS) == UNCLEAR
    assert verdict(held(tickets(ABOVE_FROM_12, pruner="global-unstructured")), TICKETS) == HOLDS


def test_other_networks_than_tickets_say_nothing_of_them():
    others = [
        cell("mp", 20, 1.5),
        tickets(ABOVE_FROM_12, treatment="finetune"),
        tickets(ABOVE_FROM_12, keep=0.5),
        tickets(ABOVE_FROM_12, pruner="l1-unstructured"),
        tickets(ABOVE_FROM_12, pruner="none"),
        tickets({10: 1.5, 11: 1.5}),
    ]
    assert [verdict(held(other), TICKETS) for other in others] == [UNTRIED] * len(others)


def test_levels_are_in_no_sentence_about_ratios():
    one_shot = [cell("mp", 2, 0.8), cell("mp", 20, 1.5)]
    both, alone = held(tickets(ABOVE_FROM_12), *one_shot), held(*one_shot)
    others = [frame[frame["slug"] != TICKETS].reset_index(drop=True) for frame in (both, alone)]
    pd.testing.assert_frame_equal(*others)
    assert verdict(both, TICKETS) == HOLDS
    assert verdict(held(tickets(ABOVE_FROM_12)), HIGH) == UNTRIED


def test_a_report_of_tickets_alone_has_the_sentence_on_them_and_one_of_other_levels_has_none():
    made = section.paper_claims(StudyData(tickets(ABOVE_FROM_12)))
    assert verdict(made.tables["claims.csv"], TICKETS) == HOLDS
    assert section.paper_claims(StudyData(tickets(ABOVE_FROM_12, treatment="finetune"))) is None


def test_tickets_that_guess_are_not_read():
    guessing = tickets(ABOVE_FROM_12)
    guessing.loc[guessing[column("iteration")] == "14", "accuracy_after"] = 0.5
    assert of(held(guessing), TICKETS)["holds"].tolist() == ["yes", "yes", "at chance"]


def test_alpha_of_chip_rises_from_ratio_to_ratio():
    first, second, third = (
        cell("chip", ratio, alpha, noise=noise)
        for ratio, alpha, noise in ((1.75, 0.9, NOISE), (3.33, 1.4, OTHER_NOISE), (8.27, 1.0, NOISE))
    )
    rises, falls = held(first, second), held(first, second, third)
    (row,) = of(rises, CHIP).to_dict("records")
    changes = OTHER_NOISE - NOISE
    assert (row["where"], row["claimed"], row["n"]) == ("chip, t=3.33 minus t=1.75", ABOVE, 6)
    assert row["estimate"] == pytest.approx(0.5)
    assert (row["low"], row["high"]) == pytest.approx(mean_interval(changes + 0.5))
    assert verdict(rises, CHIP) == HOLDS
    assert of(falls, CHIP)["holds"].tolist() == ["yes", "no"]
    assert verdict(falls, CHIP) == FAILS
    assert verdict(held(first, cell("mp", 3.33, 1.4)), CHIP) == UNTRIED


def test_the_papers_setting_counts_where_a_study_has_several():
    one_shot, cubic = {"params.schedule": "one-shot"}, {"params.schedule": "cubic"}
    gradual = cell("mp", 10, 0.5, run_id=[f"g{seed}" for seed in range(6)], **cubic)
    frame = held(gradual, cell("mp", 10, 1.5, **one_shot))
    assert of(frame, HIGH)["estimate"].tolist() == pytest.approx([0.5])


def test_networks_of_one_seed_and_other_weights_are_paired():
    weights = {"seed": [0, 0, 1, 1, 2, 2], "params.weights_digest": list("ababab")}
    up, mp = cell("up", 10, 0.8, noise=OTHER_NOISE, **weights), cell("mp", 10, 1.0, **weights)
    (row,) = of(held(up[::-1], mp), UP_MP).to_dict("records")
    changes = OTHER_NOISE - NOISE
    assert (row["n"], row["estimate"]) == (6, pytest.approx(-0.2))
    assert (row["low"], row["high"]) == pytest.approx(mean_interval(changes - 0.2))


def test_checks_say_which_cells_they_are_of():
    ups = mp_and_up(0.7, 1.3, ratios=[2, 10])
    found = list(claims.checked(made_up_runs.study(*ups), [UP_MP]))
    assert [(place.name, holds) for place, _, holds in found] == [("mnist, lenet5", "yes"), ("mnist, lenet5", "no")]
    assert [check.arms for _, check, _ in found] == [(("up", ratio), ("mp", ratio)) for ratio in (2.0, 10.0)]


def test_shown_has_a_column_for_each_place():
    frame = held(*mp_and_up(0.7, 0.7, 1.3), cell("mp", 2, 0.5, dataset="fashion-mnist"))
    table = shared.shown(frame)
    assert table.columns[3:].tolist() == ["mnist, lenet5", "fashion-mnist, lenet5"]
    assert len(table) == len(CLAIMS)
    row = table.iloc[frame["slug"].drop_duplicates().tolist().index(UP_MP)]
    assert row["mnist, lenet5"] == "holds: 2 of 3, 1 against; alpha -0.30 to +0.30 (-0.36 to +0.36)"
    assert row["fashion-mnist, lenet5"] == UNTRIED
    assert shown(frame, LOW)["fashion-mnist, lenet5"].startswith("holds: mp, t=2: -0.50 (-0.5")
