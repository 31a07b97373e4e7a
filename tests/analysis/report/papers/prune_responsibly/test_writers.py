"""Groups of test images in a report: made-up writers whose losses follow from their tilt, and what the pages show."""

import numpy as np
import pandas as pd
import pytest

from analysis.common.errors import StudyError
from analysis.rendering.page import Caption, Picture
from analysis.report import report
from analysis.report.papers.prune_responsibly import writers
from analysis.report.papers.prune_responsibly.writers_section import figures_in_print, section
from analysis.statistics.groups import ImageGroups
from analysis.study import groups
from analysis.study.groups import Answers
from analysis.study.study import ReportOptions, StudyData
from tests.made_up_groups import AFTER, BEFORE, LABEL, WRITER, study, table, write
from tests.text_boxes import hidden_texts

NETWORKS = pd.DataFrame({"seed": [0, 1]})


def analysed(folder, of_images=None, **how):
    """A study of made-up writers, with a table of groups of its own."""
    runs, predictions = study(**how)
    path = write(folder)
    if of_images is not None:
        of_images.to_csv(path, index=False)
    return StudyData(runs, predictions, options=ReportOptions(groups={runs["dataset"].iloc[0]: path}))


def pictures(*sections):
    return {block.name: block.figure for found in sections for block in found.blocks if isinstance(block, Picture)}


def image_groups(**groupings):
    made = table()
    found = {"writer": made["writer"], "series": made["series"], **groupings}
    measures = {name: made[f"measure:{name}"].to_numpy(copy=True) for name in ("tilt", "absolute_tilt")}
    return ImageGroups({name: np.array(group, dtype=str) for name, group in found.items()}, measures)


def units(of_images):
    answers = Answers(LABEL, *(np.tile(right, (2, 1)) for right in (BEFORE, AFTER, BEFORE)))
    return writers.units(of_images, answers, NETWORKS, {})


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return analysed(tmp_path_factory.mktemp("groups"), dataset="qmnist")


def test_units_are_the_smallest_groups_and_cohorts_what_they_are_in():
    found = units(image_groups())
    assert (found.unit, found.cohort) == ("writer", "series")
    assert found.cohorts.tolist() == ["new"] * 4 + ["old"] * 4
    assert found.images.tolist() == [20] * 8
    assert found.after[0] == pytest.approx(1 - np.arange(8) / 10)
    assert found.measures["absolute_tilt"] == pytest.approx(np.arange(8) / 10)


def test_a_grouping_that_divides_units_is_no_cohort():
    found = units(image_groups(series=np.arange(len(WRITER)) % 2))
    assert found.cohort == ""
    assert list(found.parts) == ["all"]


def test_an_unknown_measure_is_left_out_of_a_units_mean():
    tilt = (of_images := image_groups()).measures["tilt"]
    tilt[WRITER == 3] = np.nan
    tilt[np.flatnonzero(WRITER == 4)[1:]] = np.nan
    found = units(of_images)
    assert np.isnan(found.measures["tilt"][3])
    assert found.measures["tilt"][4] == -0.4
    lines = writers.lines(found).set_index(["measure", "cohort", "side"])
    assert lines.loc[("tilt", "all", "after"), "units"] == 7


def test_accuracy_falls_with_the_tilt_as_it_was_made_to():
    lines = writers.lines(units(image_groups())).set_index(["measure", "cohort", "side"])
    for cohort in ("new", "old", "all"):
        row = lines.loc[("absolute_tilt", cohort, "after")]
        assert (row["intercept"], row["slope"]) == pytest.approx((1, -1))
    assert lines.loc[("tilt", "all", "after"), "slope"] == pytest.approx(1)
    before = lines.loc[("absolute_tilt", "old", "before")]
    assert (before["intercept"], before["slope"]) == pytest.approx((1, 0))


def test_the_placebo_finds_the_writers_and_not_those_that_were_dealt_out():
    answers = Answers(LABEL, BEFORE[np.newaxis], AFTER[np.newaxis], None)
    dealt = np.random.default_rng(0).permutation(WRITER).astype(str)
    found = writers.placebos(image_groups(dealt=dealt), answers).set_index(["grouping", "side"])
    assert found.loc[("writer", "change"), "p"] == 0.001
    assert found.loc[("dealt", "change"), "p"] > 0.05
    assert found.loc[("writer", "before"), "p"] == 1  # one wrong image always stands alone


