"""Tables and picture of training-choices/: do rare classes pay for pruning, and does it matter how networks train?"""

from collections.abc import Mapping
from pathlib import Path

import folders
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.rendering.drawing import ABOVE, NEUTRAL
from analysis.rendering.layout import Panel, draw
from analysis.rendering.panels import intervals, name_rows
from analysis.report.papers.prune_responsibly import coefficients
from analysis.report.papers.prune_responsibly.coefficients import Regression, fit_rows, fitted_rows, survival
from analysis.report.papers.prune_responsibly.levels import (
    ACCURACY,
    ACCURACY_0,
    BATCH_SIZE,
    CLASS,
    IMBALANCE,
    ITERATION,
    LEARNING_RATE,
    OPTIMIZER,
)
from analysis.runs import frames, schema
from analysis.runs.options.names import ADAM, SGD
from analysis.statistics import regression
from analysis.statistics.hypothesis_tests import corrected
from analysis.statistics.resampling import mean_interval
from analysis.study.study import StudyData

STUDY = "training-choices"
# Adam's usual rate is a tenth of SGD's. Adam's two rates in this study, times ten, are the two rates of SGD.
_RATE_OF_ADAM = 10
CHOICES = (OPTIMIZER, BATCH_SIZE, LEARNING_RATE)
_WITH, _WITHOUT = "with", "without"
_POINTS = 100
_PRINTED = "in print"
_HALVES = {
    (OPTIMIZER, SGD): "networks trained by SGD",
    (OPTIMIZER, ADAM): "networks trained by Adam",
    (BATCH_SIZE, 32): "batches of 32 images",
    (BATCH_SIZE, 128): "batches of 128 images",
    (LEARNING_RATE, 0.01): "the lower learning rate",
    (LEARNING_RATE, 0.03): "the higher learning rate",
}


def write(results: Path) -> None:
    """Write the tables and the picture of the study, if its frames are there."""
    if not folders.has_frames(results, STUDY):
        return
    study = StudyData.from_frames(folders.exported(results, STUDY))
    rows = at_own_rates(fitted_rows(study.runs, study.characteristics))
    guesses = study.runs[frames.RUN_ID].isin(study.alphas.loc[study.alphas["at_chance"], frames.RUN_ID])
    planned = at_own_rates(fitted_rows(frames.rows(study.runs, ~guesses), study.characteristics))
    fits = {_WITH: fit_rows(rows), _WITHOUT: fit_rows(rows.drop(columns=list(CHOICES)))}
    halves = imbalance_by_half(rows)
    tables = {
        "primary_tests": primary_tests(fits[_WITH]),
        "planned_primary_tests": primary_tests(fit_rows(planned)),  # without networks at chance, as planned
        "imbalance": imbalance(fits),
        "halves": halves,
        "survival": surviving_terms(fits),
        "rare_classes": rare_classes(rows),
        "class_effects": class_effects(fits[_WITH]),
        "rare_minus_common": rare_minus_common(rows),
    }
    folders.write(results / STUDY, tables, {"imbalance": figure(tables["imbalance"], halves, fits[_WITH])})


def at_own_rates(rows: pd.DataFrame) -> pd.DataFrame:
    """Multiply Adam's learning rates by ten, so that they equal those of SGD.

    Examples
    --------
    >>> at_own_rates(pd.DataFrame({"optimizer": ["sgd", "adam"], "learning_rate": [0.03, 0.003]}))
      optimizer  learning_rate
    0       sgd           0.03
    1      adam           0.03
    """
    factor = np.where(rows[OPTIMIZER] == ADAM, _RATE_OF_ADAM, 1)
    return rows.assign(**{LEARNING_RATE: (rows[LEARNING_RATE] * factor).round(12)})


