"""Make the tables, figures and pages of this folder from the frames of its studies, without tracking store or GPU."""

import time
from pathlib import Path

import click
import front_page

from analysis import page, report
from analysis.runs import exports, files, primaries
from analysis.runs.errors import StudyError
from analysis.tuning import exports as tuning_exports

RESULTS = Path(__file__).parent
# A PNG stays small with any number of networks. SVGs and the page of SVGs do not, and are left to
# `pruning-analysis report --frames`.
KEPT = {".csv", ".md", ".png"}


@click.command()
@click.argument("studies", nargs=-1, type=click.Path(path_type=Path, exists=True, file_okay=False))
def main(studies: tuple[Path, ...]) -> None:
    """Make all files beside `frames/` again in STUDIES, by default in every study, and then the tables of README.md."""
    try:
        for study in studies or found(RESULTS):
            start = time.perf_counter()
            click.echo(f"{study}: {len(rebuild(study, study))} files, {time.perf_counter() - start:.0f} s")
        if not studies:
            front_page.write(RESULTS)
    except StudyError as error:
        raise click.ClickException(str(error)) from error


def found(results: Path) -> list[Path]:
    """Return the studies of a folder: the folders that have `frames/`."""
    return sorted(path.parent for path in results.rglob("frames") if path.is_dir())


def rebuild(study: Path, output: Path) -> list[Path]:
    """Write the report of all folders in a study's `frames/` that `pruning-analysis export` wrote.

    Returns
    -------
    list of Path
        The files written, relative to `output`.
    """
    folders = exports.below(study / "frames")
    read, predictions = exports.read(folders)
    tunings = tuning_exports.read(folders)
    made = report.from_runs(read.runs, predictions, tunings, primaries=primaries.read(folders))
    with files.aside(output) as folder:
        for path in page.write(made, folder):
            if path.suffix not in KEPT:
                (folder / path).unlink()
        return files.written(folder)


if __name__ == "__main__":
    main()
