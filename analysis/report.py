"""One report of a study: its tables and figures as files, and a page that reads top down."""

import os
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError
from threadpoolctl import threadpool_limits

from analysis import cells, settings
from analysis.formats import rounded
from analysis.methods import compare as methods
from analysis.methods import figures as methods_figures
from analysis.methods.section import _compared
from analysis.page import Report, Section, figures_with_prefix
from analysis.recall_distortion import claims, comparisons, figures, tables
from analysis.recall_distortion.section import (
    _BOXES,
    _CELLS,
    _CLAIMS,
    _COMPARED,
    _PER_CLASS,
    _RATIOS,
    _SCATTER,
    _SLOPES,
    _TRADEOFF,
    _cell_table,
    _metrics,
    _slope_table,
    _tests_text,
    _titled,
)
from analysis.runs import pull, retries, schema
from analysis.runs.errors import StudyError
from analysis.statistics.hypothesis_tests import Variance
from analysis.statistics.intensification import unbalanced
from analysis.tuning import exports as tuning_exports
from analysis.tuning import figures as tuning_figures
from analysis.tuning.results import Tuning
from analysis.tuning.section import _TUNING
from analysis.verdict import to_know, verdict


def report(
    experiment: str | None, *, tracking_uri: str | None = None, confidence: float = 0.95, variance: Variance = "welch"
) -> Report:
    """Analyse an experiment.

    Parameters
    ----------
    experiment, tracking_uri : str, optional
        As `pull.runs` takes them.
    confidence : float
        Of a family of intervals, those of one data set, model and pruner over its ratios.
    variance : {"welch", "pooled"}
        Of the independent tests.

    Raises
    ------
    StudyError
        As `pull.runs`.
    """
    if not 0 < confidence < 1:
        raise StudyError(f"{confidence} should be above 0 and below 1", option="--confidence")
    study = pull.study(experiment, tracking_uri=tracking_uri)
    return of_runs(
        study.runs,
        partial(pull.predictions, tracking_uri=tracking_uri),
        tuning_exports.pulled(experiment, tracking_uri=tracking_uri),
        confidence=confidence,
        variance=variance,
    )


# Threads of the matrix products gain a seventh on an idle machine, and wait for each other beside other programs: six
# times as long.
@threadpool_limits.wrap(limits=1, user_api="blas")
def of_runs(
    runs: pd.DataFrame,
    predictions: cells.Predictions | None = None,
    tunings: Sequence[Tuning] = (),
    *,
    confidence: float = 0.95,
    variance: Variance = "welch",
    primaries: Sequence[methods.Primary] = (methods.PRIMARY,),
) -> Report:
    """Analyse runs.

    Parameters
    ----------
    runs : DataFrame
        As `pull.runs` returns it.
    predictions : callable, optional
        As `cells.cells` takes it.
    tunings : sequence of Tuning
        Searches of epsilon, a section each.
    confidence, variance
        As for `report`.
    primaries : sequence of methods.Primary
        As `methods.compare` takes them.
    """
    names = settings.settings(runs)
    alphas = cells.alphas(runs)
    of_cells = cells.cells(runs, predictions, confidence=confidence)
    tests = comparisons.paper_tests(alphas, variance=variance)
    printed = {number: tables.paper_table(number, runs=runs, alphas=alphas, tests=tests) for number in range(1, 14)}
    compared = tables.compare(runs, alphas, variance=variance)
    drawn = figures.figures(alphas, of_cells, runs, names)
    searched = {
        f"tuning_{number}_{name}": figure
        for number, tuning in enumerate(tunings, start=1)
        for name, figure in tuning_figures.figures(tuning).items()
    }
    drawn |= searched
    against = methods.compare(runs, predictions, primaries=primaries)
    if len(against):
        drawn |= methods_figures.figures(against)
    for figure in drawn.values():
        # The layout moves a little at every drawing: settled once, all files show the same picture.
        figure.draw_without_rendering()
        figure.set_layout_engine("none")
    csv = {"alpha.csv": alphas, "cells.csv": of_cells, "tests.csv": tests, "comparison.csv": compared}
    csv |= {f"table_{number:02}.csv": table for number, table in printed.items() if number <= 11 or len(table)}
    if len(against):
        csv["methods.csv"] = against
    said = claims.claims(runs, predictions)
    csv["claims.csv"] = said
    notes = list(dict.fromkeys(_notes(runs, alphas, of_cells, tests, compared)))
    return Report(
        title=f"What pruning cost each class: {', '.join(dict.fromkeys(runs[schema.DATASET]))}",
        verdict=verdict(of_cells, runs, names),
        to_know=to_know(runs),
        csv=csv,
        figures=drawn,
        sections=list(_sections(runs, of_cells, names, tests, printed, compared, against, said, drawn, tunings, notes)),
    )


