"""The tables and pictures of the pages of results/: values known beforehand, and pages that keep their words."""

import shutil

import answers
import beside_print
import experiments
import folders
import front_page
import headline
import numpy as np
import pandas as pd
import pytest
import rebuild
from equal_accuracy import NOT_EQUAL
from matplotlib.collections import PathCollection

from analysis.common.errors import StudyError
from analysis.report.methods import compare as methods
from analysis.report.papers.recall_distortion import claims
from analysis.runs import exports, primaries
from analysis.runs.primaries import described
from analysis.study import cells, classes
from analysis.study.arrays import run_arrays
from tests import made_up_runs
from tests.blank_figures import leave_undrawn

pytestmark = pytest.mark.slow

GRADUAL = ("gradual", "gradual-confirmation", "resnet20-short-gradual")
NONE, MP, UP = np.array([[0.5, 0.6, 0.7], [0.6, 0.8, 1.0], [0.8, 0.9, 1.4]])


def words(place):
    """A page's own words: a page is known by a line of sixty characters, which its next version has too."""
    before = f"These words stand on the page before {place}, whatever is made of it."
    return f"{before}\n\n<!-- {place} -->\nwhat stood there\n<!-- end of {place} -->\n\nand behind.\n"


def lenet5(dataset):
    """Alpha of every network grows from ratio to ratio; that of up minus that of mp is the same at each."""
    yield made_up_runs.runs(dataset, "lenet5", "none", 1, NONE)
    for place, ratio in enumerate((2, 4, 6, 10)):
        grown = place * np.array([0.05, 0.1, 0.15])
        yield made_up_runs.runs(dataset, "lenet5", "mp", ratio, MP + grown)
        yield made_up_runs.runs(dataset, "lenet5", "up", ratio, UP + grown)


def released():
    """The released code's arm: its alpha falls from 4 to 10, its UP keeps more than asked, and one network guesses."""
    for ratio, alphas in ((2, MP), (4, UP), (10, MP)):
        yield made_up_runs.runs("mnist", "lenet5", "mp", ratio, alphas).assign(realized_ratio=ratio - 0.3)
    for ratio, alphas, guessing, reached in ((4, MP, 0.8, 2.1), (10, UP, 0.5, 5.4), (50, MP, 0.8, 34.0)):
        up = made_up_runs.runs("mnist", "lenet5", "up-signed", ratio, alphas)
        yield with_accuracy(up, [0.8, guessing, 0.8]).assign(realized_ratio=reached + np.array([-1, 0, 1]))
    yield made_up_runs.runs("mnist", "lenet5", "none", 1, NONE).assign(realized_ratio=1.0)


def with_accuracy(made, accuracy):
    """The networks with other accuracies after pruning, and recalls as far from these as before."""
    moved = np.asarray(accuracy) - made["accuracy_after"]
    recalls = {f"recall_after/{name}": made[f"recall_after/{name}"] + moved for name in "ab"}
    return made.assign(accuracy_after=accuracy, **recalls)


def planned(study):
    """The primary comparisons of a published study."""
    return primaries.read(exports.below(rebuild.RESULTS / study))


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        leave_undrawn(patch)
        return rebuilt(tmp_path_factory.mktemp("results"))


