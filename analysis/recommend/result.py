"""A recommendation, for a terminal, for a notebook and as tables."""

import html
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from analysis.common import csv_text, files, overwriting
from analysis.common.points import points
from analysis.common.printable import printable
from analysis.common.terminal import COLUMNS, cut, folded
from analysis.rendering.formats import NOT_AVAILABLE, decimals, short_ratio
from analysis.runs import frames, schema
from analysis.study.labels import method_label
from analysis.study.settings import is_iterated
from analysis.study.study import StudyData

_LONGEST_METHOD, _LONGEST_CLASS = 22, 12  # characters, so that a table fits
# What there is a recommendation for.
PLACE = [schema.DATASET, schema.MODEL]
# The tables that are written, and columns by which an older one is known.
FILES = {"tried.csv": PLACE, "pareto.csv": PLACE, "groups.csv": PLACE, "regression.csv": ["term", "coefficient"]}


class Recommendation(NamedTuple):
    """How to prune one model on one data set.

    Attributes
    ----------
    verdict : str
        The limits, and what a report's verdict says of pruning, by these limits.
    tried : DataFrame
        A row for each method and ratio, up to the method's first failure. A method is a pruner with its schedule, its
        distillation and its other settings. Columns: pruner, settings, ratio; n, networks that have a reference, the
        control where there is one and else the dense network; of test images, against this reference, as shares: loss,
        the loss of accuracy; worst_class, the class that may lose most, and worst_class_loss; largest_excess, the
        largest mean cost beyond the accuracy, and largest_excess_class; alpha, raw_slope and alpha_new; `_high` for
        upper bounds, for all classes together; and fails, empty where all bounds are within the limits.
    notes : list of str
        Sentences on what was left out.
    command : str
        The command line that makes the recommended networks, or finds them; empty if none can be recommended, or if
        no single command makes them.
    choice : str
        Which level is the best trade-off of sparsity and fairness; empty if no such choice is made.
    pareto : DataFrame
        What that choice rests on, as `operating_points.table` returns it; empty if no such choice is made.
    groups : DataFrame
        What the recommended networks do to groups of test images, as `groups.Grouped.groups`; empty without groups.
    promises : DataFrame
        The networks and test images that promises on all classes take, as `promises.promises` returns them;
        empty if fewer than two networks count.
    """

    verdict: str
    tried: pd.DataFrame
    notes: list[str]
    command: str = ""
    choice: str = ""
    pareto: pd.DataFrame = pd.DataFrame()
    groups: pd.DataFrame = pd.DataFrame()
    promises: pd.DataFrame = pd.DataFrame()

    def _repr_html_(self) -> str:
        """Return the verdict, what was tried, and the notes, for a notebook."""
        verdict, *notes = (f"<p>{html.escape(printable(line))}</p>" for line in (self.verdict, *self.notes))
        how = f'<pre style="white-space: pre-wrap">{html.escape(printable(self.command))}</pre>' if self.command else ""
        choice = f"<p>{html.escape(printable(self.choice))}</p>" if self.choice else ""
        return f"{verdict}{how}{_notebook_table(self).to_html(index=False)}{choice}{''.join(notes)}"

    def __str__(self) -> str:
        return summary(self)


