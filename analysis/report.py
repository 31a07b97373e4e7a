"""One report of a study: its tables and figures as files, and a page that reads top down."""

import base64
import html
import io
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import matplotlib as mpl
import mlflow
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

from analysis import cells, comparisons, figures, files, pull, schema, tables
from analysis.errors import StudyError
from analysis.hypothesis_tests import Variance

_GROUP = [schema.DATASET, schema.MODEL, schema.PRUNER]
_SHOWN = {
    "n": "networks",
    "n_at_chance": "at chance",
    "accuracy_before": "accuracy before",
    "accuracy_after": "after",
    "alpha_mean": "alpha",
    "alpha_median": "median",
    "correlation": "correlation",
    "spread_ratio": "spread ratio",
}


@dataclass
class Section:
    """A heading and what stands under it, in order: text, tables and names of figures."""

    title: str
    blocks: Sequence[str | pd.DataFrame | Figure]


@dataclass
class Report:
    """All that a report consists of.

    Parameters
    ----------
    title, verdict : str
        The verdict is two sentences.
    csv : dict of file name -> DataFrame
    figures : dict of name -> Figure
    sections : list of Section
    """

    title: str
    verdict: str
    csv: dict[str, pd.DataFrame]
    figures: dict[str, Figure]
    sections: list[Section]


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
        study.runs, partial(pull.predictions, tracking_uri=tracking_uri), confidence=confidence, variance=variance
    )


def of_runs(
    runs: pd.DataFrame,
    predictions: cells.Predictions | None = None,
    *,
    confidence: float = 0.95,
    variance: Variance = "welch",
) -> Report:
    """Analyse runs.

    Parameters
    ----------
    runs : DataFrame
        As `pull.runs` returns it.
    predictions : callable, optional
        As `cells.cells` takes it.
    confidence, variance
        As for `report`.
    """
    settings = cells.settings(runs)
    alphas = cells.alphas(runs)
    of_cells = cells.cells(runs, predictions, confidence=confidence)
    tests = comparisons.paper_tests(alphas, variance=variance)
    printed = {number: tables.paper_table(number, runs=runs, alphas=alphas, tests=tests) for number in range(1, 14)}
    compared = tables.compare(runs, alphas, variance=variance)
    main = _main_cells(of_cells)
    drawn = figures.figures(alphas, of_cells, runs, _telling_ratio(main), settings)
    for figure in drawn.values():
        # The layout moves a little at every drawing: settled once, all files show the same picture.
        figure.draw_without_rendering()
        figure.set_layout_engine("none")
    csv = {"alpha.csv": alphas, "cells.csv": of_cells, "tests.csv": tests, "comparison.csv": compared}
    csv |= {f"table_{number:02}.csv": table for number, table in printed.items() if number <= 11 or len(table)}
    notes = list(dict.fromkeys(_notes(runs, alphas, of_cells, tests, compared)))
    return Report(
        title=f"What pruning cost each class: {', '.join(dict.fromkeys(runs[schema.DATASET]))}",
        verdict=verdict(main, runs),
        csv=csv,
        figures=drawn,
        sections=list(_sections(runs, of_cells, settings, tests, printed, compared, drawn, notes)),
    )


def verdict(main: pd.DataFrame, runs: pd.DataFrame) -> str:
    """Two sentences: what pruning cost, and what it did to the differences between classes.

    Parameters
    ----------
    main : DataFrame
        Cells of one data set and model.
    runs : DataFrame
    """
    ratio = _telling_ratio(main)
    at_ratio = main[(main[schema.RATIO] == ratio) & (main[schema.PRUNER] != cells.CONTROL)]
    best = at_ratio.loc[at_ratio["accuracy_after"].idxmax()]
    same = (runs[_GROUP] == best[_GROUP].to_numpy()).all(axis=1) & (runs[schema.RATIO] == ratio)
    change = _mean_change(runs[same])
    worst = change.idxmin()
    cost = 100 * (best["accuracy_before"] - best["accuracy_after"])
    first = (
        f"On {best[schema.DATASET]} with {best[schema.MODEL]}, at ratio {ratio:g} the pruner that keeps most accuracy, "
        f"{best[schema.PRUNER]}, costs {cost:.1f} points of it (mean of {best['n']:.0f} networks), and the class "
        f"{worst} {-100 * change[worst]:.1f} points."
    )
    pruned = main[main[schema.PRUNER] != cells.CONTROL]
    marks = [
        f"{pruner}: {'; '.join(_marked(of_pruner))}" for pruner, of_pruner in pruned.groupby(schema.PRUNER, sort=False)
    ]
    return f"{first} Differences between classes, by pruner and ratio - {' | '.join(marks)}."


