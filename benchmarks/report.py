"""CPU time of each section of a report.

    python benchmarks/report.py [--paper] [FOLDER]

The benchmark reads what `pruning-analysis export` has written to a folder, by default `results/lenet5`, makes the
report and prints CPU seconds. Frames that several sections share are computed before the sections.
"""

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import numpy  # noqa: F401  its threads can be limited only after it is loaded
from threadpoolctl import threadpool_limits

LENET5 = Path(__file__).parent.parent / "results" / "lenet5"


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False), default=LENET5)
@click.option("--paper", is_flag=True, help="Make the sections on the papers too.")
def main(folder: Path, paper: bool) -> None:
    """Make the report of the studies in FOLDER and print a table."""
    start, total = time.perf_counter(), 0.0
    with threadpool_limits(limits=1, user_api="blas"):
        for name, seconds in measured(folder, paper=paper):
            print(f"{name:20}{seconds:8.1f}", flush=True)
            total += seconds
    print(f"{'all':20}{total:8.1f}   in {time.perf_counter() - start:.1f} s")


def measured(folder: Path, *, paper: bool) -> Iterator[tuple[str, float]]:
    """Yield the name of each step and its CPU seconds."""
    seconds, _ = timed(import_all)
    yield "imports", seconds
    from analysis.rendering import page
    from analysis.report import report
    from analysis.report.verdict import verdict
    from analysis.runs import exports
    from analysis.study.study import StudyData

    seconds, (read, predictions) = timed(lambda: exports.read(exports.below(folder)))
    yield "reading", seconds
    study = StudyData(report.with_python_texts(read.runs), predictions)
    for name in ("alphas", "cells", "classes"):
        yield name, timed(lambda name=name: getattr(study, name))[0]
    seconds, said = timed(lambda: verdict(study))
    yield "verdict", seconds
    sections = []
    to_make = [(section.__name__, section) for section in report.SECTIONS]
    to_make += [(each.section.__name__, each) for each in report.PAPER_SECTIONS if paper]
    for name, section in to_make:
        seconds, made = timed(lambda section=section: section(study))
        sections += [made] if made else []
        yield name, seconds
    with tempfile.TemporaryDirectory() as output:
        yield "writing", timed(lambda: page.write(page.Report("", said, [], sections), Path(output)))[0]


def import_all() -> None:
    import analysis.rendering.page  # noqa: F401
    import analysis.report.report  # noqa: F401


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    """Return the CPU seconds of a call and of the processes that it starts, and its value."""
    start = sum(os.times()[:4])
    value = call()
    return sum(os.times()[:4]) - start, value


if __name__ == "__main__":
    main()
