import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.colors import to_rgb
from matplotlib.markers import MarkerStyle

from analysis.rendering.drawing import ABOVE, BELOW, DIFFERENT, NEUTRAL
from analysis.report.methods import figures as methods_figures
from analysis.report.methods.compare import METHOD_COLUMNS, OUTCOMES


def row(outcome, difference, low, high, *, ratio=20.0, p_holm=0.5, primary=False, method="mp cubic", at_chance=0):
    told = dict.fromkeys(METHOD_COLUMNS, np.nan) | {"dataset": "mnist", "model": "lenet5", "ratio": ratio}
    told |= {"comparison": "schedule", "method": method, "baseline": "mp", "outcome": outcome, "primary": primary}
    told |= {"difference": difference, "difference_low": low, "difference_high": high, "p_holm": p_holm}
    return told | {"n": 30 - at_chance, "n_at_chance": at_chance}


def panel(figure, outcome):
    return next(axes for axes in figure.axes if axes.get_title().startswith(outcome))


def intervals(axes):
    """Colour, low and high of every interval."""
    drawn = [lines for lines in axes.collections if isinstance(lines, LineCollection)]
    return [
        (color[:3].tolist(), *np.array(segment)[:, 0])
        for lines in drawn
        for color, segment in zip(lines.get_colors(), lines.get_segments(), strict=True)
    ]


def shape(points):
    """The marker of points drawn with `scatter`."""
    markers = {mark: MarkerStyle(mark) for mark in "oD<>"}
    paths = {mark: style.get_path().transformed(style.get_transform()) for mark, style in markers.items()}
    (drawn,) = points.get_paths()
    return next(mark for mark, path in paths.items() if np.array_equal(path.vertices, drawn.vertices))


def marks(axes):
    """Value, height, marker and whether it is filled of every mark, from top to bottom."""
    drawn = [points for points in axes.collections if isinstance(points, PathCollection)]
    found = [
        (*map(float, place), shape(points), bool(face[:3].min() < 1))
        for points in drawn
        for place, face in zip(points.get_offsets(), points.get_facecolors(), strict=True)
    ]
    return sorted(found, key=lambda mark: mark[1])


def test_a_difference_is_drawn_from_end_to_end_in_the_colour_of_what_it_means():
    frame = pd.DataFrame(
        [
            row("accuracy", 0.02, 0.01, 0.03, p_holm=0.04, primary=True),
            row("weakest_recall", -0.02, -0.05, 0.01, primary=True),
            row("largest_excess", 0.02, 0.01, 0.03, p_holm=0.06),
            row("alpha_new", -0.2, -0.3, -0.1, p_holm=0.01),
            row("raw_slope", 0.1, 0.0, 0.2),
            row("alpha", 0.1, 0.0, 0.2),
        ]
    )
    figure = methods_figures.forest(frame)
    for title, color, ends, mark in (
        ("accuracy", BELOW, (1, 3), (2, "D", True)),
        ("weakest", NEUTRAL, (-5, 1), (-2, "D", False)),
        ("chance movement", ABOVE, (1, 3), (2, "o", False)),
        ("alpha (new)", DIFFERENT, (-0.3, -0.1), (-0.2, "o", True)),
    ):
        ((found, *reach),), ((value, height, *look),) = intervals(panel(figure, title)), marks(panel(figure, title))
        assert found == pytest.approx(to_rgb(color))
        assert reach == pytest.approx(ends)
        assert (value, height, *look) == (pytest.approx(mark[0]), 1, *mark[1:])


@pytest.mark.parametrize("outcome", ["alpha_new", "alpha", "raw_slope"])
@pytest.mark.parametrize("low", [-0.3, 0.1])
def test_no_side_is_better_for_alpha_and_the_raw_slope(outcome, low):
    assert methods_figures.color_of(outcome, low, low + 0.2) == DIFFERENT


