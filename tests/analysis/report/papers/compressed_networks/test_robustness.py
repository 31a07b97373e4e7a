"""What compression costs on corrupted images, by hand."""

import numpy as np
import pandas as pd
import pytest

from analysis.rendering.page import Picture
from analysis.report import report
from analysis.report.papers.compressed_networks import robustness_section
from analysis.report.papers.compressed_networks.robustness import corruptions
from analysis.runs.robustness import COLUMNS
from analysis.study.arrays import run_arrays
from analysis.study.study import ReportOptions, StudyData
from tests import made_up_levels
from tests.made_up_runs import runs, study

PRUNED = runs("toy", "net", "mp", 10, [1.2] * 2)
NONE = runs("toy", "net", "none", 1, [1.0] * 2)
MADE = study(PRUNED, NONE)
# Network -> images of class a and of class b that it has right, of 100 each: as they are, and in fog of severity 1, 3
DENSE = {(0, "none"): (90, 70), (1, "fog"): (90, 80), (3, "fog"): (60, 20)}
PRUNED_RIGHT = {(0, "none"): (80, 70), (1, "fog"): (85, 55), (3, "fog"): (50, 20)}


def counts(right_of_runs):
    rows = [
        (run_id, corruption, severity, name, 100, right, min(100, right + 10), "a1")
        for run_id, conditions in right_of_runs.items()
        for (severity, corruption), classes in conditions.items()
        for name, right in zip("ab", classes, strict=True)
    ]
    return pd.DataFrame(rows, columns=["run_id", *COLUMNS])


def shifted(conditions, by):
    return {condition: tuple(right + by for right in classes) for condition, classes in conditions.items()}


# The second network of each kind has 2 more images of each class right.
COUNTS = counts(
    {
        run_id: shifted(conditions, 2 * place)
        for conditions, column in (
            (DENSE, PRUNED["dense_run_id"]),
            (PRUNED_RIGHT, PRUNED["run_id"]),
            (DENSE, NONE["run_id"]),
        )
        for place, run_id in enumerate(column)
    }
)


def row(table, corruption, severity, method="mp"):
    (found,) = table[
        table["corruption"].eq(corruption) & table["severity"].eq(severity) & table["method"].eq(method)
    ].to_dict("records")
    return found


def test_accuracies_and_their_relative_change():
    table = corruptions(run_arrays(MADE), COUNTS)
    fog = row(table, "fog", "1")
    assert (fog["dataset"], fog["model"], fog["level"], fog["n"]) == ("toy", "net", 10, 2)
    # Dense: 170 and 174 of 200 images. Pruned: 140 and 144.
    assert [fog["top1_dense"], fog["top1"]] == pytest.approx([0.86, 0.71])
    assert fog["top1_norm"] == pytest.approx(100 * (0.71 - 0.86) / 0.86)
    # Residuals are -+ (.01 - .01 * .71 / .86); t of one degree of freedom is 12.706.
    half = 100 * 12.7062 * 0.01 * (1 - 0.71 / 0.86) / 0.86
    assert fog["top1_norm_high"] - fog["top1_norm"] == pytest.approx(half, rel=1e-4)
    assert fog["top5"] == pytest.approx(0.81)
    clean = row(table, "none", "0")
    assert clean["top1_norm"] == pytest.approx(100 * (0.76 - 0.81) / 0.81)


def test_severities_are_averaged_before_the_change_is_taken():
    table = corruptions(run_arrays(MADE), COUNTS)
    mean = row(table, "fog", "mean")
    assert [mean["top1_dense"], mean["top1"]] == pytest.approx([(0.86 + 0.41) / 2, (0.71 + 0.36) / 2])
    assert mean["top1_norm"] == pytest.approx(100 * (1.07 / 1.27 - 1))
    assert not table["corruption"].eq("all").any()  # there is one corruption


def test_the_mean_of_corruptions_counts_each_alike():
    more = COUNTS[COUNTS["corruption"].eq("fog") & COUNTS["severity"].eq(3)].assign(corruption="contrast")
    table = corruptions(run_arrays(MADE), pd.concat([COUNTS, more]))
    assert row(table, "all", "mean")["top1"] == pytest.approx((0.535 + 0.36) / 2)


