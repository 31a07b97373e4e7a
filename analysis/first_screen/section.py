"""The sections of a report's first screen, and the one on its files, in functions that take a study."""

import pandas as pd
from matplotlib.figure import Figure

from analysis.first_screen import figures
from analysis.formats import decimals, number, values_with_intervals, with_interval
from analysis.page import Block, Caption, Picture, Section, pictures
from analysis.runs import schema
from analysis.settings import CONTROL, method_label
from analysis.statistics.hypothesis_tests import LEVEL
from analysis.statistics.intensification import unbalanced
from analysis.study import AnalyzedStudy
from analysis.verdict import beyond, by_accuracy, class_rows, leading_ratio, places

_MOST_CLASSES = 10
_ACCURACY = "Mean accuracy on test images by pruning ratio, which is parameters before over parameters after pruning."
_CLASSES = (
    "By the method and ratio of the verdict. Control is the recall after the same fine-tuning without pruning. Loss is "
    "the control's recall, or without a control that of the dense networks, minus the recall after pruning, in points. "
    "Excess is the loss minus that of the accuracy. A star marks p below .05 by Holm's correction over the classes."
)
_SLOPES = (
    "The raw slope is that of the gaps after pruning on the gaps before; above 1 weak classes fall further behind. "
    "Fine-tuning alone changes it, so read its minus none, the difference from the control. It is raw spread (how much "
    "gaps grew) times correlation (whether the same classes are weak). Alpha divides each gap by the accuracy, so it "
    "also rises whenever accuracy falls. Largest excess is the excess loss of the class that lost most in each "
    "network, in points. The tables are at the ratio of the verdict; intervals are wide enough to hold for all ratios "
    "of a method at once."
)
_FILES = (
    "cells.csv has a row per method and ratio, classes.csv the losses of every class at every ratio, alpha.csv a row "
    "per network.",
    "The verdict's ratio and method are chosen by test images, which flatters them; the command recommend chooses by "
    "validation images.",
)


def accuracy(study: AnalyzedStudy) -> Section:
    """Return the section on accuracy against the ratio."""
    cells = study.cells
    blocks: list[Block] = [_ACCURACY, *_numbered("accuracy", figures.accuracies(study))]
    for place, rows in places(cells):
        blocks += [Caption(_place(place), "Accuracy at each ratio."), _by_ratio(rows, study)]
    return Section("Accuracy", blocks)


def class_losses(study: AnalyzedStudy) -> Section | None:
    """Return the section on what each class lost beyond the control, at the ratio that the verdict leads with."""
    leading = [(place, by_accuracy(rows, leading_ratio(rows))) for place, rows in places(_pruned(study))]
    leading = [(place, cells) for place, cells in leading if len(cells)]
    if not leading:
        return None
    blocks: list[Block] = [_CLASSES]
    for index, (place, cells) in enumerate(leading):
        drawn = {_name("class_losses", index): figures.class_losses(study, cells)}
        blocks += [*pictures(drawn), *_worst(place, cells.iloc[0], study)]
    return Section("What each class loses", blocks, tables={"classes.csv": study.classes})


def slopes(study: AnalyzedStudy) -> Section:
    """Return the section on alpha and the raw slope."""
    blocks: list[Block] = [_SLOPES, *_numbered("slopes", figures.slopes(study))]
    for place, rows in places(_pruned(study)):
        cells = by_accuracy(rows, leading_ratio(rows))
        if len(cells):
            blocks += [Caption(_place(place), f"Ratio {cells.iloc[0][schema.RATIO]:g}."), _slope_table(cells, study)]
    return Section("Differences between classes", blocks)


def files(study: AnalyzedStudy) -> Section:
    """Return the section that says where all other numbers are."""
    return Section("Every number", [*_FILES], tables={"alpha.csv": study.alphas, "cells.csv": study.cells})


def _pruned(study: AnalyzedStudy) -> pd.DataFrame:
    return study.cells[study.cells[schema.PRUNER] != CONTROL]


def _place(place: tuple[str, str]) -> str:
    return f"{place[0]}, {place[1]}."


def _name(start: str, index: int) -> str:
    return start if not index else f"{start}_{index + 1}"


