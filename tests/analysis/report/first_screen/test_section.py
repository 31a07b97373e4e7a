"""The first screen on runs whose accuracies, recalls and alphas are known."""

from itertools import product

import numpy as np
import pandas as pd
import pytest

from analysis.rendering.drawing import ABOVE, NEUTRAL
from analysis.rendering.page import Picture
from analysis.report.first_screen import class_figures, figures, section
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


def test_the_weakest_class_against_the_share_of_the_parameters_that_is_kept():
    cells = study(*(runs(ratio=ratio, alpha=ratio / 10).assign(realized_ratio=ratio / 2) for ratio in (4, 10)), none())
    (axes,) = shown(section.sizes(cells))["model_size"].axes
    shares, recalls = line(axes, like={"marker": "o"})
    # One of two methods, which stand a hair apart: 50 % and 20 %, not the 25 % and 10 % that were asked for.
    assert shares == pytest.approx([50, 20], rel=0.01)
    assert recalls == pytest.approx([0.76, 0.7])
    assert line(axes, like={"marker": "*"}) == [[94.0], pytest.approx([0.7])]  # dense, a hair beside 100 %
    assert line(axes, like={"marker": "D"}) == [[106.0], pytest.approx([0.7])]
    assert axes.get_title() == "mnist, lenet5\nb is weakest in 8 of 8 networks"
    labels = [label.get_text() for label in axes.get_xticklabels()]
    assert labels == ["20 %\nratio 5", "50 %\nratio 2", "100 %\nratio 1"]


def test_the_classes_of_the_leading_ratio_with_losses_beyond_the_control():
    # Class b: .7 without pruning, .65 with it; the half-width is 1.17 points.
    made = section.class_losses(study(runs(alpha=1.5), runs(ratio=20, after=0.7), none()))
    assert [list(table["class"]) for table in tables(made)] == [["b", "a"]]
    (axes,) = shown(made)["class_recalls"].axes
    assert [label.get_text() for label in axes.get_xticklabels()] == ["dense", "fine-tuned only", "pruned"]
    grey = {tuple(each.get_ydata().round(3)) for each in axes.lines if each.get_color() == NEUTRAL}
    assert grey == {(0.9, 0.9, 0.95), (0.7, 0.7, 0.65)}
    assert line(axes, like={"marker": "o"}) == [[0, 1, 2], pytest.approx([0.7, 0.7, 0.65])]
    assert {text.get_text(): text.get_color() for text in axes.texts} == {"accuracy": "#333333", "b  -5.0": ABOVE}
    (axes,) = shown(made)["class_losses"].axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["b", "a"]
    intervals = np.array([segment[:, 0] for segment in axes.collections[0].get_segments()])
    assert intervals == pytest.approx(np.array([[3.83, 6.17], [-6.17, -3.83]]), abs=0.01)
    assert set(made.tables["classes.csv"]["ratio"]) == {10.0, 20.0}
    # Ratio 10 costs nothing, and ratio 20 costs 10 points.
    figure = shown(made)["class_losses"]
    assert figure.get_suptitle().startswith("What each class loses at ratio 10")
    assert "The ratio is that of the verdict." in " ".join(figure.get_supxlabel().split())


def test_a_loss_that_is_not_shown_has_white_marks_and_without_a_control_there_are_two_stations():
    figure = shown(section.class_losses(study(runs(alpha=1.05))))["class_recalls"]
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_xticklabels()] == ["dense", "pruned"]
    assert {text.get_text(): text.get_color() for text in axes.texts} == {"accuracy": "#333333", "b  -0.5": ABOVE}
    assert [drawn.get_markerfacecolor() for drawn in axes.lines if drawn.get_marker() == "o"] == ["white"]
    assert "There is no control." in figure.get_supxlabel()


def words_below(figure):
    return " ".join(figure.get_supxlabel().split())


def test_recalls_are_those_of_the_networks_that_have_a_control():
    """Class b: .65 in four networks with controls, of .72 and an accuracy of .79; .3 in four networks without."""
    with_control, without = runs(alpha=1.5, noise=0 * SPREAD), runs(alpha=5, noise=0 * SPREAD, after=0.5)
    pruned = pd.concat([with_control.head(4), without.tail(4)])
    control = none(alpha=0.8, noise=0 * SPREAD, after=0.79).head(4)
    figure = shown(section.class_losses(study(pruned, control)))["class_recalls"]
    (axes,) = figure.axes
    assert line(axes, like={"marker": "o"}) == [[0, 1, 2], pytest.approx([0.7, 0.72, 0.65])]
    assert line(axes, like={"linestyle": "--"}) == [[0, 1, 2], pytest.approx([0.8, 0.79, 0.8])]
    assert [text.get_text() for text in axes.texts] == ["accuracy", "b  -7.0"]
    assert words_below(figure).startswith("Means of the 4 of 8 networks that have a control.")


