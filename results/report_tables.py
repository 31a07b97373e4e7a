"""Tables of a study's report that numbers are taken from."""

from functools import cache

import pandas as pd
from of_analysis import (
    MitigationCells,
    StudyData,
    alphas,
    methods,
    mitigation_outcomes,
    paper_tests,
)
from published import Study

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
    """Count the networks of each pruner that are at chance, those with alpha below 0, and those with both."""
    table = slopes(study)
    is_negative = table["alpha"] < 0
    table = table.assign(is_negative=is_negative, is_both=is_negative & table["at_chance"])
    by_pruner = table.groupby("pruner")[["at_chance", "is_negative", "is_both"]]
    return by_pruner.sum().assign(n=by_pruner.size()).reset_index()


@cache
def _data(study: Study) -> StudyData:
    return StudyData.from_frames(study.frames().paths)