def test_alpha_and_the_largest_excess_stand_beside_the_controls():
    fog = row(corruptions(run_arrays(MADE), COUNTS), "fog", "1")
    # Balances of the first network: +-.05 / .85 dense, +-.15 / .7 pruned. Of the second: +-.05 / .87 and +-.15 / .72.
    expected = np.mean([3 * 0.85 / 0.7, 3 * 0.87 / 0.72])
    assert fog["alpha"] == pytest.approx(expected)
    assert fog["alpha_none"] == pytest.approx(1)
    assert (fog["largest_excess"], fog["worst_class"]) == (pytest.approx(0.1), "b")
    assert fog["largest_excess_none"] == pytest.approx(0)
    # In fog of severity 3 the accuracies are .35 and .37: with two classes these may be guesses.
    severe = row(corruptions(run_arrays(MADE), COUNTS), "fog", "3")
    assert severe["n_at_chance"] == 2
    assert np.isnan(severe["alpha"])
    assert severe["top1"] == pytest.approx(0.36)


def test_the_class_that_costs_most_on_average_is_held_against_the_control():
    # In fog class b loses 25 of 100 images and class a 5, in both networks: 10 points beyond the accuracy.
    fog = row(corruptions(run_arrays(MADE), COUNTS), "fog", "1")
    assert (fog["reference"], fog["costliest_class"], fog["cost"]) == ("control", "b", pytest.approx(0.1))
    # Guesses count: in fog of severity 3 class a loses 10 of 100 and class b none.
    severe = row(corruptions(run_arrays(MADE), COUNTS), "fog", "3")
    assert (severe["costliest_class"], severe["cost"]) == ("a", pytest.approx(0.05))
    without = corruptions(run_arrays(study(PRUNED)), COUNTS)
    assert row(without, "fog", "1")["reference"] == "dense"


def test_the_cost_of_a_class_under_a_condition_has_an_interval_over_networks():
    pruned, made = runs("toy", "net", "mp", 10, [1.2] * 3), []
    for place, run_id in enumerate(pruned["run_id"]):
        made.append(({(1, "fog"): (90, 80)}, pruned["dense_run_id"][place]))
        made.append(({(1, "fog"): (88, 60 - 2 * place)}, run_id))
    fog = row(corruptions(run_arrays(study(pruned)), counts({run_id: each for each, run_id in made})), "fog", "1")
    # b loses 20, 22 and 24, a loses 2: costs of 9, 10 and 11 points, with a standard error of 1 / sqrt(3). The quantile
    # of t with two degrees of freedom is 4.303.
    assert (fog["costliest_class"], fog["cost"]) == ("b", pytest.approx(0.10))
    assert [fog["cost_low"], fog["cost_high"]] == pytest.approx([0.1 - 0.02484, 0.1 + 0.02484], abs=1e-4)
    # t is 17.32, of which the two-sided p is .00332, doubled for two classes.
    assert fog["cost_p"] == pytest.approx(0.00663, abs=1e-5)


def test_a_folder_may_have_some_of_the_classes():
    folder = COUNTS[COUNTS["severity"].eq(0) & COUNTS["class"].eq("a")].assign(corruption="photos", measured="b2")
    photos = row(corruptions(run_arrays(MADE), pd.concat([COUNTS, folder])), "photos", "0")
    assert [photos["top1_dense"], photos["top1"]] == pytest.approx([0.91, 0.81])
    assert np.isnan(photos["alpha"])  # one class has no balance


def test_guesses_in_a_folder_of_two_classes_are_among_all_classes_of_the_data_set():
    eight = [
        (run_id, "none", 0, name, 100, 80, 90, "a1") for run_id in COUNTS["run_id"].unique() for name in "cdefghij"
    ]
    folder = COUNTS[COUNTS["severity"].eq(3)].assign(corruption="photos", severity=0, measured="b2")
    measured = pd.concat([COUNTS, pd.DataFrame(eight, columns=[*COUNTS]), folder])
    # Of 100 images each, the pruned networks have 50 and 20 right, and 52 and 22.
    photos = row(corruptions(run_arrays(MADE), measured), "photos", "0")
    assert (photos["top1"], photos["n_at_chance"]) == (pytest.approx(0.36), 0)


def test_means_are_over_the_conditions_that_all_methods_have():
    up = runs("toy", "net", "up", 10, [1.2] * 2)
    more = counts(
        {
            run_id: {(5, "fog"): (40, 20), (1, "snow"): (40, 20)}
            for name in ("run_id", "dense_run_id")
            for run_id in up[name]
        }
    )
    same = COUNTS.assign(run_id=COUNTS["run_id"].map(dict(zip(PRUNED["run_id"], up["run_id"], strict=True)))).dropna()
    table = corruptions(run_arrays(study(PRUNED, NONE, up)), pd.concat([COUNTS, same, more]))
    assert row(table, "fog", "mean", "mp")["top1"] == row(table, "fog", "mean", "up")["top1"] == pytest.approx(0.535)
    assert table["corruption"].eq("snow").sum() == 2  # up alone, at severity 1 and as a mean
    assert table.attrs["notes"] == [
        "means over corrupted images of toy, net leave out fog of severity 5, snow, because some methods or ratios "
        "were not measured on them"
    ]


