"""The pictures of what is forgotten: which values the drawn lines have, on frames made by hand."""

from itertools import product

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection

from analysis.rendering.drawing import ABOVE, BELOW, NEUTRAL
from analysis.rendering.page import Picture
from analysis.report.papers.compressed_networks import figures
from analysis.report.papers.compressed_networks.populations import accuracies
from analysis.report.papers.compressed_networks.section import normalised_recall
from analysis.study.arrays import run_arrays
from analysis.study.study import StudyData
from tests import made_up_levels, made_up_runs
from tests.text_boxes import hidden_texts

SPREAD = np.linspace(-0.1, 0.1, 6)
NONE, PRUNED = "none", ("mp", "gp")
KEY = {"dataset": "toy", "model": "net"}


def study(places=("toy",), ratios=(2.0, 10.0)):
    """Runs of mp and gp, of which mp is the more accurate, and of the control."""
    ways = [*product(PRUNED, ratios), (NONE, 1.0)]
    cells = [made_up_runs.runs(place, "net", *way, 1 + SPREAD) for place in places for way in ways]
    made = made_up_runs.with_images(made_up_runs.study(*cells))
    return StudyData(made.assign(accuracy_after=np.where(made["pruner"] == "gp", 0.79, 0.8)))


def frames(cells, pies, significant, placebo=(40.0, 0.4), bar=0):
    """Summary and significant classes, of two, of cells by method and level; bars are so many PIEs long a side."""
    keys = [{**KEY, "pruner": method, "ratio": level, "level": level} for method, level in cells]
    of_placebo = {"n_pie_placebo": placebo[0], "n_pie_placebo_low": placebo[0], "n_pie_placebo_high": placebo[0] + 1}
    summary = [
        {
            **{**key, "n_dense": 6, "n_pie": 7, "n_pie_halves": n, **of_placebo},
            **{f"n_pie_minus_placebo_{end}": n - placebo[0] + more for end, more in (("low", -bar), ("high", bar))},
        }
        for key, n in zip(keys, pies, strict=True)
    ]
    of_placebo = {"placebo": placebo[1], "placebo_low": 0, "placebo_high": 1}
    tested = [
        {**key, "classes": 2, "significant": count, "significant_paired": 2 - count, **of_placebo}
        for key, count in zip(keys, significant, strict=True)
    ]
    return pd.DataFrame(summary), pd.DataFrame(tested)


CELLS = [("mp", 2.0), ("mp", 10.0), ("gp", 2.0), ("gp", 10.0), (NONE, 1.0)]
COUNTS = frames(CELLS, [45.0, 300.0, 50.0, 900.0, 42.0], [0, 2, 1, 1, 1])


def heights(axes):
    """Values of every line of a panel but the stripe, by mark for methods and by colour for lines across."""
    drawn = [line for line in axes.lines if line.get_alpha() is None]
    named = {line.get_marker() if line.get_marker() != "None" else line.get_color(): line for line in drawn}
    assert len(named) == len(drawn)
    return {name: [float(value) for value in line.get_ydata()] for name, line in named.items()}


def test_counts_of_each_method_by_ratio_with_the_placebo_and_the_control():
    (figure,) = figures.counts(study(), *COUNTS)
    above, paired, below = figure.axes
    across = {"black": [40.0, 40.0], NEUTRAL: [42.0, 42.0]}
    assert heights(above) == {"o": [45.0, 300.0], "s": [50.0, 900.0], **across}
    across = {"black": [0.4, 0.4], NEUTRAL: [1.0, 1.0]}
    assert heights(below) == {"o": [0.0, 2.0], "s": [1.0, 1.0], **across}
    # Chance makes 5 % of two classes significant by the paired test.
    across = {"black": [0.1, 0.1], NEUTRAL: [1.0, 1.0]}
    assert heights(paired) == {"o": [2.0, 0.0], "s": [1.0, 1.0], **across}
    (first, *_) = (line for line in above.lines if line.get_marker() == "o")
    assert first.get_xdata() == pytest.approx([2, 10], rel=0.02)
    dashed = [line for line in above.lines if line.get_linestyle() == "--"]
    assert [line.get_color() for line in dashed] == ["black"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        *("mp", "gp", "none (control)", "placebo", "5 % of the classes")
    ]


def bars(axes):
    """Ends of the intervals of each method, by colour."""
    found = [each for each in axes.collections if isinstance(each, LineCollection)]
    return {tuple(each.get_color()[0][:3]): [line[:, 1].tolist() for line in each.get_segments()] for each in found}


