"""The report's sections on the paper's exemplars and class tests, in functions that take a study."""

import pandas as pd

from analysis.compressed_networks import figures, populations
from analysis.compressed_networks.populations import LEVEL, METHOD
from analysis.formats import decimals
from analysis.page import Block, Caption, Section, numbered
from analysis.runs import schema
from analysis.settings import CONTROL
from analysis.statistics.populations import FEW
from analysis.study import AnalyzedStudy
from analysis.verdict import leading_ratio, places

_PIES = (
    "A PIE (pruning identified exemplar, Hooker et al.) is a test image for which most compressed networks predict "
    "another class than most dense networks. A significant class changed otherwise than the accuracy, by their t-test "
    "at 5 %. Chance gives both: the placebo compares two halves of the dense networks. Compare it with the PIEs of "
    "halves, between half of the dense and half of the compressed networks. pie_summary.csv, pie.csv and "
    "class_significance.csv have the numbers."
)
_CHANGES = (
    "A class whose recall is low loses a larger share of it by the same points. So Hooker et al. divide the change of "
    "the recall by the recall before. The method is that of the verdict."
)


def section(study: AnalyzedStudy) -> Section | None:
    """Return the section on what compressed networks forget; None for a study of single networks."""
    significance = populations.class_significance(study.runs)
    summary, images = populations.exemplars(study.runs, study.predicted)
    made = {"class_significance.csv": significance, "pie_summary.csv": summary, "pie.csv": images}
    tables = {name: table for name, table in made.items() if len(table)}
    if not tables:
        return None
    blocks = list(_blocks(study, summary, significance)) if len(summary) else []
    return Section("Images that are forgotten", blocks, tables=tables, notes=_notes(summary))


def normalised_recall(study: AnalyzedStudy) -> Section | None:
    """Return the section on the normalised change of each class's recall; None for a study of single networks."""
    significance = populations.class_significance(study.runs)
    pruned = study.cells[study.cells[schema.PRUNER] != CONTROL]
    if not len(significance) or not len(pruned):
        return None
    drawn = [figures.normalised_recall(study, cells, significance) for _, cells in places(pruned)]
    return Section("Recall of each class, by ratio", [_CHANGES, *numbered("normalised_recall", drawn)])


def _blocks(study: AnalyzedStudy, summary: pd.DataFrame, significance: pd.DataFrame) -> list[Block]:
    blocks: list[Block] = []
    for (dataset, model), cells in places(study.cells[study.cells[schema.PRUNER] != CONTROL]):
        ratio = leading_ratio(cells)
        here = summary[summary[schema.DATASET].eq(dataset) & summary[schema.MODEL].eq(model)]
        shown = here[here[LEVEL].eq(ratio) | here[METHOD].eq(CONTROL)]
        if len(shown):
            blocks += [Caption(f"{dataset}, {model}.", f"Ratio {ratio:g}."), _table(study, shown, significance)]
    if not blocks:
        return []
    drawn = figures.counts(study, summary, significance)
    return [_PIES, *numbered("forgotten", drawn), *blocks]


def _table(study: AnalyzedStudy, summary: pd.DataFrame, significance: pd.DataFrame) -> pd.DataFrame:
    key = [schema.DATASET, schema.MODEL, METHOD, LEVEL, *study.shown]
    counts = significance.groupby(key, dropna=False)[["significant", "placebo"]].sum().reset_index()
    rows = summary.merge(counts, on=key, how="left").sort_values("n_pie", kind="stable")
    columns = {
        "method": [study.method({**row, schema.PRUNER: row[METHOD]}) for row in rows.to_dict("records")],
        "networks": rows["n_compressed"].map(str),
        "PIEs": rows["n_pie"].map("{:,}".format),
        "PIEs of halves": rows["n_pie_halves"].map(decimals(0)),
        "placebo": rows["n_pie_placebo"].map(decimals(0)),
        "significant classes": rows["significant"].map(decimals(0)),
        "significant by placebo": rows["placebo"].map(decimals(1)),
    }
    return pd.DataFrame({name: list(values) for name, values in columns.items()})


def _notes(summary: pd.DataFrame) -> list[str]:
    few = int((summary[["n_dense", "n_compressed"]].min(axis=1) < FEW).sum()) if len(summary) else 0
    if not few:
        return []
    return [f"{few:,} of {len(summary):,} cells have PIEs of fewer than {FEW} networks, whose modal labels are noisy"]
