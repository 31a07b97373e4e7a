"""Methods compared at the same accuracy: validation images choose the ratios, test images measure."""

import pytest

from analysis.rendering.page import Picture
from analysis.report.methods.same_accuracy import same_accuracy
from analysis.report.methods.same_accuracy_section import section
from analysis.runs.validation_counts import ValidationRecalls
from analysis.study.study import StudyData
from tests import made_up_mitigations as made_up
from tests import made_up_runs

RATIOS = (2, 4, 8, 16)


def method(losses, *, pruner="mp", weak=0, **params):
    """Return a cell for each ratio: two networks that lose this many images of each class, the weak class more."""
    return [
        made_up.cell(pruner, ratio, [(90 - lost - weak, 90 - lost, 90 - lost + weak), (90 - lost,) * 3], params=params)
        for ratio, lost in zip(RATIOS, losses, strict=True)
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
    assert at_one[["method", "ratio", "ratio_of_baseline", "n", "asked"]].to_numpy().tolist() == [["up", 16, 8, 2, 2]]


def test_a_distilled_method_is_held_against_the_control_that_is_not_distilled():
    distilled = {"distill": "0.5", "temperature": "2.0"}
    controls = [
        made_up.cell("none", 1, [(90 - lost,) * 3] * 2, params=params) for lost, params in ((0, {}), (5, distilled))
    ]
    rows = compared(*controls, *method((0, 1, 3, 9)), *method((0, 0, 1, 3), **distilled))
    ratios = rows.drop_duplicates("points_below_control")[["ratio", "ratio_of_baseline"]]
    assert ratios.to_numpy().tolist() == [[8, 4], [16, 8]]


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