def rebuilt(folder):
    """Fill a folder with pages and with the made up studies that they are about."""
    (folder / front_page.GOOD_ET_AL).mkdir()
    for page, names in front_page.PAGES.items():
        (folder / page).write_text("\n".join(map(words, names)))
    for dataset in ("mnist", "fashion-mnist", "cifar10-jpeg"):
        of_dataset = made_up_runs.study(*map(made_up_runs.with_images, lenet5(dataset)))
        made_up_runs.export(folder / "lenet5", of_dataset.assign(realized_ratio=of_dataset["ratio"]))
        (folder / "lenet5" / "frames" / dataset / "primary.json").write_text(described(planned("lenet5")))
    rebuild.rebuild(folder / "lenet5", folder / "lenet5")
    for name in ("lenet5-up", "lenet5-up-confirmation", *GRADUAL, "resnet20-short"):
        (folder / name).mkdir()
    made_up_runs.export(folder / "lenet5-released", *released())
    rebuild.rebuild(folder / "lenet5-released", folder / "lenet5-released")
    at_40 = (made_up_runs.runs("mnist", "lenet5", name, 40, of) for name, of in (("mp", UP), ("gp", MP)))
    made_up_runs.export(folder / "lenet5-released-weights", *(of.assign(realized_ratio=34.8) for of in at_40))
    for name, gained in (("lenet5-up", 0), ("lenet5-up-confirmation", np.array([0.01, 0.02, 0.03]))):
        taken, tuned = (made_up_runs.runs("mnist", "lenet5", "up", 10, UP, epsilon=e) for e in ("0.0005", "0.1"))
        tuned["accuracy_after"] += gained
        compared = methods.compare(run_arrays(made_up_runs.study(taken, tuned)), primaries=planned(name))
        compared.to_csv(folder / name / "methods.csv", na_rep="n/a")
    schedules = [
        made_up_runs.with_images(made_up_runs.runs(dataset, "lenet5", "mp", ratio, of, schedule=schedule))
        for dataset in ("mnist", "fashion-mnist")
        for ratio in (10, 20)
        for schedule, of in (("one-shot", UP), ("cubic", MP))
    ]
    for name in GRADUAL:
        compared = methods.compare(run_arrays(made_up_runs.study(*schedules)), primaries=planned(name))
        compared.to_csv(folder / name / "methods.csv", na_rep="n/a")
    of_resnet = made_up_runs.with_images(made_up_runs.runs("cifar10-jpeg", "resnet20", "mp", 2, MP))
    of_control = made_up_runs.with_images(made_up_runs.runs("cifar10-jpeg", "resnet20", "none", 1, NONE))
    resnet = made_up_runs.study(of_resnet, of_control)
    tables = {"claims": claims.claims(resnet)} | {
        name: make(run_arrays(resnet))
        for name, make in (("methods", methods.compare), ("cells", cells.cells), ("classes", classes.classes))
    }
    for name, table in tables.items():
        table.to_csv(folder / "resnet20-short" / f"{name}.csv", na_rep="n/a", index=False)
    made_up_runs.export(folder / "resnet20-short", of_resnet, random(2, NONE, 0.8), random(10, NONE, 0.8), of_control)
    made_up_runs.export(folder / "resnet20-short-as-pruned", of_resnet, random(2, -UP, 0.5))
    for half, study in enumerate((folders.EQUAL, folders.EQUAL_UNSEEN)):
        (folder / study).mkdir()
        at_the_same_accuracy(half).to_csv(folder / study / "equal_accuracy.csv", na_rep="n/a", index=False)
    (folder / "mitigation-confirmation").mkdir()
    pd.DataFrame(mitigated()).to_csv(folder / "mitigation-confirmation" / "mitigation.csv", na_rep="n/a", index=False)
    for name in headline.FALLING:
        (folder / name).mkdir(exist_ok=True)
        costs_of_classes().to_csv(folder / name / "class_costs.csv", na_rep="n/a", index=False)
    pooled = folder / folders.EQUAL / "equal_accuracy_pooled.csv"
    at_the_same_accuracy(2).to_csv(pooled, na_rep="n/a", index=False)
    return folder


def at_the_same_accuracy(half):
    """MP beside each method at each accuracy: in the second half GP is not as accurate, and RP has nine pairs."""
    row = {"model": "lenet5", "baseline": "mp", "n": 30, "p_holm": 0.04, "is_equal": True}
    made = pd.DataFrame(
        row | {"points_below_control": below, "dataset": dataset, "method": method, "outcome": outcome}
        for below in (1.0, 3.0)
        for dataset in ("cifar10-jpeg", "fashion-mnist")
        for method in ("mp cubic", "mp distill 0.5", "up", "gp", "rp")
        for outcome in ("accuracy", "largest_excess", "alpha_new")
    )
    made.loc[(made["method"] == "gp") & (half == 1), "is_equal"] = False
    made.loc[(made["method"] == "rp") & (half == 1), "n"] = 9
    made.loc[made["outcome"] == "alpha_new", "p_holm"] = 0.06
    middle = made["points_below_control"] / 100 + half / 1000
    return made.assign(difference=middle, difference_low=middle - 0.002, difference_high=middle + 0.002)


def costs_of_classes():
    """Shirt pays 4 points where the rate falls, and other classes in cells that the front page leaves out."""
    cell = {"dataset": "fashion-mnist", "pruner": "mp", "ratio": 20.0, "class": "Shirt", "cost": 0.04, "cost_p": 0.0001}
    cell |= {"params.schedule": "cubic", "params.decay": "cosine", "params.fine_tune_decay": "cosine"}
    cell |= {"params.distill": 0.0, "params.class_offsets": "none", "named_low": 0.03, "named_high": 0.05}
    cell |= {"cost_low": 0.02, "cost_high": 0.06}
    cell |= {"loss": 0.06, "loss_upper_all": 0.078, "accuracy_loss": 0.02}
    others = [
        {"params.decay": "none", "params.fine_tune_decay": "none"},
        {"params.schedule": "one-shot"},
        {"params.class_offsets": "dense"},
        {"params.distill": 0.5},
        {"ratio": 50.0},
        {"pruner": "up"},
    ]
    left_out = [cell | other | {"class": "Bag"} for other in others]
    return pd.DataFrame([cell, *left_out, cell | {"dataset": "mnist", "class": 9, "cost_p": 0.04}])


