"""The tables of results/README.md: values known beforehand, and a page that keeps its words."""

import shutil

import experiments
import front_page
import numpy as np
import pandas as pd
import pytest
import rebuild

from analysis.methods import compare as methods
from analysis.recall_distortion import claims
from analysis.runs import exports, primaries
from analysis.runs.errors import StudyError
from analysis.runs.primaries import described
from tests import made_up_runs

MARKS = [
    *(f"table {number}" for number in (3, 7, 10, 11)),
    "answers",
    "up",
    "classes",
    "released",
    "equal weights",
    "claims",
    "random",
    "origin",
]
NONE, MP, UP = np.array([[1.0, 1.1, 1.2], [1.1, 1.3, 1.5], [1.3, 1.4, 1.9]])


def words(place):
    return f"Words before {place}.\n\n<!-- {place} -->\nwhat stood there\n<!-- end of {place} -->\n\nand behind.\n"


def lenet5(dataset):
    """Alpha of every network grows from ratio to ratio; that of up minus that of mp is the same at each."""
    yield made_up_runs.runs(dataset, "lenet5", "none", 1, NONE)
    for place, ratio in enumerate((2, 4, 6, 10)):
        grown = place * np.array([0.1, 0.2, 0.4])
        yield made_up_runs.runs(dataset, "lenet5", "mp", ratio, MP + grown)
        yield made_up_runs.runs(dataset, "lenet5", "up", ratio, UP + grown)


def released():
    """The released code's arm: its alpha falls from 4 to 10, its UP keeps more than asked, and one network guesses."""
    for ratio, alphas in ((2, MP), (4, UP), (10, MP)):
        yield made_up_runs.runs("mnist", "lenet5", "mp", ratio, alphas).assign(realized_ratio=ratio - 0.3)
    for ratio, alphas, guessing, reached in ((4, MP, 0.8, 2.1), (10, UP, 0.5, 5.4), (50, MP, 0.8, 34.0)):
        up = made_up_runs.runs("mnist", "lenet5", "up-signed", ratio, alphas)
        yield up.assign(accuracy_after=[0.8, guessing, 0.8], realized_ratio=reached + np.array([-1, 0, 1]))
    yield made_up_runs.runs("mnist", "lenet5", "none", 1, NONE).assign(realized_ratio=1.0)


def planned(study):
    """The primary comparisons of a published study."""
    return primaries.read(exports.below(rebuild.RESULTS / study / "frames"))


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    (folder / "README.md").write_text("\n".join(map(words, MARKS)))
    for dataset in ("mnist", "fashion-mnist", "cifar10-jpeg"):
        of_dataset = made_up_runs.study(*map(made_up_runs.with_images, lenet5(dataset)))
        made_up_runs.export(folder / "lenet5", of_dataset.assign(realized_ratio=of_dataset["ratio"]))
        (folder / "lenet5" / "frames" / dataset / "primary.json").write_text(described(planned("lenet5")))
    rebuild.rebuild(folder / "lenet5", folder / "lenet5")
    for name in ("lenet5-up", "lenet5-up-confirmation", "gradual", "resnet20-short"):
        (folder / name).mkdir()
    made_up_runs.export(folder / "lenet5-released", *released())
    rebuild.rebuild(folder / "lenet5-released", folder / "lenet5-released")
    at_40 = (made_up_runs.runs("mnist", "lenet5", name, 40, of) for name, of in (("mp", UP), ("gp", MP)))
    made_up_runs.export(folder / "lenet5-released-weights", *(of.assign(realized_ratio=34.8) for of in at_40))
    for name, gained in (("lenet5-up", 0), ("lenet5-up-confirmation", np.array([0.01, 0.02, 0.03]))):
        taken, tuned = (made_up_runs.runs("mnist", "lenet5", "up", 10, UP, epsilon=e) for e in ("0.0005", "0.1"))
        tuned["accuracy_after"] += gained
        compared = methods.compare(made_up_runs.study(taken, tuned), primaries=planned(name))
        compared.to_csv(folder / name / "methods.csv", na_rep="n/a")
    schedules = [
        made_up_runs.with_images(made_up_runs.runs(dataset, "lenet5", "mp", ratio, of, schedule=schedule))
        for dataset in ("mnist", "fashion-mnist")
        for ratio in (10, 20)
        for schedule, of in (("one-shot", UP), ("cubic", MP))
    ]
    compared = methods.compare(made_up_runs.study(*schedules), primaries=planned("gradual"))
    compared.to_csv(folder / "gradual" / "methods.csv", na_rep="n/a")
    of_resnet = made_up_runs.runs("cifar10-jpeg", "resnet20", "mp", 2, MP)
    claims.claims(of_resnet).to_csv(folder / "resnet20-short" / "claims.csv", na_rep="n/a")
    of_control = made_up_runs.runs("cifar10-jpeg", "resnet20", "none", 1, NONE)
    made_up_runs.export(folder / "resnet20-short", of_resnet, random(2, NONE, 0.8), random(10, NONE, 0.8), of_control)
    made_up_runs.export(folder / "resnet20-short-as-pruned", of_resnet, random(2, -UP, 0.5))
    return folder