def _marked(of_pruner: pd.DataFrame) -> Iterator[str]:
    less = (of_pruner["mark"] == "<") & (of_pruner["spread_ratio"] < 1)
    for word, which in (
        ("intensified at", of_pruner["mark"] == ">"),
        ("de-intensified at", less),
        ("alpha below 1 without less spread at", (of_pruner["mark"] == "<") & ~less),
        ("neither surely at", of_pruner["mark"] == "?"),
    ):
        if which.any():
            yield f"{word} {', '.join(f'{ratio:g}' for ratio in of_pruner.loc[which, schema.RATIO])}"


def _main_cells(of_cells: pd.DataFrame) -> pd.DataFrame:
    """The data set and model with most networks."""
    sizes = of_cells.groupby([schema.DATASET, schema.MODEL])["n"].sum()
    dataset, model = sizes.idxmax()
    return of_cells[(of_cells[schema.DATASET] == dataset) & (of_cells[schema.MODEL] == model)]


def _telling_ratio(main: pd.DataFrame) -> float:
    """The largest ratio at which most networks are still above chance."""
    pruned = main[main[schema.PRUNER] != cells.CONTROL]
    pruned = main if pruned.empty else pruned
    totals = pruned.groupby(schema.RATIO)[["n", "n_at_chance"]].sum()
    alive = totals[totals["n_at_chance"] < totals["n"] / 2]
    return float((alive if len(alive) else totals).index.max())


def _mean_change(runs: pd.DataFrame) -> pd.Series:
    before, after = (
        runs.filter(regex=f"^{prefix}").rename(columns=lambda name, prefix=prefix: name.removeprefix(prefix))
        for prefix in ("recall_before/", "recall_after/")
    )
    return (after - before).mean().dropna()


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
    drawn: dict[str, Figure],
    notes: list[str],
) -> Iterator[Section]:
    def pictures(*names: str) -> list[Figure]:
        return [drawn[name] for name in names if name in drawn]

    yield Section("Accuracy against distortion", [_TRADEOFF, *pictures("figure_13")])
    yield Section("What each class lost", [_PER_CLASS, *pictures("recall_change")])
    yield Section("Every cell", [_CELLS, _cell_table(of_cells, settings), _SLOPES, _slope_table(of_cells, settings)])
    yield Section("Alpha by pruning ratio", [_BOXES, *pictures(*(f"figure_{n:02}" for n in range(1, 5)))])
    yield Section("Its confidence intervals", pictures(*(f"figure_{n:02}" for n in range(9, 13))))
    yield Section("Recall balance before and after", [_SCATTER, *pictures(*(f"figure_{n:02}" for n in range(5, 9)))])
    if any(len(table) for table in printed.values()):
        yield Section("The paper's tables, of this study", [_tests_text(tests), *_titled(printed)])
    summary = cells.ratio_summaries(runs)
    if len(summary):
        yield Section("Why alpha, and not the mean of the ratios", [_RATIOS, _rounded(summary)])
    if len(compared):
        yield Section("Beside the published values", [_COMPARED, _rounded(compared)])
    if notes:
        yield Section("What was left out, and what to know", ["\n".join(f"- {note}" for note in notes)])