def test_exemplars_have_bars_and_the_placebo_a_band():
    cells = frames(CELLS, [45.0, 300.0, 50.0, 900.0, 42.0], [0, 2, 1, 1, 1], bar=5)
    (figure,) = figures.counts(study(), *cells)
    above, _, below = figure.axes
    assert list(bars(above).values()) == [[[40.0, 50.0], [295.0, 305.0]], [[45.0, 55.0], [895.0, 905.0]]]
    bands = {(patch.get_y(), patch.get_y() + patch.get_height()) for patch in above.patches}
    assert bands == {(40.0, 41.0), (37.0, 47.0)}  # of the placebo's splits, and of the control's interval
    assert [(patch.get_y(), patch.get_height()) for patch in below.patches] == [(0, 1)]


def test_panels_of_too_few_networks_for_halves_say_so():
    summary, tested = COUNTS
    halves = [name for name in summary if "placebo" in name or "halves" in name]
    (figure,) = figures.counts(study(), summary.assign(**dict.fromkeys(halves, np.nan)), tested)
    assert [text.get_text() for text in figure.axes[0].texts] == ["Too few networks: each half needs 5 different ones"]
    assert heights(figure.axes[2])["o"] == [0.0, 2.0]


def test_the_note_has_the_exemplars_of_the_same_networks_of_number_formats():
    quantized = made_up_runs.runs("toy", "net", "float16", 1, 1 + SPREAD, number_format="float16")
    control = made_up_runs.runs("toy", "net", NONE, 1, 1 + SPREAD)
    made = StudyData(made_up_runs.with_images(made_up_runs.study(quantized, control)))
    keys = made.cells[["dataset", "model", "pruner", "ratio", *made.shown]]
    found = [
        frame.drop(columns=["level", *KEY, "pruner", "ratio"]).join(keys)
        for frame in frames([("a", 1), ("b", 1)], [5] * 2, [0] * 2)
    ]
    (figure,) = figures.counts(made, found[0].assign(n_pie=[3, 1247]), found[1])
    assert "toy, net: float16 3, none 1,247." in figure.get_supxlabel().replace("\n", " ")


def test_counts_of_exemplars_have_a_logarithmic_axis_from_one_round_number_on():
    (figure,) = figures.counts(study(), *COUNTS)
    above, _, below = figure.axes
    assert [label.get_text() for label in above.get_yticklabels()] == ["20", "50", "100", "200", "500", "1,000"]
    scaled = above.transData.transform([(2, 50), (2, 100), (2, 200)])[:, 1]
    assert scaled[2] - scaled[1] == pytest.approx(scaled[1] - scaled[0])
    assert below.get_yscale() == "linear"


@pytest.mark.parametrize(
    ("pies", "labels"),
    [
        ([0.0] * 5, ["0", "1"]),
        ([0.0, 0.5, 0.0, 3.0, 0.0], ["0", "1", "2"]),
        ([41.0] * 5, ["20", "50"]),
        ([1e6] * 5, ["0", "1", "10", "100", "1,000", "10,000", "100,000", "1,000,000"]),
    ],
)
def test_an_axis_of_any_counts_has_round_numbers(pies, labels):
    placebo = 0.0 if min(pies) == 0 or max(pies) == 1e6 else 40.0
    (figure,) = figures.counts(study(), *frames(CELLS, pies, [0] * 5, (placebo, 0.0)))
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == labels
    low, high = figure.axes[0].get_ylim()
    assert low <= min(pies) <= max(pies) <= high


def test_methods_of_other_dense_networks_have_a_placebo_each():
    made = study()
    runs = made.runs.assign(dense_run_id=made.runs["pruner"] + made.runs["dense_run_id"])
    summary, classes = COUNTS
    summary = summary.assign(n_pie_placebo=summary["pruner"].map({"mp": 40.0, "gp": 60.0, NONE: 50.0}))
    (figure,) = figures.counts(StudyData(runs), summary, classes)
    color = {line.get_marker(): line.get_color() for line in figure.axes[0].lines}
    dashed = {line.get_color(): line.get_ydata()[0] for line in figure.axes[0].lines if line.get_linestyle() == "--"}
    assert dashed == {color["o"]: 40.0, color["s"]: 60.0, NEUTRAL: 50.0}


def test_a_cell_whose_networks_guess_is_not_drawn():
    made = study()
    guesses = (made.runs["pruner"] == "gp") & (made.runs["ratio"] == 10)
    (figure,) = figures.counts(StudyData(made.runs.assign(accuracy_after=np.where(guesses, 0.5, 0.8))), *COUNTS)
    assert heights(figure.axes[0])["s"] == [50.0]


def test_the_stripe_is_at_the_ratio_of_the_verdict_even_where_no_exemplars_are_counted():
    summary, classes = (frame[frame["ratio"] == 2] for frame in COUNTS)
    (figure,) = figures.counts(study(), summary, classes)
    (stripe,) = (line for line in figure.axes[0].lines if line.get_alpha() is not None)
    assert stripe.get_xdata() == [10.0, 10.0]
    counted = [[value for value in heights(figure.axes[0])[mark] if np.isfinite(value)] for mark in "os"]
    assert counted == [[45.0], [50.0]]
    assert figures.counts(study(("other",)), *COUNTS) == []