def random(ratio, alphas, accuracy):
    return made_up_runs.runs("cifar10-jpeg", "resnet20", "rp", ratio, alphas).assign(accuracy_after=accuracy)


@pytest.fixture(scope="module")
def tables(results):
    return front_page.tables(results)


def answer(tables, question, dataset, what):
    rows = tables["answers"]
    (row,) = rows[
        rows["question"].eq(question) & rows["data set"].eq(dataset) & rows["what"].str.startswith(what)
    ].to_dict("records")
    return row


def test_an_answer_by_hand(tables):
    # .2, .1, .4: mean .23333, standard deviation .15275, t(.975, 2 dof) = 4.302653
    row = answer(tables, "1", "mnist", "alpha: up minus mp, ratio 10")
    assert row["estimate"] == "0.233"
    assert row["95 % interval"] == "-0.146 to 0.613"
    assert row["n"] == "3"
    # Three data sets alike: Holm's p is three times p, of t = 2.6458.
    assert row["Holm p"] == "0.354"
    # Three pairs show 5.6675 standard deviations with a power of 80 % at .05 / 3, by integrating over their variance.
    assert row["detectable"] == "0.866"


def test_alpha_at_the_lightest_ratio_has_its_own_interval(tables):
    # 1.1, 1.3, 1.5: mean 1.3, standard deviation .2; no correction for the other ratios.
    row = answer(tables, "3", "fashion-mnist", "alpha: mp, ratio 2")
    assert (row["estimate"], row["95 % interval"]) == ("1.300", "0.803 to 1.797")


def test_the_noise_of_the_test_set_by_hand(tables):
    # B is .125 and -.125; v = .09 / 99 and .21 / 99, K(v) = (1 - 1/2) (.3 / 99) / .64.
    row = answer(tables, "3", "mnist", "reliability")
    assert float(row["estimate"]) == pytest.approx(1 - 32 * 0.5 * 0.3 / 99 / 0.64, abs=5e-4)


def test_every_question_is_answered(tables):
    assert tables["answers"]["question"].drop_duplicates().tolist() == ["1", "2", "3", "4", "4, again", "5"]
    assert answer(tables, "2", "cifar10-jpeg", "alpha: mp minus none, ratio 2")["estimate"] == "0.200"
    # All networks here are as accurate as each other.
    epsilon = answer(tables, "4", "mnist", "accuracy")
    assert (epsilon["what"], epsilon["estimate"], epsilon["n"]) == (
        "accuracy, points: up (epsilon 0.1) minus up (epsilon 0.0005), ratio 10",
        "0.000",
        "3",
    )
    # Asked again, it gains 1, 2 and 3 points: of standard deviation 1, t(.975, 2 dof) = 4.302653.
    again = answer(tables, "4, again", "mnist", "accuracy")
    assert (again["estimate"], again["95 % interval"]) == ("2.000", "-0.484 to 4.484")