def cell(pruner, ratio, treatment=None, accuracy=0.9):
    return {"pruner": pruner, "ratio": ratio, "params.weight_treatment": treatment, "accuracy_after": accuracy}


def test_the_level_is_the_last_of_the_papers_method_else_the_largest_ratio():
    papers = [cell("global-unstructured", ratio, "rewind") for ratio in (2.0, 30.0, 8.0)]
    others = [cell("global-unstructured", 60.0, "finetune"), cell("l1-unstructured", 80.0, "rewind", 0.5)]
    assert writers.level(pd.DataFrame(papers + others))["ratio"] == 30
    assert writers.level(pd.DataFrame(others))["ratio"] == 80
    assert writers.level(pd.DataFrame([*others, cell("mp", 80.0, accuracy=0.6)]))["pruner"] == "mp"
    assert writers.level(pd.DataFrame(columns=[*cell("mp", 1.0)])) is None


@pytest.mark.slow
def test_the_report_has_the_groups_and_the_papers_figures_by_number(made):
    general, paper = section(made), figures_in_print(made)
    assert set(general.tables) == {
        "groups.csv",
        "groupings.csv",
        "group_placebo.csv",
        "group_profiles.csv",
        "group_lines.csv",
        "worst_groups.csv",
    }
    assert set(paper.tables) == {"writers_table_01.csv"}
    drawn = pictures(general, paper)
    numbers = (11, 12, 13)
    assert list(drawn) == ["groups", "group_measures", *(f"writers_figure_{number}" for number in numbers)]
    assert {name: hidden_texts(figure) for name, figure in drawn.items()} == {name: [] for name in drawn}
    profiles = general.tables["group_profiles.csv"].set_index("group")
    assert profiles.loc["7", ["cohort", "images", "accuracy_before"]].to_list() == ["old", 20, 1]
    assert profiles["change"].to_numpy() == pytest.approx([0.05, *(-np.arange(1, 8) / 10)])


def test_the_worst_writer_is_the_same_where_networks_are_the_same(made):
    found = section(made)
    first = found.tables["worst_groups.csv"].drop_duplicates("seed")
    assert first[["seed", "group"]].to_numpy().tolist() == [[0, "7"], [1, "7"]]
    assert first["loss_elsewhere"].to_numpy() == pytest.approx([0.7, 0.7])
    said = next(block for block in found.blocks if "loses most in a network" in str(block))
    assert said.startswith("The writer that loses most in a network loses 70.0 points in it, and 70.0 points in the")


def test_each_network_picks_a_twentieth_of_the_units():
    names, same, before = np.arange(297).astype(str), np.full(297, 30), np.ones((2, 297))
    units = writers.Units({}, "writer", "", names, same, same, before, before - 0.5, {}, NETWORKS)
    assert writers.worst(units).groupby("seed").size().tolist() == [15, 15]


def test_networks_that_fail_on_writers_of_their_own_show_how_much_was_selection(tmp_path):
    """Seed s loses all of writer s + 1 and nothing else, and no other seed loses anything of that writer."""
    after = [BEFORE & (seed + 1 != WRITER) for seed in range(4)]
    first = section(analysed(tmp_path, after=after)).tables["worst_groups.csv"].drop_duplicates("seed")
    assert first["group"].tolist() == ["1", "2", "3", "4"]
    assert (first["loss"].mean(), first["loss_elsewhere"].mean()) == (1, 0)


def test_printed_lines_stand_beside_ours_for_the_digits_of_print_alone(made, tmp_path):
    rows = figures_in_print(made).tables["writers_table_01.csv"].set_index(["series", "pruning", "coefficient"])
    assert rows.loc[("all", "after", "slope"), ["ours", "published"]].to_list() == pytest.approx([-1, -0.138])
    assert rows["published"].notna().sum() == 4  # print has no series of these names
    other = figures_in_print(analysed(tmp_path)).tables["writers_table_01.csv"]
    assert other["published"].isna().all()


def test_groups_other_than_writers_have_no_printed_lines(tmp_path):
    digits = table().rename(columns={"writer": "class"})
    found = figures_in_print(analysed(tmp_path, digits, dataset="qmnist"))
    assert "writers_table_01.csv" not in found.tables
    captions = [block.text for block in found.blocks if isinstance(block, Caption)]
    assert "Distribution of the mean tilt of each class." in captions
    assert not [text for text in (found.title, *captions) if "writer" in text.lower()]


