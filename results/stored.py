"""The networks of studies that keep a table instead of frames: regularizers/, sparse-from-start/ and validation/."""

from functools import partial

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from of_analysis import ABOVE, BELOW, DIFFERENT, NEUTRAL, Panel, draw, points
from published import Study
from scipy import stats

# The share of the prunable weights that is kept at each ratio, which is the expected overlap by chance, in per cent.
_KEPT = {4: 24, 10: 8, 20: 3}
_HARD = ("one class thrice as variable", "one class destroyed in a fifth of networks")
_WORST = {
    **dict.fromkeys(("coverage", "coverage_least"), "min"),
    **dict.fromkeys(("missed_all", "missed_largest", "false_alarm", "of_two_way"), "max"),
}


def regularizers(study: Study) -> pd.DataFrame:
    """Return a row for each dense network (pruner `dense`) and each network made from it by fine-tuning.

    Returns
    -------
    DataFrame
        - training (regulariser and weight decay), seed, pruner, ratio (NaN if dense), and accuracy in points;
        - largest_excess, relative to the control, in points; NaN if dense;
        - overlap_4, overlap_10, overlap_20: the share of the weights kept by undecayed pruning that magnitude pruning
          keeps too, in per cent; quotient: the norm of the objective's gradient divided by that of the penalty's part
          of it. NaN unless dense.
    """
    dense, fine_tuned = (pd.read_csv(study.folder / name) for name in ("networks.csv", "fine_tuned.csv"))
    dense = dense.assign(pruner="dense", quotient=dense["gradient_norm"] / dense["penalty_gradient_norm"])
    table = pd.concat([dense, fine_tuned], ignore_index=True)
    shares = ["accuracy", "largest_excess", *(f"overlap_{ratio}" for ratio in _KEPT)]
    return table.assign(**100 * table[shares])


def gradients(study: Study) -> pd.DataFrame:
    """Return the range of the gradients' quotient in each training and in all, and its correlation with the overlap.

    Returns
    -------
    DataFrame
        training, n, least and most of the quotient; rho, Spearman's correlation with the overlap at ratio 20, and its
        p.
    """
    dense = study.networks[study.networks["pruner"].eq("dense")]
    rows = []
    for training, own in [("all", dense), *dense.groupby("training", observed=True)]:
        rho, p = stats.spearmanr(own["quotient"], own["overlap_20"])
        least, most = own["quotient"].min(), own["quotient"].max()
        rows.append({"training": training, "n": len(own), "least": least, "most": most, "rho": rho, "p": p})
    return pd.DataFrame(rows)


def overlaps(study: Study) -> Figure:
    """Draw the overlap of undecayed and magnitude pruning against the gradients' quotient, a panel for each ratio."""
    dense = study.networks[study.networks["pruner"].eq("dense")]
    return draw(
        [
            Panel(
                partial(_draw_overlaps, ratio=ratio), dense, f"ratio {ratio}", "gradient / penalty's part", "overlap, %"
            )
            for ratio in _KEPT
        ],
        size=(2.7, 2.6),
        title="Share of the weights kept by undecayed pruning that magnitude pruning keeps too",
        note="A dot is a dense network. The further left it is, the nearer the gradient of its objective is to 0. "
        "Dashed: the share that chance gives.",
        sharey=True,
    )


def _draw_overlaps(axes: Axes, networks: pd.DataFrame, ratio: int) -> None:
    colors = {"l2 0.0005": NEUTRAL, "l2 0.005": BELOW, "l1 0.0001": DIFFERENT, "decoupled 0.05": ABOVE}
    points(axes, networks, "quotient", f"overlap_{ratio}", by="training", colors=colors, alpha=1)
    axes.axhline(_KEPT[ratio], color="black", linestyle="--", linewidth=0.8)
    axes.set(xscale="log", ylim=(0, 100))


def sparse_from_start(study: Study) -> pd.DataFrame:
    """Return a row for each network of sparse-from-start/; everything but seed, method and ratio is in points.

    Returns
    -------
    DataFrame
        - seed, method, ratio;
        - clean: the accuracy on all test images; largest_excess, relative to the dense network;
        - the accuracy under each corruption, a mean over its severities; corrupted, their mean; and beyond_clean, the
          residual of corrupted in a regression on clean over all networks.
    """
    table = pd.read_csv(study.folder / "networks.csv", na_values="n/a").drop(columns="none")
    table = table.rename(columns=lambda name: name if name == "largest_excess" else name.replace("_", " "))
    keys, of_networks = ["seed", "method", "ratio"], ["clean", "largest_excess"]
    measured = 100 * table.drop(columns=keys)
    corrupted, clean = measured.drop(columns=of_networks).mean(axis=1), measured["clean"]
    slope, intercept = np.polyfit(clean, corrupted, 1)
    return table[keys].assign(**measured, corrupted=corrupted, beyond_clean=corrupted - intercept - slope * clean)


def worst(study: Study) -> pd.DataFrame:
    """Return the worst values of losses.csv, which benchmarks/losses.py made, over populations, classes and images.

    Returns
    -------
    DataFrame
        A row for each structure (`other` stands for all but `_HARD`), quantity `of` (costs count as losses) and number
        of networks.
    """
    table = pd.read_csv(study.folder / "losses.csv")
    structure = table["structure"].where(table["structure"].isin(_HARD), "other")
    quantity = table["quantity"].replace("cost", "loss").rename("of")
    return table.groupby([structure, quantity, "networks"]).agg(_WORST).reset_index()
