"""Tables of the experiments on why ours is not as print has it."""

from collections.abc import Mapping
from pathlib import Path

import folders
import numpy as np
import pandas as pd

from analysis import cells, formats, published, settings
from analysis.methods import compare as methods
from analysis.recall_distortion import claims
from analysis.recall_distortion.tables import as_up, recall_variance
from analysis.runs import schema
from analysis.statistics.intensification import alpha
from analysis.statistics.resampling import mean_interval

# By the ratio that the released code's MP and GP are asked for, that at which its UP is left about as many weights.
_UP_ASKED = {2.2: 4.0, 5.5: 10.0, 12.0: 20.0, 40.0: 50.0}


def beside_released(results: Path) -> pd.DataFrame:
    """Every cell that both protocols have, `by the paper's text / by its released code`."""
    text, released = (_means(results, name) for name in (folders.TEXT, folders.RELEASED))
    wide = (text + " / " + released).dropna().unstack(schema.RATIO).fillna("")
    wide = wide.rename(columns="t={:g}".format).rename_axis(columns=None)
    return wide.reset_index().rename(columns={schema.DATASET: "data set"})


def _means(results: Path, study: str) -> pd.Series:
    """What the networks of a cell are on average, as text, by data set, pruner, ratio and name of the mean."""
    alphas, of_cells = (folders.table(results, study, name) for name in ("alpha.csv", "cells.csv"))
    networks = alphas.merge(of_cells[[*settings.CELL, schema.REALIZED_RATIO]])
    networks = as_up(networks[networks[schema.PRUNER] != settings.CONTROL])
    cell = [schema.DATASET, schema.PRUNER, schema.RATIO]
    told = {
        key: {
            "accuracy": f"{of_cell['accuracy_after'].mean():.3f}",
            "alpha": _alpha(of_cell),
            "one weight in": f"{of_cell[schema.REALIZED_RATIO].mean():.1f}",
        }
        for key, of_cell in networks.groupby(cell)
    }
    return pd.DataFrame(told).T.rename_axis(cell).rename_axis(columns="mean").stack()


def _alpha(networks: pd.DataFrame) -> str:
    """The mean of those above chance, unless most guess, and how many do."""
    at_chance = networks["at_chance"]
    told = [f"{networks.loc[~at_chance, 'alpha'].mean():.2f}"] if at_chance.mean() <= 0.5 else []
    return ", ".join([*told, *_guessing(networks)])


def _guessing(networks: pd.DataFrame) -> list[str]:
    count = networks["at_chance"].sum()
    return [f"{count} guess"] if count else []


def at_equal_weights(results: Path) -> pd.DataFrame:
    """UP of the released code, by the ratio asked for, against its MP and GP that are left about as many weights."""
    read, predictions = folders.runs(results, folders.RELEASED, folders.RELEASED_WEIGHTS)
    up = read[read[schema.PRUNER].eq("up-signed") & read[schema.RATIO].isin(_UP_ASKED.values())]
    asked = read.assign(**{schema.RATIO: read[schema.RATIO].map(_UP_ASKED)}).dropna(subset=schema.RATIO)
    of_others = ((name, asked[asked[schema.PRUNER].eq(name)]) for name in ("mp", "gp"))
    shown = pd.concat([_up_against(up, other, predictions).assign(minus=name) for name, other in of_others])
    columns = [schema.DATASET, "minus", schema.RATIO, "one weight in", "n", *methods.TITLES.values()]
    return shown[columns].rename(columns={schema.DATASET: "data set", schema.RATIO: "UP asked for"})


def _up_against(up: pd.DataFrame, other: pd.DataFrame, predictions: cells.Predictions) -> pd.DataFrame:
    # Pruners are compared with the one that goes by the name of MP.
    runs = pd.concat([up, other.assign(**{schema.PRUNER: "mp"})], ignore_index=True)
    cell = [schema.DATASET, schema.RATIO]
    left = runs.groupby([*cell, schema.PRUNER])[schema.REALIZED_RATIO].mean().map("{:.1f}".format).unstack()
    left = (left["up-signed"] + " / " + left["mp"]).rename(index="{:g}".format, level=schema.RATIO)
    return methods.shown(methods.compare(runs, predictions)).join(left.rename("one weight in"), on=cell)