def test_the_placebo_is_that_of_the_largest_population():
    summary, classes = COUNTS
    placebos = summary.assign(n_dense=[5, 5, 6, 5, 5], n_pie_placebo=[50.0, 50.0, 40.0, 50.0, 50.0])
    (figure,) = figures.counts(study(), placebos, classes)
    assert heights(figure.axes[0])["black"] == [40.0, 40.0]


@pytest.mark.slow
def test_equal_inputs_give_equal_pictures():
    pictures = []
    for (figure,) in (figures.counts(study(), *COUNTS) for _ in range(2)):
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        pictures.append(bytes(canvas.buffer_rgba()))
    assert pictures[0] == pictures[1]


def changed(changes, names="ab", **columns):
    """Class tests of mp, a row for each ratio and class."""
    rows = [
        {**KEY, "pruner": "mp", "ratio": level, "level": level, "class": name, "normalised_difference": each}
        for level, of_level in changes.items()
        for name, each in zip(names, of_level, strict=True)
    ]
    return pd.DataFrame(rows).assign(**columns)


def pruned(made):
    return made.cells[made.cells["pruner"] != NONE]


def ends(axes):
    """Classes' heights and changes, and the colours of their marks."""
    marks = axes.collections[-1]
    colors = ["#" + "".join(f"{round(255 * part):02x}" for part in color[:3]) for color in marks.get_facecolors()]
    return np.asarray(marks.get_offsets()).round(9).tolist(), colors


def test_the_normalised_change_of_each_class_a_panel_for_each_ratio():
    made = study()
    tests = changed({2.0: [0.01, -0.02], 10.0: [-0.3, 0.05]}, statistic=[2.0, -3.0, -4.0, 5.0])
    figure = figures.normalised_recall(made, pruned(made), tests.assign(significant=[False, True, True, True]))
    first, second = figure.axes
    assert [axes.get_title() for axes in figure.axes] == ["ratio 2: 1 significant", "ratio 10: 2 significant"]
    assert ends(first) == ([[1.0, 0.0], [-2.0, 1.0]], [NEUTRAL, ABOVE])
    assert ends(second) == ([[-30.0, 0.0], [5.0, 1.0]], [ABOVE, BELOW])
    assert [label.get_text() for label in first.get_yticklabels()] == ["a", "b"]
    assert figure.get_suptitle() == "Normalised change of recall, mp: toy, net"
    assert [line.get_xdata()[0] for line in first.lines if line.get_linestyle() == ":"] == [0.0]  # .8 and .8


def test_few_classes_stand_in_the_order_of_the_report_those_first_that_lose_most():
    """Class b is the weaker one, and twice the differences between classes are a loss of b."""
    cells = [made_up_runs.runs("toy", "net", pruner, 2.0, slope + SPREAD) for pruner, slope in (("mp", 2), (NONE, 1))]
    made = StudyData(made_up_runs.with_images(made_up_runs.study(*cells)))
    tests = changed({2.0: [0.1, -0.2]}, statistic=[2.0, -3.0], significant=False)
    figure = figures.normalised_recall(made, pruned(made), tests)
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["b", "a"]
    assert ends(figure.axes[0])[0] == [[-20.0, 0.0], [10.0, 1.0]]


def test_six_of_more_ratios_are_drawn_the_first_and_the_last_among_them():
    ratios = (2.0, 4.0, 6.0, 8.0, 10.0, 20.0, 50.0)
    made = study(ratios=ratios)
    tests = changed(dict.fromkeys(ratios, np.zeros(2)), statistic=0.0, significant=False)
    figure = figures.normalised_recall(made, pruned(made), tests)
    shown = [axes.get_title().split(":")[0].removeprefix("ratio ") for axes in figure.axes]
    assert len(shown) == 6
    assert (shown[0], shown[-1]) == ("2", "50")


def test_of_many_classes_the_sorted_changes_are_a_line_and_the_worst_five_are_named():
    made = study()
    names = [f"{place:03}" for place in range(1000)]
    changes = -np.arange(1000)[::-1] / 1e4  # class 000 loses most
    tests = changed({2.0: changes, 10.0: changes}, names, statistic=-1.0)
    figure = figures.normalised_recall(made, pruned(made), tests.assign(significant=tests["class"].isin(["001"])))
    (axes, _) = figure.axes
    (line,) = (line for line in axes.lines if len(line.get_xdata()) == 1000)
    assert line.get_xdata() == pytest.approx(100 * np.sort(changes))
    assert [text.get_text() for text in axes.texts] == ["Worst:\n000\n001\n002\n003\n004"]
    assert ends(axes) == ([[-9.98, 1.0]], [ABOVE])
    assert hidden_texts(figure) == []


