"""Tables of reports that numbers are taken from, with recalls and accuracies in points and settings in words."""

from functools import cache

import pandas as pd
from of_analysis import (
    MitigationCells,
    StudyData,
    alpha,
    alphas,
    cell_costs,
    compressed_networks,
    frames,
    methods,
    mitigation_outcomes,
    paper_tests,
    robustness_section,
    run_arrays,
)
from outcomes import without_class
from published import Study, fits

_COMPRESSIONS = {"mp initialization scope layer": "while trained", "mp scope layer": "in one shot", "none": "control"}
_SINCE_DENSE = {
    "fixed-int8": {"pruner": "fixed-int8"},
    "while trained, 0.9": {"start": "initialization", "sparsity": "0.9"},
}
_IN_POINTS = ["accuracy", "weakest_recall", "largest_loss", "largest_excess"]


@cache
def compared_methods(study: Study) -> pd.DataFrame:
    """Return `methods.csv`, as `in_points` has it."""
    data = _data(study)
    table = methods.compare(data.arrays, data.predicted, primaries=data.primaries)
    return in_points(table.assign(ratio=table["ratio"].map("{:g}".format)))


def in_points(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table that compares methods, with `of`, as in "up minus mp", and all that are no slopes in points."""
    ends = ("", "_low", "_high")
    of_outcomes = ["of_method", "of_baseline", *(f"difference{end}" for end in ends)]
    of_classes = [f"{side}{end}" for side in ("cost", "spared") for end in ends]
    table = table.rename(columns={"p": "difference_p", "p_holm": "difference_p_holm"})
    table.loc[table["outcome"].isin(_IN_POINTS), of_outcomes] *= 100
    table[of_classes] *= 100
    return table.assign(of=table["method"] + " minus " + table["baseline"])


@cache
def mitigations(study: Study) -> pd.DataFrame:
    """Return `mitigation.csv`, with the part of the largest excess loss that is left, and its mean over data sets."""
    data = _data(study)
    cells = MitigationCells(data.arrays, data.on_validation, data.predicted)
    table = mitigation_outcomes(cells)
    table["part_left"] = table["largest_excess"] / (table["largest_excess"] + table["gain_on_test"])
    alike = table.drop(columns="dataset").columns.intersection(["pruner", "ratio", "schedule", "scope", "mitigation"])
    table["mean_part_left"] = table.groupby([*alike], dropna=False)["part_left"].transform("mean")
    names = table["mitigation"].map(cells.in_words).replace("", "plain")
    return table.assign(mitigation=names, ratio=table["ratio"].map("{:g}".format))


@cache
def cells(study: Study) -> pd.DataFrame:
    """Return `cells.csv`."""
    table = _data(study).cells
    return table.assign(ratio=table["ratio"].map("{:g}".format))


def neighbouring_ratios(study: Study) -> pd.DataFrame:
    """Return the tests of Table 3 of Good et al.: whether alpha rises from one ratio to the next."""
    tests = paper_tests(alphas(study.arrays))
    return tests[tests["table"] == 3]


def slopes(study: Study) -> pd.DataFrame:
    """Return `alpha.csv`, a row for each network."""
    table = alphas(study.arrays)
    return table.assign(ratio=table["ratio"].map("{:g}".format), accuracy=100 * table["accuracy_after"])


def negative_slopes(study: Study) -> pd.DataFrame:
    """Count the networks of each pruner that are at chance, those with alpha below 0, and those with both.

    `is_negative_without` counts those with alpha below 0 without the class that has most leverage.
    """
    table, ((rows, classes),) = slopes(study), study.arrays.class_sets()
    without = alpha(*(each.balance for each in without_class(study.arrays, rows, classes)))
    is_negative = table["alpha"] < 0
    table = table.assign(is_negative=is_negative, is_both=is_negative & table["at_chance"])
    table["is_negative_without"] = table["run_id"].map(pd.Series(without < 0, study.runs["run_id"].iloc[rows]))
    by_pruner = table.groupby("pruner")[["at_chance", "is_negative", "is_negative_without", "is_both"]]
    return by_pruner.sum().assign(n=by_pruner.size()).reset_index()


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


def forgotten_images(study: Study) -> pd.DataFrame:
    """Return the report's `pie_summary.csv`, with accuracies, and the change of accuracy, in points."""
    table = _named(study, compressed_networks.found_exemplars(_data(study)).summary)
    in_points = [name for name in table if name.startswith(("top1", "compressed_top1", "gap"))]
    table[in_points] *= 100
    return table.assign(accuracy_change=table["compressed_top1_all"] - table["top1_all"])


def significant_classes(study: Study) -> pd.DataFrame:
    """Return the report's `significant_classes.csv`, with the largest shift in points."""
    table = _named(study, compressed_networks.tested(_data(study)))
    return table.assign(largest_shift=100 * table["largest_shift_paired"])


def corruptions(study: Study) -> pd.DataFrame:
    """Return the report's `corruptions.csv`."""
    return _named(study, robustness_section.corruption_costs(_data(study)))


def forgotten_claims(study: Study) -> pd.DataFrame:
    """Return the report's `forgotten_claims.csv`."""
    section = compressed_networks.paper_claims(_data(study))
    assert section  # the study has what the paper claims
    return section.tables["forgotten_claims.csv"]


def costs_since_dense(study: Study) -> pd.DataFrame:
    """Return what two compressions without a control cost the classes of Fashion-MNIST since the dense network."""
    tables = []
    for compression, condition in _SINCE_DENSE.items():
        is_wanted = fits(study.arrays.runs, {"dataset": "fashion-mnist", **condition})
        costs, has = cell_costs(study.arrays, is_wanted.to_numpy().nonzero()[0], study.predictions)
        assert costs  # all networks have recalls of all classes
        table = costs.table.assign(**{"class": study.arrays.names[has], "compression": compression, "n": costs.n})
        tables.append(table)
    return pd.concat(tables)


def _named(study: Study, table: pd.DataFrame) -> pd.DataFrame:
    """Return a table with `compression`, and the `sparsity` of pruned networks, which are named by it or by a ratio."""
    runs = study.runs[fits(study.runs, {"pruner": "mp", "start": "dense"})]
    sparsities = runs.set_index(["dataset", "ratio"])[frames.column("sparsity")].to_dict()
    compression = table["method"].replace(_COMPRESSIONS)
    levels = zip(compression, table["dataset"], table["level"], strict=True)
    sparsity = [
        f"{level:g}" if how == "while trained" else sparsities.get((on, level), "") for how, on, level in levels
    ]
    return table.assign(compression=compression, sparsity=sparsity)


@cache
def _data(study: Study) -> StudyData:
    return StudyData.from_frames(study.frames().paths)
