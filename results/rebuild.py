"""Make the tables, figures and pages of this folder from the frames of its studies; no tracking store is needed."""

import gc
import os
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import class_costs
import click
import compress
import costs_at_equal_accuracy
import decay
import decay_pruners
import decay_resnet20
import equal_accuracy
import folders
import front_page
import lottery_dip
import lottery_tickets
import margins
import pies
import proportion
import proportion_planned
import quantized_training
import regularizers
import resnet20
import resnet20_full
import risk
import sparse_from_start
import training_choices
import width

from analysis.common.errors import StudyError
from analysis.rendering import figure_files, page
from analysis.report import report
from analysis.runs import exports
from analysis.study.study import ReportOptions, StudyData

RESULTS = Path(__file__).parent
# The studies that repeat the papers' experiments. In studies of other questions, the papers' pictures would repeat the
# figures `slopes`, `class_losses` and `accuracy`.
WITH_PAPER_PICTURES = (folders.TEXT, folders.RESNET, "what-is-forgotten")
_WITH_TABLES = (
    class_costs,
    decay,
    decay_pruners,
    decay_resnet20,
    compress,
    costs_at_equal_accuracy,
    lottery_dip,
    lottery_tickets,
    margins,
    pies,
    proportion,
    proportion_planned,
    quantized_training,
    regularizers,
    resnet20,
    resnet20_full,
    risk,
    sparse_from_start,
    training_choices,
    width,
)


@click.command()
@click.argument("studies", nargs=-1, type=click.Path(path_type=Path, exists=True, file_okay=False))
def main(studies: tuple[Path, ...]) -> None:
    """Rebuild the report of each folder of STUDIES from its frames. Default: all studies, and the pages about them."""
    gc.set_threshold(100_000)  # figures and frames have very many objects, few of which are garbage
    try:
        if studies:
            rebuild_all(studies)
        else:
            rebuild_results(RESULTS)
        for folder in studies or (RESULTS,):
            folders.limit_colors(folder)
    except StudyError as error:
        raise click.ClickException(str(error)) from error


def rebuild_results(results: Path) -> None:
    """Rebuild every study of a folder, then further tables and pictures of some studies, then the pages about all.

    Raises
    ------
    StudyError
        If the frames of a study cannot be read.
    """
    rebuild_all(find_studies(results))
    equal_accuracy.write_pooled(results)
    for module in _WITH_TABLES:
        module.write(results)
    front_page.write(results)


def find_studies(results: Path) -> list[Path]:
    """Return the studies of a folder: its subfolders that have frames."""
    return sorted(path for path in results.iterdir() if folders.has_frames(results, path.name))


def rebuild_all(studies: Sequence[Path]) -> None:
    """Rebuild studies, the largest first, as many at a time as there are processor cores.

    Raises
    ------
    StudyError
        If the frames of a study cannot be read.
    """
    if len(studies) == 1:
        click.echo(_timed(studies[0]))
        return
    # The size of all files, including an earlier report's tables, predicts the time better than the frames' size.
    largest_first = sorted(studies, key=lambda study: -sum(path.stat().st_size for path in study.rglob("*")))
    start = "fork" if figure_files.can_fork() else "spawn"  # spawning takes seconds
    with ProcessPoolExecutor(os.cpu_count(), get_context(start)) as pool:
        started = [pool.submit(_timed, study) for study in largest_first]
        try:
            for done in as_completed(started):
                click.echo(done.result())
        except StudyError:
            pool.shutdown(cancel_futures=True)
            raise


def _timed(study: Path) -> str:
    start = time.perf_counter()
    return f"{study}: {len(rebuild(study, study))} files, {time.perf_counter() - start:.0f} s"


def rebuild(study: Path, output: Path) -> list[Path]:
    """Write the report of a study from everything that `pruning-analysis export` wrote into its folder.

    The folder `groups` of a study has a table of groups of test images for each data set that has groups.

    Files that can become large are left out; `pruning-analysis report --frames` writes them. SVGs and `report.html`
    grow with the number of networks, `pie.csv` with the number of images, and `groups.csv` with the number of groups.
    The papers' pictures are made only for the studies in `WITH_PAPER_PICTURES`.

    Returns
    -------
    list of Path
        The files written, relative to `output`.
    """
    options = ReportOptions(
        paper=True,
        paper_pictures=study.name in WITH_PAPER_PICTURES,
        groups={file.stem: file for file in (study / "groups").glob("*.csv")},
    )
    content = report.report(StudyData.from_frames(exports.below(study)), options)
    content = replace(content, sections=[_without_large_tables(section) for section in content.sections])
    # One process, because studies run in parallel.
    return page.write_markdown(content, output, processes=1, in_git=True)


def _without_large_tables(section: page.Section) -> page.Section:
    small_tables = {name: table for name, table in section.tables.items() if name not in ("pie.csv", "groups.csv")}
    return replace(section, tables=small_tables)


if __name__ == "__main__":
    main()
