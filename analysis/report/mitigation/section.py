"""The report's section on mitigations: costs and gains of each, and what is left of the gains on test images."""

from collections.abc import Iterator

import pandas as pd

from analysis.compare.cost_text import class_shown
from analysis.rendering.formats import decimals, p_value, with_interval
from analysis.rendering.page import Block, Caption, Section, numbered
from analysis.report.class_order import class_orders
from analysis.report.mitigation import class_figures, figures
from analysis.report.mitigation.networks import Cells
from analysis.report.mitigation.outcomes import (
    ACCURACY_DIFFERENCE,
    BEYOND,
    EXCESS,
    FLOOR,
    GAIN,
    GAIN_BEYOND,
    MITIGATION,
    NOT_INFERIOR,
    VAL_EXCESS,
    WEAKEST,
    WORST_CLASS,
    WORST_COST,
    WORST_SHOWN,
    outcomes,
)
from analysis.runs import schema
from analysis.runs.validation_counts import is_mitigated
from analysis.study.study import StudyData

_READING = (
    "A mitigation is meant to spare classes. Each mitigation is compared with the same pruning without it, on the "
    "same dense networks. The control is fine-tuned in the same way with the same mitigation, but not pruned. "
    "Systematic cost is the loss of the class that pays most, relative to the control (to that without a mitigation "
    "if there is no other), minus the loss of accuracy, averaged over networks. The cost is measured on networks and "
    "images not used to choose the class, which is named if its cost is shown to be above 0. Chance movement is what "
    "each network's hardest-hit class lost since the dense network, minus the lost accuracy. That class differs "
    "between networks, and its loss is above 0 without pruning too. The next columns give the chance movement that "
    "noise of the test images alone would give, and that of the control. Chance movement measures how well a "
    "mitigation protects the hardest-hit class of a single network. The gain is chance movement without the "
    'mitigation minus that with it. Gain beyond the control is the gain minus that of the control. "Classes worse" '
    "is the number of classes shown to have a lower recall than in the control without a mitigation. Accuracies, "
    "recalls, losses and gains are in points, on test images unless stated otherwise. mitigation.csv has all cells "
    "and more columns."
)
_SURVIVAL = (
    "Some mitigations are fitted to validation images. The picture shows the share of their gain that is left on test "
    "images."
)
_POINT = decimals(1)
_SIGNED = decimals(1, sign=True)
_MOST_ROWS = 20


def section(study: StudyData) -> Section | None:
    """Return the section on mitigations; None if no network has a mitigation."""
    if not is_mitigated(study.runs).any():
        return None
    cells = Cells(study.arrays, study.on_validation, study.predicted)
    rows_found = outcomes(cells)
    if rows_found.empty:
        return None
    columns = list(rows_found.columns[2 : list(rows_found.columns).index(MITIGATION)])
    named_rows = rows_found.assign(**{MITIGATION: rows_found[MITIGATION].map(cells.in_words)})
    blocks = [_READING, *_tables(named_rows, columns)]
    orders = class_orders(study)
    by_class = numbered("mitigation_classes", class_figures.by_class(cells, orders))
    return Section("Mitigations", [*blocks, *by_class], {"mitigation.csv": rows_found})


def _tables(named_rows: pd.DataFrame, columns: list[str]) -> Iterator[Block]:
    kind = figures.kinds(named_rows, columns)
    for (dataset, model, _), rows in named_rows.groupby([schema.DATASET, schema.MODEL, kind], sort=False):
        if rows[MITIGATION].nunique() > 1:
            label = figures.kind_label(rows.iloc[0], columns)
            yield Caption(f"{dataset}, {model}, {label}.", "Sorted by chance movement, smallest first.")
            yield _table(rows.sort_values(EXCESS, kind="stable").head(_MOST_ROWS))


def _table(rows: pd.DataFrame) -> pd.DataFrame:
    """Format the cells of one kind of pruning as a text table."""
    table = {
        "mitigation": rows[MITIGATION].replace("", "none"),
        "accuracy": (100 * rows["accuracy"]).map(_POINT),
        "change of accuracy": [_in_points(row, ACCURACY_DIFFERENCE) for _, row in rows.iterrows()],
        "p (accuracy not .3 lower)": [_p(row) for _, row in rows.iterrows()],
        "systematic cost": [_of_class(row) for _, row in rows.iterrows()],
        "chance movement": (100 * rows[EXCESS]).map(_POINT),
        "by noise alone": (100 * rows[FLOOR]).map(_POINT),
        "of the control": (100 * rows[f"{EXCESS}_of_control"]).map(_POINT),
        "minus the control's": [_in_points(row, BEYOND) for _, row in rows.iterrows()],
        "gain": [_in_points(row, GAIN) for _, row in rows.iterrows()],
        "gain beyond the control": [_in_points(row, GAIN_BEYOND) for _, row in rows.iterrows()],
        "on validation": (100 * rows[VAL_EXCESS]).map(_POINT),
        "weakest recall": (100 * rows[WEAKEST]).map(_POINT),
        "its change": [_in_points(row, f"{WEAKEST}_difference") for _, row in rows.iterrows()],
        "classes worse": rows["classes_worse"].map(decimals(0)),
        "n": rows["n"].map(str),
    }
    return pd.DataFrame({name: list(values) for name, values in table.items()})


def _of_class(row: pd.Series) -> str:
    """Return the class that costs most on average (or `none shown`) and the cost; empty if no class has a cost."""
    name = class_shown(row[WORST_CLASS], row[WORST_SHOWN])
    return f"{name}: {_in_points(row, WORST_COST)}" if name else ""


def _in_points(row: pd.Series, name: str) -> str:
    if pd.isna(row.get(name)):
        return ""
    value, low, high = (100 * row[f"{name}{end}"] for end in ("", "_low", "_high"))
    return with_interval(value, low, high, _SIGNED)


def _p(row: pd.Series) -> str:
    p = row.get(f"p_{NOT_INFERIOR}_holm")
    return "" if pd.isna(p) else p_value(p)