def mitigated():
    """Networks whose largest excess loss is 5 points, or 7 at ratio 50, and 4 points less with offsets."""
    cell = {"model": "lenet5", "pruner": "mp", "schedule": "cubic", "largest_excess_floor": 0.012}
    for dataset in ("cifar10-jpeg", "fashion-mnist", "mnist"):
        for ratio, excess in ((20, 0.05), (50, 0.07)):
            plain = {"largest_excess": excess, "largest_excess_of_control": 0.05}
            yield {**cell, "dataset": dataset, "ratio": ratio, "mitigation": "", **plain} | ends(
                largest_excess_minus_control=excess - 0.05
            )
            yield {**cell, "dataset": dataset, "ratio": ratio, "mitigation": "class offsets"} | ends(
                gain_on_test=0.04, gain_of_control=0.02, gain_beyond_control=0.02, accuracy_difference=-0.002
            )
    yield {**cell, "dataset": "mnist", "ratio": 20, "mitigation": "", "schedule": "one-shot", "largest_excess": 0.5}


def ends(**values):
    return {f"{name}{end}": value + move for name, value in values.items() for end, move in _ENDS.items()}


_ENDS = {"": 0, "_low": -0.01, "_high": 0.02}


def random(ratio, alphas, accuracy):
    return with_accuracy(made_up_runs.runs("cifar10-jpeg", "resnet20", "rp", ratio, alphas), accuracy)


@pytest.fixture(scope="module")
def lightest(results):
    return answers.lightest_cells(*folders.runs(results, "lenet5"))


@pytest.fixture(scope="module")
def told(results, lightest):
    return front_page.answered(results, lightest)


@pytest.fixture(scope="module")
def tables(results, told, lightest):
    return front_page.tables(results, told, lightest)


def row_of(table, name):
    (row,) = table[table[""].eq(name)].to_dict("records")
    return row


def test_an_answer_by_hand(tables):
    row = row_of(tables["further"].query("question == '1'"), "mnist")
    assert row["compared"] == "up minus mp"
    # .2, .1, .4: mean .23333, standard deviation .15275, t(.975, 2 dof) = 4.302653
    # Accuracies are equal, so that the raw slope is alpha.
    assert row["raw slope"] == row["alpha"] == "+0.233 (-0.146 to +0.613)"
    # Three data sets alike: Holm's p is three times p, of t = 2.6458. Three pairs show 5.6675 standard deviations with
    # a power of 80 % at .05 / 3, by integrating over their variance.
    assert row["primary"] == "alpha: p 0.354, detectable 0.866"


def test_alpha_at_the_lightest_ratio_has_its_own_interval(tables):
    row = row_of(tables["answer_3"], "fashion-mnist")
    # .6, .8, 1: mean .8, standard deviation .2; no correction for the other ratios.
    assert row["alpha"] == "0.800 (0.303 to 1.297)"
    # B is .125 and -.125; v = .09 / 99 and .21 / 99, K(v) = (1 - 1/2) (.3 / 99) / .64.
    assert float(row["reliability"]) == pytest.approx(1 - 32 * 0.5 * 0.3 / 99 / 0.64, abs=5e-4)


def test_light_pruning_stands_beside_the_control(tables):
    # .6, .8, 1 beside .5, .6, .7: .1, .2, .3, of standard deviation .1; .1 / 3^.5 times 4.302653 is .248.
    assert row_of(tables["answer_2"], "cifar10-jpeg") == {
        "": "cifar10-jpeg",
        "alpha of MP": "0.800",
        "alpha of the control": "0.600",
        "difference": "+0.200 (-0.048 to +0.448)",
    }


def test_the_tuned_epsilon_is_compared_twice(tables):
    names = ["fashion-mnist", "mnist", "fashion-mnist, further networks", "mnist, further networks"]
    rows = tables["answer_4"]
    assert set(rows[""]) == set(names[1::2])
    # All networks here are as accurate as each other.
    assert row_of(rows, "mnist")["accuracy, points"] == "+0.00"
    # Asked again, it gains 1, 2 and 3 points: of standard deviation 1, t(.975, 2 dof) = 4.302653.
    assert row_of(rows, "mnist, further networks")["accuracy, points"] == "+2.00 (-0.48 to +4.48)"