def test_panels_whose_losses_have_different_references_name_them():
    pruned = [runs(alpha=1.5, distill=weight) for weight in ("0.0", "0.5")]
    figure = shown(section.class_losses(study(*pruned, none(distill="0.0"))))["class_losses"]
    titles = {axes.get_title() for axes in figure.axes}
    assert titles == {"mp\nfrom the control", "mp, teacher\nfrom the dense networks"}
    said = "Loss of recall relative to the networks named above each panel, in points"
    assert words_below(figure).startswith(said)
    assert not hidden_texts(figure)


def test_panels_of_losses_stand_below_each_other_in_a_narrow_window():
    made = section.class_losses(study(runs(alpha=1.5), runs("up", alpha=1.5), none()))
    (picture,) = [block for block in made.blocks if isinstance(block, Picture) and block.name == "class_losses"]
    wide, narrow = ([axes.get_subplotspec() for axes in each.axes] for each in (picture.figure, picture.narrow))
    assert [(spec.rowspan.start, spec.colspan.start) for spec in wide] == [(0, 0), (0, 1)]
    assert [(spec.rowspan.start, spec.colspan.start) for spec in narrow] == [(0, 0), (1, 0)]


def test_pictures_of_one_data_set_have_one_order_of_classes_and_all_have_one_scale():
    # With both models together class b loses more than a; with the second alone, a loses more.
    much, less = (runs(alpha=alpha, model=model) for alpha, model in ((1.5, "lenet5"), (0.9, "resnet20")))
    other = runs(alpha=1.2, dataset="cifar10")
    controls = [none(), none(model="resnet20"), none(dataset="cifar10")]
    drawn = shown(section.class_losses(study(much, less, other, *controls)))
    panels = [drawn[name].axes[0] for name in ("class_losses", "class_losses_2", "class_losses_3")]
    assert [[label.get_text() for label in axes.get_yticklabels()] for axes in panels] == [["b", "a"]] * 3
    assert len({axes.get_xlim() for axes in panels}) == 1


def test_all_panels_stand_below_each_other_in_a_narrow_window():
    cells = study(runs(alpha=1.5), none(), runs(dataset="cifar10"), none(dataset="cifar10"))
    for made in (section.slopes(cells), section.sizes(cells)):
        (picture,) = [block for block in made.blocks if isinstance(block, Picture)]
        places = [axes.get_subplotspec() for axes in picture.narrow.axes]
        assert {(spec.rowspan.start, spec.colspan.start) for spec in places} == {(i, 0) for i in range(len(places))}
        assert len(places) == len(picture.figure.axes)
        assert not hidden_texts(picture.narrow)


def test_the_narrow_picture_of_recalls_has_all_its_words():
    made = section.class_losses(study(runs(alpha=1.5), none()))
    (picture,) = [block for block in made.blocks if isinstance(block, Picture) and block.name == "class_recalls"]
    assert picture.narrow.get_figwidth() == 4.6
    assert not hidden_texts(picture.narrow)


def test_no_class_is_named_where_none_loses():
    figure = shown(section.class_losses(study(runs(noise=0 * SPREAD), none(noise=0 * SPREAD))))["class_recalls"]
    assert [text.get_text() for text in figure.axes[0].texts] == ["accuracy"]
    assert 'No class loses recall from "fine-tuned only" to "pruned".' in figure.get_supxlabel().replace("\n", " ")


def test_labels_are_moved_as_little_as_they_need():
    assert class_figures.spread([0.5, 0.9], 0.1, 0, 1).tolist() == [0.5, 0.9]
    assert class_figures.spread([0.52, 0.5, 0.9], 0.1, 0, 1) == pytest.approx([0.56, 0.46, 0.9])
    assert class_figures.spread([0.5, 0.5, 0.5], 0.1, 0, 1) == pytest.approx([0.4, 0.5, 0.6])
    assert class_figures.spread([1, 1], 0.1, 0, 1) == pytest.approx([0.9, 1])
    assert class_figures.spread([0, 0, 0.05], 0.1, 0, 1) == pytest.approx([0, 0.1, 0.2])


def test_every_data_set_has_a_picture_of_its_classes():
    cells = [cell for name in ("mnist", "cifar10") for cell in (runs(dataset=name), none(dataset=name))]
    made = section.class_losses(study(*cells))
    titles = {name: figure.get_suptitle().replace("\n", " ") for name, figure in shown(made).items()}
    assert titles == {
        "class_recalls": "Recall of each class, mp at ratio 10: mnist, lenet5",
        "class_losses": "What each class loses at ratio 10: mnist, lenet5",
        "class_recalls_2": "Recall of each class, mp at ratio 10: cifar10, lenet5",
        "class_losses_2": "What each class loses at ratio 10: cifar10, lenet5",
    }