def _numbered(start: str, drawn: list[Figure]) -> list[Picture]:
    return pictures({_name(start, index): figure for index, figure in enumerate(drawn)})


def _by_ratio(cells: pd.DataFrame, study: AnalyzedStudy) -> pd.DataFrame:
    """Return the accuracy of each method, a column for each ratio."""
    texts = pd.DataFrame(
        {
            "method": [method_label(cell, study.shown) for _, cell in cells.iterrows()],
            "ratio": cells[schema.RATIO].to_numpy(),
            "accuracy": [_accuracy(cell) for _, cell in cells.iterrows()],
        }
    )
    table = texts.pivot(index="method", columns="ratio", values="accuracy").reindex(texts["method"].unique()).fillna("")
    table = table.rename(columns=lambda ratio: f"{ratio:g}").rename_axis(columns=None)
    table.insert(0, "dense", decimals(3)(cells["accuracy_before"].mean()))
    return table.reset_index()


def _accuracy(cell: pd.Series) -> str:
    if not cell["n"]:
        return "all guess"
    guess = f" ({cell['n_at_chance']} of {cell['n'] + cell['n_at_chance']} guess)" if cell["n_at_chance"] else ""
    return f"{cell['accuracy_after']:.3f}{guess}"


def _worst(place: tuple[str, str], cell: pd.Series, study: AnalyzedStudy) -> list[Block]:
    """Return a table of the classes that lose most by the method of the verdict."""
    ending = beyond(cell)
    rows = class_rows(study, cell)
    worst = rows.sort_values(f"loss{ending}", ascending=False, kind="stable").head(_MOST_CLASSES)
    which = f" The {len(worst)} worst of {len(rows):,} classes." if len(worst) < len(rows) else ""
    table = pd.DataFrame(
        {
            "class": list(worst["class"]),
            "dense": list(worst["recall_before"].map(decimals(3))),
            **({"control": list(worst["recall_control"].map(decimals(3)))} if ending else {}),
            "pruned": list(worst["recall_after"].map(decimals(3))),
            "loss": [_points(row, f"loss{ending}") for _, row in worst.iterrows()],
            "excess": [
                _points(row, f"excess{ending}") + (" *" if row[f"excess{ending}_p_holm"] < LEVEL else "")
                for _, row in worst.iterrows()
            ],
        }
    )
    return [Caption(_place(place), f"{method_label(cell, study.shown)} at ratio {cell[schema.RATIO]:g}.{which}"), table]


def _points(row: pd.Series, name: str) -> str:
    value, low, high = (100 * row[column] for column in (name, f"{name}_low", f"{name}_high"))
    return with_interval(value, low, high, decimals(1))


def _slope_table(cells: pd.DataFrame, study: AnalyzedStudy) -> pd.DataFrame:
    columns = {
        "method": [method_label(cell, study.shown) for _, cell in cells.iterrows()],
        "networks": cells["n"].map(str),
        "raw slope": values_with_intervals(cells, "raw_slope_mean", "raw_slope"),
        "minus none": values_with_intervals(cells, "raw_slope_minus_none", "raw_slope_minus_none"),
        "alpha": values_with_intervals(cells, "alpha_mean", "ci"),
        "alpha minus none": values_with_intervals(cells, "alpha_minus_none", "alpha_minus_none"),
        "raw spread": cells["raw_spread_ratio"].map(number),
        "spread minus none": values_with_intervals(cells, "raw_spread_ratio_minus_none", "raw_spread_ratio_minus_none"),
        "correlation": cells["correlation"].map(number),
        "largest excess": (100 * cells["largest_excess"]).map(decimals(1)),
        "of the control": (100 * cells["largest_excess_none"]).map(decimals(1)),
    }
    if _has_unbalanced_classes(study.runs):
        columns["weighted alpha"] = cells["alpha_weighted"].map(number)
    return pd.DataFrame({name: list(values) for name, values in columns.items()})


def _has_unbalanced_classes(runs: pd.DataFrame) -> bool:
    supports = runs.filter(regex=f"^{schema.SUPPORT}").dropna().to_numpy()
    return bool(supports.size and unbalanced(supports).any())
