"""Methods compared at the same accuracy: validation images choose the ratios, test images measure."""

import pytest

from analysis.rendering.page import Picture
from analysis.report.methods.same_accuracy import choose_networks, same_accuracy
from analysis.report.methods.same_accuracy_section import section
from analysis.runs.validation_counts import ValidationRecalls
from analysis.study.study import StudyData
from tests import made_up_mitigations as made_up
from tests import made_up_runs

RATIOS = (2, 4, 8, 16)


def method(losses, *, pruner="mp", weak=0, ratios=RATIOS, **params):
    """Return a cell for each ratio: two networks that lose this many images of each class, the weak class more."""
    return [
        made_up.cell(pruner, ratio, [(90 - lost - weak, 90 - lost, 90 - lost + weak), (90 - lost,) * 3], params=params)
        for ratio, lost in zip(ratios, losses, strict=True)
    ]


def compared(*cells):
    runs, counts = made_up.study(*cells)
    return same_accuracy(runs, ValidationRecalls(counts))


@pytest.fixture(scope="module")
def found():
    """The control loses nothing. MP loses 1 point at ratio 4 and 3 at 8; the cubic schedule at 8 and 16."""
    control = made_up.cell("none", 1, [(90, 90, 90), (90, 90, 90)])
    return compared(control, *method((0, 1, 3, 9)), *method((0, 0, 1, 3), weak=2, schedule="cubic"))


def test_each_method_has_the_ratio_at_which_it_is_as_accurate_as_asked(found):
    ratios = found.drop_duplicates("points_below_control")[["points_below_control", "ratio", "ratio_of_baseline"]]
    assert ratios.to_numpy().tolist() == [[1, 8, 4], [3, 16, 8]]
    assert set(found["method"]) == {"mp cubic"}
    assert set(found["baseline"]) == {"mp"}
    assert found.loc[found["outcome"] == "accuracy", ["n", "asked"]].to_numpy().tolist() == [[2, 2], [2, 2]]


def test_outcomes_are_compared_on_test_images_at_these_ratios(found):
    at_one = found[found["points_below_control"] == 1].set_index("outcome")
    # Of the two networks one loses 2 points of recall more in one class, and as many less in another.
    assert at_one.loc["largest_excess", "difference"] == pytest.approx(0.01)
    assert at_one.loc["weakest_recall", "difference"] == pytest.approx(-0.01)
    assert at_one.loc["accuracy", "difference"] == pytest.approx(0, abs=1e-12)


def test_a_network_without_a_ratio_within_half_a_point_is_no_pair():
    control = made_up.cell("none", 1, [(90, 90, 90), (90, 90, 90)])
    up = [
        made_up.cell("up", ratio, [(90 - lost,) * 3, (90 - 2 * lost,) * 3])
        for ratio, lost in zip(RATIOS, (1, 3, 4, 5), strict=True)
    ]
    rows = compared(control, *method((0, 1, 3, 9)), *up)
    # The second network of UP loses 2, 6, 8 and 10 points: never 1 or 3.
    assert rows.loc[rows["outcome"] == "accuracy", ["n", "asked"]].to_numpy().tolist() == [[1, 2], [1, 2]]


def test_median_ratios_are_of_the_pairs():
    control = made_up.cell("none", 1, [(90, 90, 90)] * 3)
    # A point is lost at 2, 4 and 16 by MP's three networks, at 8 by two of UP's, and never by UP's third.
    mp, up = (
        [
            made_up.cell(pruner, ratio, [(90 - lost,) * 3 for lost in of])
            for ratio, of in zip(RATIOS, losses, strict=True)
        ]
        for pruner, losses in (
            ("mp", ((1, 0, 0), (2, 1, 0), (4, 2, 0), (6, 4, 1))),
            ("up", ((0, 0, 4), (0, 0, 5), (1, 1, 6), (9, 9, 9))),
        )
    )
    at_one = compared(control, *mp, *up).query("points_below_control == 1 and outcome == 'accuracy'")
    assert at_one[["n", "ratio", "ratio_of_baseline"]].to_numpy().tolist() == [[2, 8, 3]]


