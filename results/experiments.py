"""Tables of the experiments on why our values differ from the printed ones."""

from collections.abc import Mapping
from pathlib import Path

import folders
import numpy as np
import pandas as pd

from analysis.rendering import formats
from analysis.report import published
from analysis.report.methods import compare as methods
from analysis.report.methods import tables
from analysis.report.papers.recall_distortion import claims
from analysis.report.papers.recall_distortion.tables import recall_variance
from analysis.runs import schema
from analysis.statistics.intensification import alpha
from analysis.statistics.resampling import mean_interval
from analysis.study import cells, settings
from analysis.study.arrays import run_arrays
from analysis.study.predictions import StudyPredictions

# Ratio asked of the released code's UP -> ratio at which its MP and GP keep about as many weights.
_RATIOS = {4.0: 2.2, 10.0: 5.5, 20.0: 12.0, 50.0: 40.0}


def beside_released(results: Path) -> pd.DataFrame:
    """Return the means of each cell that both recipes have, as `by the paper's text / by its released code`."""
    text, released = (_means(results, name) for name in (folders.TEXT, folders.RELEASED))
    wide = (text + " / " + released).dropna().unstack(schema.RATIO).fillna("")
    wide = wide.rename(columns="t={:g}".format).rename_axis(columns=None)
    return wide.reset_index().rename(columns={schema.DATASET: "data set"})


def _means(results: Path, study: str) -> pd.Series:
    """Format each cell's means over networks, by data set, pruner (its name in the paper), ratio and quantity."""
    alphas, by_cell = (folders.table(results, study, name) for name in ("alpha.csv", "cells.csv"))
    networks = alphas.merge(by_cell[[*settings.CELL, schema.REALIZED_RATIO]])
    networks = networks[networks[schema.PRUNER] != settings.CONTROL]
    up = published.standing_for_up(set(networks[schema.PRUNER]))
    by_method = {
        (dataset, "up" if pruner == up else pruner, ratio): {
            "accuracy": f"{rows['accuracy_after'].mean():.3f}",
            "alpha": describe_alpha(rows),
            "one weight in": f"{rows[schema.REALIZED_RATIO].mean():.1f}",
        }
        for (dataset, pruner, ratio), rows in networks.groupby([schema.DATASET, schema.PRUNER, schema.RATIO])
    }
    means = pd.DataFrame(by_method).T.rename_axis([schema.DATASET, schema.PRUNER, schema.RATIO])
    return means.rename_axis(columns="mean").stack()


def describe_alpha(networks: pd.DataFrame) -> str:
    """Format the mean alpha of the networks above chance, unless they are a minority, and the number at chance."""
    at_chance = networks["at_chance"]
    texts = [f"{networks.loc[~at_chance, 'alpha'].mean():.2f}"] if at_chance.mean() <= 0.5 else []
    return ", ".join([*texts, *_count_at_chance(networks)])


def _count_at_chance(networks: pd.DataFrame) -> list[str]:
    count = networks["at_chance"].sum()
    return [f"{count} at chance"] if count else []


def at_equal_weights(results: Path) -> pd.DataFrame:
    """Compare UP of the released code, at each ratio asked for, with MP and GP that keep about as many weights."""
    runs, predictions = folders.runs(results, folders.RELEASED, folders.RELEASED_WEIGHTS)
    up = runs[runs[schema.PRUNER].eq("up-signed") & runs[schema.RATIO].isin(_RATIOS)]
    others = runs[runs[schema.RATIO].isin(_RATIOS.values())]
    shared = StudyPredictions(predictions)  # the networks of UP are in both comparisons
    compared = pd.concat(
        _up_minus(up, others[others[schema.PRUNER].eq(name)], shared).assign(minus=name) for name in ("mp", "gp")
    )
    columns = [schema.DATASET, "minus", schema.RATIO, "one weight in", "n", *tables.TITLES.values()]
    return compared[columns].rename(columns={schema.DATASET: "data set", schema.RATIO: "UP asked for"})


def _up_minus(up: pd.DataFrame, other: pd.DataFrame, predictions: StudyPredictions) -> pd.DataFrame:
    runs = pd.concat([up, other], ignore_index=True)
    compared = methods.compare(
        run_arrays(runs), predictions, baseline=other[schema.PRUNER].iloc[0], baseline_ratios=_RATIOS, primaries=[]
    )
    realized = [rows.groupby([schema.DATASET, schema.RATIO])[schema.REALIZED_RATIO].mean() for rows in (up, other)]
    realized[1] = realized[1].rename({ratio: target for target, ratio in _RATIOS.items()}, level=schema.RATIO)
    first, second = (means.map("{:.1f}".format) for means in realized)
    weights_left = (first + " / " + second).rename(index="{:g}".format, level=schema.RATIO)
    return tables.shown(compared).join(weights_left.rename("one weight in"), on=[schema.DATASET, schema.RATIO])