def test_the_section_of_a_study_has_a_picture_for_each_data_set_and_single_networks_have_none():
    made = normalised_recall(study(("toy", "other")))
    assert [block.name for block in made.blocks[1:]] == ["normalised_recall", "normalised_recall_2"]
    assert normalised_recall(StudyData(made_up_runs.runs("toy", "net", "mp", 10, [1.0]))) is None
    assert normalised_recall(StudyData(made_up_runs.runs("toy", "net", NONE, 1, [1.0, 1.1]))) is None


def test_accuracies_are_boxes_of_quartiles_by_level_with_the_dense_networks_on_top():
    made = study(ratios=(2.0, 10.0, 50.0))
    changed = {("mp", 2.0): 0.01, ("mp", 10.0): 0.02, ("mp", 50.0): 0.2}
    loss = [changed.get(key, 0.02) for key in zip(made.runs["pruner"], made.runs["ratio"], strict=True)]
    spread = np.tile(np.linspace(-0.01, 0.01, 6), 7)
    runs = made.runs.assign(accuracy_before=0.8 + spread, accuracy_after=0.8 + spread - loss)
    (figure,) = figures.accuracies(StudyData(runs), accuracies(run_arrays(runs)))
    (of_mp, *_) = figure.axes
    assert [axes.get_title() for axes in figure.axes] == ["mp", "gp", "none"]
    assert [label.get_text() for label in of_mp.get_yticklabels()] == ["dense", "ratio 2", "ratio 10", "ratio 50"]
    boxes = [line.get_xdata() for line in of_mp.lines if len(line.get_xdata()) == 5]
    assert [(min(box), max(box)) for box in boxes] == [
        pytest.approx((middle - 0.5, middle + 0.5)) for middle in (80, 79, 78)
    ]
    # The level that loses ten times as much as the one before has no box, which would leave the others no room.
    assert [text.get_text() for text in of_mp.texts] == ["median 60.0 %"]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Glyph")
@pytest.mark.parametrize("count", [10, 100])
def test_words_of_long_names_do_not_overlap(count):
    ratios = (2.0, 4.0, 8.0, 10.0, 20.0, 50.0)
    made = study(["猫W" * 20], ratios=ratios)
    kinds = ["abcdefghijklmnopq", "W" * 50, "猫" * 17, "_$x^2$_" * 3]
    names = [f"{place:03}{kinds[place % 4]}" for place in range(count)]
    tests = changed(dict.fromkeys(ratios, np.linspace(-1, 0.5, count)), names, statistic=1.0, significant=True)
    figure = figures.normalised_recall(made, pruned(made), tests.assign(dataset=made.datasets[0]))
    cells = [(pruner, ratio) for pruner in PRUNED for ratio in ratios]
    found = frames(cells, [10 * 2.0**place for place in range(12)], [1] * 12)
    (counts,) = figures.counts(made, *(frame.assign(dataset=made.datasets[0]) for frame in found))
    assert [hidden_texts(figure), hidden_texts(counts)] == [[], []]


def test_the_normalised_changes_are_of_pruned_networks_however_little_a_number_format_costs():
    lossy = made_up_runs.runs("toy", "net", "mp", 10, 1 + SPREAD, number_format="float32")
    quantized = made_up_runs.runs("toy", "net", "float16", 1, 1 + SPREAD, number_format="float16")
    made = made_up_runs.with_images(made_up_runs.study(lossy.assign(accuracy_after=0.7), quantized))
    section = normalised_recall(StudyData(made))
    (title,) = (block.figure.get_suptitle() for block in section.blocks if isinstance(block, Picture))
    assert title == "Normalised change of recall, mp: toy, net"
    section = normalised_recall(StudyData(made[made["pruner"] == "float16"].reset_index(drop=True)))
    (title,) = (block.figure.get_suptitle() for block in section.blocks if isinstance(block, Picture))
    assert title == "Normalised change of recall, float16: toy, net"


def test_levels_of_iterative_pruning_are_one_method_and_its_control_has_iterations():
    made = StudyData(made_up_levels.runs(pruners=("global-unstructured", "none"), treatments=("rewind",), seeds=3))
    (picture,) = figures.accuracies(made, accuracies(run_arrays(made.runs)))
    assert [axes.get_title() for axes in picture.axes] == ["global-unstructured\nrewind", "none\nrewind"]
    labels = [[label.get_text() for label in axes.get_yticklabels()] for axes in picture.axes]
    assert labels[0][:3] == ["dense", "ratio 1.244", "ratio 1.545"]
    assert labels[1] == ["dense", "iteration 1", "iteration 2", "iteration 3"]