def test_accuracy_is_the_same_where_its_interval_is_within_three_tenths_of_a_point():
    rights = {ratio: [(90 - lost,) * 3] * 3 for ratio, lost in zip(RATIOS, (0, 1, 3, 9), strict=True)}
    control = made_up.cell("none", 1, [(90,) * 3] * 3)
    # On validation images they are equal. On test images UP has an image more in two networks of three.
    more = {ratio: [(a + 1, b, c), (a + 1, b, c), (a, b, c)] for ratio, ((a, b, c), *_) in rights.items()}
    mp = [made_up.cell("mp", ratio, right) for ratio, right in rights.items()]
    up = [made_up.cell("up", ratio, more[ratio], right) for ratio, right in rights.items()]
    rows = compared(control, *mp, *up)
    accuracy = rows[rows["outcome"] == "accuracy"].iloc[0]
    assert accuracy["difference"] == pytest.approx(2 / 900)
    assert accuracy["difference_high"] > 0.003
    assert not rows["is_equal"].any()


def test_holm_is_over_methods_and_data_sets_for_each_accuracy_and_outcome():
    control = made_up.cell("none", 1, [(90, 90, 90), (90, 90, 90)])
    cubic = method((0, 0, 1, 3), weak=2, schedule="cubic")
    up = method((0, 0, 1, 3), weak=2, pruner="up")
    rows = compared(control, *method((0, 1, 3, 9)), *cubic, *up)
    excess = rows[rows["outcome"] == "largest_excess"]
    assert len(excess) == 4
    assert excess["p_holm"].tolist() == pytest.approx([min(2 * p, 1) for p in excess["p"]])


def without_counts(pruner, *ratios):
    """Compare UP and MP, the runs of a pruner at these ratios without counts."""
    cells = [*method((0, 1, 3, 9)), *method((0, 0, 1, 3), weak=2, pruner="up")]
    runs, counts = made_up.study(made_up.cell("none", 1, [(90, 90, 90), (90, 90, 90)]), *cells)
    lost = runs.loc[(runs["pruner"] == pruner) & runs["ratio"].isin(ratios), "run_id"]
    return same_accuracy(runs, ValidationRecalls(counts[~counts["run_id"].isin(lost)]))


def test_a_ratio_without_validation_counts_moves_no_other():
    rows = without_counts("mp", 2).drop_duplicates("points_below_control")
    assert rows[["ratio", "ratio_of_baseline"]].to_numpy().tolist() == [[8, 4], [16, 8]]


@pytest.mark.parametrize(("pruner", "ratios"), [("up", RATIOS), ("none", (1,))])
def test_a_method_or_a_control_without_validation_counts_is_not_compared(pruner, ratios):
    assert without_counts(pruner, *ratios).empty


def test_each_method_has_the_control_of_its_own_fine_tuning():
    """The control of 5 epochs has lost 2 points: a point below it is 3 points below the dense network."""
    short, long = {"fine_tune_epochs": "5"}, {"fine_tune_epochs": "10"}
    controls = [
        made_up.cell("none", 1, [(90 - lost,) * 3] * 2, params=epochs) for lost, epochs in ((2, short), (0, long))
    ]
    cells = [
        *method((0, 1, 3, 9), **short),
        *method((0, 0, 1, 3), pruner="up", **short),
        *method((0, 2, 4, 9), schedule="cubic", **long),
    ]
    at_one = compared(*controls, *cells).query("points_below_control == 1 and outcome == 'accuracy'")
    (row,) = at_one[["method", "ratio", "ratio_of_baseline", "n", "asked"]].to_numpy().tolist()
    assert row == ["up (fine_tune_epochs 5)", 16, 8, 2, 2]


def test_a_distilled_method_is_held_against_the_control_that_is_not_distilled():
    distilled = {"distill": "0.5", "temperature": "2.0"}
    controls = [
        made_up.cell("none", 1, [(90 - lost,) * 3] * 2, params=params) for lost, params in ((0, {}), (5, distilled))
    ]
    rows = compared(*controls, *method((0, 1, 3, 9)), *method((0, 0, 1, 3), **distilled))
    ratios = rows.drop_duplicates("points_below_control")[["ratio", "ratio_of_baseline"]]
    assert ratios.to_numpy().tolist() == [[8, 4], [16, 8]]


