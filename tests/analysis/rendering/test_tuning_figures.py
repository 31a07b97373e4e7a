from dataclasses import replace

import numpy as np
import pytest
from matplotlib import colormaps
from matplotlib.collections import PathCollection
from matplotlib.colors import to_rgba

from analysis.rendering import tuning_figures
from analysis.rendering.drawing import BELOW
from tests import made_up_tuning


def points(axes, label):
    """Where the points of a label in the legend are drawn, (points, 2)."""
    (drawn,) = [each for each in axes.collections if isinstance(each, PathCollection) and each.get_label() == label]
    return np.asarray(drawn.get_offsets())


@pytest.mark.parametrize(
    ("objective", "names"),
    [
        ("accuracy", ["epsilon"]),
        ("alpha", ["epsilon"]),
        ("both", ["epsilon", "pareto_front"]),
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


def test_the_front_joins_its_points_and_leaves_out_what_was_stopped():
    (axes,) = tuning_figures.pareto_front(made_up_tuning.tuning("both")).axes
    assert axes.lines[0].get_xydata().tolist() == [[0.853, 0.2], [0.855, 0.25]]
    drawn = np.vstack([each.get_offsets() for each in axes.collections if isinstance(each, PathCollection)])
    assert [0.5, 0.8] not in drawn.tolist()


def scheduled():
    made = made_up_tuning.tuning()
    return replace(made, trials=made.trials.assign(ramp=[0, 0, 0, 0.2, 0.35], distill=[0, 0, 0, 0, 0.05]))


def test_ramp_and_distillation_have_a_picture_where_they_differ():
    assert list(tuning_figures.figures(scheduled())) == ["epsilon", "schedule"]
    ramps, weights = tuning_figures.figures(scheduled())["schedule"].axes[:2]
    assert points(ramps, "winner")[0].tolist() == pytest.approx([0.35, 0.5])
    assert points(weights, "winner")[0].tolist() == pytest.approx([0.05, 0.5])


def test_trials_are_coloured_by_their_ramps_where_these_differ():
    def color(made):
        upper = tuning_figures.epsilon(made).axes[0]
        (drawn,) = [each for each in upper.collections if each.get_label() == "ratio 10"]
        return drawn.get_facecolor()[0].tolist()

    assert color(scheduled()) == pytest.approx(colormaps["viridis"](0.35))
    assert color(made_up_tuning.tuning()) == pytest.approx(to_rgba(BELOW))
