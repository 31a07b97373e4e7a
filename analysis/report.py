"""One report of a study: its tables and figures as files, and a page that reads top down."""

import base64
import html
import io
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError
from threadpoolctl import threadpool_limits

from analysis import cells
from analysis.methods import compare as methods
from analysis.methods import figures as methods_figures
from analysis.recall_distortion import claims, comparisons, figures, tables
from analysis.runs import files, pull, retries, schema
from analysis.runs.errors import StudyError
from analysis.statistics.hypothesis_tests import Variance
from analysis.statistics.intensification import unbalanced
from analysis.tuning import figures as tuning_figures
from analysis.tuning import results
from analysis.tuning.results import Tuning
from analysis.verdict import to_know, verdict

_GROUP = [schema.DATASET, schema.MODEL, schema.PRUNER]
# Characters of a cell of a table, beyond which it is words and not a value with its interval.
_LONGEST_NUMBER = 60
_SHOWN = {
    "n": "networks",
    "n_at_chance": "at chance",
    "accuracy_before": "accuracy before",
    "accuracy_after": "after",
    "alpha_mean": "alpha",
    "alpha_median": "median",
    "alpha_weighted": "weighted alpha",
    "correlation": "correlation",
    "spread_ratio": "spread ratio",
    "worst_class_change": "worst class",
    "realized_ratio": "realised ratio",
}


@dataclass
class Section:
    """A heading and what stands under it, in order."""

    title: str
    blocks: Sequence[str | pd.DataFrame | Figure]


@dataclass
class Report:
    """All that a report consists of.

    Parameters
    ----------
    title, verdict : str
        The verdict is two sentences.
    to_know : list of str
        What a reader has to know before any number.
    csv : dict of file name -> DataFrame
    figures : dict of name -> Figure
    sections : list of Section
    """

    title: str
    verdict: str
    to_know: list[str]
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
        study.runs,
        partial(pull.predictions, tracking_uri=tracking_uri),
        results.pulled(experiment, tracking_uri=tracking_uri),
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
    settings = cells.settings(runs)
    alphas = cells.alphas(runs)
    of_cells = cells.cells(runs, predictions, confidence=confidence)
    tests = comparisons.paper_tests(alphas, variance=variance)
    printed = {number: tables.paper_table(number, runs=runs, alphas=alphas, tests=tests) for number in range(1, 14)}
    compared = tables.compare(runs, alphas, variance=variance)
    drawn = figures.figures(alphas, of_cells, runs, settings)
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
        verdict=verdict(of_cells, runs, settings),
        to_know=to_know(runs),
        csv=csv,
        figures=drawn,
        sections=list(
            _sections(runs, of_cells, settings, tests, printed, compared, against, said, drawn, tunings, notes)
        ),
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
    yield Section("What each class lost", [_PER_CLASS, *_of_prefix(drawn, "recall_change")])
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
        yield Section("Why alpha, and not the mean of the ratios", [_RATIOS, _rounded(summary)])
    if len(compared):
        yield Section("Beside the published values", [_COMPARED, _rounded(compared)])
    for number, tuning in enumerate(tunings, start=1):
        told = [line.removeprefix("- ") for line in tuning.said.split("\n")]
        pages = _of_prefix(drawn, f"tuning_{number}_")
        blocks = [_TUNING, *told[:2], "\n".join(f"- {line}" for line in told[2:]), tuning.table(), *pages]
        yield Section(f"Tuning: epsilon of undecayed pruning, {tuning.name}", blocks)
    if notes:
        yield Section("What was left out, and what to know", ["\n".join(f"- {note}" for note in notes)])


def _of_prefix(drawn: Mapping[str, Figure], prefix: str) -> list[Figure]:
    return [figure for name, figure in drawn.items() if name.startswith(prefix)]


