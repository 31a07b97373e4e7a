"""The report's sections on corrupted images and natural adversarial images."""

from functools import lru_cache

import pandas as pd

from analysis.rendering.formats import decimals, rounded, with_interval
from analysis.rendering.page import Block, Caption, Section, numbered
from analysis.report import published
from analysis.report.papers.compressed_networks import robustness_figures
from analysis.report.papers.compressed_networks.naming import LEVEL, METHOD, file_table
from analysis.report.papers.compressed_networks.published_values import data_set_in_print, printed_level
from analysis.report.papers.compressed_networks.robustness import MEAN, corruptions
from analysis.report.verdict import PLACE, places
from analysis.runs import schema
from analysis.runs.robustness import ALL, CLEAN
from analysis.study.labels import level_label
from analysis.study.study import StudyData, notes

# If a table would have more rows, it shows only the lowest and the highest level of each method.
_MOST_ROWS = 12
_READING = (
    "Corrupted test images are harder to classify. Each value is the change of top-1 accuracy from the dense networks, "
    "in % of their accuracy on the same images, as in Hooker et al. Severities are averaged. corruptions.csv has each "
    "severity, top-5, alpha and the largest excess loss."
)
_PRINTED = (
    "The table has the changes of top-1 and top-5 accuracy in % that Hooker et al. print for ResNet-50, beside "
    "those of this study. It is unclear of how many networks they are means: the caption of Table 3 says 50, and "
    "Appendix D says 5. Hooker et al. prune by magnitude, gradually during training; networks with other schedules "
    "stand beside the same sparsity."
)
_PRINTED_TABLES = {
    "top1": "compressed_networks_imagenet_c_top1_norm",
    "top5": "compressed_networks_imagenet_c_top5_norm",
}
_PRINTED_NATURAL = "compressed_networks_imagenet_a"
_IMAGENET, _NATURAL = "imagenet", "imagenet-a"
_SPARSITY = "printed sparsity"


@lru_cache(2)
def corruption_costs(study: StudyData) -> pd.DataFrame:
    """Return the costs of compression on corrupted images (`robustness.corruptions`), computed once."""
    return corruptions(study.arrays, study.corrupted)


def section(study: StudyData) -> Section | None:
    """Return the section on corrupted images; None if no network was measured on them."""
    table = corruption_costs(study)
    left_out = notes(table)
    if not len(table):
        return Section("Corrupted images", [], notes=left_out) if left_out else None
    means = _means(table)
    of_places = [(workload, rows) for workload, rows in places(means) if len(rows) > 1]
    drawn = [robustness_figures.relative_accuracy(study, *of_place) for of_place in of_places]
    blocks: list[Block] = [_READING, *numbered("corruptions", drawn)]
    for (dataset, model), rows in places(means):
        blocks += [Caption(f"{dataset}, {model}.", ""), _shown(study, rows)]
    table = file_table(table, ["corruption", "severity"], study.shown)
    return Section("Corrupted images", blocks, tables={"corruptions.csv": table}, notes=left_out)


def published_values(study: StudyData) -> Section | None:
    """Return the section on the printed values; None if none has a counterpart in the study."""
    table = corruption_costs(study)
    rows = _beside_print(_means(table)) if len(table) else table
    return Section("Corrupted images, in print", [_PRINTED, rounded(rows)]) if len(rows) else None


def _means(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of uncorrupted images, of folders, and of means over severities."""
    return table[table["severity"].isin([MEAN, "0"])]


def _shown(study: StudyData, means: pd.DataFrame) -> pd.DataFrame:
    """Format a row for each method and level: changes on clean images, on corrupted images, and the worst change."""
    key = [schema.PRUNER, *study.shown, LEVEL]
    groups = [(rows.iloc[0], rows.set_index("corruption")) for _, rows in means.groupby(key, dropna=False)]
    if len(groups) > _MOST_ROWS:
        ends = means.groupby(METHOD)[LEVEL].agg(["min", "max"])
        groups = [(first, rows) for first, rows in groups if first[LEVEL] in set(ends.loc[first[METHOD]])]
    return pd.DataFrame([_row(study, first, rows) for first, rows in groups])


def _row(study: StudyData, first: pd.Series, rows: pd.DataFrame) -> dict[str, str]:
    others = rows.drop(index=[CLEAN, ALL], errors="ignore")
    worst = others["top1_norm"].idxmin() if others["top1_norm"].notna().any() else None
    changes = {"clean": CLEAN, "mean of corruptions": ALL, "costliest": worst}
    cells = {head: _change(rows, name) for head, name in changes.items()}
    return {
        "method": study.method(first),
        "level": level_label(first, first[LEVEL]),
        "networks": _networks(rows["n"]),
        **cells,
        "which": str(worst).replace("_", " ") if worst else "",
    }


def _networks(numbers: pd.Series) -> str:
    fewest, most = numbers.min(), numbers.max()
    return f"{most:,}" if fewest == most else f"{fewest:,} to {most:,}"


def _change(rows: pd.DataFrame, name: str | None) -> str:
    if name not in rows.index:
        return ""
    change, low, high = (float(rows.at[name, f"top1_norm{end}"]) for end in ("", "_low", "_high"))
    return with_interval(change, low, high, decimals(1, sign=True))


def _beside_print(means: pd.DataFrame) -> pd.DataFrame:
    """Return printed values and a study's own, for the corruptions and sparsities of ImageNet that the study has."""
    as_printed = [data_set_in_print(*place) == _IMAGENET for place in means[PLACE].to_numpy()]
    ours, parts = means[as_printed], []
    levels = pd.Series([printed_level(cell) for _, cell in ours.iterrows()], ours.index, dtype=object)
    ours = ours.assign(**{_SPARSITY: pd.to_numeric(levels, errors="coerce")})
    ours = ours.assign(corruption=ours["corruption"].replace(r"(?i)imagenet[-_ ]?a", _NATURAL, regex=True))
    for name in _PRINTED_TABLES:
        printed = _printed(name)
        both = ours.merge(printed[printed[_SPARSITY] > 0], on=["corruption", _SPARSITY])
        values = {"accuracy": name, "printed": both["printed"], "ours": both[f"{name}_norm"]}
        parts.append(both[[schema.MODEL, METHOD, LEVEL, "corruption"]].assign(**values))
    rows = pd.concat(parts, ignore_index=True)
    return rows.assign(difference=rows["ours"] - rows["printed"])


def _printed(name: str) -> pd.DataFrame:
    """Return printed changes of top-1 or top-5 accuracy, by corruption (ImageNet-A is one of them) and sparsity."""
    corrupted = published.figures(_PRINTED_TABLES[name]).melt("corruption", var_name=_SPARSITY, value_name="printed")
    corrupted[_SPARSITY] = corrupted[_SPARSITY].str.removeprefix("sparsity_").astype(float)
    natural = published.figures(_PRINTED_NATURAL).rename(columns={"sparsity": _SPARSITY, f"{name}_norm": "printed"})
    return pd.concat([corrupted, natural.assign(corruption=_NATURAL)[[*corrupted]]])
