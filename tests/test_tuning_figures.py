import made_up_tuning
import numpy as np
import pytest
from matplotlib.collections import PathCollection

from analysis import tuning_figures

LABELS = ["ratio 10", "lambda", "MP", "GP", "winner"]


def points(axes, label):
    """Where the points of a label in the legend are drawn, (points, 2)."""
    (drawn,) = [each for each in axes.collections if isinstance(each, PathCollection) and each.get_label() == label]
    return np.asarray(drawn.get_offsets())


@pytest.mark.parametrize(
    ("objective", "names"),
    [
        ("accuracy", ["epsilon", "history"]),
        ("alpha", ["epsilon", "history"]),
        ("both", ["epsilon", "history", "pareto_front"]),
    ],
)
def test_the_pictures_of_a_search(objective, names):
    assert list(tuning_figures.figures(made_up_tuning.tuning(objective))) == names


def test_accuracy_is_drawn_less_that_of_lambda_on_the_same_dense_models():
    upper, lower = tuning_figures.epsilon(made_up_tuning.tuning()).axes
    assert points(upper, "lambda")[0].tolist() == pytest.approx([np.log10(5e-4), 0])
    # .85, .855, .86 against .84, .85, .86
    assert points(upper, "winner")[0].tolist() == pytest.approx([-1, 0.5])
    assert points(lower, "winner")[0].tolist() == pytest.approx([-1, 0.25])


def test_anchors_beyond_the_range_stand_next_to_its_ends():
    axes = tuning_figures.epsilon(made_up_tuning.tuning()).axes[1]
    # The epsilons between are 1e-6 ... .1.
    assert points(axes, "GP")[0, 0] == pytest.approx(-6 - 1.2)
    assert points(axes, "MP")[0, 0] == pytest.approx(-1 + 1.2)
    labels = {tick.get_text() for tick in axes.get_xticklabels()}
    assert {"0\n(GP)", "$10^{8}$\n(MP)", "$10^{-3}$"} <= labels


def test_the_best_so_far_is_of_the_trials_that_may_win():
    (axes,) = tuning_figures.history(made_up_tuning.tuning()).axes
    assert axes.lines[0].get_xdata().tolist() == [0, 1, 4]
    assert axes.lines[0].get_ydata().tolist() == [0.85, 0.853, 0.855]
    (axes,) = tuning_figures.history(made_up_tuning.tuning("alpha")).axes
    assert axes.lines[0].get_ydata().tolist() == [0.3, 0.2, 0.2]


def test_the_front_joins_its_points_and_leaves_out_what_was_stopped():
    (axes,) = tuning_figures.pareto_front(made_up_tuning.tuning("both")).axes
    assert axes.lines[0].get_xydata().tolist() == [[0.853, 0.2], [0.855, 0.25]]
    drawn = np.vstack([each.get_offsets() for each in axes.collections if isinstance(each, PathCollection)])
    assert [0.5, 0.8] not in drawn.tolist()


def test_importance():
    (axes,) = tuning_figures.importance({"ratio": 0.75, "epsilon": 0.25}, "made up").axes
    assert [bar.get_width() for bar in axes.patches] == [0.25, 0.75]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["epsilon", "ratio"]
