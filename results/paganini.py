"""Iterative pruning as in Paganini (2020): tables and picture of training-choices/ and prune-responsibly/."""

from dataclasses import replace
from functools import cache

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from of_analysis import (
    ABOVE,
    CONTROL,
    NEUTRAL,
    Panel,
    ReportOptions,
    StudyData,
    coefficients,
    draw,
    found_units,
    frames,
    intervals,
    levels,
    mean_interval,
    name_rows,
    regression,
)
from published import Study, fits

# Adam's usual rate is a tenth of SGD's. Adam's two rates in training-choices/, times ten, are the two rates of SGD.
_RATE_OF_ADAM = 10
_KEEP = 0.3  # share of the weights that each pruning in training-choices/ keeps
_CHOICES = {
    "optimizer[T.adam]": "Adam in place of SGD",
    "np.log2(batch_size)": "batches of twice as many images",
    "np.log10(learning_rate)": "ten times the learning rate",
}
_HALVES = {
    "networks trained by SGD": (levels.OPTIMIZER, "sgd"),
    "networks trained by Adam": (levels.OPTIMIZER, "adam"),
    "batches of 32 images": (levels.BATCH_SIZE, 32),
    "batches of 128 images": (levels.BATCH_SIZE, 128),
    "the lower learning rate": (levels.LEARNING_RATE, 0.01),
    "the higher learning rate": (levels.LEARNING_RATE, 0.03),
}
_IMBALANCE, _BY_CLASS = levels.IMBALANCE, ["dataset", levels.CLASS]


@cache
def class_rows(study: Study, *, at_chance: bool = True) -> pd.DataFrame:
    """Return the rows of the regression: a class of a pruned network each. `at_chance` includes networks at chance."""
    data = StudyData.from_frames(study.frames().paths)
    runs = data.runs if at_chance else frames.rows(data.runs, ~data.arrays.at_chance)
    return at_own_rates(coefficients.fitted_rows(runs, data.characteristics))


def at_own_rates(rows: pd.DataFrame) -> pd.DataFrame:
    """Multiply Adam's learning rates by ten, so that they equal those of SGD.

    Examples
    --------
    >>> at_own_rates(pd.DataFrame({"optimizer": ["sgd", "adam"], "learning_rate": [0.03, 0.003]}))
      optimizer  learning_rate
    0       sgd           0.03
    1      adam           0.03
    """
    factor = np.where(rows[levels.OPTIMIZER] == "adam", _RATE_OF_ADAM, 1)
    return rows.assign(**{levels.LEARNING_RATE: (rows[levels.LEARNING_RATE] * factor).round(12)})


@cache
def terms(study: Study) -> pd.DataFrame:
    """Return the coefficients of the regression and their p, beside those in print."""
    return coefficients.fit_rows(class_rows(study)).table


def survivors(study: Study) -> pd.DataFrame:
    """Count published coefficients that have the same sign and are significant, by kind of standard errors."""
    found, kinds = coefficients.survival(terms(study)), ("hac", "network", "dense", "class")
    return pd.DataFrame({"errors": kinds, "survive": [found[kind].sum() for kind in kinds], "n": len(found)})


def imbalance_on_mnist(study: Study) -> pd.DataFrame:
    """Return the coefficient of imbalance by a regression of MNIST alone, with its one-tailed p, clustered by class."""
    rows = class_rows(study)
    return _fit(rows[rows["dataset"].eq("mnist")], _BY_CLASS, one_tailed=True).loc[[_IMBALANCE]]


def primary(study: Study) -> pd.DataFrame:
    """Return the coefficients of the primary outcomes of training-choices/, each with interval and p, as planned.

    - Imbalance, in points of accuracy per point of a class's share of the training images: standard errors by class,
      one-tailed.
    - The three training choices, in points of accuracy: standard errors by dense network, two-sided.
    """
    tables = []
    for networks, at_chance in (("all networks", True), ("without networks at chance", False)):
        rows = class_rows(study, at_chance=at_chance)
        of_choices = _fit(rows, ["dense_run_id"]).loc[[*_CHOICES]].rename(_CHOICES)
        of_choices[["coefficient", "low", "high"]] *= 100
        of_imbalance = _fit(rows, _BY_CLASS, one_tailed=True).loc[[_IMBALANCE]]
        tables.append(pd.concat([of_imbalance, of_choices]).assign(networks=networks).reset_index())
    return pd.concat(tables)


