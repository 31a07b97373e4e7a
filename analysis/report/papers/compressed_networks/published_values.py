"""Compare a study with the printed accuracies and counts of PIEs and significant classes (Tables 2, 4, 5 and 6)."""

import re
from collections.abc import Iterator

import pandas as pd

from analysis.report import published
from analysis.report.papers.compressed_networks.naming import LEVEL, METHOD
from analysis.runs import schema
from analysis.study.joins import join

# The printed model of each data set: a wide ResNet, ResNet-50 and ResNet-18.
_MODELS = {
    "cifar10": re.compile(r"wrn\d"),
    "imagenet": re.compile(r"(.*[:/])?resnet-?50$"),
    "celeba": re.compile(r"(.*[:/])?resnet-?18$"),
}
_FORMATS = {
    "float16": "float16",
    "dynamic-int8": "dynamic range int8",
    "fixed-int8": "fixed-point int8",
}
_HYBRID = "hybrid int8"  # the paper's name for dynamic range int8 on CelebA
SLIPS = (
    "slips in print (Hooker et al.): the dense accuracy on CIFAR-10 is 94.53 in Table 5, 94.35 in Section 2.4 and "
    "94.89 in Table 6",
    "slips in print: Table 2 has 2,193 PIEs both for a sparsity of 0.5 and for dynamic range int8; in Table 6 the "
    "accuracy on CelebA is the same with and without its PIEs",
)


def compare(accuracies: pd.DataFrame, tests: pd.DataFrame, summary: pd.DataFrame) -> pd.DataFrame:
    """Return the published values beside a study's, for the data sets, models and levels that are in both.

    Parameters
    ----------
    accuracies, tests : DataFrame
        As `populations.accuracies` and `populations.class_significance` return them.
    summary : DataFrame
        The summary of `exemplars.exemplars`, which may be empty.

    Returns
    -------
    DataFrame
        dataset, model, method, level, quantity, in print, ours, difference. Accuracies are in %.
    """
    if accuracies.empty:
        return pd.DataFrame()
    key = [schema.DATASET, schema.MODEL, schema.PRUNER, schema.RATIO, METHOD, LEVEL]
    significant = tests.groupby(key, dropna=False)["significant"].sum()
    ours = join(accuracies, significant.reset_index(), key, how="left")
    ours = join(ours, summary, key, how="left", suffixes=("", "_pie")) if len(summary) else ours
    rows = [row for _, cell in ours.iterrows() for row in _rows(cell)]
    return pd.DataFrame(rows)


def _rows(cell: pd.Series) -> Iterator[dict[str, object]]:
    level = printed_level(cell)
    printed_values = (
        _printed_values(published.original(cell[schema.DATASET]), cell[schema.MODEL], level) if level else {}
    )
    for quantity, value in printed_values.items():
        column, scale = _OURS[quantity]
        if column in cell and pd.notna(cell[column]) and pd.notna(value):
            own = scale * float(cell[column])
            names = {name: cell[name] for name in (schema.DATASET, schema.MODEL, METHOD, LEVEL)}
            yield names | {"quantity": quantity, "in print": value, "ours": own, "difference": own - value}


# The column of each printed quantity, and the factor that converts it to the printed unit.
_OURS = {
    "top-1": ("accuracy_mean", 100),
    "top-5": ("compressed_top5_all", 100),
    "significant classes": ("significant", 1),
    "PIEs": ("n_pie", 1),
    "dense top-1 on PIEs": ("top1_pie", 100),
    "dense top-1 on other images": ("top1_non_pie", 100),
    "dense top-5 on PIEs": ("top5_pie", 100),
    "dense top-5 on other images": ("top5_non_pie", 100),
}
_POPULATIONS = {"top-1": "top1", "top-5": "top5", "significant classes": "significant_classes", "PIEs": "pies"}
_ON_PIES = {
    f"dense top-{k} on {name}": f"top{k}_{on}"
    for k in (1, 5)
    for name, on in (("PIEs", "pie"), ("other images", "non_pie"))
}


def _printed_values(dataset: str, model: str, level: str | float) -> dict[str, float]:
    """Return the printed values of a level, by quantity."""
    name = data_set_in_print(dataset, model)
    if name is None:
        return {}
    if isinstance(level, str):
        names = [_FORMATS[level], *([_HYBRID] if level == "dynamic-int8" else [])]
    else:
        names = [f"magnitude {level:g}"]
    counts = published.figures("compressed_networks_populations")
    rows = counts[counts["dataset"].eq(name) & counts["compression"].isin(names)]
    on_pies = published.figures("compressed_networks_pie_accuracy")
    accurate = on_pies[on_pies["dataset"].eq(name) & on_pies["sparsity"].eq(level)]
    values = {quantity: rows[column].iloc[0] for quantity, column in _POPULATIONS.items() if len(rows)}
    return values | {quantity: accurate[column].iloc[0] for quantity, column in _ON_PIES.items() if len(accurate)}


def data_set_in_print(dataset: str, model: str) -> str | None:
    """Return the paper's name of a data set; None if the paper does not train such a model on it."""
    name = next((key for key in _MODELS if published.label(key) == dataset or key == dataset.lower()), None)
    return name if name and _MODELS[name].match(model) else None


def printed_level(cell: pd.Series) -> str | float | None:
    """Return the number format or the sparsity of a cell; a ratio is converted to 1 - 1 / ratio.

    None for pruners other than magnitude pruning, which the paper does not have.
    """
    if cell[schema.PRUNER] in _FORMATS:
        return str(cell[schema.PRUNER])
    if cell[schema.PRUNER] != "mp":
        return None
    return round(cell[LEVEL] if cell[LEVEL] < 1 else 1 - 1 / cell[schema.RATIO], 6)