_TRADEOFF = (
    "Mean accuracy, and mean alpha, of the pruned networks at each ratio, with standard errors. Alpha is the slope of "
    "the classes' recall balance (recall minus accuracy, over accuracy) after pruning on that before: above 1 the weak "
    "classes fell further behind than the accuracy explains."
)
_METHODS = (
    "Each method against its baseline on the same dense networks, the difference of the first minus the second with "
    "its 95 % interval: a schedule against one shot, fine-tuning by the dense network's soft predictions against the "
    "labels alone, a pruner against magnitude pruning, an epsilon against the paper's, 5e-4, all against none; all "
    "else is the same. * says that p is below .05 by Holm's correction: a primary comparison, which the study was "
    "made for, has a level of its own, the others against none share one, and all the rest do. The weakest recall is "
    "the lowest of a network's classes, the largest loss the most that a class's recall fell. Pairs with a network at "
    "chance have no alpha; n is then less. methods.csv has p, effect sizes and the smallest difference that would "
    "have been detected."
)
_CONTROL = "Against none, the control: what pruning did beyond the fine-tuning that comes with it."
_PER_CLASS = "Mean change of recall of each class, the worst first."
_CELLS = (
    "A cell is a data set, model, pruner and ratio; every network is trained from its own seed. The mark says whether "
    "the interval of alpha lies below 1 (<), above 1 (>) or on both sides (?). A slope below 1 means less spread only "
    "where the spread ratio is below 1 too; else other classes than before are weak. A network at chance has a "
    "meaningless alpha, hence the median. The worst class is the lowest recall after minus the lowest before. Where "
    "classes differ in size read the weighted alpha."
)
_SLOPES = (
    "Three slopes for three questions: alpha, this test set and these networks; alpha (new), new images of the same "
    "kind; alpha (shared), the part of the balance that all networks have in common. The controls: alpha of the same "
    "fine-tuning without pruning taken off (minus none), the slope on its balance (on none), and the slope between "
    "dense networks of different seeds (other seed), the floor that no memory of the network gives. Not identified: "
    "the test set is too small to tell the classes apart; reliability is the share of their differences not due to it."
)
_BOXES = "Each box is one cell, each point one network; the mark at the ratio is that of the interval of the mean."
_SCATTER = "Each point is one class of one network; the line is the pooled slope."
_RATIOS = (
    "The mean of the intensification ratios (balance after / balance before) is at the mercy of classes whose balance "
    "before was next to 0; alpha weights each ratio by that balance squared."
)
_CLAIMS = (
    "A sentence holds where the whole interval of what was looked at lies where the sentence has it, and does not "
    "where it lies on the other side. Of several comparisons, most often one a ratio, all must agree, or more than "
    "half where the sentence speaks of most or of a tendency; one that disagrees, or more than half, refutes it. Then "
    "the table says how many agree, the least and the greatest estimate, and in brackets from where to where their "
    "intervals reach. Ratios at which most networks are at chance are left out. claims.csv has every comparison."
)
_COMPARED = "For the cells that both have; the difference is ours minus published."
_TUNING = (
    "Trials of epsilon, the weight of undecayed pruning, each measured on validation images alone; then the winner and "
    "the anchors on test images: lambda, the paper's; MP, so large that it ranks as magnitude pruning; GP, 0, which is "
    "gradient pruning. Distortion is what alpha on new images has above 1, plus what the correlation of the classes' "
    "balances lacks of 1."
)


_METRICS = (
    "The same slope of the balance of precision and F1, each centred on its own mean over the classes. The paper found "
    "the effect of pruning more expressive on recall: then its alpha is further from 1 than the other two."
)
_NO_METRICS = "n/a: the slopes of precision and F1 need predictions.npz of every run of a cell."


def _metrics(of_cells: pd.DataFrame, settings: Sequence[str]) -> list[str | pd.DataFrame | Figure]:
    there = of_cells[of_cells["alpha_precision"].notna()]
    if there.empty:
        return [_NO_METRICS]
    shown = _rounded(there[[*_GROUP, schema.RATIO, *settings]])
    for title, name, interval in (
        ("recall", "alpha_mean", "ci"),
        *((n, f"alpha_{n}", f"alpha_{n}") for n in ("precision", "f1")),
    ):
        shown[title] = _with_intervals(there, name, interval)
    return [_METRICS, shown]


def _compared(against: pd.DataFrame, drawn: Mapping[str, Figure]) -> Iterator[str | pd.DataFrame | Figure]:
    yield _METHODS
    controls = against["comparison"] == methods.CONTROL
    if not controls.all():
        yield methods.shown(against[~controls])
    if controls.any():
        yield _CONTROL
        yield methods.shown(against[controls])
    yield from _of_prefix(drawn, "methods_")


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


def _cell_table(of_cells: pd.DataFrame, settings: Sequence[str], *, balanced: bool) -> pd.DataFrame:
    names = [*_GROUP, schema.RATIO, *settings]
    there = [name for name in _SHOWN if name in of_cells and not (name == "alpha_weighted" and balanced)]
    shown = _rounded(of_cells[[*names, *there]])
    shown["alpha_mean"] = _with_intervals(of_cells, "alpha_mean", "ci")
    shown.insert(list(shown.columns).index("alpha_mean") + 1, "mark", of_cells["mark"].to_numpy())
    return shown.rename(columns=_SHOWN)


