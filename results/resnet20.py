"""What resnet20/ and resnet20-full/ need beyond the usual numbers."""

import pandas as pd
import proportion
from of_analysis import methods, run_arrays
from published import Study, fits

_METHODS = {("mp", "one-shot"): "MP", ("up", "one-shot"): "UP", ("mp", "cubic"): "gradual MP"}


def at_equal_accuracy(study: Study) -> pd.DataFrame:
    """Return alpha of the released UP minus that of MP at the same accuracy, interpolated between MP's four ratios.

    Only the seeds trained on a CPU have all four ratios.

    Returns
    -------
    DataFrame
        ratio, asked of UP; at_equal_accuracy, at_equal_accuracy_low, at_equal_accuracy_high, n.
    """
    runs = study.frames().runs
    compared = methods.compare(run_arrays(runs[fits(runs, {"protocol": "released", "seed": [*range(4, 12)]})]))
    return compared[compared["outcome"].eq("alpha")]


def cells(study: Study) -> pd.DataFrame:
    """Return `proportion.cells` with the method and ratio of each cell in one column, `method`."""
    table = proportion.cells(study)
    keys = zip(table["pruner"], table["schedule"], table["ratio"], strict=True)
    return table.assign(method=[f"{_METHODS[pruner, schedule]} {ratio:g}" for pruner, schedule, ratio in keys])