def random_pruning(studies: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Return accuracy, slopes and variances of MP and RP on ResNet-20 at each ratio, and the variances in print."""
    printed = published.table(11).set_index("Model").drop(columns="Before")
    by_method = {
        ("resnet56, printed", pruner, "variance"): printed.loc[f"CIFAR-10 @ ResNet-56 -> {published.label(pruner)}"]
        for pruner in _RANDOM
    }
    for name, runs in studies.items():
        for pruner, rows in runs[runs[schema.PRUNER].isin(_RANDOM)].groupby(schema.PRUNER):
            place = f"resnet20, {name}", pruner
            by_method |= {(*place, what): texts for what, texts in _by_ratio(rows.reset_index(drop=True)).items()}
            recall, balance = (
                recall_variance(rows, balances=balances).iloc[0].drop(["Model", "Before"]) for balances in (False, True)
            )
            by_method[*place, "variance of recall / balance"] = recall + " / " + balance
    wide = pd.DataFrame(by_method).T.reindex(columns=printed.columns)
    wide = wide.rename(columns=lambda column: column.replace("Ratio ", "t="))
    return wide.fillna("").rename_axis(["network", "pruner", "what"]).reset_index()


_RANDOM = ("mp", "rp")


def _by_ratio(runs: pd.DataFrame) -> dict[str, pd.Series]:
    """Format the accuracy, the slopes of networks above chance, and the number of networks with alpha below 0."""
    by_ratio = cells.alphas(run_arrays(runs)).groupby(schema.RATIO)
    by_name = {
        "accuracy": by_ratio["accuracy_after"].mean().map("{:.3f}".format),
        "alpha": by_ratio.apply(_mean_above_chance, "alpha"),
        "raw slope": by_ratio.apply(_mean_above_chance, "raw_slope"),
        "alpha below 0": by_ratio["alpha"].apply(lambda slopes: f"{(slopes < 0).sum()} of {len(slopes)}"),
    }
    return {what: texts.rename("Ratio {:g}".format) for what, texts in by_name.items()}


def _mean_above_chance(networks: pd.DataFrame, name: str) -> str:
    sound = networks.loc[~networks["at_chance"], name]
    texts = [_mean(sound)] if 2 * len(sound) >= len(networks) else []
    return ", ".join([*texts, *_count_at_chance(networks)])


def _mean(slopes: pd.Series) -> str:
    return formats.with_interval(slopes.mean(), *mean_interval(slopes), formats.decimals(2, sign=True))


def origin(runs: pd.DataFrame) -> pd.DataFrame:
    """Compare the slope of the half of all points that is nearest to the origin with the slope of the other half.

    A point is a class of a network. The networks are those of MP and controls (`none`). For controls, also return the
    slope of the classes' means over networks, and the slope of the deviations from these means.
    """
    rows = []
    for dataset, chosen in runs[runs[schema.PRUNER].isin(["mp", settings.CONTROL])].groupby(schema.DATASET):
        networks = claims.measured(chosen.reset_index(drop=True)).set_index(schema.SEED)
        bends = {
            "none" if ratio == 1 else f"t={ratio:g}": cell["near"] - cell["far"]
            for ratio, cell in networks.groupby(schema.RATIO)
            if cell["at_chance"].mean() <= 0.5
        }
        beyond = {name: bend - bends["none"] for name, bend in bends.items() if name != "none"}
        means, rest = _means_and_rest(chosen[chosen[schema.PRUNER].eq(settings.CONTROL)])
        slopes = {"none, class means": f"{means:.2f}", "none, deviations from the means": f"{rest:.2f}"}
        rows += [
            {"data set": dataset, "": what} | {name: _mean(bend.dropna()) for name, bend in curves.items()} | more
            for what, curves, more in (
                ("near minus far", bends, slopes),
                ("near minus far, minus that of none", beyond, {}),
            )
        ]
    return pd.DataFrame(rows).fillna("")


def _means_and_rest(runs: pd.DataFrame) -> tuple[float, float]:
    study = run_arrays(runs.reset_index(drop=True))
    before, after = study.balances(np.arange(len(runs)), ~np.isnan(study.before[0]))
    means = alpha(before.mean(0), after.mean(0))
    rest = alpha((before - before.mean(0)).ravel(), (after - after.mean(0)).ravel())
    return float(means), float(rest)