def _fit(rows: pd.DataFrame, groups: list[str], *, one_tailed: bool = False) -> pd.DataFrame:
    """Fit the regression, with standard errors, 95 % intervals and p by the jackknife over groups; indexed by term."""
    fit = regression.estimate(rows)
    group = fit.rows.groupby(groups, observed=True).ngroup()
    table = fit.coefficients.set_index("term")[["coefficient"]].assign(n=group.nunique())
    table["error"] = regression.jackknife_errors(fit, group)
    half = regression.clustered_half_width(table["error"], group.nunique())
    p = regression.clustered_p(table["coefficient"], table["error"], group.nunique())
    p = np.where(table["coefficient"] > 0, p / 2, 1 - p / 2) if one_tailed else p
    return table.assign(low=table["coefficient"] - half, high=table["coefficient"] + half, p=p)


@cache
def imbalance(study: Study) -> pd.DataFrame:
    """Return the coefficient of imbalance with its interval over classes: in print, in all networks, and in halves.

    A half contains all networks with one value of one training choice.
    """
    rows = class_rows(study)
    parts = {
        "all networks, with terms of training": rows,
        "all networks, without terms of training": rows.drop(columns=[*regression.CHOICES]),
        **{name: rows[rows[choice] == level] for name, (choice, level) in _HALVES.items()},
    }
    found = pd.concat([_fit(own, _BY_CLASS).loc[[_IMBALANCE]] for own in parts.values()]).assign(networks=[*parts])
    names = {"published": "coefficient", "published_low": "low", "published_high": "high"}
    printed = terms(study).set_index("term").loc[[_IMBALANCE], [*names]].rename(columns=names)
    return pd.concat([printed.assign(networks="in print"), found], ignore_index=True)


def figure(study: Study) -> Figure:
    """Draw the coefficient of imbalance as published, in all our networks, and in each half of them."""
    rows = imbalance(study).rename(columns={"coefficient": "value"})
    rows = rows.assign(color=np.where(rows.index == 0, NEUTRAL, ABOVE))
    return draw(
        [Panel(_draw, rows, "", "coefficient of imbalance")],
        size=(5.5, 3.3),
        title="What a class's share of the training images is worth after pruning",
        note="Points of accuracy per point of the training images. 95 % intervals by class.",
    )


def _draw(axes: Axes, rows: pd.DataFrame) -> None:
    intervals(axes, rows[["value", "low", "high", "color"]])
    name_rows(axes, rows["networks"])


def class_effects(study: Study) -> pd.DataFrame:
    """Return the coefficient of imbalance by two regressions with an effect of each class.

    The class effects replace the intercept and the entropy, which is constant within a class. The first regression
    includes the accuracy before pruning, so its coefficient excludes what rarity does by lowering this accuracy. The
    second regression omits this accuracy. Standard errors come from the jackknife over classes. `p` is one-tailed, for
    a coefficient above 0.
    """
    fitted = regression.estimate(class_rows(study))
    names = fitted.coefficients["term"].tolist()
    label = fitted.rows[levels.CLASS].astype(str).factorize()[0]
    n = label.max() + 1
    outcome = fitted.rows[regression.OUTCOME].to_numpy(float)
    found = []
    for accuracy in ("with", "without"):
        left_out = [] if accuracy == "with" else [name for name in names if levels.ACCURACY_0 in name]
        kept = [i for i, name in enumerate(names) if name not in ("Intercept", levels.ENTROPY, *left_out)]
        design = np.column_stack([fitted.design[:, kept], label[:, np.newaxis] == np.arange(n)])
        values = [
            np.linalg.lstsq(design[label != each], outcome[label != each])[0][kept.index(names.index(_IMBALANCE))]
            for each in (-1, *range(n))  # first without leaving out a class
        ]
        error = np.sqrt((n - 1) / n * np.square(np.array(values[1:]) - values[0]).sum())
        half = float(regression.clustered_half_width(error, n))
        p = regression.one_tailed(float(regression.clustered_p(values[0], error, n)), values[0], 1)
        row = {"accuracy": f"{accuracy} accuracy before pruning", "coefficient": values[0]}
        found.append(row | {"coefficient_low": values[0] - half, "coefficient_high": values[0] + half, "p": p, "n": n})
    return pd.DataFrame(found)


