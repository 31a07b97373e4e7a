"""Tables and pictures of regularizers/: do undecayed and magnitude pruning keep the same weights and accuracy?"""

from functools import partial
from pathlib import Path

import folders
import network_measures
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import stats

from analysis.common import csv_text, files
from analysis.rendering.drawing import ABOVE, BELOW, DIFFERENT, NEUTRAL
from analysis.rendering.formats import NOT_AVAILABLE
from analysis.rendering.layout import Panel, draw
from analysis.rendering.panels import estimates, intervals, points, side_by_side
from analysis.runs import frames, pull, schema
from analysis.statistics.hypothesis_tests import paired
from analysis.statistics.intensification import excess_loss
from analysis.statistics.recalls import Recalls
from analysis.statistics.resampling import mean_interval

STUDY, NETWORKS, FINE_TUNED = "regularizers", "networks.csv", "fine_tuned.csv"
# The share of the prunable weights that is kept at each ratio, which is the expected overlap by chance.
SHARE_OF_WEIGHTS = {4: 0.24, 10: 0.08, 20: 0.03}
RATIOS = tuple(SHARE_OF_WEIGHTS)
_QUOTIENT = "quotient"  # norm of the objective's gradient / norm of the penalty's part of it
_TRAINING = "training"
_OVERLAPS = [f"overlap_{ratio}" for ratio in RATIOS]
_MEASURES = [_QUOTIENT, schema.PENALTY_GRADIENT_NORM, "accuracy", *_OVERLAPS]
# The two trainings that are equivalent by the derivation of decoupled decay.
_DECOUPLED, _AS_STRONG = "decoupled 0.05", "l2 0.005"
_COLORS = {"l2 0.0005": NEUTRAL, _AS_STRONG: BELOW, "l1 0.0001": DIFFERENT, _DECOUPLED: ABOVE}


def write(results: Path) -> None:
    """Write the tables and the pictures of the study, if its table of networks is stored."""
    folder = results / STUDY
    if not (folder / NETWORKS).is_file():
        return
    networks, fine_tuned = (pd.read_csv(folder / name) for name in (NETWORKS, FINE_TUNED))
    compared = comparisons(fine_tuned)
    tables = {
        "summary": summary(networks),
        "correlations": correlations(networks),
        "decoupled": decoupled(networks),
        "comparisons": compared,
    }
    folders.write(folder, tables, {"overlap": overlap(networks), "differences": differences(compared)})


def collect(folder: Path, experiment: str, tracking_uri: str) -> None:
    """Write a table of the study's dense networks, and a table of its fine-tuned networks, from the tracking store.

    - `NETWORKS` has the columns training (regulariser and weight decay), seed, accuracy, `schema.GRADIENT_NORMS`, and
      the overlap of undecayed and magnitude pruning at each of `RATIOS`.
    - `FINE_TUNED` has the columns training, seed, pruner, ratio, accuracy, and largest_excess: the largest excess loss
      of any class, relative to the control.
    """
    runs, dense = pull.study(experiment, tracking_uri=tracking_uri)
    undecayed = runs[runs[schema.PRUNER].eq("up")]
    overlaps = undecayed.pivot_table(schema.MP_OVERLAP, schema.DENSE_RUN_ID, schema.RATIO)
    overlaps.columns = pd.Index([f"overlap_{ratio:g}" for ratio in overlaps.columns])
    trainings = dense[frames.column("regularizer")].fillna("l2") + " " + dense[frames.column(schema.WEIGHT_DECAY)]
    named = dense.assign(**{_TRAINING: trainings}).rename(columns={"accuracy_before": "accuracy"})
    by_network = named.join(overlaps, on=schema.DENSE_RUN_ID).sort_values([_TRAINING, schema.SEED])
    by_network = by_network[[_TRAINING, schema.SEED, "accuracy", *schema.GRADIENT_NORMS, *_OVERLAPS]]
    tables = {NETWORKS: by_network, FINE_TUNED: _fine_tuned(runs, named.set_index(schema.DENSE_RUN_ID)[_TRAINING])}
    for name, table in tables.items():
        with files.one_aside(folder / name, in_git=True) as path:
            csv_text.write(table, path, missing=NOT_AVAILABLE)


def _fine_tuned(runs: pd.DataFrame, trainings: pd.Series) -> pd.DataFrame:
    """Return a row for each fine-tuned network; `trainings` maps the run id of a dense network to its training."""
    own = runs[runs[frames.column("fine_tune_epochs")].ne("0")].join(trainings, on=schema.DENSE_RUN_ID)
    recalls = [name for name in own if name.startswith("recall_after/")]
    measured = own.set_index(schema.DENSE_RUN_ID)[["accuracy_after", *recalls]]
    control = measured[own[schema.PRUNER].eq("none").to_numpy()].reindex(own[schema.DENSE_RUN_ID])
    excess = excess_loss(*(Recalls(side[recalls], side["accuracy_after"]) for side in (control, measured)))
    return (
        own.assign(accuracy=own["accuracy_after"], largest_excess=excess.max(1))
        .sort_values([_TRAINING, schema.SEED, schema.PRUNER, schema.RATIO])
        .reset_index(drop=True)[[_TRAINING, schema.SEED, schema.PRUNER, schema.RATIO, "accuracy", "largest_excess"]]
    )


