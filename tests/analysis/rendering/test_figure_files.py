"""Figures are the same files whichever process draws them, and an error of any process is raised."""

import subprocess
import sys

import pytest
from matplotlib.figure import Figure

from analysis.common import files
from analysis.rendering import figure_files

# Processes are forked only by a program without threads, which a test runner may have.
DRAW = """
import sys
from pathlib import Path
from analysis.rendering import figure_files
from tests.analysis.rendering.test_figure_files import figures
for folder in map(Path, sys.argv[1:]):
    try:
        figure_files.write(figures(), folder, [figure_files.PNG, figure_files.SVG], processes=2)
    except OSError as error:
        print(type(error).__name__, error.filename)
"""


def figures():
    drawn = {}
    for number, panels in enumerate((1, 3, 2)):
        figure = Figure(layout="constrained")
        for axes in figure.subplots(1, panels, squeeze=False)[0]:
            axes.plot([0, 1], [number, panels])
        drawn[f"f{number}"] = figure
    return drawn


@pytest.mark.slow
def test_several_processes_write_the_same_files_and_raise_an_error_without_a_traceback(tmp_path):
    one, several, barred = (tmp_path / name for name in ("one", "several", "barred"))
    for folder in (one, several, barred / "f1.svg"):
        folder.mkdir(parents=True)
    figure_files.write(figures(), one, [figure_files.PNG, figure_files.SVG], processes=1)
    done = subprocess.run([sys.executable, "-c", DRAW, several, barred], capture_output=True, text=True, check=True)
    contents = {path.name: path.read_bytes() for path in one.iterdir()}
    assert sorted(contents) == ["f0.png", "f0.svg", "f1.png", "f1.svg", "f2.png", "f2.svg"]
    assert {path.name: path.read_bytes() for path in several.iterdir()} == contents
    assert (done.stdout, done.stderr) == (f"IsADirectoryError {barred / 'f1.svg'}\n", "")


def test_a_folder_that_holds_a_picture_alone_can_be_written_to_again(tmp_path):
    for drawn in (figures()["f0"], figures()["f1"]):
        with files.aside(tmp_path) as folder:
            figure_files.write({"f": drawn}, folder, [figure_files.PNG], processes=1)
            new = (folder / "f.png").read_bytes()
        assert (tmp_path / "f.png").read_bytes() == new


@pytest.mark.parametrize("ending", [figure_files.PNG, figure_files.SVG])
def test_only_the_kinds_asked_for_are_written(tmp_path, ending):
    figure_files.write(figures(), tmp_path, [ending], processes=1)
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"f{number}{ending}" for number in range(3)]


@pytest.mark.slow
def test_figures_that_are_written_again_are_the_same_files(tmp_path):
    drawn = figures()
    for folder in ("first", "second"):
        (tmp_path / folder).mkdir()
        figure_files.write(drawn, tmp_path / folder, [figure_files.PNG, figure_files.SVG], processes=1)
    assert all((tmp_path / "second" / path.name).read_bytes() == path.read_bytes() for path in tmp_path.glob("first/*"))