def rare_classes(study: Study) -> pd.DataFrame:
    """Compare each class where it is rare with itself where it is common, in points of recall, after each pruning.

    Returns
    -------
    DataFrame
        Means over classes with 95 % intervals, for each share of `weights_left`, and for all networks (`optimizer` is
        empty) or those of one optimizer: `deficit_before` all pruning and `deficit_after`, which are the recall where
        common minus the recall where rare, and `more_lost` where rare. Losses are counted from the dense network.
    """
    rows, found = class_rows(study), []
    rows = rows.assign(rare=rows[_IMBALANCE] < 0)
    for optimizer, networks in [("", rows), *rows.groupby(levels.OPTIMIZER, observed=True)]:
        for iteration, own in networks.groupby(levels.ITERATION):
            by_class = own.groupby([levels.CLASS, "rare"], observed=True)[[levels.ACCURACY_0, levels.ACCURACY]]
            means = 100 * by_class.mean().unstack()
            before, after = (means[name][False] - means[name][True] for name in (levels.ACCURACY_0, levels.ACCURACY))
            row = {"optimizer": optimizer, "weights_left": f"{100 * _KEEP**iteration:.2g} %", "n": len(means)}
            for name, values in {"deficit_before": before, "deficit_after": after, "more_lost": after - before}.items():
                low, high = mean_interval(values)
                row |= {name: values.mean(), f"{name}_low": low, f"{name}_high": high}
            found.append(row)
    return pd.DataFrame(found)


# Which classes and writers pay.


def paying_classes(study: Study) -> pd.DataFrame:
    """Return the excess loss of the class that study.yaml names for each data set, since the dense network, in points.

    Returns
    -------
    DataFrame
        dataset, class, excess_loss: the mean over techniques that lose more than 5 points of accuracy, whose number is
        n; control: the larger excess loss of the two controls.
    """
    arrays, rows = study.arrays, []
    for dataset, name in study.spec["named"].items():
        place, accuracy_loss = list(arrays.names).index(name), arrays.accuracy_before - arrays.accuracy_after
        excess = arrays.before[:, place] - arrays.after[:, place] - accuracy_loss
        own = arrays.runs.assign(excess=100 * excess, loss=100 * accuracy_loss).query(f"dataset == '{dataset}'")
        means = own.groupby(["pruner", frames.column("weight_treatment")])[["excess", "loss"]].mean()
        paying = means.drop(CONTROL).query("loss > 5")["excess"]
        row = {"dataset": dataset, "class": name, "excess_loss": paying.mean(), "n": len(paying)}
        rows.append(row | {"control": means.loc[CONTROL, "excess"].max()})
    return pd.DataFrame(rows)


@cache
def writers(study: Study) -> pd.DataFrame:
    """Return the 5 % of writers that lose most in each network of the primary outcome, and their accuracies, in points.

    Returns
    -------
    DataFrame
        seed, group (the writer), loss, before and after, each also in the other network (`_elsewhere`), and `beyond`,
        the loss in the other network minus the mean loss of all writers there.
    """
    data = StudyData.from_frames(study.frames().paths)
    chosen = {"dataset": "mnist", "pruner": "global-unstructured", "weight_treatment": "rewind", "iteration": 19}
    runs = data.runs[fits(data.runs, chosen)].reset_index(drop=True)
    options = ReportOptions(groups={"mnist": study.folder / "groups" / "mnist.csv"})
    (found,) = found_units(replace(data, runs=runs, options=options))
    mean_losses = dict(zip(runs["seed"], (found.units.before - found.units.after).mean(1), strict=True))
    elsewhere = found.worst["seed"].map({seed: mean_losses[1 - seed] for seed in mean_losses})
    table = found.worst.assign(beyond=found.worst["loss_elsewhere"] - elsewhere)
    values = [name for name in table if name.split("_")[0] in ("before", "after", "loss", "beyond")]
    return table.assign(**100 * table[values])


def writers_elsewhere(study: Study) -> pd.DataFrame:
    """Return the mean of `beyond` of `writers` for each seed, with its interval over writers."""
    rows = []
    for seed, own in writers(study).groupby("seed"):
        low, high = mean_interval(own["beyond"])
        row = {"seed": seed, "beyond": own["beyond"].mean(), "beyond_low": low, "beyond_high": high}
        rows.append(row | {"n": len(own)})
    return pd.DataFrame(rows)
