"""The pictures of the answers: panels of one outcome have one scale, and a colour means one thing."""

import pytest
from answers import Answer, Estimate
from forest import forest
from matplotlib.collections import LineCollection
from matplotlib.colors import to_hex

from analysis.rendering.drawing import ABOVE, BELOW, DIFFERENT, NEUTRAL
from tests.text_boxes import hidden_texts

ALPHAS = {
    "alpha (new)": Estimate(0.02, 0.01, 0.03),
    "alpha (new), unseen networks": Estimate(-0.2, -0.3, -0.1, True),
    "alpha (new), all networks": Estimate(0.0, -0.1, 0.1),
}
LOSSES = {
    "chance movement, points": Estimate(-2.0, -3.0, -1.0),
    "chance movement, points, unseen networks": Estimate(4.0, 3.0, 5.0, True),
    "chance movement, points, all networks": Estimate(float("nan"), float("nan"), float("nan")),
}
ACCURACY = {"accuracy, points": Estimate(1.0, 0.5, 1.5)}


def drawn(*estimates):
    """The panels of a picture by their titles in one line, and the picture."""
    row = {title: estimate for some in estimates for title, estimate in some.items()}
    figure = forest(Answer({"UP, mnist": row, "MP, mnist": row}, no_effect=0), "a title", "a note")
    return {axes.get_title().replace("\n", " "): axes for axes in figure.axes}, figure


def colors(axes):
    return [to_hex(lines.get_color()[0]) for lines in axes.collections if isinstance(lines, LineCollection)]


@pytest.mark.parametrize("estimates", [(ALPHAS, LOSSES), (ACCURACY, ALPHAS), (ALPHAS,)])
def test_panels_of_an_outcome_have_one_scale_that_holds_every_interval(estimates):
    panels, figure = drawn(*estimates)
    for outcome in estimates:
        ends = {panels[title].get_xlim() for title, row in outcome.items() if row.value == row.value}
        assert len(ends) == 1
        low, high = ends.pop()
        assert all(not row.low < low and not row.high > high for row in outcome.values())
    assert hidden_texts(figure) == []


def test_each_outcome_has_a_line_of_panels():
    panels, _ = drawn(ALPHAS, LOSSES)
    heights = [{round(panels[title].get_subplotspec().rowspan.start) for title in some} for some in (ALPHAS, LOSSES)]
    assert heights == [{0}, {1}]


def test_a_colour_means_one_thing():
    panels, _ = drawn(ALPHAS, LOSSES)
    assert {title: colors(axes)[0] for title, axes in panels.items() if colors(axes)} == {
        "alpha (new)": to_hex(DIFFERENT),
        "alpha (new), unseen networks": to_hex(DIFFERENT),
        "alpha (new), all networks": NEUTRAL,
        "chance movement, points": BELOW,
        "chance movement, points, unseen networks": ABOVE,
    }
    assert colors(drawn(ACCURACY)[0]["accuracy, points"])[0] == BELOW


def test_more_accuracy_is_better_and_an_interval_that_ends_at_no_effect_shows_nothing():
    panels, _ = drawn({"accuracy, points": Estimate(-1.0, -2.0, -0.5), "alpha (new)": Estimate(0.1, 0.0, 0.2)})
    assert [colors(axes)[0] for axes in panels.values()] == [ABOVE, NEUTRAL]
