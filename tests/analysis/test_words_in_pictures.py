"""In every picture of a report the words fit: none lie over one another, and none leave the picture."""

import itertools

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from analysis.rendering import layout
from analysis.report import report
from analysis.study.study import ReportOptions, StudyData

RATIOS = (2.0, 4.0, 6.0, 8.0, 10.0, 20.0, 50.0)
LONG = "a_name_of_20_letters"


def runs(settings, classes, *, pruners=("mp", "gp", "up", "my_own_pruner"), ratios=RATIOS, seeds=2):
    """Networks that lose accuracy as the ratio grows, and their control."""
    generator = np.random.default_rng(3)
    names = [f"{LONG}{number:02}"[-20:] for number in range(classes)]
    rows = []
    cells = [(pruner, ratio, setting) for pruner in pruners for ratio in ratios for setting in settings]
    for pruner, ratio, setting in [*cells, ("none", 1.0, settings[0])]:
        for seed in range(seeds):
            before = np.random.default_rng(seed).uniform(0.8, 1, classes).round(2)
            after = np.clip(before - 0.003 * ratio * generator.uniform(0, 1, classes), 0, 1).round(2)
            row = {"dataset": LONG, "model": "lenet5", "pruner": pruner, "ratio": ratio, "seed": seed}
            row |= {"params.gradient_objective": setting, "dense_run_id": f"d{seed}"}
            row |= {"run_id": f"{pruner} {ratio:g} {setting} {seed}"}
            row |= {"accuracy_before": before.mean(), "accuracy_after": after.mean()}
            for name, old, new in zip(names, before, after, strict=True):
                row |= {f"recall_before/{name}": old, f"recall_after/{name}": new, f"support/{name}": 100.0}
            rows.append(row)
    return pd.DataFrame(rows)


def words(figure):
    """Box and text of titles, labels, legends and the tick labels that are drawn, (text, box)."""
    for text in figure.texts:
        yield text.get_text(), text.get_window_extent()
    legends = [*figure.legends, *(axes.get_legend() for axes in figure.axes if axes.get_legend())]
    for legend in legends:
        yield f"legend {[text.get_text() for text in legend.get_texts()]}", legend.get_window_extent()
    for axes in figure.axes:
        if not axes.axison:
            continue
        yield axes.get_title(), axes.title.get_window_extent()
        for axis in (axes.xaxis, axes.yaxis):
            yield axis.get_label_text(), axis.label.get_window_extent()
            low, high = sorted(axis.get_view_interval())
            for tick in axis.get_major_ticks():
                if tick.label1.get_visible() and low <= tick.get_loc() <= high:
                    yield tick.label1.get_text(), tick.label1.get_window_extent()


def misplaced(figure):
    """Texts that leave a figure, and pairs that lie over one another by more than a pixel each way."""
    FigureCanvasAgg(figure).draw()
    boxes = [(text, box) for text, box in words(figure) if text.strip() and box.width > 0]
    width, height = figure.bbox.size
    for text, box in boxes:
        if box.x0 < 0 or box.y0 < 0 or box.x1 > width or box.y1 > height:
            yield f"{text!r} leaves the picture"
    for (text, box), (other, beside) in itertools.combinations(boxes, 2):
        across = min(box.x1, beside.x1) - max(box.x0, beside.x0)
        if across > 1 and min(box.y1, beside.y1) - max(box.y0, beside.y0) > 1:
            yield f"{text!r} lies over {other!r}"


def test_words_that_lie_over_one_another_or_leave_a_picture_are_found():
    panel = layout.Panel(lambda axes, rows: axes.plot(rows), [0, 1])
    figure = layout.draw([panel, panel], 2, size=(2.5, 3), title="a title", note="a note")
    left, right = figure.axes
    assert list(misplaced(figure)) == []
    left.set_title("a title that is wider than its panel is")
    right.set_title("a title that is wider than its panel is")
    assert any("lies over" in found for found in misplaced(figure))
    figure.text(0.99, 0.5, "words beyond the edge")
    assert "'words beyond the edge' leaves the picture" in list(misplaced(figure))


def all_misplaced(frame):
    made = report.report(StudyData(frame), ReportOptions(paper=True))
    assert {"figure_01", "figure_05", "figure_09", "figure_13", "accuracy", "slopes"} <= made.figures.keys()
    found = {
        name: sorted(set(misplaced(figure))) for name, figure in made.figures.items() if isinstance(figure, Figure)
    }
    return {name: texts for name, texts in found.items() if texts}


@pytest.mark.slow
def test_words_of_a_small_study_fit():
    assert all_misplaced(runs(["data", LONG], 10, pruners=("mp", "my_own_pruner"), ratios=(2.0, 50.0))) == {}


@pytest.mark.slow
def test_words_of_a_study_with_many_settings_and_classes_fit():
    assert all_misplaced(runs([f"{LONG[:18]}_{letter}" for letter in "abcde"], 100)) == {}