def test_methods_as_accurate_as_mp_are_compared_on_both_halves_and_on_all_networks(tables):
    assert tables["answer_1"].to_dict("records") == [
        {
            "": f"UP, {dataset}, {half}",
            "alpha (new)": f"+0.01{place} (+0.0{8 + place:02} to +0.01{2 + place})",
            "chance movement, points": f"+1.{place}0 (+{0.8 + place / 10:.2f} to +1.{2 + place}0) *",
        }
        for dataset in ("cifar10-jpeg", "fashion-mnist")
        for place, half in enumerate(("seeds 0 to 29", "seeds 30 to 59", "all"))
    ]
    assert tables["answer_5"][""].tolist() == [
        f"{name}, {dataset}, {half}{NOT_EQUAL if (name, half) == ('GP', 'seeds 30 to 59') else ''}"
        for dataset in ("cifar10-jpeg", "fashion-mnist")
        for name in ("gradual MP", "MP with a teacher", "GP", "RP")
        for half in ("seeds 0 to 29", "seeds 30 to 59", "all")
    ]


def test_fewer_than_ten_pairs_are_not_compared(tables):
    assert row_of(tables["answer_5"], "RP, fashion-mnist, seeds 0 to 29")["alpha (new)"] == "+0.010 (+0.008 to +0.012)"
    assert row_of(tables["answer_5"], "RP, fashion-mnist, seeds 30 to 59")["alpha (new)"] == "not comparable"


def test_what_gradual_pruning_costs_a_class_where_the_learning_rate_falls(tables):
    rows = tables["gradual"].to_dict("records")
    assert [row[""] for row in rows] == [
        f"{dataset}, {networks}"
        for networks in ("twenty networks", "twenty more", "twenty more again", "ten ResNet-20s")
        for dataset in ("MNIST", "Fashion-MNIST")
    ]
    assert rows[0]["class"] == "9"
    assert rows[0]["p"] == "0.040"
    assert rows[1] == {
        "": "Fashion-MNIST, twenty networks",
        "class": "Shirt",
        "cost": "4.00 (2.00 to 6.00)",
        "p": "<0.001",
        "loss": "6.0",
        "no class loses more than": "7.8",
        "accuracy loss": "2.0",
    }
    # Later studies confirm the class that the first has chosen.
    assert rows[3]["cost"] == "4.00 (3.00 to 5.00)"


def test_what_a_mitigation_does_to_pruned_networks_stands_beside_what_it_does_to_controls(tables):
    assert row_of(tables["mitigations"], "class offsets, MNIST, ratio 50") == {
        "": "class offsets, MNIST, ratio 50",
        "pruned networks": "-4.00 (-6.00 to -3.00)",
        "controls": "-2.00 (-4.00 to -1.00)",
        "pruned minus controls": "-2.00 (-4.00 to -1.00)",
        "accuracy of pruned networks": "-0.20 (-1.20 to +1.80)",
    }
    assert len(tables["mitigations"]) == 6


def test_alpha_that_follows_from_the_accuracy_alone_is_wholly_explained(tmp_path):
    (tmp_path / "study").mkdir()
    after = np.array([0.8, 0.7, 0.5, 0.4])
    networks = pd.DataFrame({"dataset": "mnist", "pruner": ["mp", "mp", "up", "none"], "ratio": [2.0, 4.0, 2.0, 1.0]})
    made = networks.assign(at_chance=False, accuracy_before=0.8, accuracy_after=after, alpha=(0.8 / after) ** 2)
    guesses = made[:3].assign(at_chance=True, accuracy_after=0.1, alpha=-7.0)  # one of two networks of each cell
    pd.concat([made, guesses]).to_csv(tmp_path / "study" / "alpha.csv", index=False)
    (row,) = headline.explained(tmp_path, "study").to_dict("records")
    assert row == {"data set": "mnist", "pruners and ratios": "3", "explained, %": "100"}


def test_a_row_whose_accuracy_is_not_equal_is_explained_below_its_picture(told):
    drawn = front_page.pictures(told)
    notes = {name: " ".join(text.get_text() for text in figure.texts) for name, figure in drawn.items()}
    assert [name for name, note in notes.items() if NOT_EQUAL in note] == ["answer_1", "answer_5"]