def test_of_many_classes_the_worst_are_shown_and_that_is_said():
    names = [f"{place:02}" for place in range(40)]
    bare = runs().drop(columns=[f"{group}/{name}" for group in RECALLS for name in "ab"])
    before = {f"recall_before/{name}": 0.79 + 0.02 * (place % 2) for place, name in enumerate(names)}
    after = {f"recall_after/{name}": 0.8 - 0.01 * place + 0.1 * SPREAD for place, name in enumerate(names)}
    made = section.class_losses(study(pd.concat([bare, pd.DataFrame(before | after)], axis=1)))
    named = {text.get_text().split()[0] for text in shown(made)["class_recalls"].axes[0].texts}
    assert named == {"accuracy", "39", "37", "38", "35", "36"}
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


@pytest.mark.slow
def test_five_data_sets_need_two_figures():
    cells = study(*(runs(dataset=name) for name in "abcde"))
    panels = {
        name: len(figure.axes) for made in (section.costs, section.sizes) for name, figure in shown(made(cells)).items()
    }
    assert panels == {"accuracy": 8, "accuracy_2": 2, "model_size": 4, "model_size_2": 1}


def test_the_band_is_the_interval_of_the_control():
    control = none().assign(accuracy_after=0.8 + SPREAD / 10)
    figure = shown(section.slopes(study(runs(), control)))["slopes"]
    (band,) = (patch for patch in figure.axes[1].patches if patch.get_alpha() == 0.15)
    # Raw slopes are 1 - SPREAD. t(.975, 7) is 2.3646.
    half = 2.3646 * SPREAD.std(ddof=1) / np.sqrt(8)
    assert [band.get_y(), band.get_height()] == pytest.approx([1 - half, 2 * half], rel=1e-3)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Glyph")
def test_words_of_many_methods_ratios_and_long_names_do_not_overlap(monkeypatch):
    monkeypatch.setattr(figures, "at_the_ratio", lambda study, cells: cells[cells["ratio"] == 20])
    settings = [*product(("one-shot", "cubic"), ("0.0", "0.5"), ("5",)), ("cubic", "0.5", "10")]
    names, ratios = ("abcdefghijklmnopqrst", "猫W" * 20), (2, 4, 6, 8, 10, 20, 50)
    ways = [*product(("mp", "gp", "up", "rp"), ratios), ("none", 1)]
    keys = [(name, "lenet5", *way, *setting) for name in names for way in ways for setting in settings]
    params = ["params.schedule", "params.distill", "params.epochs"]
    cells = pd.DataFrame(keys, columns=["dataset", "model", "pruner", "ratio", *params])
    cells = cells.assign(n=8, n_at_chance=0, dense_run_id="the same")
    low, value, high = (pd.Series(1 - cells["ratio"] / 500 + more) for more in (-0.01, 0, 0.01))
    cells = cells.assign(accuracy_before=0.99, accuracy_after=value, accuracy_low=low, accuracy_high=high)
    cells = cells.assign(weakest_before=0.97, weakest_after=value, weakest_low=low, weakest_high=high)
    cells = cells.assign(accuracy_minus_none=value - 1, weakest_class="猫W" * 20, weakest_count=5)
    many = StudyData(cells)
    drawn = list(figures.sizes(many, cells))
    assert [hidden_texts(figure) for figure in drawn] == [[]] * 2
    # Twenty methods on each data set: a panel for each of the four pruners.
    assert [len(figure.axes) for figure in drawn] == [4, 4]


@pytest.mark.slow
def test_a_legend_of_many_mitigations_leaves_room_and_the_control_is_that_without_mitigation(monkeypatch):
    monkeypatch.setattr(figures, "at_the_ratio", lambda study, cells: cells[cells["ratio"] == 20])
    ways = [
        *product(("mp",), (20, 50), ("one-shot", "cubic"), range(12)),
        *product(("none",), (1,), ("one-shot",), range(12)),
    ]
    cells = pd.DataFrame(ways, columns=["pruner", "ratio", "params.schedule", "power"])
    power = cells.pop("power")
    weighted = {"params.class_weights": np.where(power > 0, "dense", "none")}
    cells = cells.assign(dataset="toy", model="lenet5", n=8, n_at_chance=0, dense_run_id="the same", **weighted)
    cells["params.class_weight_power"] = power.map("{:.6f}".format).where(power > 0)
    low, value, high = (pd.Series(1 - cells["ratio"] / 500 - power / 100 + more) for more in (-0.01, 0, 0.01))
    cells = cells.assign(accuracy_before=0.99, accuracy_after=value, accuracy_low=low, accuracy_high=high)
    cells = cells.assign(weakest_before=0.97, weakest_after=value, weakest_low=low, weakest_high=high)
    cells = cells.assign(accuracy_minus_none=value - 1, weakest_class="a", weakest_count=5)
    many = StudyData(cells)
    drawn = list(figures.sizes(many, cells))
    assert [hidden_texts(figure) for figure in drawn] == [[]]
    for figure in drawn:
        assert all(axes.bbox.height / figure.dpi > 1.5 for axes in figure.axes)
        named = [text.get_text() for text in figure.legends[0].get_texts()]
        assert [name for name in named if name.startswith("none")] == ["none (control)"]
        assert "mp cubic class weights (power 11.000000)" in named


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