def _measured(networks: pd.DataFrame) -> pd.DataFrame:
    return networks.assign(**{_QUOTIENT: networks[schema.GRADIENT_NORM] / networks[schema.PENALTY_GRADIENT_NORM]})


def summary(networks: pd.DataFrame) -> pd.DataFrame:
    """Return the mean of each measure for each training, with its 95 % interval and its range over networks."""
    rows = []
    for training, own in _measured(networks).groupby(_TRAINING, sort=False):
        for measure in _MEASURES:
            low, high = mean_interval(own[measure])
            least, most = own[measure].min(), own[measure].max()
            row = {_TRAINING: training, "measure": measure, "n": len(own), "mean": own[measure].mean()}
            rows.append({**row, "low": low, "high": high, "least": least, "most": most})
    return pd.DataFrame(rows)


def correlations(networks: pd.DataFrame) -> pd.DataFrame:
    """Return Spearman's correlation of the gradient quotient with each overlap, for all networks and each training."""
    measured = _measured(networks)
    parts = {"all": measured, **dict(iter(measured.groupby(_TRAINING, sort=False)))}
    rows = []
    for name, own in parts.items():
        for column in _OVERLAPS:
            correlation = stats.spearmanr(own[_QUOTIENT], own[column])
            rows.append(
                {
                    "networks": name,
                    "overlap": column,
                    "n": len(own),
                    "rho": correlation.statistic,
                    "p": correlation.pvalue,
                }
            )
    return pd.DataFrame(rows)


def decoupled(networks: pd.DataFrame) -> pd.DataFrame:
    """Return measures with decoupled decay minus those with the equally strong L2 penalty, paired by seed."""
    measured = _measured(networks).set_index([_TRAINING, schema.SEED])
    one, other = (measured.loc[name] for name in (_DECOUPLED, _AS_STRONG))
    return pd.DataFrame([{"measure": name, **paired(one[name], other[name])} for name in _MEASURES])


def comparisons(fine_tuned: pd.DataFrame) -> pd.DataFrame:
    """Return the outcomes of undecayed pruning minus those of magnitude pruning, paired by the dense network.

    Returns
    -------
    DataFrame
        training, ratio, outcome, the columns of `paired`, and p_holm. Only the accuracies at ratio 20, the primary
        outcome, have p_holm, which is corrected for the number of trainings.
    """
    outcomes = ["accuracy", "largest_excess"]
    by_pruner = fine_tuned.set_index([_TRAINING, schema.RATIO, schema.SEED])[[schema.PRUNER, *outcomes]]
    up, mp = (by_pruner[by_pruner[schema.PRUNER].eq(name)] for name in ("up", "mp"))
    rows = [
        {_TRAINING: training, schema.RATIO: ratio, "outcome": outcome, **paired(own[outcome], other)}
        for (training, ratio), own in up.groupby(level=[_TRAINING, schema.RATIO], sort=False)
        for outcome in outcomes
        for other in [mp.loc[own.index, outcome]]
    ]
    table = pd.DataFrame(rows)
    is_primary = table["outcome"].eq("accuracy") & table[schema.RATIO].eq(RATIOS[-1])
    return table.assign(p_holm=network_measures.holm(table["p"], is_primary))


def differences(compared: pd.DataFrame) -> Figure:
    """Draw the differences of `comparisons` against the ratio, with intervals: a panel for each outcome."""
    rows = estimates(compared, "difference", scale=100)
    rows = rows.assign(place=rows[schema.RATIO].map(RATIOS.index))
    by_title = {
        "accuracy": rows[rows["outcome"].eq("accuracy")],
        "movement of one network's hardest-hit class": rows[rows["outcome"].eq("largest_excess")],
    }
    return draw(
        [Panel(_draw_differences, own, title, "", "points") for title, own in by_title.items()],
        size=(3.9, 2.5),
        title="Undecayed minus magnitude pruning, after fine-tuning",
        note="Means of ten networks with 95 % intervals, paired by the dense network, in points.",
    )


def _draw_differences(axes: Axes, rows: pd.DataFrame) -> None:
    intervals(axes, side_by_side(rows, _TRAINING, _COLORS, apart=0.12), upright=True)
    axes.set_xticks(range(len(RATIOS)), [f"ratio {ratio}" for ratio in RATIOS])


def overlap(networks: pd.DataFrame) -> Figure:
    """Draw the overlap of undecayed and magnitude pruning against the gradient quotient, a panel for each ratio."""
    measured, across = _measured(networks), "gradient / penalty's part"
    return draw(
        [
            Panel(partial(_draw_overlaps, ratio=ratio), measured, f"ratio {ratio}", across, "overlap")
            for ratio in RATIOS
        ],
        size=(2.7, 2.6),
        title="Share of the weights kept by undecayed pruning that magnitude pruning keeps too",
        note="A dot is a dense network. The further left it is, the nearer the gradient of its objective is to 0. "
        "Dashed: the share that chance gives.",
        sharey=True,
    )


def _draw_overlaps(axes: Axes, networks: pd.DataFrame, ratio: int) -> None:
    points(axes, networks, _QUOTIENT, f"overlap_{ratio}", by=_TRAINING, colors=_COLORS, alpha=1)
    axes.axhline(SHARE_OF_WEIGHTS[ratio], color="black", linestyle="--", linewidth=0.8)
    axes.set(xscale="log", ylim=(0, 1))