def test_the_last_question_is_of_one_data_set_ratio_and_outcome(tables):
    rows = tables["answers"].query("question == '5'")
    assert rows[["data set", "what"]].to_numpy().tolist() == [
        ["fashion-mnist", "alpha (new): mp cubic minus mp, ratio 20"]
    ]


def test_up_minus_the_others_by_ratio(tables):
    assert tables["up"].columns.tolist() == ["place", "alpha of", "t=2", "t=4", "t=6", "t=10"]
    by_place = tables["up"].set_index("place")
    assert by_place.index.tolist() == [
        *(f"{name}, lenet5" for name in ("cifar10-jpeg", "fashion-mnist", "mnist")),
        "mnist, lenet5, released",
    ]
    assert by_place["t=6"].unique().tolist() == ["+0.23 (-0.15 to +0.61)", ""]
    as_released = by_place.loc["mnist, lenet5, released"]
    # At 4 -.2, -.1 and -.4; at 10 .2 and .4, of the two pairs not at chance, t(.975, 1 dof) = 12.706.
    assert as_released["t=4"] == "-0.23 (-0.61 to +0.15)"
    assert as_released[["alpha of", "t=10"]].tolist() == ["up-signed minus mp", "+0.30 (-0.97 to +1.57), n 2"]


def test_what_pruning_costs_the_classes_by_hand(tables):
    by_place = tables["classes"].set_index(["data set", "model", "pruner"])
    assert by_place.columns.tolist() == ["t=10"]
    assert by_place.index.tolist() == [
        (name, "lenet5", pruner) for name in ("cifar10-jpeg", "fashion-mnist", "mnist") for pruner in ("mp", "up")
    ]
    # Alpha of mp is 1.4, 1.9, 2.7, of the control 1.0, 1.1, 1.2: a gains and b loses 4, 8 and 15 points, of standard
    # deviation 5.568; t(.975, 2 dof) = 4.302653.
    told = by_place.loc[("mnist", "lenet5", "mp"), "t=10"]
    assert told == "+0.0; b -9.0 (-22.8 to +4.8), a +9.0 (-4.8 to +22.8)"


def test_the_released_code_beside_the_text(tables):
    # By the text alpha of mp, 1.1, 1.3, 1.5, has grown by .3, .6 and 1.2 at ratio 10, that of up, 1.3, 1.4, 1.9, too.
    by_ratio = tables["released"].set_index(["data set", "pruner", "mean"])
    assert by_ratio["t=10"].to_dict() == {
        ("mnist", "mp", "accuracy"): "0.800 / 0.800",
        ("mnist", "mp", "alpha"): "2.00 / 1.30",
        ("mnist", "mp", "one weight in"): "10.0 / 9.7",
        ("mnist", "up", "accuracy"): "0.800 / 0.700",
        ("mnist", "up", "alpha"): "2.23 / 1.60, 1 guess",
        ("mnist", "up", "one weight in"): "10.0 / 5.4",
    }
    assert by_ratio.columns.tolist() == ["t=2", "t=4", "t=10"]


def test_where_most_guess_there_is_no_alpha():
    networks = pd.DataFrame({"alpha": [1.0, 2.0, 4.0], "at_chance": [True, True, False]})
    assert experiments._alpha(networks) == "2 guess"


