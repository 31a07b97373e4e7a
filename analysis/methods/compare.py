"""Ways to prune compared on the same dense networks: what a pruner, its epsilon, a schedule or distillation changes."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from analysis import cells, settings
from analysis.formats import decimals, with_interval
from analysis.runs import schema
from analysis.statistics import intensification, resampling
from analysis.statistics.hypothesis_tests import LEVEL, Row, corrected, from_standard_error, paired

ACCURACY, WEAKEST, LOSS, ALPHA, ALPHA_NEW = "accuracy", "weakest_recall", "largest_loss", "alpha", "alpha_new"
OUTCOMES = (ACCURACY, WEAKEST, LOSS, ALPHA_NEW, ALPHA)
SCHEDULE, DISTILLATION, PRUNER, EPSILON, CONTROL = "schedule", "distillation", "pruner", "epsilon", "control"
METHOD_COLUMNS = [
    schema.DATASET,
    schema.MODEL,
    schema.RATIO,
    "comparison",
    "method",
    "baseline",
    "outcome",
    "primary",
    "of_method",
    "of_baseline",
    "difference",
    "difference_low",
    "difference_high",
    "statistic",
    "dof",
    "p",
    "p_holm",
    "p_permutation",
    "effect_size",
    "detectable_difference",
    "n",
    "n_at_chance",
    "resampled",
]

# Samples of the images, for a standard error alone: it is known to 3 % of itself.
_RESAMPLES = 500
_BASELINE_PRUNER = "mp"


class Primary(NamedTuple):
    """A comparison that a study was made for.

    Attributes
    ----------
    method, baseline : str
        As `cells.method` names them, without what stands there in brackets.
    ratio : float
    outcomes : tuple of str
    dataset : str, optional
        By default every data set, which are then corrected together.
    """

    method: str
    baseline: str
    ratio: float
    outcomes: tuple[str, ...]
    dataset: str | None = None


PRIMARY = Primary("mp cubic", _BASELINE_PRUNER, 20.0, (ALPHA_NEW, ACCURACY, WEAKEST))


def compare(
    runs: pd.DataFrame,
    predictions: cells.Predictions | None = None,
    *,
    primaries: Sequence[Primary] = (PRIMARY,),
) -> pd.DataFrame:
    """Every method against its baseline, seed by seed (`methods.csv`).

    A schedule is compared with one shot, a distillation with none, a pruner with magnitude pruning, an epsilon with
    the paper's, 5e-4; all else (data set, model, ratio and so on) is the same, and so are the dense networks. And each
    is compared with its control, the same fine-tuning without pruning.

    Parameters
    ----------
    runs : DataFrame
        As `analysis.pull.runs` returns it.
    predictions : callable, optional
        As for `cells.cells`. With it the interval and p of alpha_new are for new images too.
    primaries : sequence of Primary
        Each is a family, tested at a level of its own; so are all other comparisons with the control, and all the
        rest.

    Returns
    -------
    DataFrame, one row per comparison and outcome
        `METHOD_COLUMNS`. Outcomes: accuracy; weakest_recall, the lowest of a network's classes; largest_loss, the most
        that a class's recall fell; alpha_new, of all networks of the cell together; alpha, each network's. of_method
        and of_baseline are means (of alpha_new pooled), difference the first minus the second with its 95 % interval
        and two-sided p; p_holm within its family; p_permutation by sign flips of the seeds; effect_size d_z;
        detectable_difference at 80 % power and level .05 / family. n is the number of pairs. A pair with a network
        at chance has no alpha and is left out of n for alpha and alpha_new; n_at_chance counts these. NaN what
        cannot be computed; alpha_new where the classes of the dense networks cannot be told apart for noise.
        resampled: `seeds and images`, or `seeds`.
    """
    study = cells.read(runs)
    networks = [_networks(study, rows, predictions) for rows in cells.cell_rows(study)]
    planned = list(product(_pairs(study, networks), OUTCOMES))
    family = pd.Series([_family(pair, outcome, primaries) for pair, outcome in planned], dtype=object)
    sizes = family.map(family.value_counts())
    rows = [
        _row(pair, outcome, isinstance(of, Primary), size)
        for (pair, outcome), of, size in zip(planned, family, sizes, strict=True)
    ]
    frame = pd.DataFrame(rows, columns=METHOD_COLUMNS).astype({"p_holm": float})
    for members in family.groupby(family, sort=False).groups.values():
        frame.loc[members, "p_holm"] = corrected(frame.loc[members, "p"], len(members))[1]
    return frame


class _Drawn(NamedTuple):
    """The sums of alpha_new, (2, samples, seeds), of images drawn anew from those of these labels, (images,)."""

    label: np.ndarray
    sums: np.ndarray


class _Networks(NamedTuple):
    """A cell's networks, seeds ascending.

    Attributes
    ----------
    params : dict
        What the cell is.
    name : str
        Its method.
    seeds : (seeds,)
    outcomes : dict of (seeds,)
    at_chance : (seeds,), bool
    sums : (2, seeds)
        Numerator and denominator of alpha_new; NaN where it cannot be computed.
    drawn : _Drawn, optional
    """

    params: dict[str, Any]
    name: str
    seeds: np.ndarray
    outcomes: dict[str, np.ndarray]
    at_chance: np.ndarray
    sums: np.ndarray
    drawn: _Drawn | None


class _Pair(NamedTuple):
    comparison: str
    method: _Networks
    baseline: _Networks


def _networks(study: cells.Study, rows: np.ndarray, predictions: cells.Predictions | None) -> _Networks:
    seeds, first = np.unique(study.runs[schema.SEED].to_numpy()[rows], return_index=True)
    rows = rows[first]
    classes = ~np.isnan(study.before[rows[0]])
    of_cell = np.ix_(rows, classes)
    before, after = study.before[of_cell], study.after[of_cell]
    balances = study.balances(rows, classes)
    params = study.runs.iloc[rows[0]][[*settings.CELL, *study.settings]].to_dict()
    found = cells.predicted(study.runs.iloc[rows], predictions) if predictions else None
    sums, drawn = _sums(study, of_cell, found)
    return _Networks(
        params=params,
        name=settings.method(params, study.settings),
        seeds=seeds,
        outcomes={
            ACCURACY: study.accuracy_after[rows],
            WEAKEST: after.min(1),
            LOSS: (before - after).max(1),
            ALPHA: intensification.alpha(*balances),
        },
        at_chance=intensification.at_chance(study.accuracy_after[rows], int(classes.sum())),
        sums=sums,
        drawn=drawn,
    )


def _sums(
    study: cells.Study, of_cell: tuple[np.ndarray, ...], found: cells.Predicted | None
) -> tuple[np.ndarray, _Drawn | None]:
    if found:
        # The same generator for every cell: the same images are drawn for method and baseline.
        right = found.before == found.label, found.after == found.label
        sums, drawn = intensification.drawn_image_sums(found.label, *right, _RESAMPLES, np.random.default_rng(0))
        return sums[:2], _Drawn(found.label, drawn[:2])
    before, after, both_right = (values[of_cell] for values in (study.before, study.after, study.both_right))
    support = cells.common_support(study.support[of_cell])
    if support is None:
        return np.full((2, len(before)), np.nan), None
    return intensification.new_image_sums(before, after, both_right, support)[:2], None


def _pairs(study: cells.Study, networks: Sequence[_Networks]) -> Iterator[_Pair]:
    names = [*settings.CELL, *study.settings]
    of_pruners = {schema.PRUNER, *settings.pruners_own(study.runs, study.settings)}
    for comparison, param, baseline, varies in (
        (SCHEDULE, schema.SCHEDULE, schema.PAPERS[schema.SCHEDULE], settings.OF_A_SCHEDULE),
        (DISTILLATION, schema.DISTILL, schema.PAPERS[schema.DISTILL], settings.OF_FINE_TUNING),
        (PRUNER, schema.PRUNER, _BASELINE_PRUNER, of_pruners - settings.OF_A_SCHEDULE),
        (EPSILON, schema.EPSILON, str(schema.PAPERS_EPSILON), {schema.EPSILON}),
        (CONTROL, schema.PRUNER, settings.CONTROL, of_pruners | {schema.RATIO}),
    ):
        if param in names:
            fixed = [name for name in names if name not in varies]
            baselines = {_key(cell, fixed): cell for cell in networks if cell.params[param] == baseline}
            for cell in networks:
                against = baselines.get(_key(cell, fixed))
                is_control = param == schema.PRUNER and cell.params[schema.PRUNER] == settings.CONTROL
                if against and against.params[param] != cell.params[param] and not is_control:
                    yield _Pair(comparison, cell, against)


def _key(cell: _Networks, names: Sequence[str]) -> tuple:
    return tuple(None if pd.isna(cell.params[name]) else cell.params[name] for name in names)


def _family(pair: _Pair, outcome: str, primaries: Sequence[Primary]) -> Primary | str:
    """What a test is corrected with: a primary comparison, the comparisons with the control, or the rest."""
    method, baseline = (cell.name.split(" (")[0] for cell in pair[1:])
    params = pair.method.params
    for primary in primaries:
        if (
            (method, baseline, params[schema.RATIO]) == (primary.method, primary.baseline, primary.ratio)
            and outcome in primary.outcomes
            and primary.dataset in (None, params[schema.DATASET])
        ):
            return primary
    return CONTROL if pair.comparison == CONTROL else "the rest"


def _row(pair: _Pair, outcome: str, primary: bool, family: int) -> dict[str, Any]:
    method, baseline = pair.method, pair.baseline
    _, *places = np.intersect1d(method.seeds, baseline.seeds, return_indices=True)
    chance = method.at_chance[places[0]] | baseline.at_chance[places[1]]
    if outcome in (ALPHA, ALPHA_NEW):
        places = [of_one[~chance] for of_one in places]
    if outcome == ALPHA_NEW:
        means, result = _pooled(method, baseline, places, family)
    else:
        values = [cell.outcomes[outcome][of_one] for cell, of_one in zip(pair[1:], places, strict=True)]
        both = np.isfinite(values).all(0)
        means = [of_one[both].mean() if both.any() else np.nan for of_one in values]
        result = {**paired(*values, family=family), "resampled": "seeds"}
    params = method.params
    return {
        **{name: params[name] for name in (schema.DATASET, schema.MODEL, schema.RATIO)},
        "comparison": pair.comparison,
        "method": method.name,
        "baseline": baseline.name,
        "outcome": outcome,
        "primary": primary,
        "of_method": means[0],
        "of_baseline": means[1],
        **result,
        "n_at_chance": int(chance.sum()),
    }


def _pooled(
    method: _Networks, baseline: _Networks, places: Sequence[np.ndarray], family: int
) -> tuple[list[float], Row]:
    """alpha_new of either, and their difference, over the seeds at these places.

    The difference of two ratios of sums is a mean over seeds only to first order: its jackknife pseudo-values are
    what is tested. Its variance is that over seeds, plus that over images, less what is in both, a network's own
    answers to single images; and no less than either of the two.
    """
    sums = np.array([cell.sums[:, of_one] for cell, of_one in zip((method, baseline), places, strict=True)])
    n = sums.shape[2]
    known = n > 1 and all(resampling.mean_interval(of_one)[0] > 0 for of_one in sums[:, 1])
    if not known:
        return [np.nan, np.nan], {**paired([], [], family=family), "n": n, "resampled": "seeds"}
    total = sums.sum(2)
    slopes = total[:, 0] / total[:, 1]
    values = [resampling.pseudo_values(*of_one) for of_one in sums]
    result = paired(*values, family=family)
    if np.isnan(result["p"]):
        return list(slopes), {**result, "resampled": "seeds"}
    of_seeds = np.var(values[0] - values[1], ddof=1) / n
    variance, resampled = of_seeds, "seeds"
    if method.drawn and baseline.drawn and np.array_equal(method.drawn.label, baseline.drawn.label):
        drawn = [of.sums[:, :, of_one] for of, of_one in zip((method.drawn, baseline.drawn), places, strict=True)]
        of_images, of_both = _image_variances(drawn, slopes, total[:, 1] / n)
        variance, resampled = max(of_seeds + of_images - of_both, of_seeds, of_images), "seeds and images"
    dof = (n - 1) * (variance / of_seeds) ** 2
    tested = from_standard_error(float(slopes[0] - slopes[1]), float(np.sqrt(variance)), float(dof), family=family)
    return list(slopes), {**result, **tested, "resampled": resampled}


def _image_variances(drawn: Sequence[np.ndarray], slopes: np.ndarray, denominators: np.ndarray) -> tuple[float, float]:
    """Variance of the difference over images, and the part of it that is each network's own, not shared by seeds.

    Parameters
    ----------
    drawn : (2, samples, seeds), of method and of baseline
    slopes, denominators : (2,)
        Pooled slopes and mean denominators, about which the slopes are taken as linear.
    """
    linear = [
        (numerator - slope * denominator) / mean
        for (numerator, denominator), slope, mean in zip(drawn, slopes, denominators, strict=True)
    ]
    change = linear[0] - linear[1]
    change = change[np.isfinite(change).all(1)]
    mean = change.mean(1)
    own = (change - mean[:, np.newaxis]).var(0, ddof=1).sum()
    n = change.shape[1]
    return float(mean.var(ddof=1)), float(own / (n * (n - 1)))


def shown(frame: pd.DataFrame) -> pd.DataFrame:
    """A row for each comparison with a column for each outcome, as text: difference (interval).

    A `*` behind it says that Holm's p is below .05.

    Parameters
    ----------
    frame : DataFrame
        As `compare` returns it.
    """
    keys = [schema.DATASET, schema.MODEL, schema.RATIO, "method", "baseline"]
    rows = []
    for of_pair, outcomes in frame.groupby(keys, sort=False):
        row = dict(zip(keys, of_pair, strict=True))
        row[schema.RATIO] = f"{row[schema.RATIO]:g}"
        row |= {"primary": "yes" if outcomes["primary"].any() else "", "n": str(outcomes["n"].max())}
        row |= {TITLES[of["outcome"]]: _text(of) for of in outcomes.to_dict("records")}
        rows.append(row)
    return pd.DataFrame(rows)


TITLES = {
    ACCURACY: "accuracy, points",
    WEAKEST: "weakest recall, points",
    LOSS: "largest loss, points",
    ALPHA_NEW: "alpha (new)",
    ALPHA: "alpha",
}


def scale(outcome: str) -> float:
    """What an outcome is multiplied by to be shown: shares are in points."""
    return 1.0 if outcome in (ALPHA, ALPHA_NEW) else 100.0


def _text(row: Mapping[str, Any]) -> str:
    if np.isnan(row["difference"]):
        return f"n/a ({row['n_at_chance']} at chance)" if row["n_at_chance"] else "n/a"
    write = decimals(2 if scale(row["outcome"]) == 1 else 1, sign=True)
    value, low, high = (
        scale(row["outcome"]) * row[name] for name in ("difference", "difference_low", "difference_high")
    )
    told = write(value) if np.isnan(row["p"]) else with_interval(value, low, high, write)
    surely = " *" if row["p_holm"] < LEVEL else ""
    left_out = f", n {row['n']}" if row["outcome"] in (ALPHA, ALPHA_NEW) and row["n_at_chance"] else ""
    return f"{told}{surely}{left_out}"
