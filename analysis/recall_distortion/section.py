"""The report's sections on the recall distortion paper."""

from collections.abc import Iterator, Sequence

import pandas as pd
from matplotlib.figure import Figure

from analysis.formats import number, rounded, values_with_intervals
from analysis.runs import schema

_GROUP = [schema.DATASET, schema.MODEL, schema.PRUNER]
_SHOWN = {
    "n": "networks",
    "n_at_chance": "at chance",
    "accuracy_before": "accuracy before",
    "accuracy_after": "after",
    "alpha_mean": "alpha",
    "alpha_median": "median",
    "alpha_weighted": "weighted alpha",
    "correlation": "correlation",
    "spread_ratio": "spread ratio",
    "worst_class_change": "worst class",
    "realized_ratio": "realised ratio",
}


_TRADEOFF = (
    "Mean accuracy, and mean alpha, of the pruned networks at each ratio, with standard errors. Alpha is the slope of "
    "the classes' recall balance (recall minus accuracy, over accuracy) after pruning on that before: above 1 the weak "
    "classes fell further behind than the accuracy explains."
)
_PER_CLASS = "Mean change of recall of each class, the worst first."
_CELLS = (
    "A cell is a data set, model, pruner and ratio; every network is trained from its own seed. The mark says whether "
    "the interval of alpha lies below 1 (<), above 1 (>) or on both sides (?). A slope below 1 means less spread only "
    "where the spread ratio is below 1 too; else other classes than before are weak. A network at chance has a "
    "meaningless alpha, hence the median. The worst class is the lowest recall after minus the lowest before. Where "
    "classes differ in size read the weighted alpha."
)
_SLOPES = (
    "Three slopes for three questions: alpha, this test set and these networks; alpha (new), new images of the same "
    "kind; alpha (shared), the part of the balance that all networks have in common. The controls: alpha of the same "
    "fine-tuning without pruning taken off (minus none), the slope on its balance (on none), and the slope between "
    "dense networks of different seeds (other seed), the floor that no memory of the network gives. Not identified: "
    "the test set is too small to tell the classes apart; reliability is the share of their differences not due to it."
)
_BOXES = "Each box is one cell, each point one network; the mark at the ratio is that of the interval of the mean."
_SCATTER = "Each point is one class of one network; the line is the pooled slope."
_RATIOS = (
    "The mean of the intensification ratios (balance after / balance before) is at the mercy of classes whose balance "
    "before was next to 0; alpha weights each ratio by that balance squared."
)
_CLAIMS = (
    "A sentence holds where the whole interval of what was looked at lies where the sentence has it, and does not "
    "where it lies on the other side. Of several comparisons, most often one a ratio, all must agree, or more than "
    "half where the sentence speaks of most or of a tendency; one that disagrees, or more than half, refutes it. Then "
    "the table says how many agree, the least and the greatest estimate, and in brackets from where to where their "
    "intervals reach. Ratios at which most networks are at chance are left out. claims.csv has every comparison."
)
_COMPARED = "For the cells that both have; the difference is ours minus published."


_METRICS = (
    "The same slope of the balance of precision and F1, each centred on its own mean over the classes. The paper found "
    "the effect of pruning more expressive on recall: then its alpha is further from 1 than the other two."
)
_NO_METRICS = "n/a: the slopes of precision and F1 need predictions.npz of every run of a cell."


def _metrics(of_cells: pd.DataFrame, settings: Sequence[str]) -> list[str | pd.DataFrame | Figure]:
    there = of_cells[of_cells["alpha_precision"].notna()]
    if there.empty:
        return [_NO_METRICS]
    shown = rounded(there[[*_GROUP, schema.RATIO, *settings]])
    for title, name, interval in (
        ("recall", "alpha_mean", "ci"),
        *((n, f"alpha_{n}", f"alpha_{n}") for n in ("precision", "f1")),
    ):
        shown[title] = values_with_intervals(there, name, interval)
    return [_METRICS, shown]


def _tests_text(tests: pd.DataFrame) -> str:
    return (
        "p-values are Bonferroni-corrected by the printed families, as in print; tests.csv has the differences with "
        "their intervals, effect sizes, Holm's correction, permutation and equivalence tests. Independent tests: "
        f"{tests.attrs.get('variance', 'welch')} variance."
    )


def _titled(printed: dict[int, pd.DataFrame]) -> Iterator[str | pd.DataFrame]:
    for index, table in printed.items():
        if len(table):
            yield f"**Table {index}.** {table.attrs['title']}"
            yield table


def _cell_table(of_cells: pd.DataFrame, settings: Sequence[str], *, balanced: bool) -> pd.DataFrame:
    names = [*_GROUP, schema.RATIO, *settings]
    there = [name for name in _SHOWN if name in of_cells and not (name == "alpha_weighted" and balanced)]
    shown = rounded(of_cells[[*names, *there]])
    shown["alpha_mean"] = values_with_intervals(of_cells, "alpha_mean", "ci")
    shown.insert(list(shown.columns).index("alpha_mean") + 1, "mark", of_cells["mark"].to_numpy())
    return shown.rename(columns=_SHOWN)


def _slope_table(of_cells: pd.DataFrame, settings: Sequence[str]) -> pd.DataFrame:
    shown = rounded(of_cells[[*_GROUP, schema.RATIO, *settings]])
    shown["alpha"] = values_with_intervals(of_cells, "alpha_mean", "ci")
    for name in ("alpha_new", "alpha_shared"):
        values = values_with_intervals(of_cells, name, name)
        unsure = of_cells[name].notna() & ~of_cells[f"{name}_identified"].astype(bool)
        shown[f"{name.replace('_', ' (')})"] = values.where(~unsure.to_numpy(), "not identified")
        if name == "alpha_new":
            shown["reliability"] = of_cells["reliability"].map(number)
    for title, name in (("minus none", "alpha_minus_none"), ("on none", "alpha_on_none")):
        shown[title] = values_with_intervals(of_cells, name, name)
    shown["other seed"] = of_cells["alpha_other_seed"].map(number)
    return shown