def test_the_last_question_at_the_same_ratio_is_confirmed(tables):
    further = tables["further"].query("question == '5'")
    assert further[""].tolist() == [
        "gradual MP, fashion-mnist",
        "gradual MP, fashion-mnist, unseen networks",
        *(f"gradual MP, {dataset}, ResNet-20" for dataset in ("fashion-mnist", "mnist")),
    ]
    assert further["compared"].unique().tolist() == ["mp cubic minus mp"]


def test_fewer_networks_are_named():
    outcomes = pd.DataFrame([{"outcome": "alpha", "n": 3, "difference": 1.0, "p_holm": 1.0}])
    shown = {"alpha": ("alpha", "difference")}
    found = answers.gather_differences(iter([("mnist", outcomes), ("fashion", outcomes.assign(n=2))]), shown)
    assert list(found.rows) == ["mnist", "fashion, 2 networks"]


def test_the_papers_pictures_are_in_the_study_that_repeats_the_paper(results):
    drawn = [(results / study / "figures" / "figure_13.png").is_file() for study in ("lenet5", "lenet5-released")]
    assert drawn == [True, False]


def test_an_answer_that_no_study_gives_is_named(results, lightest, tmp_path):
    there = tmp_path / "results"
    shutil.copytree(results, there, ignore=shutil.ignore_patterns("frames"))
    compared = there / "lenet5-up" / "methods.csv"
    compared.write_text(compared.read_text().splitlines()[0])
    again = there / "lenet5-up-confirmation" / "methods.csv"
    again.write_text(again.read_text().splitlines()[0])
    with pytest.raises(StudyError, match=r"no study answers question 4 of good-et-al"):
        front_page.answered(there, lightest)


def test_a_picture_shows_what_the_table_says(told):
    drawn = front_page.pictures(told)
    assert list(drawn) == [f"answer_{number}" for number in range(1, 6)]
    assert [axes.get_title() for axes in drawn["answer_3"].axes] == ["alpha", "alpha (new)"]
    # The control's alpha has no interval here, and no panel.
    (differences,) = drawn["answer_2"].axes
    assert [text.get_text() for text in differences.get_yticklabels()] == list(told["2"].rows)
    (points,) = [drawn for drawn in differences.collections if isinstance(drawn, PathCollection)]
    assert points.get_offsets().tolist() == [pytest.approx([0.2, height]) for height in range(3)]


def test_what_cannot_be_compared_at_equal_accuracy_says_so():
    missing = answers.Estimate(np.nan, np.nan, np.nan)
    assert answers.write_estimate("alpha (new) at equal accuracy", missing) == "not comparable"


def test_alpha_beside_the_raw_slope_by_hand(tables):
    by_place = tables["alpha and accuracy"].set_index(["data set, model", "outcome of MP"])
    told = by_place["t=2"]["mnist, lenet5"]
    # .6, .8, 1 of standard error .11547; with two degrees of freedom and four ratios t is 8.8602.
    assert told["alpha"] == told["raw slope"] == "0.80 (-0.22 to 1.82)"
    # Beyond the control's .5, .6, .7: .1, .2, .3, of standard error .057735.
    assert told["raw slope minus the control's"] == "0.20 (-0.31 to 0.71)"
    # The strong class loses .1 (1 - alpha), and the accuracy nothing.
    assert told["accuracy"] == "0.800"
    # Of the control .5, .4 and .3 of ten points: 2, 1, 0 points less, of standard error .57735; t is 4.302653.
    assert told["chance movement, points"] == "2.0"
    assert told["chance movement of the control, points"] == "4.0"
    # The gaps of two classes are as large as alpha says.
    assert told["size of the gaps, 1 before pruning"] == "0.80"
    assert told["size of the gaps minus the control's"] == "0.20 (-0.31 to 0.71)"
    assert by_place["t=4"]["cifar10-jpeg, resnet20"].eq("").all()


def test_where_most_networks_guess_there_is_no_slope(tmp_path):
    (tmp_path / "study").mkdir()
    cell = {"dataset": "mnist", "model": "lenet5", "pruner": "mp", "ratio": 50.0, "n": 1, "n_at_chance": 2}
    every = {name: 1.0 for columns in answers.OF_MP.values() for name in columns}
    pd.DataFrame([cell | every]).to_csv(tmp_path / "study" / "cells.csv")
    assert answers.alpha_and_accuracy(tmp_path, "study")["t=50"].unique().tolist() == ["2 at chance"]