def test_networks_that_were_measured_on_other_images_are_not_compared():
    other = COUNTS.assign(measured=COUNTS["measured"].mask(COUNTS["run_id"].eq(PRUNED["run_id"][0]), "zz"))
    assert row(corruptions(run_arrays(MADE), other), "fog", "1")["n"] == 1
    assert corruptions(run_arrays(MADE), None).empty
    assert corruptions(run_arrays(MADE), COUNTS.iloc[:0]).empty


LEFT_OUT = "corrupted images: {} of 4 measured networks left out under one corruption or more, because {}"
OTHER_IMAGES = "they or their dense networks were measured on other images than the networks that are compared"
NO_DENSE = "their dense networks were not measured"


@pytest.mark.parametrize(("column", "n_left_out"), [("run_id", 1), ("dense_run_id", 2)])
def test_notes_count_the_networks_that_were_measured_on_other_images(column, n_left_out):
    """Without a dense network, neither its pruned network nor the control can be compared."""
    in_fog = COUNTS["run_id"].eq(PRUNED[column][0]) & COUNTS["severity"].eq(1)
    other = COUNTS.assign(measured=COUNTS["measured"].mask(in_fog, "zz"))
    section = robustness_section.section(StudyData(MADE, corrupted=other))
    assert section.notes == [LEFT_OUT.format(n_left_out, OTHER_IMAGES)]


def test_notes_count_the_networks_without_a_measured_dense_network():
    without = COUNTS[COUNTS["run_id"].ne(PRUNED["dense_run_id"][0])]
    section = robustness_section.section(StudyData(MADE, corrupted=without))
    assert section.notes == [LEFT_OUT.format(2, NO_DENSE)]
    no_dense = COUNTS[~COUNTS["run_id"].isin(PRUNED["dense_run_id"])]
    section = robustness_section.section(StudyData(MADE, corrupted=no_dense))
    assert (section.blocks, section.tables, section.notes) == ([], {}, [LEFT_OUT.format(4, NO_DENSE)])


def test_the_section_shows_a_row_for_each_method_and_the_file_every_severity():
    section = robustness_section.section(StudyData(MADE, corrupted=COUNTS))
    (table,) = [block for block in section.blocks if isinstance(block, pd.DataFrame)]
    assert table[["method", "level", "networks", "which"]].to_numpy().tolist() == [
        ["mp", "ratio 10", "2", "fog"],
        ["none", "ratio 1", "2", "fog"],
    ]
    assert table["costliest"][0].startswith("-15.7 (")
    file = section.tables["corruptions.csv"]
    assert list(file)[:6] == ["dataset", "model", "method", "level", "corruption", "severity"]
    assert set(file["severity"]) == {"0", "1", "3", "mean"}
    assert section.notes == []
    assert robustness_section.section(StudyData(MADE)) is None
    assert robustness_section.published_values(StudyData(MADE, corrupted=COUNTS)) is None


def test_conditions_that_fewer_networks_have_are_shown_with_both_numbers():
    first = COUNTS["run_id"].isin([frame[name][0] for frame in (PRUNED, NONE) for name in ("dense_run_id", "run_id")])
    folder = COUNTS[first & COUNTS["severity"].eq(0)].assign(corruption="adversarial")
    section = robustness_section.section(StudyData(MADE, corrupted=pd.concat([folder, COUNTS], ignore_index=True)))
    (table,) = [block for block in section.blocks if isinstance(block, pd.DataFrame)]
    assert table["networks"].tolist() == ["1 to 2", "1 to 2"]


@pytest.mark.slow
def test_values_in_print_stand_beside_those_of_imagenet():
    params = {"start": "initialization", "sparsity": "0.9"}
    made = runs("imagenet", "resnet50", "mp", 8, [1.2] * 2, **params)
    measured = counts(dict.fromkeys(made["dense_run_id"], DENSE) | dict.fromkeys(made["run_id"], PRUNED_RIGHT))
    section = robustness_section.published_values(StudyData(made, corrupted=measured))
    rows = section.blocks[1].set_index("accuracy")
    assert rows.loc["top1", ["corruption", "level"]].tolist() == ["fog", "0.900"]
    assert rows.loc["top5", "printed"] == "-5.230"
    assert rows.loc["top1", "ours"] == f"{100 * (1.05 / 1.25 - 1):.3f}"
    other = made.assign(model="resnet20")
    assert robustness_section.published_values(StudyData(other, corrupted=measured)) is None
    written = report.report(StudyData(made, corrupted=measured), ReportOptions(paper=True))
    assert "Corrupted images, in print" in [section.title for section in written.sections]


