"""The first screen on runs whose accuracies, recalls and alphas are known."""

import numpy as np
import pandas as pd
import pytest

from analysis.first_screen import section
from analysis.page import Caption, Picture
from analysis.study import AnalyzedStudy
from tests import made_up_runs

SPREAD = np.linspace(-0.1, 0.1, 8)
RECALLS = ("recall_before", "recall_after", "support", "both_right")


def runs(pruner="mp", ratio=10, alpha=1.0, *, noise=SPREAD, after=0.8, dataset="mnist", **params):
    made = made_up_runs.runs(dataset, "lenet5", pruner, ratio, alpha + noise, **params)
    return made_up_runs.with_images(made.assign(accuracy_after=after))


def none(**settings):
    return runs("none", 1, noise=-SPREAD, **settings)


def study(*cells):
    return AnalyzedStudy(made_up_runs.study(*cells))


def tables(made):
    return [block for block in made.blocks if hasattr(block, "columns")]


def figures(made):
    return {block.name: block.figure for block in made.blocks if isinstance(block, Picture)}


def test_the_accuracy_of_every_method_has_a_column_for_each_ratio():
    guessing = np.array([0.79] * 6 + [0.5, 0.5])
    made = section.accuracy(study(runs(after=0.79), runs(ratio=20, after=guessing), runs("gp", 20, after=0.5), none()))
    (table,) = tables(made)
    assert list(table.columns) == ["method", "dense", "1", "10", "20"]
    assert table.set_index("method").loc["mp"].tolist() == ["0.800", "", "0.790", "0.790 (2 of 8 guess)"]
    assert table.set_index("method").loc["none", "1"] == "0.800"
    assert table.set_index("method").loc["gp", "20"] == "all guess"


def test_the_classes_of_the_leading_ratio_with_losses_beyond_the_control():
    # Class b: .7 without pruning, .65 with it; the half-width is 1.17 points.
    made = section.class_losses(study(runs(alpha=1.5), runs(ratio=20, after=0.7), none()))
    (table,) = tables(made)
    assert table["class"].tolist() == ["b", "a"]
    assert table["loss"].tolist() == ["5.0 (3.8 to 6.2)", "-5.0 (-6.2 to -3.8)"]
    assert table["excess"].tolist() == ["5.0 (3.8 to 6.2) *", "-5.0 (-6.2 to -3.8) *"]
    (caption,) = (block for block in made.blocks if isinstance(block, Caption))
    assert caption == Caption("mnist, lenet5.", "mp at ratio 10.")
    assert set(made.tables["classes.csv"]["ratio"]) == {10.0, 20.0}


def test_every_data_set_has_a_picture_of_its_classes():
    cells = [cell for name in ("mnist", "cifar10") for cell in (runs(dataset=name), none(dataset=name))]
    made = section.class_losses(study(*cells))
    titles = {name: figure.get_suptitle().replace("\n", " ") for name, figure in figures(made).items()}
    assert titles == {
        "class_losses": "What each class loses at ratio 10: mnist, lenet5",
        "class_losses_2": "What each class loses at ratio 10: cifar10, lenet5",
    }


def test_of_many_classes_the_worst_are_shown_and_that_is_said():
    names = [f"{place:02}" for place in range(40)]
    bare = runs().drop(columns=[f"{group}/{name}" for group in RECALLS for name in "ab"])
    before = {f"recall_before/{name}": 0.79 + 0.02 * (place % 2) for place, name in enumerate(names)}
    after = {f"recall_after/{name}": 0.8 - 0.01 * place + 0.1 * SPREAD for place, name in enumerate(names)}
    made = section.class_losses(study(pd.concat([bare, pd.DataFrame(before | after)], axis=1)))
    assert tables(made)[0]["class"].tolist() == ["39", "37", "38", "35", "36", "33", "34", "31", "32", "29"]
    (figure,) = figures(made).values()
    assert "the worst 30 of 40 classes lose" in figure.get_suptitle().replace("\n", " ")
    assert len(figure.axes[0].get_yticklabels()) == 30


def test_random_pruning_does_not_hide_the_other_methods():
    made = section.class_losses(study(runs(), runs("rp", alpha=4.0), none()))
    (figure,) = figures(made).values()
    assert [axes.get_title() for axes in figure.axes] == ["mp"]
    assert "Random pruning is left out" in figure.get_supxlabel().replace("\n", " ")


def test_the_raw_slope_stands_beside_alpha():
    (table,) = tables(section.slopes(study(runs(alpha=1.5, after=0.75), none())))
    (row,) = table.to_dict("records")
    assert row["raw slope"].startswith("1.500 (")
    assert row["minus none"].startswith("0.500 (")
    # The balances are divided by .8 before and by .75 after pruning.
    assert row["alpha"].startswith("1.600 (")
    assert row["networks"] == "8"


def test_few_methods_are_named_once_for_all_panels():
    cells = [runs(pruner, dataset=name) for name in ("mnist", "cifar10") for pruner in ("mp", "gp")]
    (figure,) = figures(section.accuracy(study(*cells, none(), none(dataset="cifar10")))).values()
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["mp", "gp", "none (control)"]
    assert [axes.get_title() for axes in figure.axes] == ["mnist, lenet5", "cifar10, lenet5"]
    assert all(axes.get_legend() is None for axes in figure.axes)


def test_of_many_methods_pruners_and_settings_are_named_once_each():
    cells = [
        runs(pruner, schedule=schedule, distill=distill)
        for pruner in ("mp", "gp", "up")
        for schedule in ("one-shot", "cubic")
        for distill in ("0.0", "0.5")
    ]
    (figure,) = figures(section.slopes(study(*cells))).values()
    named = [text.get_text() for text in figure.legends[0].get_texts()]
    assert named == ["mp", "gp", "up", "as in print", "cubic", "cubic distill 0.5", "distill 0.5"]


def test_five_data_sets_need_two_figures():
    made = section.accuracy(study(*(runs(dataset=name) for name in "abcde")))
    assert [len(figure.axes) for figure in figures(made).values()] == [4, 1]
    assert list(figures(made)) == ["accuracy", "accuracy_2"]


def test_the_band_is_the_interval_of_the_control():
    control = none().assign(accuracy_after=0.8 + SPREAD / 10)
    (figure,) = figures(section.accuracy(study(runs(), control))).values()
    (band,) = (patch for patch in figure.axes[0].patches if patch.get_alpha() == 0.15)
    # t(.975, 7) = 2.3646 times the standard error of SPREAD / 10, which is .0024744 / 10.
    half = 2.3646 * SPREAD.std(ddof=1) / 10 / np.sqrt(8)
    assert [band.get_y(), band.get_height()] == pytest.approx([0.8 - half, 2 * half], rel=1e-3)
