"""The sections of a report's first screen, and the section on its files, each a function of a study."""

from collections.abc import Sequence

import pandas as pd

from analysis.compare.cost_text import classes_shown
from analysis.rendering.drawing import share_scale
from analysis.rendering.formats import decimals, number, short_ratio, values_with_intervals, with_interval
from analysis.rendering.page import Block, Caption, Picture, Section, numbered
from analysis.report.class_order import class_orders
from analysis.report.first_screen import class_figures, figures
from analysis.report.first_screen import costs as cost_figures
from analysis.report.first_screen import number_formats as quantized
from analysis.report.first_screen.class_table import class_table
from analysis.report.first_screen.proportions import EXPECTATIONS, in_proportion
from analysis.report.verdict import places
from analysis.runs import schema
from analysis.statistics.intensification import unbalanced
from analysis.study.decision import at_the_ratio, by_accuracy
from analysis.study.settings import in_number_format, is_pruned, never_fine_tuned
from analysis.study.study import StudyData

_COSTS = (
    "Each mark is the mean of pruned networks minus their control (pruner none), with an interval from three networks "
    "on. The first panel shows the accuracy (lower is worse), and the second the losses of classes beyond the accuracy "
    "(higher is worse). There, a grey dot is a class, and the mark is the class that costs most, chosen on half of the "
    "images and measured on the others, with its 95 % interval. It is named if its cost is shown. Crosses: mostly at "
    "chance; triangles: off the scale."
)
_OWN_SCALES = (
    "Each data set and model has its own scale, because costs may differ tenfold between them: compare numbers across "
    "rows, not heights."
)
_COSTS_WITHOUT_CONTROL = (
    "Methods without a control are compared with the dense networks, so their costs include the effect of any "
    "fine-tuning."
)
_CLASSES = (
    "The pictures show the classes' losses at the ratio of the verdict. Loss is the recall of the "
    "control (or, without a control, of the dense networks) minus the recall after pruning, in points. The classes of "
    "a data set are sorted by their mean loss over methods."
)
_SLOPES = (
    "The raw slope compares the gaps of classes after pruning with the gaps before; above 1, weak classes fall "
    'further behind. Fine-tuning alone changes the raw slope, so read the column "minus none", the difference from '
    "the control. The raw slope is raw spread (how much gaps grew) times correlation (whether the same classes are "
    'weak). Alpha divides each gap by the accuracy, so it also rises whenever accuracy falls. "Beyond proportion" is '
    "alpha relative to the control, divided by the value that alpha would have if all classes lost in proportion to "
    "their errors. It is 1 if the lost accuracy explains alpha. The largest cost is that of the class that pays "
    "most: its loss beyond the accuracy, averaged over networks, in points. Chance movement is the loss of each "
    "network's hardest-hit class beyond the accuracy. That class differs between networks, and its loss is above 0 "
    'even without harm. "By noise alone" is the chance movement expected from noise of the test images. Tables are at '
    "the verdict's ratio; intervals hold jointly for all ratios of a method."
)
_NUMBER_FORMATS = (
    'In these number formats, weights have fewer than 32 bits, and in some, activations too. The column "change" '
    "compares the accuracy with that of the dense networks. The largest cost is that of the class that pays most: its "
    "loss beyond the accuracy, averaged over networks. The class is named if its cost is shown to be above 0. Chance "
    "movement is the loss of each network's hardest-hit class beyond the accuracy. Costs and chance movement are in "
    "points. Costly classes are those whose cost is shown to be above 0. Size is the size of the model's file. Latency "
    "is the median time on one thread. number_formats.csv has the numbers."
)
_FILES = (
    "cells.csv has a row per method and ratio, classes.csv the losses of every class at every ratio, alpha.csv a row "
    "per network.",
    "The recommend command chooses like the verdict, and accepts other limits.",
)


def costs(study: StudyData) -> Section | None:
    """Return the section on accuracy and the worst class, relative to the control; None if no network is pruned."""
    pictures_shown = numbered("accuracy", cost_figures.costs(study))
    if not pictures_shown:
        return None
    pruned_cells = _pruned_cells(study)
    without = [_COSTS_WITHOUT_CONTROL] if (pruned_cells["n_none"] == 0).any() else []
    several = [_OWN_SCALES] if len(places(pruned_cells)) > 1 else []
    return Section("What pruning costs", [*pictures_shown, _COSTS, *several, *without])


def class_losses(study: StudyData) -> Section | None:
    """Return the section on the losses of each class beyond the control, at the verdict's ratio.

    If the study has only number formats, the section has only the file `classes.csv`.
    """
    leading = [at_the_ratio(study, rows) for _, rows in places(_pruned_cells(study))]
    tables = {"classes.csv": study.classes}
    if not leading:
        return Section("", [], tables=tables) if in_number_format(study.cells).any() else None
    proportions = [in_proportion(study, cells) for cells in leading]
    losses = _losses_pictures("class_losses", study, leading)
    blocks: list[Block] = [_CLASSES, *([EXPECTATIONS] if any(proportions) else [])]
    for index, (cells, of_proportion) in enumerate(zip(leading, proportions, strict=True)):
        blocks += [losses[index], *of_proportion, *class_table(study, cells.iloc[0])]
    return Section("What each class loses", blocks, tables=tables)