def test_up_minus_the_others_by_ratio(tables):
    assert tables["up"].columns.tolist() == ["data set, model", "what", "t=2", "t=4", "t=6", "t=10"]
    by_what = tables["up"].set_index("what")
    slopes = by_what.loc[["raw slope: up minus mp", "raw slope: up-signed minus mp"]]
    alphas = by_what.loc[["alpha: up minus mp", "alpha: up-signed minus mp"]]
    # All networks are as accurate as each other, or guess.
    assert slopes["t=4"].tolist() == alphas["t=4"].tolist()
    by_place = alphas.set_index("data set, model")
    assert by_place.index.tolist() == [
        *(f"{name}, lenet5" for name in ("cifar10-jpeg", "fashion-mnist", "mnist")),
        "mnist, lenet5, released",
    ]
    assert by_place["t=6"].unique().tolist() == ["+0.23 (-0.15 to +0.61)", ""]
    as_released = by_place.loc["mnist, lenet5, released"]
    # At 4 -.2, -.1 and -.4; at 10 .2 and .4, of the two pairs not at chance, t(.975, 1 dof) = 12.706.
    assert as_released["t=4"] == "-0.23 (-0.61 to +0.15)"
    assert as_released["t=10"] == "+0.30 (-0.97 to +1.57), n 2"


def test_what_pruning_costs_the_classes_by_hand(tables):
    by_place = tables["classes"].set_index(["data set", "model", "pruner"])
    assert by_place.columns.tolist() == ["t=10"]
    assert by_place.index.tolist() == [
        (name, "lenet5", pruner) for name in ("cifar10-jpeg", "fashion-mnist", "mnist") for pruner in ("mp", "up")
    ]
    # Alpha of mp is .75, 1.1, 1.45, of the control .5, .6, .7: a gains and b loses 2.5, 5 and 7.5 points, of standard
    # deviation 2.5; t(.975, 2 dof) = 4.302653.
    told = by_place.loc[("mnist", "lenet5", "mp"), "t=10"]
    assert told == "0.0; b +5.0 (-1.2 to +11.2), a -5.0 (-11.2 to +1.2)"


def test_the_released_code_beside_the_text(tables):
    # By the text alpha of mp, .6, .8, 1, has grown by .15, .3 and .45 at ratio 10, that of up, .8, .9, 1.4, too.
    by_ratio = tables["released"].set_index(["data set", "pruner", "mean"])
    assert by_ratio["t=10"].to_dict() == {
        ("mnist", "mp", "accuracy"): "0.800 / 0.800",
        ("mnist", "mp", "alpha"): "1.10 / 0.80",
        ("mnist", "mp", "one weight in"): "10.0 / 9.7",
        ("mnist", "up", "accuracy"): "0.800 / 0.700",
        ("mnist", "up", "alpha"): "1.33 / 1.10, 1 at chance",
        ("mnist", "up", "one weight in"): "10.0 / 5.4",
    }
    assert by_ratio.columns.tolist() == ["t=2", "t=4", "t=10"]


def test_where_most_guess_there_is_no_alpha():
    networks = pd.DataFrame({"alpha": [1.0, 2.0, 4.0], "at_chance": [True, True, False]})
    assert experiments.describe_alpha(networks) == "2 at chance"


def test_equal_weights_by_hand(tables):
    # Alpha .6, .8, 1 minus .8, .9, 1.4: mean -.2333, standard deviation .15275, t(.975, 2 dof) = 4.302653.
    row, of_gp = tables["equal weights"].to_dict("records")
    # Of GP they are those of UP here.
    assert (row["minus"], of_gp["minus"], of_gp["alpha"]) == ("mp", "gp", "+0.00")
    assert (row["data set"], row["UP asked for"], row["one weight in"]) == ("mnist", "50", "34.0 / 34.8")
    assert row["n"] == "3"
    assert row["alpha"] == "-0.23 (-0.61 to +0.15)"


