"""Everything that `results` uses of `analysis`: no other module of this folder imports it.

Own analyses import from here, so that a change of `analysis` touches this file alone.
"""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from analysis.common import archives
from analysis.common.errors import StudyError, did_you_mean
from analysis.rendering import figure_files
from analysis.rendering.drawing import ABOVE, BELOW, DIFFERENT, NEUTRAL, share_scale
from analysis.rendering.layout import Panel, draw, handle
from analysis.rendering.panels import diagonal, intervals, lines, name_rows, points, side_by_side
from analysis.report import published, report
from analysis.report.methods import compare as methods
from analysis.report.methods.same_accuracy import choose_networks, same_accuracy
from analysis.report.mitigation.networks import Cells as MitigationCells
from analysis.report.mitigation.outcomes import outcomes as mitigation_outcomes
from analysis.report.papers.compressed_networks import robustness_section
from analysis.report.papers.compressed_networks import section as compressed_networks
from analysis.report.papers.compressed_networks.exemplars import exemplars, over_indexing
from analysis.report.papers.prune_responsibly import coefficients, levels
from analysis.report.papers.prune_responsibly.writers_section import found_units
from analysis.report.papers.recall_distortion.claims import claims
from analysis.report.papers.recall_distortion.comparisons import paper_tests
from analysis.runs import characteristics, exports, frames, schema, validation_counts
from analysis.runs.frames import ReadPredictions
from analysis.runs.run_tables import RunTable
from analysis.runs.validation_counts import ValidationRecalls
from analysis.statistics import limits, losses, proportion, regression, votes
from analysis.statistics.arithmetic import quotient
from analysis.statistics.equal_accuracy import Curve
from analysis.statistics.equal_accuracy import difference as at_same_accuracy
from analysis.statistics.groups import over_index
from analysis.statistics.hypothesis_tests import LEVEL, corrected, independent, paired, wilson_interval
from analysis.statistics.intensification import alpha, alpha_shared, excess_loss, largest_excess_floor, raw_slope
from analysis.statistics.pareto import choose
from analysis.statistics.recalls import Recalls
from analysis.statistics.resampling import mean_interval
from analysis.statistics.votes import FEWEST, Halves, group_of, jackknife_estimate, jackknife_values
from analysis.statistics.votes import groups as jackknife_groups
from analysis.study import proportions
from analysis.study.arrays import RunArrays, run_arrays
from analysis.study.cells import alphas
from analysis.study.costs import CONTROL_OF_NETWORK, WorstCost, cell_costs
from analysis.study.groups import GROUP, GROUPING, read_groups
from analysis.study.predictions import StudyPredictions
from analysis.study.settings import CONTROL
from analysis.study.study import ReportOptions, StudyData
from pruning_study.options.table import OPTIONS


class Frames(NamedTuple):
    """The runs of some exports, the function that reads their predictions, and the exports themselves."""

    runs: pd.DataFrame
    predictions: ReadPredictions
    paths: list[Path]

    def table(self, table: RunTable) -> pd.DataFrame:
        """Return a table that runs have logged, with the column run_id."""
        return table.join(exports.read_artifacts(self.paths).get(table.artifact, {}))


@cache
def read(*folders: Path) -> Frames:
    """Read what `pruning-analysis export` wrote into the folders of studies, as if one experiment had made all runs.

    Raises
    ------
    StudyError
        If a folder has no export, or an export is damaged.
    """
    paths = [path for folder in folders for path in exports.below(folder)]
    study, predictions = exports.read(paths)
    return Frames(study.runs, predictions, paths)


@cache
def report_of(folder: Path) -> tuple[Mapping[str, pd.DataFrame], Mapping[str, Figure]]:
    """Make the report of a study with the parts of all papers; return its tables and pictures by name."""
    groups = {file.stem: file for file in sorted((folder / "groups").glob("*.csv"))}
    options = ReportOptions(paper=True, paper_pictures=True, groups=groups)
    made = report.report(StudyData.from_frames(exports.below(folder)), options)
    return made.tables, made.figures


def param(runs: pd.DataFrame, name: str) -> pd.Series:
    """Return a column of runs or a logged param; in runs without this param it has the option's default.

    Raises
    ------
    StudyError
        If there is neither a column nor an option of this name.
    """
    defaults: dict[str, Any] = {option.name: option.default for option in reversed(OPTIONS)} | schema.ABSENT
    column = name if name in runs else frames.column(name)
    if column not in runs and name not in defaults:
        raise StudyError(f"{name}: neither a column of the frames nor an option; {did_you_mean(name, defaults)}")
    values = runs[column] if column in runs else pd.Series(np.nan, runs.index, dtype=object)
    return values.astype(object).fillna(defaults.get(name, np.nan)) if values.isna().any() else values
