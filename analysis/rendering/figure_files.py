"""Write figures as PNG and SVG files, in several processes if forking is safe."""

import os
import sys
import threading
from collections.abc import Mapping, Sequence
from multiprocessing import connection, get_context
from multiprocessing.context import ForkProcess
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


def write(figures: Mapping[str, Figure], folder: Path, endings: Sequence[str], *, processes: int | None = None) -> None:
    """Write every figure as a file of each kind.

    Parameters
    ----------
    figures : mapping of str to Figure
        Figures by the name of their files, without ending.
    folder : Path
    endings : sequence of str
        `PNG`, `SVG` or both.
    processes : int, optional
        Number of figures drawn at a time, by default the number of processor cores. Figures are drawn one by one if
        forking may be unsafe: outside Linux, or in a program with threads.

    Raises
    ------
    OSError
        If a file cannot be written.
    """
    at_once = min(processes or os.cpu_count() or 1, len(figures)) if can_fork() else 1
    by_size = dict(sorted(figures.items(), key=lambda item: len(item[1].axes), reverse=True))
    drawn = _drawn_by_processes(by_size, folder, endings, at_once) if at_once > 1 else []
    # A figure whose process failed is drawn here, where its error is seen.
    for name in by_size:
        if name not in drawn:
            _write(figures[name], folder / name, endings)


def can_fork() -> bool:
    """Return whether forking is safe; it is faster than starting a new process, which would import everything again."""
    return sys.platform == "linux" and threading.active_count() == 1


def _drawn_by_processes(figures: Mapping[str, Figure], folder: Path, endings: Sequence[str], at_once: int) -> list[str]:
    """Draw each figure in a separate process, and return the names of those that were drawn."""
    fork = get_context("fork").Process
    processes = {
        name: fork(target=_write_quietly, args=(figure, folder / name, endings), daemon=True)
        for name, figure in figures.items()
    }
    running: list[ForkProcess] = []
    for process in processes.values():
        if len(running) == at_once:
            connection.wait([each.sentinel for each in running])
            running = [each for each in running if each.is_alive()]
        process.start()
        running.append(process)
    for process in running:
        process.join()
    return [name for name, process in processes.items() if process.exitcode == 0]


def _write_quietly(figure: Figure, path: Path, endings: Sequence[str]) -> None:
    try:
        _write(figure, path, endings)
    except BaseException:
        sys.exit(1)  # without a traceback


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
