"""The first picture: values known beforehand, and what its renderer measures."""

from itertools import combinations

import numpy as np
import pandas as pd
import pytest

from analysis.report.first_screen import costs
from analysis.study.study import StudyData
from tests import made_up_runs
from tests.text_boxes import hidden_texts

SPREAD = np.linspace(-0.1, 0.1, 8)
PRUNERS = ("mp", "gp", "up", "rp", "up-sum", "up-signed", "own", "other")
RATIOS = (2, 4, 6, 8, 10, 20, 50)


def runs(pruner="mp", ratio=10, alpha=1.0, *, noise=SPREAD, after=0.8, **params):
    made = made_up_runs.runs("mnist", "lenet5", pruner, ratio, alpha + noise, **params)
    return made_up_runs.with_images(made.assign(accuracy_after=after))


def none(**settings):
    return runs("none", 1, **settings)


def panels(*cells):
    (figure,) = costs.costs(StudyData(made_up_runs.study(*cells)))
    return figure.axes


def marks(axes):
    """Return the marks of each method at their values, (x, y), by its colour; marks at an edge by their symbol."""
    inside, edge = {}, {}
    for line in axes.lines:
        if line.get_linestyle() == "None" and len(line.get_xdata()):
            at_edge = line.get_transform() != axes.transData
            found = edge if at_edge else inside
            found[line.get_marker()] = np.column_stack(line.get_data()).tolist()
    return inside, edge


def intervals(axes):
    segments = [segment for bars in axes.collections for segment in bars.get_segments()]
    return np.reshape(segments, (-1, 2, 2))[:, :, 1]


def test_accuracy_and_classes_beside_the_control_network_by_network():
    # Both have the same noise of accuracy, and the pruned networks are a point below: recalls alone that all differ by
    # as much have no interval. Class b loses 5 points more than in the control, of which the accuracy explains 1, and
    # class a gains 5.
    noise = SPREAD / 100
    left, right = panels(runs(alpha=1.5, after=0.79 + noise), none(after=0.8 + noise))
    (inside, edge), (worst, _) = marks(left), marks(right)
    assert inside["o"] == [pytest.approx([0, -1])]
    assert not edge
    assert not len(intervals(left))
    assert worst["o"] == [pytest.approx([0, 4])]
    assert worst["."] == [pytest.approx([0, -6]), pytest.approx([0, 4])]
    assert not right.texts


@pytest.mark.parametrize(("loss", "names"), [(0.5, ["b"]), (0.05, [])])
def test_a_class_is_named_only_if_it_is_shown_to_cost_most(loss, names):
    """Beyond the accuracy class b loses a tenth of `loss` on average, with the same spread of networks."""
    _, right = panels(runs(alpha=1 + loss, noise=SPREAD), none(noise=np.zeros(8)))
    assert [text.get_text() for text in right.texts] == names


def test_a_mean_over_pairs_has_the_interval_of_t():
    # The differences of three networks are 0, 1 and 2 points: mean 1, standard error 1 / root 3, t(.975, 2) = 4.3027.
    pruned, control = np.array([0.79, 0.8, 0.81]), np.full(3, 0.79)
    left, _ = panels(runs(noise=np.zeros(3), after=pruned), none(noise=np.zeros(3), after=control))
    half = 4.3027 / 3**0.5
    assert intervals(left) == pytest.approx(np.array([[1 - half, 1 + half]]), abs=1e-3)
    low, high = left.get_ylim()
    assert low < 1 - half < 1 + half < high


def test_networks_at_chance_and_values_far_off_are_marks_at_the_worse_edge():
    cells = [runs(ratio=ratio, after=after) for ratio, after in ((2, 0.8), (4, 0.79), (10, 0.6), (20, 0.5))]
    left, right = panels(*cells, none())
    inside, edge = marks(left)
    assert [y for _, y in inside["o"]] == pytest.approx([0, -1])
    assert edge == {"v": [[2.0, pytest.approx(0.04)]], "x": [[3.0, pytest.approx(0.04)]]}
    assert marks(right)[1]["x"] == [[3.0, pytest.approx(0.96)]]
    assert left.get_ylim()[0] > -5


def test_without_a_control_the_dense_networks_are_compared():
    left, _ = panels(runs(after=0.77))
    assert marks(left)[0]["o"] == [pytest.approx([0, -3])]


@pytest.mark.parametrize("networks", [1, 2])
def test_few_networks_have_a_mark_and_no_interval(networks):
    left, *_ = panels(runs().head(networks), none().head(networks))
    assert len(marks(left)[0]["o"]) == 1
    assert not np.isfinite(intervals(left)).any()


def random_runs(pruner, ratio, networks, classes, chance):
    """Networks that lose some points of accuracy, and of each class some more or less."""
    made = made_up_runs.runs("mnist", "lenet5", pruner, ratio, np.ones(networks))
    made = made.drop(columns=[name for name in made if name.startswith("recall_")])
    before = np.linspace(0.6, 0.95, classes)
    loss = (0 if pruner == "none" else 0.001 * ratio) + chance.normal(0, 0.03, (networks, classes))
    recalls = {f"recall_before/{index}": before[index] for index in range(classes)}
    recalls |= {f"recall_after/{index}": before[index] - loss[:, index] for index in range(classes)}
    means = {"accuracy_before": before.mean(), "accuracy_after": (before - loss).mean(1)}
    return pd.concat([made.assign(**means), pd.DataFrame(recalls)], axis=1)


@pytest.mark.parametrize(("networks", "methods", "classes"), [(2, 1, 10), (5, 3, 10), (30, 8, 100), (30, 1, 100)])
def test_no_interval_is_cut_no_mark_hides_another_and_the_width_is_used(networks, methods, classes):
    chance = np.random.default_rng(0)
    ways = [("none", 1), *((pruner, ratio) for pruner in PRUNERS[:methods] for ratio in RATIOS)]
    made = [random_runs(*way, networks, classes, chance) for way in ways]
    (figure,) = costs.costs(StudyData(pd.concat(made, ignore_index=True)))
    assert hidden_texts(figure) == []
    assert sum(axes.get_position().width for axes in figure.axes) >= 0.7
    for axes in figure.axes:
        low, high = axes.get_ylim()
        ends = intervals(axes)
        assert len(ends) == (methods * len(RATIOS) if networks > 2 else 0)
        assert ((low < ends) & (ends < high)).all()
        drawn = [
            line
            for line in axes.lines
            if line.get_linestyle() == "None" and len(line.get_xdata()) and line.get_marker() != "."
        ]
        places = [
            (*point, line.get_markersize() * figure.dpi / 72)
            for line in drawn
            for point in line.get_transform().transform(np.column_stack(line.get_data()))
        ]
        assert len(places) == methods * len(RATIOS)
        for (x, y, size), (other_x, other_y, _) in combinations(places, 2):
            assert max(abs(x - other_x), abs(y - other_y)) >= size


def test_a_single_network_has_no_panel_of_costs():
    made = [made_up_runs.runs("mnist", "lenet5", pruner, ratio, [1.5]) for pruner, ratio in (("mp", 10), ("none", 1))]
    (figure,) = costs.costs(StudyData(pd.concat(made, ignore_index=True)))
    assert [axes.get_ylabel() for axes in figure.axes] == ["change of accuracy, points"]
