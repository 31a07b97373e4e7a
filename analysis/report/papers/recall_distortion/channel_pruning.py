"""Compare a study with Table 13, which is on CHIP, a method that removes whole channels.

Good et al. 2022, Supplement H and Table 13, after Sui et al. 2021.
"""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from analysis.rendering.formats import decimals, three_decimals, with_interval
from analysis.rendering.page import Block, Caption, Section
from analysis.report.papers.recall_distortion import beside_print
from analysis.report.papers.recall_distortion.beside_print import Printed, minus_control
from analysis.runs import schema
from analysis.study.settings import is_iterated
from analysis.study.study import StudyData

PRUNER = "chip"
_TABLE = Printed(
    13,
    networks=15,
    pruners=(PRUNER,),
    params={
        schema.RECIPE: "resnet-cifar",
        schema.EPOCHS: "60",
        schema.FINE_TUNE_EPOCHS: "400",  # as in the released code of Sui et al.
        schema.BATCH_SIZE: "128",
        schema.PRECISION: schema.FLOAT32,
    },
)
_OUTCOMES = ("alpha_mean", "raw_slope_mean", "accuracy_minus_none", "alpha_minus_none", "raw_slope_minus_none")
_ENDS = ("ci", "raw_slope", *_OUTCOMES[2:])

_READING = (
    "CHIP removes the channels of a convolution whose feature maps depend most on those of its other channels, and the "
    "rest is fine-tuned. Ratio is the requested ratio; the realised ratio is the nearest ratio that whole channels "
    "allow. Alpha compares each network with its dense network. The control has the same fine-tuning without pruning: "
    "a gain of accuracy, or an alpha below 1, is an effect of pruning only as far as it differs from that of the "
    "control."
)
_PRINT = (
    "The paper has fifteen ResNet-56 networks on CIFAR-10 and no control. It does not state its fine-tuning; the "
    "released code of Sui et al. trains for 400 epochs with batches of 256, a learning rate with cosine decay from "
    ".01, and a weight decay of .005, and keeps the epoch with the best test accuracy. That code also removes channels "
    "that shortcuts carry, separately in each block, so that a shortcut adds channels with different indices. Here, "
    "channels that a shortcut carries are kept, and only channels inside the blocks are removed. The released settings "
    "are for ratios 1.75 and 3.33; by exact counts of parameters, they give 1.76 and 3.54. If half of the channels "
    "that remain at ratio 3.33 are kept, the ratio is 8.27; with a quarter of them it is 19.11."
)
_COLUMNS = ("Ratio", "Realised", "Accuracy", "in print", "Minus control", "Alpha", "in print ", "Minus control ")


def section(study: StudyData) -> Section | None:
    """Return the section on CHIP (Table 13); None for a study without it."""
    all_levels = cells(study)
    if all_levels.empty:
        return None
    blocks: list[Block] = [_READING]
    for rows in beside_print.by_method(all_levels):
        blocks += [Caption("Table 13.", beside_print.title(rows, study, _TABLE)), ratio_table(rows)]
    return Section("Removed channels", [*blocks, _PRINT], {"removed_channels.csv": all_levels})


def cells(study: StudyData) -> pd.DataFrame:
    """Return the cells of CHIP beside the values of Table 13.

    Parameters
    ----------
    study : StudyData

    Returns
    -------
    DataFrame, one row per cell
        - dataset, model, pruner, ratio, the columns of `settings.shown_settings`, realized_ratio;
        - the columns of `cells.cells` on accuracy, alpha and raw slope, and on their differences from the control;
        - printed_accuracy, printed_alpha: at the same ratio;
        - accuracy_difference, alpha_difference: ours minus published, NaN except for the paper's data set and model.
    """
    chip = study.cells[(study.cells[schema.PRUNER] == PRUNER) & ~is_iterated(study.cells)]
    ends = [f"{name}_{end}" for name in _ENDS for end in ("low", "high")]
    wanted = [*study.cell_key, schema.REALIZED_RATIO, "n", "n_at_chance", "accuracy_before", "accuracy_after"]
    printed = _TABLE.values.rename(columns={"printed_ratio": schema.RATIO})
    rows = chip.reindex(columns=[*wanted, *_OUTCOMES, *ends]).merge(printed, on=schema.RATIO, how="left")
    rows = beside_print.with_differences(rows, _TABLE)
    return rows.sort_values([*beside_print.method_columns(rows), schema.RATIO], ignore_index=True)


def ratio_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Format Table 13 with our values beside the printed ones.

    Parameters
    ----------
    rows : DataFrame
        The rows of one method, as `cells` returns them.
    """
    return beside_print.as_text(rows, _TABLE, _COLUMNS, ("1.00", "1.00"), _line)


def _line(row: Mapping[Any, Any]) -> tuple[str, ...]:
    return (
        decimals(2)(row[schema.RATIO]),
        decimals(2)(row[schema.REALIZED_RATIO]),
        three_decimals(row["accuracy_after"]),
        three_decimals(row["printed_accuracy"]),
        minus_control(row, "accuracy"),
        with_interval(row["alpha_mean"], row["ci_low"], row["ci_high"], three_decimals),
        three_decimals(row["printed_alpha"]),
        minus_control(row, "alpha"),
    )