def test_networks_of_one_seed_are_told_apart_by_the_digest_of_their_weights(tmp_path):
    """Network k loses all of writer k + 1 and nothing else; all networks have seed 0."""
    runs, predictions = study(after=[BEFORE & (place + 1 != WRITER) for place in range(3)])
    digests = runs["seed"].map(dict(enumerate(("first", "second", "third"))))
    runs = runs.assign(**{"seed": 0, "params.weights_digest": digests})
    found = section(StudyData(runs, predictions, options=ReportOptions(groups={"digits": write(tmp_path)})))
    worst = found.tables["worst_groups.csv"]
    assert worst.columns[2:6].tolist() == ["seed", "params.weights_digest", "group", "images"]
    assert worst.iloc[:, 2:6].to_numpy().tolist() == [
        [0, "first", "1", 20],
        [0, "second", "2", 20],
        [0, "third", "3", 20],
    ]
    shown = next(each for each in found.blocks if isinstance(each, pd.DataFrame) and "picked on seed" in each)
    assert shown["weights digest"].tolist() == ["first", "second", "third"]
    assert shown["group (writer)"].tolist() == ["1", "2", "3"]
    said = next(block for block in found.blocks if "loses most in a network" in str(block))
    assert said.startswith("The writer that loses most in a network loses 100.0 points in it, and 0.0 points in the")


@pytest.mark.slow
def test_names_of_any_length_and_kind_fit_into_the_pictures(tmp_path):
    names = {"writer": "$who_" + "wrote" * 30, "series": "series\t<b>", "measure:tilt": "measure:" + "tilt_" * 40}
    renamed = table().rename(columns=names)
    renamed[names["series"]] += "_x" * 60
    found = analysed(tmp_path, renamed, dataset="a_long_name_of_a_data_set_" * 4)
    drawn = pictures(section(found), figures_in_print(found))
    assert len(drawn) == 5
    assert {name: hidden_texts(figure) for name, figure in drawn.items()} == {name: [] for name in drawn}


@pytest.mark.parametrize(("cohort", "measure"), [("group", "images"), ("model", "change"), ("images", "group")])
def test_names_of_the_users_columns_hide_no_other_column(tmp_path, cohort, measure):
    named = table().rename(columns={"series": cohort, "measure:tilt": f"measure:{measure}"})
    found = section(analysed(tmp_path, named))
    profiles = found.tables["group_profiles.csv"]
    assert profiles.columns.is_unique
    assert profiles["group"].tolist() == [str(writer) for writer in range(8)]
    assert profiles["cohort"].tolist() == ["new"] * 4 + ["old"] * 4
    assert (profiles["model"].unique().tolist(), profiles["images"].tolist()) == (["lenet5"], [20] * 8)
    assert profiles[f"measure:{measure}"].to_numpy() == pytest.approx(-np.arange(8) / 10)
    of_cohorts = next(each for each in found.blocks if isinstance(each, pd.DataFrame) and f"group ({cohort})" in each)
    assert of_cohorts[[f"group ({cohort})", "images"]].to_numpy().tolist() == [["new", "80"], ["old", "80"]]


def test_groups_without_measures_or_cohorts_and_two_groups_alone_are_shown(tmp_path):
    two = analysed(tmp_path, table()[["series"]])
    assert pictures(section(two)) == {}
    assert figures_in_print(two) is None
    many = analysed(tmp_path, table()[["writer"]])
    assert list(pictures(section(many))) == ["groups"]
    assert figures_in_print(many) is None


def test_a_report_without_a_table_of_groups_has_no_such_section():
    without = StudyData(*study())
    assert section(without) is None
    assert figures_in_print(without) is None


def test_a_table_for_one_of_two_data_sets(tmp_path):
    (first, read_first), (second, read_second) = study("digits"), study("letters")
    both = pd.concat([first, second], ignore_index=True)
    files = groups.files_of_datasets([f"letters={write(tmp_path)}"], ["digits", "letters"])
    found = StudyData(both, lambda ids: {**read_first(ids), **read_second(ids)}, options=ReportOptions(groups=files))
    assert set(section(found).tables["groups.csv"]["dataset"]) == {"letters"}


@pytest.mark.attack
def test_a_table_of_groups_of_other_images__stops_a_report_before_it_begins(tmp_path):
    path = tmp_path / "groups.csv"
    table().head(100).to_csv(path, index=False)
    with pytest.raises(StudyError, match=r"groups\.csv: 100 rows for 160 test images: give each") as caught:
        report.report(StudyData(*study()), ReportOptions(groups=path))
    assert "\n" not in str(caught.value)
