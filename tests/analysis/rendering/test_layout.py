"""Pages of panels: what stands where, at both widths, and which words are written once."""

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from analysis.rendering.layout import Panel, draw, handle
from tests.text_boxes import hidden_texts


def line(axes, rows):
    axes.plot(rows)


def panels(count, **words):
    return [Panel(line, [0, 1], f"panel {index}", **words) for index in range(count)]


def legend(figure):
    return [text.get_text() for each in figure.legends for text in each.get_texts()]


def test_a_page_has_its_panels_title_and_note():
    figure = draw(panels(5), 3, size=(2, 2), title="a title " * 12, note="costs $5 or $6")
    assert [axes.get_title() for axes in figure.axes] == [f"panel {index}" for index in range(5)]
    assert [axes.lines[0].get_ydata().tolist() for axes in figure.axes] == [[0, 1]] * 5
    assert figure.get_figwidth() == 6
    # Sixty letters a line.
    assert [len(part) for part in figure.get_suptitle().split("\n")] == [57, 37]
    assert figure.get_supxlabel() == "costs $5 or $6"
    assert hidden_texts(figure) == []


def test_a_note_keeps_its_lines_and_those_that_are_too_long_are_broken():
    note = draw(panels(2), 2, size=(3, 2), note="one\n" + "a note " * 20 + "\nthree").get_supxlabel()
    # Ninety letters a line.
    assert [len(line) for line in note.split("\n")] == [3, 90, 48, 5]


def test_a_panel_that_is_missing_leaves_its_place_empty():
    first, second, third = panels(3)
    figure = draw([first, None, second, third], 2, size=(3, 2), sharex=True)
    figure.draw_without_rendering()
    (one, other, last) = (axes.get_position() for axes in figure.axes)
    assert one.x0 == other.x0 < last.x0
    assert one.y0 > other.y0 == last.y0


def test_panels_are_as_wide_as_their_ratios_say_and_stay_on_the_page():
    figure = draw(panels(2), 2, size=(3, 3), title="a title", note="a note", widths=(1, 3))
    figure.draw_without_rendering()
    left, right = (axes.get_position() for axes in figure.axes)
    assert right.width == pytest.approx(3 * left.width)
    assert left.x1 < right.x0 < right.x1 < 1


def test_ticks_that_the_final_size_adds_have_room():
    # A tick at -0.25 on the panels as they are drawn, and none as they are made
    figure = draw([Panel(line, [-0.6, 1.35])] * 4, 2, size=(4, 3), title="a title", note="a note", sharex=True)
    figure.draw_without_rendering()
    renderer = FigureCanvasAgg(figure).get_renderer()
    for left, right in (figure.axes[:2], figure.axes[2:]):
        assert right.get_tightbbox(renderer).x0 > left.bbox.x1


def test_what_panels_have_in_common_is_written_once():
    several = [*panels(2, across="ratio", up="loss"), *panels(2, across="ratio", up="gain")]
    page = draw(several, 2, size=(3, 2), sharex=True)
    assert [(axes.get_xlabel(), axes.get_ylabel()) for axes in page.axes] == [
        ("", "loss"),
        ("", ""),
        ("ratio", "gain"),
        ("ratio", ""),
    ]
    assert [any(label.get_visible() for label in axes.get_xticklabels()) for axes in page.axes] == [False] * 2 + [
        True
    ] * 2


def test_a_legend_has_each_label_of_the_panels_once_and_makes_room_for_itself():
    def labelled(axes, names):
        for name in names:
            axes.scatter([0], [0], label=name)

    plain = draw([Panel(labelled, [""])], size=(6, 3), title="a title")
    figure = draw([Panel(labelled, ["mp", "up"]), Panel(labelled, ["up", "$gp$"])], size=(6, 3), title="a title")
    assert (legend(plain), legend(figure)) == ([], ["mp", "up", "$gp$"])
    own = draw([Panel(labelled, ["mp"])], size=(6, 3), title="a title", legend=[handle(f"a {n}") for n in range(40)])
    assert legend(own) == [f"a {n}" for n in range(40)]
    heights = []
    for each in (plain, own):
        assert hidden_texts(each) == []
        heights.append(each.axes[0].bbox.height)
    assert heights[1] == pytest.approx(heights[0], rel=0.1)