def number_formats(study: StudyData) -> Section | None:
    """Return the section on accuracy, size and latency of quantized networks, if there are any."""
    frame = quantized.number_formats(study)
    if frame.empty:
        return None
    blocks: list[Block] = [_NUMBER_FORMATS]
    for workload, rows in places(frame):
        if len(places(frame)) > 1:
            blocks.append(Caption(_workload_title(workload), "All quantized networks."))
        blocks.append(quantized.shown(rows, study))
    formats = study.cells[never_fine_tuned(study.cells)]
    leading = [by_accuracy(study, rows, 1.0) for _, rows in places(formats)]
    blocks += _losses_pictures("format_losses", study, leading)
    return Section("Number formats", blocks, tables={"number_formats.csv": frame})


def slopes(study: StudyData) -> Section | None:
    """Return the section on alpha and the raw slope; None if all networks were only quantized."""
    if in_number_format(study.cells).all():
        return None
    blocks: list[Block] = [_SLOPES, *numbered("slopes", figures.slopes(study))]
    for workload, rows in places(_pruned_cells(study)):
        cells = at_the_ratio(study, rows)
        blocks += [Caption(_workload_title(workload), f"{_ratios(cells)}."), _slope_table(cells, study)]
    return Section("Differences between classes", blocks)


def files(study: StudyData) -> Section:
    """Return the section that lists the files with all numbers."""
    return Section("Every number", [*_FILES], tables={"alpha.csv": study.alphas, "cells.csv": study.cells})


def _losses_pictures(start: str, study: StudyData, cells: Sequence[pd.DataFrame]) -> list[Picture]:
    """Return a picture of losses for the cells of each data set and model, all with the same scale."""
    orders = class_orders(study)
    drawn = [class_figures.class_losses(study, rows, orders[rows[schema.DATASET].iloc[0]]) for rows in cells]
    share_scale(axes for figure in drawn for axes in figure.axes)
    return numbered(start, drawn)


def _pruned_cells(study: StudyData) -> pd.DataFrame:
    return study.cells[is_pruned(study.cells)]


def _workload_title(workload: tuple[str, str]) -> str:
    return f"{workload[0]}, {workload[1]}."


def _ratios(cells: pd.DataFrame) -> str:
    """Name the ratio of some cells, or the range of their ratios at one iteration of iterative pruning."""
    ratios = list(dict.fromkeys(map(short_ratio, sorted(cells[schema.RATIO]))))
    return f"Ratio {ratios[0]}" if len(ratios) == 1 else f"Ratios {ratios[0]} to {ratios[-1]}, of one iteration"


def _slope_table(cells: pd.DataFrame, study: StudyData) -> pd.DataFrame:
    columns = {
        "method": [study.method(cell) for _, cell in cells.iterrows()],
        "networks": cells["n"].map(str),
        "raw slope": values_with_intervals(cells, "raw_slope_mean", "raw_slope"),
        "minus none": values_with_intervals(cells, "raw_slope_minus_none", "raw_slope_minus_none"),
        "alpha": values_with_intervals(cells, "alpha_mean", "ci"),
        "alpha minus none": values_with_intervals(cells, "alpha_minus_none", "alpha_minus_none"),
        "beyond proportion": values_with_intervals(cells, "alpha_beyond", "alpha_beyond"),
        "raw spread": cells["raw_spread_ratio"].map(number),
        "spread minus none": values_with_intervals(cells, "raw_spread_ratio_minus_none", "raw_spread_ratio_minus_none"),
        "correlation": cells["correlation"].map(number),
        "costs most": classes_shown(cells),
        "largest cost": _in_points_with_intervals(cells, "worst_class_cost"),
        "chance movement": (100 * cells["largest_excess"]).map(decimals(1)),
        "by noise alone": (100 * cells["largest_excess_floor"]).map(decimals(1)),
        "of the control": (100 * cells["largest_excess_none"]).map(decimals(1)),
        "by noise alone, control": (100 * cells["largest_excess_floor_none"]).map(decimals(1)),
    }
    if _has_unbalanced_classes(study.runs):
        columns["weighted alpha"] = cells["alpha_weighted"].map(number)
    return pd.DataFrame({name: list(values) for name, values in columns.items()})


def _in_points_with_intervals(cells: pd.DataFrame, name: str) -> list[str]:
    in_points = 100 * cells[[name, f"{name}_low", f"{name}_high"]].to_numpy(float)
    return [with_interval(value, low, high, decimals(1)) for value, low, high in in_points]


def _has_unbalanced_classes(runs: pd.DataFrame) -> bool:
    supports = runs.filter(regex=f"^{schema.SUPPORT}").dropna(how="all").drop_duplicates()
    return any(unbalanced(row.dropna().to_numpy()) for _, row in supports.iterrows())