def _notes(*frames: pd.DataFrame) -> Iterator[str]:
    for frame in frames:
        yield from frame.attrs.get("left_out", [])
        yield from frame.attrs.get("notes", [])


def _sections(
    runs: pd.DataFrame,
    of_cells: pd.DataFrame,
    settings: Sequence[str],
    tests: pd.DataFrame,
    printed: dict[int, pd.DataFrame],
    compared: pd.DataFrame,
    against: pd.DataFrame,
    said: pd.DataFrame,
    drawn: dict[str, Figure],
    tunings: Sequence[Tuning],
    notes: list[str],
) -> Iterator[Section]:
    def pictures(*names: str) -> list[Figure]:
        return [drawn[name] for name in names if name in drawn]

    yield Section("Accuracy against distortion", [_TRADEOFF, *pictures("figure_13")])
    yield Section("What each class lost", [_PER_CLASS, *figures_with_prefix(drawn, "recall_change")])
    if len(against):
        yield Section("Methods compared", list(_compared(against, drawn)))
    supports = runs.filter(regex=f"^{schema.SUPPORT}").dropna().to_numpy()
    balanced = not supports.size or not unbalanced(supports).any()
    every = _cell_table(of_cells, settings, balanced=balanced)
    yield Section("Every cell", [_CELLS, every, _SLOPES, _slope_table(of_cells, settings)])
    yield Section("Recall, precision and F1", _metrics(of_cells, settings))
    yield Section("Alpha by pruning ratio", [_BOXES, *pictures(*(f"figure_{n:02}" for n in range(1, 5)))])
    yield Section("Its confidence intervals", pictures(*(f"figure_{n:02}" for n in range(9, 13))))
    yield Section("Recall balance before and after", [_SCATTER, *pictures(*(f"figure_{n:02}" for n in range(5, 9)))])
    if any(len(table) for table in printed.values()):
        yield Section("The paper's tables, of this study", [_tests_text(tests), *_titled(printed)])
    if (said["verdict"] != claims.UNTRIED).any():
        yield Section("The paper's sentences, held against this study", [_CLAIMS, claims.shown(said)])
    summary = cells.ratio_summaries(runs)
    if len(summary):
        yield Section("Why alpha, and not the mean of the ratios", [_RATIOS, rounded(summary)])
    if len(compared):
        yield Section("Beside the published values", [_COMPARED, rounded(compared)])
    for number, tuning in enumerate(tunings, start=1):
        told = [line.removeprefix("- ") for line in tuning.said.split("\n")]
        pages = figures_with_prefix(drawn, f"tuning_{number}_")
        blocks = [_TUNING, *told[:2], "\n".join(f"- {line}" for line in told[2:]), tuning.table(), *pages]
        yield Section(f"Tuning: epsilon of undecayed pruning, {tuning.name}", blocks)
    if notes:
        yield Section("What was left out, and what to know", ["\n".join(f"- {note}" for note in notes)])


def log(written: Sequence[Path], output: Path, experiment: str | None, tracking_uri: str | None = None) -> str:
    """Send a report's files to the tracking store, as a run of kind `report`: under `mlflow run` the one it made.

    Parameters
    ----------
    written : sequence of Path
        As `write` returns them.
    output : Path
    experiment, tracking_uri : str, optional
        As `pull.runs` takes them.

    Returns
    -------
    str
        The run's id.

    Raises
    ------
    StudyError
        Where the store does not take them.
    """
    client = retries.client(tracking_uri)
    try:
        run_id = os.environ.get("MLFLOW_RUN_ID")
        if not run_id:
            experiment_id = pull.experiment_id(experiment, tracking_uri=tracking_uri)
            run_id = client.create_run(experiment_id, run_name="report").info.run_id
        client.set_tag(run_id, schema.KIND, schema.REPORT)
        for path in written:
            client.log_artifact(run_id, str(output / path), str(path.parent) if path.parent.name else None)
        client.set_terminated(run_id)
    except (MlflowException, SQLAlchemyError, OSError) as error:
        raise StudyError(
            f"the report is in {output}, but the tracking store did not take it ({error}); --no-log leaves it out"
        ) from error
    return run_id
