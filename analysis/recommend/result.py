"""Show a recommendation in a terminal or a notebook, and write its tables."""

import html
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from analysis.common import csv_text, files
from analysis.common.errors import StudyError
from analysis.common.input_files import opened
from analysis.common.points import points
from analysis.common.printable import COLUMNS, cut, folded, printable
from analysis.rendering.formats import NOT_AVAILABLE, short_ratio
from analysis.runs import frames, schema
from analysis.statistics.limits import rounded_up
from analysis.study.labels import method_label
from analysis.study.settings import is_iterated
from analysis.study.study import StudyData

_LONGEST_METHOD, _LONGEST_CLASS = 22, 12  # characters, so that a table fits
# There is one recommendation for each data set and model.
PLACE = [schema.DATASET, schema.MODEL]
# The tables that are written, and their first columns, which tell them from files of the same names that other commands
# write.
FILES = {"tried.csv": PLACE, "pareto.csv": PLACE, "groups.csv": PLACE, "regression.csv": ["term", "coefficient"]}


class Recommendation(NamedTuple):
    """Recommendation on how to prune one model on one data set.

    Attributes
    ----------
    verdict : str
        The limits, followed by the verdict that a report would give with these limits.
    tried : DataFrame
        A row for each method and ratio, up to the method's first failure. A method is a pruner with its schedule, its
        distillation and its other settings. The reference is the networks' controls if there are any, else the dense
        networks. Losses are shares of test images, relative to the reference. Columns that end in `_high` are
        one-sided 95 % bounds; `largest_excess_high` holds for all classes together. The columns are:

        - pruner, the settings and ratio;
        - n: the number of pruned networks compared with the reference;
        - loss: the loss of accuracy;
        - worst_class, worst_class_loss: the class that may lose most, and its loss;
        - largest_excess, largest_excess_class: the largest mean loss of a class beyond the loss of accuracy, and the
          class;
        - alpha, raw_slope, alpha_new;
        - fails: the bounds outside the limits.
    notes : list of str
        Sentences on runs that were left out, and advice.
    command : str
        The command line that makes the recommended networks; empty if none are recommended, or if several commands are
        needed.
    choice : str
        Sentences on the level with the best trade-off of sparsity and fairness; empty if none is chosen.
    pareto : DataFrame
        The levels compared for that choice, as `operating_points.table` returns them; empty if none is chosen.
    groups : DataFrame
        Effect of the recommended pruning on groups of test images, as in `groups.Grouped.groups`; empty without groups.
    """

    verdict: str
    tried: pd.DataFrame
    notes: list[str]
    command: str = ""
    choice: str = ""
    pareto: pd.DataFrame = pd.DataFrame()
    groups: pd.DataFrame = pd.DataFrame()

    def _repr_html_(self) -> str:
        """Format the summary for a notebook."""
        return f'<pre style="white-space: pre-wrap">{html.escape(summary(self))}</pre>'

    def __str__(self) -> str:
        return summary(self)


class Recommendations(list[Recommendation]):
    """Recommendations for each data set and model, shown one below the other by notebooks and `print`.

    Parameters
    ----------
    recommendations : mapping of tuple to Recommendation
        The recommendations by data set and model.
    study : StudyData
        The study they are based on, with class characteristics if it has levels of iterative pruning. Predictions are
        not needed.
    """

    def __init__(self, recommendations: Mapping[tuple[str, str], Recommendation], study: StudyData) -> None:
        super().__init__(recommendations.values())
        self._places, self._study = list(recommendations), study

    def __str__(self) -> str:
        return "\n\n".join(map(summary, self))

    def _repr_html_(self) -> str:
        return "".join(recommendation._repr_html_() for recommendation in self)

    def write(self, output: str | Path) -> list[str]:
        """Write the tables behind the recommendations to a folder, as CSV.

        Parameters
        ----------
        output : str or Path
            Folder for `tried.csv` (the tried methods and ratios), `pareto.csv` (the trade-off of sparsity and
            fairness), `groups.csv` (groups of test images) and `regression.csv` (the regression over levels of
            iterative pruning). A table without rows is not written, and an older file of that table is removed unless
            it was changed.

        Returns
        -------
        list of str
            Sentences on data that the regression leaves out.

        Raises
        ------
        StudyError
            If the folder cannot be written to.
        """
        regression, notes = self._regression()
        parts = (
            self._joined([each.tried for each in self]),
            pd.concat([each.pareto for each in self], ignore_index=True),
            pd.concat([each.groups for each in self], ignore_index=True),
            regression,
        )
        tables = dict(zip(FILES, parts, strict=True))
        obsolete = [name for name, columns in FILES.items() if _begins_with(Path(output) / name, columns)]
        with files.aside(Path(output), obsolete=obsolete) as scratch:
            for name, table in tables.items():
                if len(table):
                    csv_text.write(frames.without_prefixes(table), scratch / name, missing=NOT_AVAILABLE)
        return notes

    def _joined(self, tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
        """Join the tables of all recommendations, with columns for data set and model."""
        named_tables = [
            table.assign(**dict(zip(PLACE, workload, strict=True)))[[*PLACE, *table.columns]]
            for table, workload in zip(tables, self._places, strict=True)
        ]
        return pd.concat(named_tables, ignore_index=True)

    def _regression(self) -> tuple[pd.DataFrame, list[str]]:
        if not is_iterated(self._study.runs).any():
            return pd.DataFrame(), []
        from analysis.report.papers.prune_responsibly.section import (
            fitted_regression,  # imported here because its plotting modules load slowly
        )

        regression = fitted_regression(self._study)
        return regression.table, regression.notes


def _begins_with(table: Path, columns: Sequence[str]) -> bool:
    try:
        with opened(table) as file:
            return file.readline(1000).startswith(",".join(columns).encode())
    except StudyError:
        return False


def summary(recommendation: Recommendation) -> str:
    """Format the verdict, the command, the tried methods and the notes for a terminal.

    Lines have at most `COLUMNS` columns, except for the command.
    """
    verdict, *notes = (folded(line) for line in (recommendation.verdict, *recommendation.notes))
    how = ["", printable(recommendation.command)] if recommendation.command else []
    heading = "Losses in points, on test images (in brackets: at most, with 95 % confidence):"
    parts = [verdict, *how, "", heading, *_judgement_lines(recommendation)]
    parts += _pareto_lines(recommendation)
    return "\n".join([*parts, *(["", *notes] if notes else [])])


def _judgement_lines(recommendation: Recommendation) -> Iterator[str]:
    """Yield the table of tried methods and ratios, and the reason for each failure."""
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
            "accuracy loss": _with_bounds(judgements, "loss"),
            "class loss": _with_bounds(judgements, "worst_class_loss"),
            "class": [cut(str(name), _LONGEST_CLASS) for name in judgements["worst_class"]],
            "passes": np.where(judgements["fails"] == "", "yes", "no"),
        }
    )
    with pd.option_context("display.unicode.east_asian_width", True):
        yield table.to_string(index=False)
    for method, ratio, fails in zip(methods, table["ratio"], judgements["fails"], strict=True):
        if fails:
            yield folded(f"{method} at ratio {ratio}: {fails}")


def _with_bounds(judgements: pd.DataFrame, name: str) -> list[str]:
    values = zip(judgements[name], judgements[f"{name}_high"], strict=True)
    return [f"{points(value)} ({rounded_up(high)})" for value, high in values]


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