def test_a_value_that_is_not_known_says_so_and_an_outcome_without_any_has_no_panel():
    rows = [row(outcome, np.nan if outcome == "raw_slope" else 0.1, 0.05, 0.2) for outcome in OUTCOMES]
    rows += [row(outcome, 0.1, 0.05, 0.2, method="up cubic") for outcome in OUTCOMES]
    frame = pd.DataFrame(rows)
    (text,) = panel(methods_figures.forest(frame), "raw slope").texts
    assert text.get_text() == "n/a"
    unknown = frame.assign(difference=frame["difference"].mask(frame["outcome"] == "alpha_new"))
    titles = [axes.get_title() for axes in methods_figures.forest(unknown).axes]
    assert titles == ["accuracy, points", "chance movement, points", "raw slope", "alpha\nbeyond proportion"]


def test_what_most_networks_guess_is_said_and_not_drawn():
    rows = [row(outcome, 0.1, 0, 0.2, at_chance=29) for outcome in OUTCOMES]
    rows += [row(outcome, 0.1, 0, 0.2, at_chance=1, method="up cubic") for outcome in OUTCOMES]
    accuracy = panel(methods_figures.forest(pd.DataFrame(rows)), "accuracy")
    assert [text.get_text() for text in accuracy.texts] == ["29 of 30 at chance"]
    assert len(intervals(accuracy)) == 1


def test_a_value_far_outside_the_others_is_a_triangle_at_the_edge():
    values = [0.01 * place for place in range(20)]
    rows = [row(outcome, value, value, value) for outcome in OUTCOMES for value in [*values, -5.0]]
    axes = panel(methods_figures.forest(pd.DataFrame(rows)), "raw slope")
    assert [mark for *_, mark, _ in marks(axes)] == ["o"] * 20 + ["<"]
    assert [text.get_text() for text in axes.texts] == ["-5.00"]
    assert axes.get_xlim()[0] > -0.2


def test_a_figure_for_each_model_and_comparison_with_a_heading_for_each_ratio():
    rows = [row(outcome, 0.1, 0, 0.2, ratio=ratio) for outcome in OUTCOMES for ratio in (20.0, 10.0)]
    rows += [row(outcome, 0.1, 0, 0.2, ratio=10.0, method="mp cubic (ramp 0.2)") for outcome in OUTCOMES]
    other = [{**row(outcome, 0.1, 0, 0.2), "dataset": "a", "comparison": "pruner"} for outcome in OUTCOMES]
    found = methods_figures.figures(pd.DataFrame(rows + other))
    assert list(found) == ["methods_1_pruner", "methods_2_schedule"]
    left = found["methods_2_schedule"].axes[0]
    rows = sorted((label.get_position()[1], label.get_text()) for label in left.get_yticklabels())
    assert [text for _, text in rows] == ["ratio 10", "mp cubic", "mp cubic (ramp 0.2)", "ratio 20", "mp cubic"]
    # The two ratios of 10 and the one of 20 are drawn beside their names.
    assert [height for _, height, *_ in marks(left)] == [1, 2, 4]
    assert found["methods_2_schedule"].get_suptitle() == "Differences, gradual pruning minus one shot: mnist, lenet5"


def test_at_the_same_accuracy_methods_stand_below_their_data_set():
    rows = [
        {**row(outcome, value, value - 0.1, value + 0.1, method=method), "dataset": dataset, "is_equal": equal}
        for outcome in ("accuracy", "largest_excess", "alpha_new", "raw_slope")
        for dataset, method, value, equal in (("b", "up", 0.2, True), ("b", "gp", 0.0, False), ("a", "up", -0.3, True))
    ]
    figure = methods_figures.forest_at_same_accuracy(pd.DataFrame(rows), "1 point below the control")
    assert figure.get_suptitle() == "Differences at the same accuracy, 1 point below the control"
    labels = sorted((label.get_position()[1], label.get_text()) for label in figure.axes[0].get_yticklabels())
    assert [text for _, text in labels] == ["a, lenet5", "up − mp", "b, lenet5", "up − mp", "gp − mp †"]
    drawn = marks(panel(figure, "alpha (new)"))
    assert [(value, height) for value, height, *_ in drawn] == [(-0.3, 1), (0.2, 3), (0.0, 4)]