def random_pruning(studies: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """RP of ResNet-20 beside MP, ratio by ratio, and the variances of print's Table 11."""
    printed = published.table(11).set_index("Model").drop(columns="Before")
    told = {
        ("resnet56, printed", pruner, "variance"): printed.loc[f"CIFAR-10 @ ResNet-56 -> {published.label(pruner)}"]
        for pruner in _RANDOM
    }
    for name, runs in studies.items():
        for pruner, of_pruner in runs[runs[schema.PRUNER].isin(_RANDOM)].groupby(schema.PRUNER):
            place = f"resnet20, {name}", pruner
            told |= {(*place, what): texts for what, texts in _by_ratio(of_pruner.reset_index(drop=True)).items()}
            recall, balance = (
                recall_variance(of_pruner, of_balances=of).iloc[0].drop(["Model", "Before"]) for of in (False, True)
            )
            told[*place, "variance of recall / balance"] = recall + " / " + balance
    wide = pd.DataFrame(told).T.reindex(columns=printed.columns)
    wide = wide.rename(columns=lambda column: column.replace("Ratio ", "t="))
    return wide.fillna("").rename_axis(["network", "pruner", "what"]).reset_index()


_RANDOM = ("mp", "rp")


def _by_ratio(runs: pd.DataFrame) -> dict[str, pd.Series]:
    """Accuracy, and alpha of all networks, those that guess included."""
    of_ratios = cells.alphas(runs).groupby(schema.RATIO)
    told = {
        "accuracy": of_ratios["accuracy_after"].mean().map("{:.3f}".format),
        "alpha": of_ratios.apply(_alpha_of_all),
    }
    return {what: texts.rename("Ratio {:g}".format) for what, texts in told.items()}


def _alpha_of_all(networks: pd.DataFrame) -> str:
    return ", ".join([_mean(networks["alpha"]), *_guessing(networks)])


def _mean(slopes: pd.Series) -> str:
    return formats.with_interval(slopes.mean(), *mean_interval(slopes), formats.decimals(2, sign=True))


def origin(runs: pd.DataFrame) -> pd.DataFrame:
    """Slope of the half of all points nearest to the origin minus that of the others, under MP and its control.

    And, of the control, the slope of the classes' means over networks, and of what a network has beside them.
    """
    rows = []
    for dataset, of_dataset in runs[runs[schema.PRUNER].isin(["mp", settings.CONTROL])].groupby(schema.DATASET):
        networks = claims.measured(of_dataset.reset_index(drop=True)).set_index(schema.SEED)
        bends = {
            "none" if ratio == 1 else f"t={ratio:g}": of_cell["near"] - of_cell["far"]
            for ratio, of_cell in networks.groupby(schema.RATIO)
            if of_cell["at_chance"].mean() <= 0.5
        }
        beyond = {name: bend - bends["none"] for name, bend in bends.items() if name != "none"}
        of_means, of_rest = _of_means_and_rest(of_dataset[of_dataset[schema.PRUNER].eq(settings.CONTROL)])
        slopes = {"none, class means": f"{of_means:.2f}", "none, the rest": f"{of_rest:.2f}"}
        rows += [
            {"data set": dataset, "": what} | {name: _mean(of.dropna()) for name, of in told.items()} | more
            for what, told, more in (("near minus far", bends, slopes), ("the same beyond none", beyond, {}))
        ]
    return pd.DataFrame(rows).fillna("")


def _of_means_and_rest(runs: pd.DataFrame) -> tuple[float, float]:
    study = cells.read(runs.reset_index(drop=True))
    before, after = study.balances(np.arange(len(runs)), ~np.isnan(study.before[0]))
    of_means = alpha(before.mean(0), after.mean(0))
    of_rest = alpha((before - before.mean(0)).ravel(), (after - after.mean(0)).ravel())
    return float(of_means), float(of_rest)