def test_equal_weights_by_hand(tables):
    # Alpha 1.1, 1.3, 1.5 minus 1.3, 1.4, 1.9: mean -.2333, standard deviation .15275, t(.975, 2 dof) = 4.302653.
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
    # As by hand above, of one side, times four; from ratio 4 on alpha falls.
    assert tables["table 3"]["MNIST"].tolist() == ["0.389 / 0.236 / 0.236", "1.000 / 0.236 / 1.000"]
    # Alpha of mp is the same on all data sets.
    assert tables["table 7"].to_numpy()[0, :2].tolist() == ["MNIST vs CIFAR-10", "<0.001 / 1.000"]
    assert tables["table 10"].to_numpy().tolist() == [
        ["MNIST @ LeNet -> MP", "0.989 / 0.800 / 0.800"],
        ["Fashion @ LeNet -> MP", "0.899 / 0.800 / n/a"],
    ]
    # Recalls .9 and .7, of variance .01; after .8 +- .1 alpha, alpha 1.4, 1.9, 2.7 at 10, as released 1.1, 1.3, 1.5.
    table = tables["table 11"].set_index("printed / text / released")
    of_recall, of_balance = (table.loc[f"MNIST @ LeNet -> MP, {what}"] for what in ("recall", "balance"))
    assert of_recall[["Before", "Ratio 10"]].tolist() == ["0.0038 / 0.0100 / 0.0100", "0.0038 / 0.0429 / 0.0172"]
    # Balances are (R - A) / A: variances of recall over .64.
    assert of_balance[["Before", "Ratio 10"]].tolist() == ["0.0038 / 0.0156 / 0.0156", "0.0038 / 0.0670 / 0.0268"]
    assert table.loc["Fashion @ LeNet -> MP, balance", "Ratio 4"] == "0.0088 / 0.0380 / n/a"
    assert table.columns.tolist() == ["Before", "Ratio 2", "Ratio 4", "Ratio 10"]


def test_random_pruning_beside_print(tables):
    rows = tables["random"].set_index(["network", "pruner", "what"])
    assert rows.columns.tolist() == ["t=2", "t=4", "t=10", "t=20", "t=50"]
    assert rows.loc["resnet56, printed", "rp", "variance"].tolist() == ["0.1504", "0.132", "0.1413", "0.1487", "0.227"]
    assert rows.loc["resnet56, printed", "mp", "variance"].tolist()[:2] == ["0.0034", "0.0036"]
    assert rows.loc["resnet20, fine-tuned", "mp", "accuracy"]["t=2"] == "0.800"
    assert rows.loc["resnet20, fine-tuned", "rp", "accuracy"].tolist() == ["0.800", "", "0.800", "", ""]
    as_pruned = rows.sort_index().loc[("resnet20, as pruned", "rp"), "t=2"]
    # Balances after are (.8 -+ .1 alpha - .5) / .5, alpha -1.3, -1.4, -1.9: slopes 1.6 alpha, t(.975, 2 dof) = 4.3027.
    assert as_pruned["alpha"] == "-2.45 (-3.73 to -1.18), 3 guess"
    # Of .01 alpha^2 the mean is .0242; over .25 it is .0968.
    assert as_pruned["variance of recall / balance"] == "0.0242 / 0.0968"
    assert as_pruned["accuracy"] == "0.500"


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
    beyond = rows["mnist", "the same beyond none"]
    assert (beyond["none"], beyond["t=2"]) == ("", "+0.24 (-2.30 to +2.78)")
    assert "t=4" not in easier
    # Means .1, .3, -.1, -.3 become .2, .3, -.2, -.3; what a network has beside them stays.
    assert (easier["none, class means"], easier["none, the rest"]) == ("1.10", "1.00")
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


def test_the_page_keeps_its_words(results):
    front_page.write(results)
    once = (results / "README.md").read_text()
    assert "what stood there" not in once
    for place in MARKS:
        assert f"Words before {place}.\n\n<!-- {place} -->\n\n| " in once
    assert "<!-- answers -->\n\n| question | data set |" in once
    assert "<!-- table 10 -->\n\n| printed / text / released | Accuracy |" in once
    assert once.count("and behind.") == len(MARKS)
    front_page.write(results)
    assert (results / "README.md").read_text() == once


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
        front_page.filled(page, {"answers": pd.DataFrame()})


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("lenet5/methods.csv", r"lenet5/methods.csv: missing; python results/rebuild.py .*lenet5 makes it"),
        ("resnet20-short-as-pruned/frames", r"resnet20-short-as-pruned/frames: nothing in it that pruning-analysis"),
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