def primary_tests(regressed: Regression) -> pd.DataFrame:
    """Return the coefficients of the primary outcomes, each with interval and p from the planned standard error.

    - Imbalance, in points of accuracy per point of a class's share of the training images: standard errors by class,
      one-tailed.
    - The three training choices, in points of accuracy: standard errors by dense network, two-sided, with Holm's
      correction over the choices.
    """
    terms = regressed.table.set_index("term")
    sign = coefficients.EXPECTED_SIGNS[IMBALANCE]
    row = terms.loc[IMBALANCE]
    p = regression.one_tailed(row["p_class"], row["coefficient"], sign)
    primary = [{**_estimate(regressed, IMBALANCE, "class"), "p": p, "p_holm": np.nan}]
    choices = [term for term in terms.index if term.partition("[")[0] in regression.CHOICES.values()]
    p_dense = terms.loc[choices, "p_dense"]
    for term, adjusted in zip(choices, corrected(p_dense, len(choices))[1], strict=True):
        own = _estimate(regressed, term, "dense", _POINTS)
        primary.append({**own, "p": p_dense[term], "p_holm": adjusted})
    return pd.DataFrame(primary)


def _estimate(regressed: Regression, term: str, groups: str, unit: int = 1) -> dict[str, str | float]:
    """Return a coefficient times `unit`, with its 95 % interval from the jackknife over classes or dense networks."""
    assert regressed.fitted is not None
    columns = {"class": [schema.DATASET, CLASS], "dense": [schema.DENSE_RUN_ID]}
    count = regressed.fitted.rows.groupby(columns[groups], observed=True).ngroups
    row = regressed.table.set_index("term").loc[term]
    value, error = unit * row["coefficient"], unit * row[f"se_{groups}"]
    half = float(regression.clustered_half_width(error, count))
    low, high = value - half, value + half
    return {"term": term, "coefficient": value, "low": low, "high": high, "by": groups, "groups": count}


def imbalance(fits: Mapping[str, Regression]) -> pd.DataFrame:
    """Return the coefficient of imbalance and its standard errors, by regressions with and without training choices."""
    rows = []
    for name, regressed in fits.items():
        row = regressed.table.set_index("term").loc[IMBALANCE]
        errors = {f"se_{kind}": row[f"se_{kind}"] for kind in ("network", "dense", "class")}
        rows.append({"training choices": name, **_estimate(regressed, IMBALANCE, "class"), **errors})
    return pd.DataFrame(rows).drop(columns="term")


