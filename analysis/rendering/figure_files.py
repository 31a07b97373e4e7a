"""Write figures as PNG and SVG files."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

PNG, SVG = ".png", ".svg"
# Written to the files in place of Matplotlib's version, because the files would change with that version.
_MAKER = "pruning-study"
_RC: dict[Any, str] = {
    # Without a date and with fixed ids, a study always gives the same file. Text stays text, so it can be searched.
    "svg.fonttype": "none",
    "svg.hashsalt": "report",
    # Without hinting, letters are drawn faster and have the width that `width_in_picture` computes.
    "text.hinting": "none",
}


def write(figures: Mapping[str, Figure], folder: Path, endings: Sequence[str]) -> None:
    """Write every figure as a file of each kind.

    Parameters
    ----------
    figures : mapping of str to Figure
        Figures by the name of their files, without ending.
    folder : Path
    endings : sequence of str
        `PNG`, `SVG` or both.

    Raises
    ------
    OSError
        If a file cannot be written.
    """
    for name, figure in figures.items():
        _write(figure, folder / name, endings)


def _write(figure: Figure, path: Path, endings: Sequence[str]) -> None:
    canvas = FigureCanvasAgg(figure)
    with mpl.rc_context(_RC):
        # A layout engine moves things a little at every drawing. Laid out once, a figure is the same in all its files.
        if engine := figure.get_layout_engine():
            engine.execute(figure)
        figure.set_layout_engine("none")
        # `savefig` would draw everything twice.
        if PNG in endings:
            canvas.print_png(path.with_name(path.name + PNG), metadata={"Software": _MAKER})
        if SVG in endings:
            dpi = figure.dpi
            FigureCanvasSVG(figure).print_svg(path.with_name(path.name + SVG), metadata={"Date": None})
            figure.dpi = dpi  # `print_svg` changes it