def test_beside_print(tables):
    assert tables["table 3"].columns.tolist() == ["printed / text / released", "MNIST", "Fashion"]
    assert tables["table 3"]["printed / text / released"].tolist() == ["2 vs 4", "4 vs 10"]
    assert tables["table 3"]["Fashion"].str.startswith(("1.000 / ", "0.700 / ")).all()
    # Of one side, times four: t is .1 / (.05 / 3^.5) by the text, as released .23333 / (.15275 / 3^.5) and below 0.
    assert tables["table 3"]["MNIST"].tolist() == ["0.389 / 0.148 / 0.236", "1.000 / 0.148 / 1.000"]
    # Alpha of mp is the same on all data sets.
    assert tables["table 7"].to_numpy()[0, :2].tolist() == ["MNIST vs CIFAR-10", "<0.001 / 1.000"]
    assert tables["table 10"].to_numpy().tolist() == [
        ["MNIST @ LeNet -> MP", "0.989 / 0.800 / 0.800"],
        ["Fashion @ LeNet -> MP", "0.899 / 0.800 / n/a"],
    ]
    # Recalls .9 and .7, of variance .01; after .8 +- .1 alpha, alpha .75, 1.1, 1.45 at 10, as released .6, .8, 1.
    table = tables["table 11"].set_index("printed / text / released")
    of_recall, of_balance = (table.loc[f"MNIST @ LeNet -> MP, {what}"] for what in ("recall", "balance"))
    assert of_recall[["Before", "Ratio 10"]].tolist() == ["0.0038 / 0.0100 / 0.0100", "0.0038 / 0.0129 / 0.0067"]
    # Balances are (R - A) / A: variances of recall over .64.
    assert of_balance[["Before", "Ratio 10"]].tolist() == ["0.0038 / 0.0156 / 0.0156", "0.0038 / 0.0202 / 0.0104"]
    assert table.loc["Fashion @ LeNet -> MP, balance", "Ratio 4"] == "0.0088 / 0.0133 / n/a"
    assert table.columns.tolist() == ["Before", "Ratio 2", "Ratio 4", "Ratio 10"]


def test_a_cell_whose_networks_guess_is_beside_print_all_the_same(tmp_path):
    cell = {"table": "3", "row": "20 vs 50", "column": "Fashion", "published": "<0.001"}
    for study, rows in (("lenet5", []), ("lenet5-released", [cell | {"ours": "0.004"}])):
        (tmp_path / study).mkdir()
        pd.DataFrame(rows, columns=[*cell, "ours"]).to_csv(tmp_path / study / "comparison.csv", index=False)
    table = beside_print.table(beside_print.compared(tmp_path), 3)
    assert table.to_numpy().tolist() == [["20 vs 50", "<0.001 / at chance / 0.004"]]


def test_random_pruning_beside_print(tables):
    rows = tables["random"].set_index(["network", "pruner", "what"])
    assert rows.columns.tolist() == ["t=2", "t=4", "t=10", "t=20", "t=50"]
    assert rows.loc["resnet56, printed", "rp", "variance"].tolist() == ["0.1504", "0.132", "0.1413", "0.1487", "0.227"]
    assert rows.loc["resnet56, printed", "mp", "variance"].tolist()[:2] == ["0.0034", "0.0036"]
    assert rows.loc["resnet20, fine-tuned", "mp", "accuracy"]["t=2"] == "0.800"
    assert rows.loc["resnet20, fine-tuned", "rp", "accuracy"].tolist() == ["0.800", "", "0.800", "", ""]
    assert rows.loc["resnet20, fine-tuned", "rp", "raw slope"]["t=2"] == "+0.60 (+0.35 to +0.85)"
    as_pruned = rows.sort_index().loc[("resnet20, as pruned", "rp"), "t=2"]
    # The networks name one class of two, and their slopes are 1.6 times -.8, -.9 and -1.4.
    assert (as_pruned["alpha"], as_pruned["alpha below 0"]) == ("3 at chance", "3 of 3")


def test_the_line_at_the_origin_is_of_every_data_set_by_the_text(tables):
    assert tables["origin"]["data set"].unique().tolist() == ["cifar10-jpeg", "fashion-mnist", "mnist"]


def test_the_line_at_the_origin_by_hand():
    before = np.array([[0.1, 0.2, -0.1, -0.2], [0.1, 0.4, -0.1, -0.4]])
    after = np.where(np.abs(before) > 0.15, before, 2 * before)
    made = [
        balanced("mnist", "none", 1, before, after),
        balanced("mnist", "mp", 2, before, after * np.array([[1.2], [0.8]])),
        balanced("mnist", "up", 4, before, before),
        balanced("cifar10", "none", 1, before, before),
        balanced("cifar10", "mp", 2, before, after).assign(accuracy_after=0.1),
    ]
    rows = experiments.origin(pd.concat(made)).set_index(["data set", ""]).to_dict("index")
    easier, other = (rows[name, "near minus far"] for name in ("mnist", "cifar10"))
    # The half of the points nearest to the origin has a slope of 2, the others 1, in both networks.
    assert easier["none"] == "+1.00 (+1.00 to +1.00)"
    # Slopes near 2.4 and 1.6, together 2; far 1.2 and .8, together .88, as the squares are .08 and .32. Pseudo-values
    # 4 - 1.6 and 4 - 2.4 less 1.76 - .8 and 1.76 - 1.2: 1.44 and 1.04; t(.975, 1 dof) = 12.706.
    assert easier["t=2"] == "+1.24 (-1.30 to +3.78)"
    beyond = rows["mnist", "near minus far, minus that of none"]
    assert (beyond["none"], beyond["t=2"]) == ("", "+0.24 (-2.30 to +2.78)")
    assert "t=4" not in easier
    # Means .1, .3, -.1, -.3 become .2, .3, -.2, -.3; what a network has beside them stays.
    assert (easier["none, class means"], easier["none, deviations from the means"]) == ("1.10", "1.00")
    assert (other["none"], other["t=2"]) == ("+0.00 (+0.00 to +0.00)", "")  # where most guess there is no slope


