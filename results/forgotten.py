"""Tables of what-is-forgotten/, with compressions and sparsities in words."""

from functools import cache

import numpy as np
import pandas as pd
from of_analysis import StudyData, cell_costs, compressed_networks, frames, robustness_section
from published import Study, fits

_COMPRESSIONS = {"mp initialization scope layer": "while trained", "mp scope layer": "in one shot", "none": "control"}
_SINCE_DENSE = {
    "fixed-int8": {"pruner": "fixed-int8"},
    "while trained, 0.9": {"start": "initialization", "sparsity": "0.9"},
}


@cache
def _data(study: Study) -> StudyData:
    return StudyData.from_frames(study.frames().paths)


def pies(study: Study) -> pd.DataFrame:
    """Return the report's `pie_summary.csv`, with accuracies, and the change of accuracy, in points."""
    table = _named(study, compressed_networks.found_exemplars(_data(study)).summary)
    in_points = [name for name in table if name.startswith(("top1", "compressed_top1", "gap"))]
    table[in_points] *= 100
    return table.assign(accuracy_change=table["compressed_top1_all"] - table["top1_all"])


def significant_classes(study: Study) -> pd.DataFrame:
    """Return the report's `significant_classes.csv`, with the largest shift in points."""
    table = _named(study, compressed_networks.tested(_data(study)))
    return table.assign(largest_shift=100 * table["largest_shift_moderated"])


def corruptions(study: Study) -> pd.DataFrame:
    """Return the report's `corruptions.csv`."""
    return _named(study, robustness_section.corruption_costs(_data(study)))


def claims(study: Study) -> pd.DataFrame:
    """Return the report's `forgotten_claims.csv`."""
    section = compressed_networks.paper_claims(_data(study))
    assert section
    return section.tables["forgotten_claims.csv"]


def since_dense(study: Study) -> pd.DataFrame:
    """Return what two compressions without a control cost the classes of Fashion-MNIST since the dense network."""
    tables = []
    for compression, condition in _SINCE_DENSE.items():
        is_wanted = fits(study.arrays.runs, {"dataset": "fashion-mnist", **condition})
        costs, has = cell_costs(study.arrays, is_wanted.to_numpy().nonzero()[0], study.predictions)
        assert costs
        names = {"class": study.arrays.names[has]}
        tables.append(costs.table.assign(compression=compression, n=costs.n, **names))
    return pd.concat(tables)


def _named(study: Study, table: pd.DataFrame) -> pd.DataFrame:
    """Return a table with `compression`, and the `sparsity` of pruned networks, which are named by it or by a ratio."""
    runs = study.runs[fits(study.runs, {"pruner": "mp", "start": "dense"})]
    sparsities = runs.set_index(["dataset", "ratio"])[frames.column("sparsity")].to_dict()
    compression = table["method"].replace(_COMPRESSIONS)
    of_ratio = [sparsities.get(key, "") for key in zip(table["dataset"], table["level"], strict=True)]
    sparsity = np.where(compression.eq("while trained"), table["level"].map("{:g}".format), of_ratio)
    return table.assign(compression=compression, sparsity=sparsity)