@pytest.mark.parametrize("folder", ["imagenet-a", "ImageNet_A"])
def test_a_folder_of_imagenet_a_stands_beside_its_values_in_print(folder):
    made = runs("imagenet", "resnet50", "mp", 8, [1.2] * 2, start="initialization", sparsity="0.9")
    measured = counts(dict.fromkeys(made["dense_run_id"], DENSE) | dict.fromkeys(made["run_id"], PRUNED_RIGHT))
    corrupted = measured["corruption"] == "fog"
    measured = measured.assign(corruption=measured["corruption"].mask(corrupted, folder))
    measured.loc[corrupted, "severity"] = 0
    section = robustness_section.published_values(StudyData(made, corrupted=measured))
    rows = section.blocks[1].set_index("accuracy")
    assert rows["corruption"].tolist() == ["imagenet-a"] * 2
    assert rows["printed"].tolist() == ["-59.800", "-40.960"]


def test_magnitude_pruning_to_a_ratio_stands_beside_print_and_other_pruners_do_not():
    one_shot = runs("imagenet", "resnet50", "mp", 10, [1.2] * 2)
    at_random = runs("imagenet", "resnet50", "rp", 10, [1.2] * 2, start="initialization", sparsity="0.9")
    made = study(one_shot, at_random)
    measured = counts(dict.fromkeys(made["dense_run_id"], DENSE) | dict.fromkeys(made["run_id"], PRUNED_RIGHT))
    section = robustness_section.published_values(StudyData(made, corrupted=measured))
    rows = section.blocks[1]
    # Ratio 10 is a sparsity of 0.9, of which Table 3 prints -10.41 and -5.23 in fog.
    assert rows[["level", "accuracy", "printed"]].to_numpy().tolist() == [
        ["10", "top1", "-10.410"],
        ["10", "top5", "-5.230"],
    ]


def drawn(*ratios):
    """The picture of mp at ratio 10 and at others, where the networks have as much right."""
    rest = [runs("toy", "net", "mp", ratio, [1.2] * 2) for ratio in ratios]
    same = [dict(zip(PRUNED["run_id"], other["run_id"], strict=True)) for other in rest]
    measured = pd.concat([COUNTS, *(COUNTS.assign(run_id=COUNTS["run_id"].map(ids)).dropna() for ids in same)])
    section = robustness_section.section(StudyData(study(*rest, MADE), corrupted=measured))
    (picture,) = [block for block in section.blocks if isinstance(block, Picture)]
    return picture


def test_the_picture_has_every_level_and_its_legends_hide_nothing():
    figure = drawn(2, 3, 4, 6, 20, 50, 90).figure
    figure.draw_without_rendering()
    mp, none = figure.axes
    said = [text.get_text() for text in mp.get_legend().get_texts()]
    assert said == [f"ratio {ratio}" for ratio in (2, 3, 4, 6, 10, 20, 50, 90)]
    for legend in (mp.get_legend(), none.get_legend()):
        assert not any(legend.get_window_extent().overlaps(axes.bbox) for axes in figure.axes)


def test_the_picture_has_every_iteration_of_the_control():
    made = made_up_levels.runs(pruners=("global-unstructured", "none"), treatments=("rewind",), levels=11)
    clean = {
        run_id: {(0, "none"): (90, 90), (1, "fog"): (80, 80)} for run_id in {*made["run_id"], *made["dense_run_id"]}
    }
    section = robustness_section.section(StudyData(made, corrupted=counts(clean)))
    (picture,) = [block for block in section.blocks if isinstance(block, Picture)]
    *_, none = picture.figure.axes
    said = [text.get_text() for text in none.get_legend().get_texts()]
    assert said == [f"iteration {level}" for level in range(1, 12)]


def test_the_picture_has_a_panel_for_each_method_and_the_control_last():
    picture = drawn(2, 50)
    assert picture.name == "corruptions"
    mp, none = picture.figure.axes
    assert (mp.get_title(), none.get_title()) == ("mp", "none")
    assert [label.get_text() for label in mp.get_yticklabels()] == ["not corrupted", "fog"]
    assert [text.get_text() for text in mp.get_legend().get_texts()] == ["ratio 2", "ratio 10", "ratio 50"]
    marks = np.concatenate([np.asarray(part.get_offsets()) for part in mp.collections if len(part.get_offsets()) == 2])
    assert marks[:, 0] == pytest.approx(np.tile([100 * (0.76 / 0.81 - 1), 100 * (1.07 / 1.27 - 1)], 3))
    assert none.get_legend().get_texts()[0].get_text() == "ratio 1"
