"""The first screen on runs whose accuracies, recalls and alphas are known."""

import numpy as np
import pandas as pd
import pytest

from analysis.rendering.page import Picture
from analysis.report.first_screen import section
from analysis.study.study import StudyData
from tests import made_up_runs
from tests.text_boxes import hidden_texts

SPREAD = np.linspace(-0.1, 0.1, 8)
RECALLS = ("recall_before", "recall_after", "support", "both_right")


def runs(pruner="mp", ratio=10, alpha=1.0, *, noise=SPREAD, after=0.8, dataset="mnist", model="lenet5", **params):
    made = made_up_runs.runs(dataset, model, pruner, ratio, alpha + noise, **params)
    return made_up_runs.with_images(made.assign(accuracy_after=after))


def none(*, noise=-SPREAD, **settings):
    return runs("none", 1, noise=noise, **settings)


def study(*cells):
    return StudyData(made_up_runs.study(*cells))


def tables(made):
    return [block for block in made.blocks if hasattr(block, "columns")]


def shown(made):
    return {block.name: block.figure for block in made.blocks if isinstance(block, Picture)}


def line(axes, *, like):
    """Return the points of the only line of a panel that has the colour or mark."""
    (found,) = (
        drawn for drawn in axes.lines if all(getattr(drawn, f"get_{name}")() == it for name, it in like.items())
    )
    return [[float(number) for number in values] for values in (found.get_xdata(), found.get_ydata())]


def test_the_classes_of_the_leading_ratio_with_losses_beyond_the_control():
    # Class b: .7 without pruning, .65 with it; the half-width is 1.17 points.
    made = section.class_losses(study(runs(alpha=1.5), runs(ratio=20, after=0.7), none()))
    assert [list(table["class"]) for table in tables(made)] == [["b", "a"]]
    (axes,) = shown(made)["class_losses"].axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["b", "a"]
    intervals = np.array([segment[:, 0] for segment in axes.collections[0].get_segments()])
    assert intervals == pytest.approx(np.array([[3.83, 6.17], [-6.17, -3.83]]), abs=0.01)
    assert set(made.tables["classes.csv"]["ratio"]) == {10.0, 20.0}
    # Ratio 10 costs nothing, and ratio 20 costs 10 points.
    figure = shown(made)["class_losses"]
    assert figure.get_suptitle().startswith("What each class loses at ratio 10")
    assert "The ratio is that of the verdict." in " ".join(figure.get_supxlabel().split())


def words_below(figure):
    return " ".join(figure.get_supxlabel().split())


def test_panels_whose_losses_have_different_references_name_them():
    pruned = [runs(alpha=1.5, distill=weight) for weight in ("0.0", "0.5")]
    figure = shown(section.class_losses(study(*pruned, none(distill="0.0"))))["class_losses"]
    titles = {axes.get_title() for axes in figure.axes}
    assert titles == {"mp\nfrom the control", "mp, teacher\nfrom the dense networks"}
    said = "Loss of recall relative to the networks named above each panel, in points"
    assert words_below(figure).startswith(said)
    assert not hidden_texts(figure)


def test_pictures_of_one_data_set_have_one_order_of_classes_and_all_have_one_scale():
    # With both models together class b loses more than a; with the second alone, a loses more.
    much, less = (runs(alpha=alpha, model=model) for alpha, model in ((1.5, "lenet5"), (0.9, "resnet20")))
    other = runs(alpha=1.2, dataset="cifar10")
    controls = [none(), none(model="resnet20"), none(dataset="cifar10")]
    drawn = shown(section.class_losses(study(much, less, other, *controls)))
    panels = [drawn[name].axes[0] for name in ("class_losses", "class_losses_2", "class_losses_3")]
    assert [[label.get_text() for label in axes.get_yticklabels()] for axes in panels] == [["b", "a"]] * 3
    assert len({axes.get_xlim() for axes in panels}) == 1


def test_every_data_set_has_a_picture_of_its_classes():
    cells = [cell for name in ("mnist", "cifar10") for cell in (runs(dataset=name), none(dataset=name))]
    made = section.class_losses(study(*cells))
    titles = {name: figure.get_suptitle().replace("\n", " ") for name, figure in shown(made).items()}
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
    figure = shown(made)["class_losses"]
    assert "the worst 30 of 40 classes lose" in figure.get_suptitle().replace("\n", " ")
    assert len(figure.axes[0].get_yticklabels()) == 30


def test_random_pruning_does_not_hide_the_other_methods():
    made = section.class_losses(study(runs(), runs("rp", alpha=4.0), none()))
    figure = shown(made)["class_losses"]
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


def test_of_many_methods_pruners_and_settings_are_named_once_each():
    cells = [
        runs(pruner, schedule=schedule, distill=distill)
        for pruner in ("mp", "gp", "up")
        for schedule in ("one-shot", "cubic")
        for distill in ("0.0", "0.5")
    ]
    (figure,) = shown(section.slopes(study(*cells))).values()
    named = [text.get_text() for text in figure.legends[0].get_texts()]
    assert named == ["mp", "gp", "up", "as in print", "cubic", "cubic, teacher", "teacher"]


def test_the_band_is_the_interval_of_the_control():
    control = none().assign(accuracy_after=0.8 + SPREAD / 10)
    figure = shown(section.slopes(study(runs(), control)))["slopes"]
    (band,) = (patch for patch in figure.axes[1].patches if patch.get_alpha() == 0.15)
    # Raw slopes are 1 - SPREAD. t(.975, 7) is 2.3646.
    half = 2.3646 * SPREAD.std(ddof=1) / np.sqrt(8)
    assert [band.get_y(), band.get_height()] == pytest.approx([1 - half, 2 * half], rel=1e-3)


@pytest.mark.filterwarnings("ignore:Glyph")
@pytest.mark.parametrize("count", [2, 100])
def test_words_of_many_classes_with_long_names_do_not_overlap(count):
    kinds = ["abcdefghijklmnopq", "W" * 50, "猫" * 17, "_$x^2$_" * 3]
    names = [f"{kinds[place % 4]}{place:03}" for place in range(count)]
    bare = runs().drop(columns=[f"{group}/{name}" for group in RECALLS for name in "ab"])
    before = {f"recall_before/{name}": 0.79 + 0.02 * (place % 2) for place, name in enumerate(names)}
    after = {f"recall_after/{name}": 0.78 - 0.0001 * place + 0.1 * SPREAD for place, name in enumerate(names)}
    made = section.class_losses(study(pd.concat([bare, pd.DataFrame(before | after)], axis=1)))
    assert {name: hidden_texts(figure) for name, figure in shown(made).items()} == {name: [] for name in shown(made)}