def balanced(dataset, pruner, ratio, before, after):
    """Networks of accuracy .5 with these recall balances."""
    made = made_up_runs.runs(dataset, "lenet5", pruner, ratio, [1.0] * len(before), classes="ab")
    recalls = {
        f"recall_{when}/{name}": 0.5 + 0.5 * of
        for when, balances in (("before", before), ("after", after))
        for name, of in zip("abcd", balances.T, strict=True)
    }
    return made.assign(accuracy_before=0.5, accuracy_after=0.5, **recalls)


def test_claims_of_both_studies_have_columns(tables):
    assert {"mnist, lenet5", "cifar10-jpeg, resnet20"} <= set(tables["claims"].columns)
    assert len(tables["claims"]) == 27


def test_the_pages_keep_their_words(results, tables, monkeypatch):
    front_page.write(results)
    once = {page: (results / page).read_text() for page in front_page.PAGES}
    for page, names in front_page.PAGES.items():
        assert "what stood there" not in once[page]
        for name in names:
            assert f"before {name}, whatever is made of it.\n\n<!-- {name} -->\n\n| " in once[page]
        assert once[page].count("and behind.") == len(names)
    assert "<!-- table 10 -->\n\n| printed / text / released | Accuracy |" in once["good-et-al/paper.md"]
    pictures = sorted(path.name for path in (results / front_page.FIGURES).iterdir())
    assert pictures == [f"answer_{number}.png" for number in range(1, 6)]
    monkeypatch.setattr(front_page, "tables", lambda *_: tables)
    leave_undrawn(monkeypatch)
    front_page.write(results)
    assert {page: (results / page).read_text() for page in front_page.PAGES} == once
    assert sorted(path.name for path in (results / front_page.FIGURES).iterdir()) == pictures


@pytest.mark.parametrize(
    "page",
    [
        "<!-- claims -->\n<!-- end of answers -->",
        "<!-- answers -->\n",
        "<!-- answers -->\nwords\n<!-- claims -->\n<!-- end of claims -->\n<!-- end of answers -->",
    ],
)
def test_a_place_that_the_page_lacks_is_named(page):
    with pytest.raises(StudyError, match=r"^README.md: no place for a table: write <!-- answers --> and <!-- end of"):
        front_page.filled("README.md", page, {"answers": pd.DataFrame()})


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("lenet5/methods.csv", r"lenet5/methods.csv: missing; python results/rebuild.py .*lenet5 makes it"),
        ("resnet20-short-as-pruned/frames", r"resnet20-short-as-pruned: contains nothing that pruning-analysis"),
    ],
)
def test_what_is_missing_is_named(results, tmp_path, missing, message):
    there = tmp_path / "results"
    shutil.copytree(results, there)
    (there / "README.md").write_text("mine")
    (there / missing).rename(tmp_path / "elsewhere")
    with pytest.raises(StudyError, match=message):
        front_page.write(there)
    assert (there / "README.md").read_text() == "mine"


def test_classes_that_pay_are_named(tmp_path):
    row = {"dataset": "mnist", "model": "lenet5", "pruner": "mp", "ratio": 10.0, "class": "5", "n": 30}
    row |= {"cost": 0.05, "cost_low": 0.02, "cost_high": 0.08}
    rows = [
        row | {"cost_p": 0.01},
        row | {"class": "6", "cost_p": 0.06},
        row | {"ratio": 50.0, "cost_p": 0.01},
    ]
    (tmp_path / "study").mkdir()
    pd.DataFrame(rows).to_csv(tmp_path / "study" / "classes.csv")
    told = "5 +5.0 (+2.0 to +8.0) *"
    assert answers.harmed(tmp_path, "study").to_dict("records") == [
        {"data set": "mnist", "model": "lenet5", "pruner": "mp", "t=10": told, "t=50": told}
    ]