def _slope_table(of_cells: pd.DataFrame, settings: Sequence[str]) -> pd.DataFrame:
    shown = _rounded(of_cells[[*_GROUP, schema.RATIO, *settings]])
    shown["alpha"] = _with_intervals(of_cells, "alpha_mean", "ci")
    for name in ("alpha_new", "alpha_shared"):
        values = _with_intervals(of_cells, name, name)
        unsure = of_cells[name].notna() & ~of_cells[f"{name}_identified"].astype(bool)
        shown[f"{name.replace('_', ' (')})"] = values.where(~unsure.to_numpy(), "not identified")
        if name == "alpha_new":
            shown["reliability"] = of_cells["reliability"].map(_number)
    for title, name in (("minus none", "alpha_minus_none"), ("on none", "alpha_on_none")):
        shown[title] = _with_intervals(of_cells, name, name)
    shown["other seed"] = of_cells["alpha_other_seed"].map(_number)
    return shown


def _with_intervals(frame: pd.DataFrame, name: str, interval: str) -> pd.Series:
    """Values with their intervals in brackets, as text; the value alone where it has none."""
    low, high = frame[f"{interval}_low"], frame[f"{interval}_high"]
    return pd.Series(
        [
            _number(value) if np.isnan([value, a, b]).any() else f"{_number(value)} ({_number(a)} to {_number(b)})"
            for value, a, b in zip(frame[name], low, high, strict=True)
        ],
        dtype=str,
    )


def _rounded(frame: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame({name: [_number(value) for value in frame[name]] for name in frame.columns})


def _number(value: object) -> str:
    if isinstance(value, float | np.floating):
        if np.isnan(value):
            return tables.NOT_AVAILABLE
        if float(value).is_integer():
            return f"{value:g}"
        return f"{value:.4f}" if -0.0095 < float(value) < 0.0095 else f"{value:.3f}"
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
        drawings = {name: _svg(figure) for name, figure in result.figures.items()}
        for name, figure in result.figures.items():
            (folder / "figures" / f"{name}.svg").write_bytes(drawings[name])
            figure.savefig(folder / "figures" / f"{name}.png")
        (folder / "report.md").write_text(_markdown(result), encoding="utf-8")
        (folder / "report.html").write_text(_html(result, drawings), encoding="utf-8")
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
        return content if isinstance(content, str) else markdown_table(content)

    parts = [f"# {result.title}", f"**{result.verdict}**", *result.to_know]
    for section in result.sections:
        parts += [f"## {section.title}", *map(block, section.blocks)]
    return "\n\n".join(parts) + "\n"


def markdown_table(table: pd.DataFrame) -> str:
    """A table as Markdown, its index left out."""
    rows = [table.columns, ["---"] * table.shape[1], *table.to_numpy()]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |" for row in rows)


def _html(result: Report, drawings: Mapping[str, bytes]) -> str:
    drawing_of = {id(figure): drawings[name] for name, figure in result.figures.items()}

    def block(content: str | pd.DataFrame | Figure) -> str:
        return _html_picture(content, drawing_of[id(content)]) if isinstance(content, Figure) else _html_block(content)

    contents = "".join(
        f'<li><a href="#s{index}">{html.escape(section.title)}</a></li>'
        for index, section in enumerate(result.sections)
    )
    known = "".join(f"<p>{html.escape(said)}</p>" for said in result.to_know)
    body = "".join(
        f'<h2 id="s{index}">{html.escape(section.title)}</h2>' + "".join(map(block, section.blocks))
        for index, section in enumerate(result.sections)
    )
    title = html.escape(result.title)
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head><body><h1>{title}</h1>'
        f'<p class="verdict">{html.escape(result.verdict)}</p>{known}<nav><ol>{contents}</ol></nav>{body}'
        "</body></html>\n"
    )


def _html_picture(figure: Figure, drawing: bytes) -> str:
    data = base64.b64encode(drawing).decode()
    return f'<img alt="{html.escape(_title(figure))}" src="data:image/svg+xml;base64,{data}">'


def _html_block(content: str | pd.DataFrame) -> str:
    if isinstance(content, pd.DataFrame):
        table = content.to_html(index=False, border=0, escape=True)
        prose = " prose" if content.astype("str").map(len).to_numpy().max(initial=0) > _LONGEST_NUMBER else ""
        return f'<div class="table{prose}">{table}</div>'
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
    ".prose td{white-space:normal;vertical-align:top;min-width:9rem}.prose td:first-child{min-width:0}"
    ".prose td,.prose th{text-align:left}"
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
