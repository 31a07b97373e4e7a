"""Figures are written in the kinds asked for, and give the same files each time."""

import pytest
from matplotlib.figure import Figure

from analysis.common import files
from analysis.rendering import figure_files


def figures():
    drawn = {}
    for number, panels in enumerate((1, 3, 2)):
        figure = Figure(layout="constrained")
        for axes in figure.subplots(1, panels, squeeze=False)[0]:
            axes.plot([0, 1], [number, panels])
        drawn[f"f{number}"] = figure
    return drawn


def test_a_folder_that_holds_a_picture_alone_can_be_written_to_again(tmp_path):
    for drawn in (figures()["f0"], figures()["f1"]):
        with files.aside(tmp_path) as folder:
            figure_files.write({"f": drawn}, folder, [figure_files.PNG])
            new = (folder / "f.png").read_bytes()
        assert (tmp_path / "f.png").read_bytes() == new


@pytest.mark.parametrize("ending", [figure_files.PNG, figure_files.SVG])
def test_only_the_kinds_asked_for_are_written(tmp_path, ending):
    figure_files.write(figures(), tmp_path, [ending])
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"f{number}{ending}" for number in range(3)]


@pytest.mark.slow
def test_figures_that_are_written_again_are_the_same_files(tmp_path):
    drawn = figures()
    for folder in ("first", "second"):
        (tmp_path / folder).mkdir()
        figure_files.write(drawn, tmp_path / folder, [figure_files.PNG, figure_files.SVG])
    assert all((tmp_path / "second" / path.name).read_bytes() == path.read_bytes() for path in tmp_path.glob("first/*"))