class Recommendations(list[Recommendation]):
    """Recommendations for each data set and model, which a notebook shows below each other, and `print` too.

    Parameters
    ----------
    recommendations : mapping of tuple to Recommendation
        By data set and model.
    study : StudyData
        What they rest on, with the characteristics of its classes if it has levels of iterative pruning. It needs no
        predictions.
    """

    def __init__(self, recommendations: Mapping[tuple[str, str], Recommendation], study: StudyData) -> None:
        super().__init__(recommendations.values())
        self._places, self._study = list(recommendations), study

    def __str__(self) -> str:
        return "\n\n".join(map(summary, self))

    def _repr_html_(self) -> str:
        return "".join(recommendation._repr_html_() for recommendation in self)

    def write(self, output: str | Path) -> list[str]:
        """Write the tables that the recommendations rest on to a folder, as CSV.

        Parameters
        ----------
        output : str or Path
            It gets `tried.csv` (what was tried), `pareto.csv` (the trade-off of sparsity and fairness), `groups.csv`
            (groups of test images) and `regression.csv` (the regression over levels of iterative pruning). A table
            without rows is not written, and an older one that this method wrote is removed.

        Returns
        -------
        list of str
            Sentences on what the regression leaves out.

        Raises
        ------
        StudyError
            If the folder cannot be written to, or has another file of such a name.
        """
        regression, notes = self._regression()
        parts = (
            self._joined([each.tried for each in self]),
            pd.concat([each.pareto for each in self], ignore_index=True),
            pd.concat([each.groups for each in self], ignore_index=True),
            regression,
        )
        tables = dict(zip(FILES, parts, strict=True))
        with files.aside(Path(output)) as scratch:
            for name, table in tables.items():
                if len(table):
                    csv_text.write(table.rename(columns=frames.param), scratch / name, missing=NOT_AVAILABLE)
        for path in (Path(output) / name for name, table in tables.items() if table.empty):
            if overwriting.column_names(path) >= set(FILES[path.name]):
                path.unlink()
        return notes

    def _joined(self, tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
        """Return tables of all recommendations as one, which names their data sets and models."""
        named_tables = [
            table.assign(**dict(zip(PLACE, workload, strict=True)))[[*PLACE, *table.columns]]
            for table, workload in zip(tables, self._places, strict=True)
        ]
        return pd.concat(named_tables, ignore_index=True)

    def _regression(self) -> tuple[pd.DataFrame, list[str]]:
        if not is_iterated(self._study.runs).any():
            return pd.DataFrame(), []
        from analysis.report.papers.prune_responsibly.section import (
            fitted_regression,  # a choice must not wait for its pictures
        )

        regression = fitted_regression(self._study)
        return regression.table, regression.notes


def summary(recommendation: Recommendation) -> str:
    """Return the verdict, its command, what was tried, and the notes, for a terminal.

    Lines have at most `COLUMNS` columns, except for the command.
    """
    verdict, *notes = (folded(line) for line in (recommendation.verdict, *recommendation.notes))
    how = ["", printable(recommendation.command)] if recommendation.command else []
    heading = "Losses in points, on test images (in brackets: at most, with 95 % confidence):"
    parts = [verdict, *how, "", heading, *_judgement_lines(recommendation), *_promise_lines(recommendation)]
    parts += _pareto_lines(recommendation)
    return "\n".join([*parts, *(["", *notes] if notes else [])])


def _judgement_lines(recommendation: Recommendation) -> Iterator[str]:
    """Yield the table of what was tried, and why each method failed."""
    judgements = recommendation.tried
    settings = [
        name for name in judgements.columns[: judgements.columns.get_loc(schema.RATIO)] if name != schema.PRUNER
    ]
    methods = [printable(method_label(row, settings)) for row in judgements.to_dict("records")]
    table = pd.DataFrame(
        {
            "method": [cut(name, _LONGEST_METHOD) for name in methods],
            "ratio": judgements[schema.RATIO].map(short_ratio),
            "seeds": judgements["n"].map(str),
            "accuracy loss": _with_bounds(judgements, "loss", points),
            "class loss": _with_bounds(judgements, "worst_class_loss", points),
            "class": [cut(str(name), _LONGEST_CLASS) for name in judgements["worst_class"]],
            "passes": np.where(judgements["fails"] == "", "yes", "no"),
        }
    )
    with pd.option_context("display.unicode.east_asian_width", True):
        yield table.to_string(index=False)
    for method, ratio, fails in zip(methods, table["ratio"], judgements["fails"], strict=True):
        if fails:
            yield folded(f"{method} at ratio {ratio}: {fails}")


def _promise_lines(recommendation: Recommendation) -> Iterator[str]:
    """Yield how many networks and images it takes to promise that no class loses more than some limits."""
    promises = recommendation.promises
    if promises.empty:
        return
    yield "\n" + folded(
        "How many networks it takes to promise that no class loses more than 1, 2 or 5 points, if in truth none loses "
        "anything; if one does, it takes more. A column is the number of test images of each class: what there is, and "
        "what more images would save."
    )
    wide = promises.assign(networks=promises["networks"].map("{:.0f}".format).replace("nan", "too many"))
    table = wide.pivot(index="limit", columns="images", values="networks")
    table.index = [f"at most {100 * limit:g} {'point' if limit == 0.01 else 'points'}" for limit in table.index]
    yield table.rename(columns="{:,} images a class".format).rename_axis(columns=None).to_string()


def _with_bounds(judgements: pd.DataFrame, name: str, write: Callable[[float], str]) -> list[str]:
    values = zip(judgements[name], judgements[f"{name}_high"], strict=True)
    return [f"{write(value)} ({write(high)})" for value, high in values]


def _pareto_lines(recommendation: Recommendation) -> Iterator[str]:
    """Yield the best trade-off of sparsity and fairness, and the Pareto front that it is chosen from."""
    if recommendation.choice:
        yield "\n" + folded(recommendation.choice)
    front = recommendation.pareto
    if len(front) and front["on_front_2d"].any():
        front = front[front["on_front_2d"]].sort_values(schema.SPARSITY)
        ends = ("_low", "_high", "2d", "3d", "_floor")
        names = [name for name in front if not name.endswith(ends) and front[name].notna().any()]
        left_out = {schema.DATASET, schema.MODEL, "min_accuracy", "unfairness_mean_min"}
        columns = front[[name for name in names if name not in left_out]]
        yield "On the Pareto front:"
        yield (
            columns.map(_text)
            .rename(columns=printable)
            .to_string(index=False, float_format="{:.4g}".format, line_width=COLUMNS)
        )


def _text(value: Any) -> Any:
    return printable(value) if isinstance(value, str) else value


# Titles of a notebook's table, the columns that they show, and how numbers with an upper bound are written.
_IN_A_NOTEBOOK: dict[str, tuple[str] | tuple[str, Callable[[float], str]]] = {
    "networks": ("n",),
    "accuracy loss, points (at most)": ("loss", points),
    "alpha on new images (at most)": ("alpha_new", decimals(2)),
    "class loss, points (at most)": ("worst_class_loss", points),
    "of class": ("worst_class",),
    "outside the limits": ("fails",),
}


def _notebook_table(recommendation: Recommendation) -> pd.DataFrame:
    """Return the tried networks in few columns, which a notebook has room for."""
    judgements = _printable_tried(recommendation)
    settings = judgements.loc[:, : schema.RATIO].assign(ratio=judgements[schema.RATIO].map("{:g}".format))
    cells = {
        title: judgements[shown[0]] if len(shown) == 1 else _with_bounds(judgements, *shown)
        for title, shown in _IN_A_NOTEBOOK.items()
    }
    return settings.assign(**cells)


def _printable_tried(recommendation: Recommendation) -> pd.DataFrame:
    judgements = recommendation.tried.rename(columns=lambda column: printable(frames.param(column)))
    return judgements.map(_text)