@pytest.mark.parametrize(("ratios", "chosen"), [(RATIOS, [[8, 4], [16, 8]]), ((3, 6, 12, 24), [[12, 4], [24, 8]])])
def test_two_values_of_a_setting_are_two_methods(ratios, chosen):
    """Both epsilons of UP lose 1 point and 3 points, but at different ratios; they may have no ratio in common."""
    control = made_up.cell("none", 1, [(90, 90, 90), (90, 90, 90)])
    papers = method((0, 1, 3, 9), pruner="up", epsilon="0.0005")
    larger = method((0, 0, 1, 3), pruner="up", ratios=ratios, epsilon="0.01")
    rows = compared(control, *papers, *larger).drop_duplicates("points_below_control")
    assert rows[["ratio", "ratio_of_baseline"]].to_numpy().tolist() == chosen
    assert set(rows["method"] + ", " + rows["baseline"]) == {"up (epsilon 0.01), up (epsilon 0.0005)"}


def only_cubic_has_several_ratios():
    cells = [made_up.cell("none", 1, [(90, 90, 90), (90, 90, 90)])]
    for pruner, losses in (("mp", (0, 1, 3, 9)), ("gp", (0, 0, 1, 3))):
        cells += [*method(losses[:2], pruner=pruner, ratios=(2, 4)), *method(losses, pruner=pruner, schedule="cubic")]
    return made_up.study(*cells)


def test_methods_have_the_names_of_the_rest_of_the_report():
    """One-shot pruning has too few ratios to be compared, but its networks have the name `mp`."""
    runs, counts = only_cubic_has_several_ratios()
    rows = same_accuracy(runs, ValidationRecalls(counts))
    assert set(rows["method"] + ", " + rows["baseline"]) == {"gp cubic, mp cubic"}
    networks = choose_networks(runs, ValidationRecalls(counts), 1)
    assert networks["method"].value_counts().to_dict() == {"gp cubic": 2, "mp cubic": 2}
    study = StudyData(runs, validation=counts)
    assert set(rows["method"]) <= set(study.names)


def test_dense_networks_of_other_settings_are_not_asked_for():
    """Two dense networks are trained for 10 epochs and two for 30; networks of 10 epochs alone are pruned by GP."""
    cells = []
    for epochs, pruners in (("10", ("mp", "gp")), ("30", ("mp",))):
        own = [made_up.cell("none", 1, [(90, 90, 90), (90, 90, 90)], params={"epochs": epochs})]
        own += [cell for pruner in pruners for cell in method((0, 1, 3, 9), pruner=pruner, epochs=epochs)]
        cells += [(runs.assign(dense_run_id=runs["dense_run_id"] + epochs), counts) for runs, counts in own]
    rows = compared(*cells).query("outcome == 'accuracy'")
    assert rows[["method", "n", "asked"]].to_numpy().tolist() == [["gp (epochs 10)", 2, 2]] * 2


def test_three_ratios_are_too_few_and_so_is_one_method():
    control = made_up.cell("none", 1, [(90, 90, 90), (90, 90, 90)])
    assert compared(control, *method((0, 1, 3, 9)), *method((0, 0, 1, 3), pruner="up")[:3]).empty
    assert compared(control, *method((0, 1, 3, 9))).empty
    assert compared(*method((0, 1, 3, 9)), *method((0, 0, 1, 3), pruner="up")).empty


def test_the_report_has_a_table_for_each_accuracy():
    control = made_up.cell("none", 1, [(90, 90, 90), (90, 90, 90)])
    cells = [control, *method((0, 1, 3, 9)), *method((0, 0, 1, 3), weak=2, pruner="up")]
    runs, counts = made_up.study(*cells)
    made = section(StudyData(runs, validation=counts))
    assert list(made.tables) == ["equal_accuracy.csv"]
    at_one, at_three = (block for block in made.blocks if hasattr(block, "columns"))
    assert at_one["ratios"].tolist() == ["8 and 4"]
    assert at_three["networks"].tolist() == ["2 of 2"]
    assert [block.name for block in made.blocks if isinstance(block, Picture)] == ["same_accuracy", "same_accuracy_2"]
    assert section(StudyData(made_up_runs.runs("toy", "net", "mp", 10, [1.0]))) is None