_TRADEOFF = (
    "Mean accuracy, and mean alpha, of the pruned networks at each ratio, with standard errors. Alpha is the slope of "
    "the classes' recall balance (recall minus accuracy, over accuracy) after pruning on that before: above 1 the weak "
    "classes fell further behind than the accuracy explains."
)
_PER_CLASS = "Mean change of recall of each class, the worst first."
_CELLS = (
    "A cell is a data set, model, pruner and ratio; every network is trained from its own seed. The mark says whether "
    "the interval of alpha lies below 1 (<), above 1 (>) or on both sides (?). A slope below 1 means less spread only "
    "where the spread ratio is below 1 too; else other classes than before are weak. A network at chance has a "
    "meaningless alpha, hence the median."
)
_SLOPES = (
    "Three slopes for three questions: alpha, this test set and these networks; alpha (new), new images of the same "
    "kind; alpha (shared), the part of the balance that all networks have in common. The controls: alpha of the same "
    "fine-tuning without pruning taken off (minus none), the slope on its balance (on none), and the slope between "
    "dense networks of different seeds (other seed), the floor that no memory of the network gives."
)
_BOXES = "Each box is one cell, each point one network; the mark at the ratio is that of the interval of the mean."
_SCATTER = "Each point is one class of one network; the line is the pooled slope."
_RATIOS = (
    "The mean of the intensification ratios (balance after / balance before) is at the mercy of classes whose balance "
    "before was next to 0; alpha weights each ratio by that balance squared."
)
_COMPARED = "For the cells that both have; the difference is ours minus published."


def _tests_text(tests: pd.DataFrame) -> str:
    return (
        "p-values are Bonferroni-corrected by the printed families, as in print; tests.csv has the differences with "
        "their intervals, effect sizes, Holm's correction, permutation and equivalence tests. Independent tests: "
        f"{tests.attrs.get('variance', 'welch')} variance."
    )


def _titled(printed: dict[int, pd.DataFrame]) -> Iterator[str | pd.DataFrame]:
    for number, table in printed.items():
        if len(table):
            yield f"**Table {number}.** {table.attrs['title']}"
            yield table


def _cell_table(of_cells: pd.DataFrame, settings: Sequence[str]) -> pd.DataFrame:
    names = [*_GROUP, schema.RATIO, *settings]
    shown = _rounded(of_cells[[*names, *(name for name in _SHOWN if name in of_cells)]])
    shown.insert(list(shown.columns).index("alpha_mean") + 1, "interval", _intervals(of_cells, "ci"))
    shown.insert(list(shown.columns).index("interval") + 1, "mark", of_cells["mark"].to_numpy())
    return shown.rename(columns=_SHOWN)


def _slope_table(of_cells: pd.DataFrame, settings: Sequence[str]) -> pd.DataFrame:
    columns = {
        "alpha": ("alpha_mean", "ci"),
        "alpha (new)": ("alpha_new", "alpha_new"),
        "alpha (shared)": ("alpha_shared", "alpha_shared"),
        "minus none": ("alpha_minus_none", "alpha_minus_none"),
        "on none": ("alpha_on_none", "alpha_on_none"),
    }
    shown = _rounded(of_cells[[*_GROUP, schema.RATIO, *settings]])
    for title, (name, interval) in columns.items():
        values = of_cells[name].map(_number)
        shown[title] = [
            value if value == tables.NOT_AVAILABLE else f"{value} ({bounds})"
            for value, bounds in zip(values, _intervals(of_cells, interval), strict=True)
        ]
    shown["other seed"] = of_cells["alpha_other_seed"].map(_number)
    return shown


def _intervals(frame: pd.DataFrame, name: str) -> list[str]:
    return [
        f"{_number(low)} to {_number(high)}"
        for low, high in zip(frame[f"{name}_low"], frame[f"{name}_high"], strict=True)
    ]