def imbalance_by_half(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the coefficient of imbalance, with its interval over classes, in each half of the networks.

    A half contains all networks with one value of one training choice.
    """
    halves = []
    for choice in CHOICES:
        for level, own in rows.groupby(choice, observed=True):
            estimate = _estimate(fit_rows(own), IMBALANCE, "class")
            halves.append({"choice": choice, "level": level, **estimate})
    return pd.DataFrame(halves).drop(columns="term")


def surviving_terms(fits: Mapping[str, Regression]) -> pd.DataFrame:
    """Return the terms that are significant in the paper, and whether each survives in each regression."""
    columns = ["term", "coefficient", "published", "same_sign", "hac", "network", "dense", "class"]
    tables = [
        survival(regressed.table)[columns].assign(**{"training choices": name}) for name, regressed in fits.items()
    ]
    return pd.concat(tables, ignore_index=True)


def rare_classes(rows: pd.DataFrame) -> pd.DataFrame:
    """Return how many points of recall a class lacks where it is rare, before all pruning and after each pruning.

    Each class is compared with itself, in networks with the same optimizer and number of prunings. `deficit` is the
    mean over classes, with its 95 % interval.
    """
    tables = []
    for (iteration, optimizer), own in rows.groupby([ITERATION, OPTIMIZER], observed=True):
        by_class = own.assign(rare=own[IMBALANCE] < 0).groupby([CLASS, "rare"], observed=True)
        means = by_class[[ACCURACY_0, ACCURACY]].mean().unstack()
        for when, column in (("before", ACCURACY_0), ("after", ACCURACY)):
            deficits = _POINTS * (means[column][False] - means[column][True]).to_numpy()
            low, high = mean_interval(deficits)
            row = {"iteration": iteration, "optimizer": optimizer, "pruning": when}
            tables.append({**row, "deficit": deficits.mean(), "low": low, "high": high})
    return pd.DataFrame(tables)


def class_effects(regressed: Regression) -> pd.DataFrame:
    """Return the coefficient of imbalance by two regressions with an effect of each class.

    The class effects replace the intercept and the entropy, which is constant within a class. The first regression
    includes the accuracy before pruning, so its coefficient excludes what rarity does by lowering this accuracy. The
    second regression omits this accuracy. Standard errors come from the jackknife over classes. `p`
    is one-tailed, for a coefficient above 0.
    """
    fitted = regressed.fitted
    assert fitted is not None
    terms = fitted.coefficients["term"].tolist()
    label, names = fitted.rows[CLASS].astype(str).factorize()
    effects = (label[:, np.newaxis] == np.arange(len(names))).astype(float)
    outcome = fitted.rows[regression.OUTCOME].to_numpy(float)
    rows = []
    for with_accuracy in (True, False):
        left_out = {"Intercept", "class_entropy"}
        kept = [i for i, term in enumerate(terms) if term not in left_out and (with_accuracy or ACCURACY_0 not in term)]
        design = np.column_stack([fitted.design[:, kept], effects])
        place = kept.index(terms.index(IMBALANCE))
        value = np.linalg.lstsq(design, outcome)[0][place]
        without = [
            np.linalg.lstsq(design[label != each], outcome[label != each])[0][place] for each in range(len(names))
        ]
        error = np.sqrt((len(names) - 1) / len(names) * np.square(np.asarray(without) - value).sum())
        half = float(regression.clustered_half_width(error, len(names)))
        p = float(regression.clustered_p(value, error, len(names)))
        row = {"accuracy before pruning": _WITH if with_accuracy else _WITHOUT, "coefficient": value}
        p = regression.one_tailed(p, value, coefficients.EXPECTED_SIGNS[IMBALANCE])
        rows.append({**row, "low": value - half, "high": value + half, "p": p})
    return pd.DataFrame(rows)


def rare_minus_common(rows: pd.DataFrame) -> pd.DataFrame:
    """Return a class's loss of recall where it is rare minus that where it is common, in points, after each pruning.

    Each class is compared with itself, in networks with the same number of prunings. `difference` is the mean over
    classes, with its 95 % interval. Losses are counted from the dense network. No control was trained further without
    pruning, whereas the pruned networks were trained further after each pruning.
    """
    losses = rows.assign(rare=rows[IMBALANCE] < 0, loss=_POINTS * (rows[ACCURACY_0] - rows[ACCURACY]))
    tables = []
    for iteration, own in losses.groupby(ITERATION, observed=True):
        means = own.groupby([CLASS, "rare"], observed=True)["loss"].mean().unstack()
        differences = (means[True] - means[False]).to_numpy()
        low, high = mean_interval(differences)
        tables.append({"iteration": iteration, "difference": differences.mean(), "low": low, "high": high})
    return pd.DataFrame(tables)


def figure(fits: pd.DataFrame, halves: pd.DataFrame, regressed: Regression) -> Figure:
    """Draw the coefficient of imbalance as published, in all our networks, and in each half of them."""
    rows = _rows(fits, halves, regressed)
    return draw(
        [Panel(_draw, rows, "", "coefficient of imbalance")],
        size=(5.5, 3.3),
        title="What a class's share of the training images is worth after pruning",
        note="Points of accuracy per point of the training images. 95 % intervals by class.",
    )


def _draw(axes: Axes, rows: pd.DataFrame) -> None:
    intervals(axes, rows)
    name_rows(axes, rows["name"])


def _rows(fits: pd.DataFrame, halves: pd.DataFrame, regressed: Regression) -> pd.DataFrame:
    """Return the name, the value, the interval and the colour of each row of the picture."""
    printed = regressed.table.set_index("term").loc[IMBALANCE]
    names = [_PRINTED, *(f"all networks, {name} terms of training" for name in fits["training choices"])]
    names += [_HALVES[half] for half in zip(halves["choice"], halves["level"], strict=True)]
    values = pd.concat([fits, halves])[["coefficient", "low", "high"]].to_numpy()
    values = np.vstack([printed[["published", "published_low", "published_high"]].to_numpy(float), values])
    rows = pd.DataFrame(values, columns=["value", "low", "high"])
    return rows.assign(name=names, color=np.where(rows.index == 0, NEUTRAL, ABOVE))