def _rounded(frame: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame({name: [_number(value) for value in frame[name]] for name in frame.columns})


def _number(value: object) -> str:
    if isinstance(value, float | np.floating):
        if np.isnan(value):
            return tables.NOT_AVAILABLE
        return f"{value:g}" if float(value).is_integer() else f"{value:.3f}"
    return str(value)


def write(result: Report, output: Path) -> list[Path]:
    """Write report.html, report.md, the tables as CSV and the figures as SVG and PNG, each aside and then renamed.

    Returns
    -------
    list of Path
        The files written, relative to `output`.

    Raises
    ------
    StudyError
        Where the folder cannot be made or written to.
    """
    with files.aside(output) as folder:
        (folder / "figures").mkdir()
        for name, table in result.csv.items():
            table.to_csv(folder / name, index=False, na_rep=tables.NOT_AVAILABLE)
        for name, figure in result.figures.items():
            (folder / "figures" / f"{name}.svg").write_bytes(_svg(figure))
            figure.savefig(folder / "figures" / f"{name}.png")
        (folder / "report.md").write_text(_markdown(result), encoding="utf-8")
        (folder / "report.html").write_text(_html(result), encoding="utf-8")
        return files.written(folder)


def _svg(figure: Figure) -> bytes:
    content = io.BytesIO()
    # The same study gives the same file: no date, ids that do not change, text that can be searched.
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "report"}):
        figure.savefig(content, format="svg", metadata={"Date": None})
    return content.getvalue()


def _markdown(result: Report) -> str:
    names = {id(figure): name for name, figure in result.figures.items()}

    def block(content: str | pd.DataFrame | Figure) -> str:
        if isinstance(content, Figure):
            return f"![{names[id(content)]}](figures/{names[id(content)]}.png)"
        return content if isinstance(content, str) else _markdown_table(content)

    parts = [f"# {result.title}", f"**{result.verdict}**"]
    for section in result.sections:
        parts += [f"## {section.title}", *map(block, section.blocks)]
    return "\n\n".join(parts) + "\n"


def _markdown_table(table: pd.DataFrame) -> str:
    rows = [table.columns, ["---"] * table.shape[1], *table.to_numpy()]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |" for row in rows)


def _html(result: Report) -> str:
    contents = "".join(
        f'<li><a href="#s{index}">{html.escape(section.title)}</a></li>'
        for index, section in enumerate(result.sections)
    )
    body = "".join(
        f'<h2 id="s{index}">{html.escape(section.title)}</h2>' + "".join(map(_html_block, section.blocks))
        for index, section in enumerate(result.sections)
    )
    title = html.escape(result.title)
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head><body><h1>{title}</h1>'
        f'<p class="verdict">{html.escape(result.verdict)}</p><nav><ol>{contents}</ol></nav>{body}</body></html>\n'
    )


def _html_block(content: str | pd.DataFrame | Figure) -> str:
    if isinstance(content, Figure):
        data = base64.b64encode(_svg(content)).decode()
        return f'<img alt="{html.escape(_title(content))}" src="data:image/svg+xml;base64,{data}">'
    if isinstance(content, pd.DataFrame):
        table = content.to_html(index=False, border=0, escape=True)
        return f'<div class="table">{table}</div>'
    if content.startswith("- "):
        items = "".join(f"<li>{html.escape(line.removeprefix('- '))}</li>" for line in content.split("\n"))
        return f"<ul>{items}</ul>"
    return f"<p>{_strong(html.escape(content))}</p>"


def _strong(text: str) -> str:
    parts = text.split("**")
    return "".join(f"<strong>{part}</strong>" if place % 2 else part for place, part in enumerate(parts))


def _title(figure: Figure) -> str:
    suptitle = figure.get_suptitle()
    return suptitle or next((axes.get_title() for axes in figure.axes if axes.get_title()), "figure")


_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:75rem;margin:2rem auto;padding:0 1rem;color:#1a1a1a}"
    ".verdict{font-size:1.15rem;background:#f2f5f8;border-left:4px solid #0072b2;padding:1rem}"
    "img{max-width:100%;height:auto;display:block;margin:1rem 0}"
    ".table{overflow-x:auto;max-height:40rem;overflow-y:auto;margin:1rem 0}"
    "table{border-collapse:collapse;font-size:.85rem;font-variant-numeric:tabular-nums}"
    "th,td{padding:.25rem .6rem;text-align:right;border-bottom:1px solid #ddd;white-space:nowrap}"
    "th{position:sticky;top:0;background:#fff}td:first-child,th:first-child{text-align:left}"
    "h2{margin-top:3rem}nav ol{columns:2}"
)


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
    client = mlflow.MlflowClient(tracking_uri)
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
