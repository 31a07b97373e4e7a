"""Methods compared on the same dense networks: what a pruner, its epsilon, a schedule or distillation changes."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from analysis import settings
from analysis.arrays import Predicted, RunArrays, common_support, predicted, run_arrays
from analysis.formats import decimals, with_interval
from analysis.runs import frames, schema
from analysis.runs.frames import ReadPredictions
from analysis.settings import CELL, CellKey
from analysis.statistics import intensification, resampling
from analysis.statistics.hypothesis_tests import LEVEL, Row, corrected, from_standard_error, paired

ACCURACY, WEAKEST, LOSS, ALPHA, ALPHA_NEW = "accuracy", "weakest_recall", "largest_loss", "alpha", "alpha_new"
OUTCOMES = (ACCURACY, WEAKEST, LOSS, ALPHA_NEW, ALPHA)
# Kinds of comparison.
SCHEDULE, DISTILLATION, PRUNER, EPSILON, AGAINST_CONTROL = "schedule", "distillation", "pruner", "epsilon", "control"
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

# Bootstrap samples of the images serve only for a standard error, which 500 samples determine to 3 %.
_RESAMPLES = 500


class Primary(NamedTuple):
    """A comparison that a study was made for.

    Attributes
    ----------
    comparison : str
        Kind of comparison: `SCHEDULE`, `DISTILLATION`, `PRUNER`, `EPSILON` or `AGAINST_CONTROL`, the control.
    pruner : str
        Pruner of the method.
    ratio : float
    outcomes : tuple of str
    dataset : str, optional
        By default every data set. Their tests are then corrected together.
    schedule, distill : str
        Schedule and distillation of the method; by default the papers'.
    """

    comparison: str
    pruner: str
    ratio: float
    outcomes: tuple[str, ...]
    dataset: str | None = None
    schedule: str = schema.FORMERLY[schema.SCHEDULE]
    distill: str = schema.FORMERLY[schema.DISTILL]


PRIMARY = Primary(SCHEDULE, "mp", 20.0, (ALPHA_NEW, ACCURACY, WEAKEST), schedule="cubic")


def compare(
    runs: pd.DataFrame,
    predictions: ReadPredictions | None = None,
    *,
    baseline: str = "mp",
    baseline_ratios: Mapping[float, float] = MappingProxyType({}),
    primaries: Sequence[Primary] = (PRIMARY,),
) -> pd.DataFrame:
    """Compare every method with its baseline, network by network (`methods.csv`).

    A schedule is compared with one shot, a distillation with none, a pruner with a baseline pruner, an epsilon with
    the papers', 5e-4. Everything else (data set, model, ratio and so on) is the same, and so are the dense networks.
    Each method is also compared with its control, the same fine-tuning without pruning.

    Parameters
    ----------
    runs : DataFrame
        As `analysis.runs.pull.runs` returns it.
    predictions : callable, optional
        As for `cells.cells`. With it the interval and p of alpha_new are for new images too.
    baseline : str
        The pruner with which the other pruners are compared; by default magnitude pruning.
    baseline_ratios : mapping of float to float
        The baseline pruner's ratio that a ratio of the other pruners is compared with; by default the same ratio.
    primaries : sequence of Primary
        Each is a family of tests, corrected together; all other comparisons with the control are another family, and
        all remaining ones are the last.

    Returns
    -------
    DataFrame, one row per comparison and outcome
        `METHOD_COLUMNS`, among them:

        - outcome: accuracy; weakest_recall, the lowest of a network's classes; largest_loss, the most that a class's
          recall fell; alpha_new, of all networks of the cell together; alpha, of each network.
        - of_method, of_baseline: means over the networks; pooled for alpha_new.
        - difference: of_method minus of_baseline, with its 95 % interval and two-sided p. p_holm is corrected within
          its family. p_permutation flips the signs of the seeds' differences.
        - effect_size: d_z.
        - detectable_difference: at 80 % power and level .05 / family.
        - n: the number of pairs. alpha and alpha_new leave out a pair with a network at chance, which has no alpha;
          n_at_chance counts such pairs.
        - resampled: `seeds and images`, or `seeds`.

        A value that cannot be computed is NaN. alpha_new cannot be computed where noise hides the differences between
        the classes of the dense networks.
    """
    study = run_arrays(runs)
    cells = [_cell(study, rows, predictions) for rows in study.cells()]
    planned = list(product(_pairs(study.runs, cells, baseline, baseline_ratios), OUTCOMES))
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
    """Labels of the test images, (images,), and the sums of alpha_new, (2, samples, networks), of bootstrap samples."""

    label: np.ndarray
    sums: np.ndarray


class _Cell(NamedTuple):
    """A cell and its networks, in the order of their seeds.

    Attributes
    ----------
    key : CellKey
    label : str
        How its method is shown.
    networks : Index
    outcomes : dict of (networks,)
    at_chance : (networks,), bool
    sums : (2, networks)
        Numerator and denominator of alpha_new; NaN where it cannot be computed.
    drawn : _Drawn, optional
    """

    key: CellKey
    label: str
    networks: pd.Index
    outcomes: dict[str, np.ndarray]
    at_chance: np.ndarray
    sums: np.ndarray
    drawn: _Drawn | None


class _Pair(NamedTuple):
    comparison: str
    method: _Cell
    baseline: _Cell


def _cell(study: RunArrays, rows: np.ndarray, predictions: ReadPredictions | None) -> _Cell:
    index = settings.networks(study.runs.iloc[rows])
    first = np.flatnonzero(~index.duplicated())
    first = first[index[first].argsort()]
    rows = rows[first]
    classes = ~np.isnan(study.before[rows[0]])
    part = np.ix_(rows, classes)
    before, after = study.before[part], study.after[part]
    run = study.runs.iloc[rows[0]]
    found = predicted(study.runs.iloc[rows], predictions) if predictions else None
    sums, drawn = _sums(study, part, found)
    return _Cell(
        key=CellKey.from_run(run, settings.further_settings(study.runs)),
        label=settings.method_label(run, study.shown),
        networks=index[first],
        outcomes={
            ACCURACY: study.accuracy_after[rows],
            WEAKEST: after.min(1),
            LOSS: (before - after).max(1),
            ALPHA: intensification.alpha(*study.balances(rows, classes)),
        },
        at_chance=intensification.at_chance(study.accuracy_after[rows], int(classes.sum())),
        sums=sums,
        drawn=drawn,
    )


def _sums(study: RunArrays, part: tuple[np.ndarray, ...], found: Predicted | None) -> tuple[np.ndarray, _Drawn | None]:
    if found:
        # The same generator for every cell draws the same images for method and baseline.
        right = found.before == found.label, found.after == found.label
        sums, drawn = intensification.drawn_image_sums(found.label, *right, _RESAMPLES, np.random.default_rng(0))
        return sums[:2], _Drawn(found.label, drawn[:2])
    before, after, both_right = (values[part] for values in (study.before, study.after, study.both_right))
    support = common_support(study.support[part])
    if support is None:
        return np.full((2, len(before)), np.nan), None
    return intensification.new_image_sums(before, after, both_right, support)[:2], None


def _pairs(
    runs: pd.DataFrame, cells: Sequence[_Cell], baseline: str, baseline_ratios: Mapping[float, float]
) -> Iterator[_Pair]:
    every = {*CELL, *map(frames.param, settings.further_settings(runs))}
    pruners = {schema.PRUNER, *map(frames.param, settings.pruner_settings(runs, lacked_by=baseline))}
    unpruned = every - set(map(frames.param, settings.control_columns(runs)))
    former = schema.FORMERLY
    for comparison, param, value, varying in (
        (SCHEDULE, schema.SCHEDULE, former[schema.SCHEDULE], {schema.SCHEDULE, *schema.details(schema.SCHEDULE)}),
        (DISTILLATION, schema.DISTILL, former[schema.DISTILL], {schema.DISTILL, *schema.details(schema.DISTILL)}),
        (PRUNER, schema.PRUNER, baseline, pruners),
        (EPSILON, schema.EPSILON, str(schema.PAPERS_EPSILON), {schema.EPSILON}),
        (AGAINST_CONTROL, schema.PRUNER, settings.CONTROL, unpruned),
    ):
        baselines: dict[frozenset[tuple[str, Any]], list[_Cell]] = {}
        for cell in cells:
            if cell.key.params.get(param) == value:
                baselines.setdefault(cell.key.without(varying), []).append(cell)
        for cell in cells:
            key = cell.key
            if comparison == PRUNER:
                key = key._replace(ratio=baseline_ratios.get(key.ratio, key.ratio))
            against = _nearest(key, baselines.get(key.without(varying), []))
            is_control = param == schema.PRUNER and key.pruner == settings.CONTROL
            if against and cell.key.params.get(param) != value and not is_control:
                yield _Pair(comparison, cell, against)


def _nearest(key: CellKey, baselines: Sequence[_Cell]) -> _Cell | None:
    """Return the baseline that has most settings in common with a cell; None if two have as many."""
    shared = [len(key.without(set()) & cell.key.without(set())) for cell in baselines]
    return baselines[shared.index(max(shared))] if shared.count(max(shared, default=0)) == 1 else None


def _family(pair: _Pair, outcome: str, primaries: Sequence[Primary]) -> Primary | str:
    """Return the family of a test: a primary comparison, the comparisons with the control, or the rest."""
    params = pair.method.key.params
    how = {name: params.get(name, former) for name, former in schema.FORMERLY.items()}
    for primary in primaries:
        if (
            (pair.comparison, params[schema.PRUNER], params[schema.RATIO]) == primary[:3]
            and how == schema.FORMERLY | {schema.SCHEDULE: primary.schedule, schema.DISTILL: primary.distill}
            and outcome in primary.outcomes
            and primary.dataset in (None, params[schema.DATASET])
        ):
            return primary
    return AGAINST_CONTROL if pair.comparison == AGAINST_CONTROL else "the rest"


def _row(pair: _Pair, outcome: str, primary: bool, family: int) -> dict[str, Any]:
    method, baseline = pair.method, pair.baseline
    shared = method.networks.intersection(baseline.networks)
    places = [cell.networks.get_indexer(shared) for cell in (method, baseline)]
    chance = method.at_chance[places[0]] | baseline.at_chance[places[1]]
    if outcome in (ALPHA, ALPHA_NEW):
        places = [rows[~chance] for rows in places]
    if outcome == ALPHA_NEW:
        means, result = _pooled(method, baseline, places, family)
    else:
        values = [cell.outcomes[outcome][rows] for cell, rows in zip(pair[1:], places, strict=True)]
        both = np.isfinite(values).all(0)
        means = [outcomes[both].mean() if both.any() else np.nan for outcomes in values]
        result = {**paired(*values, family=family), "resampled": "seeds"}
    return {
        **{name: method.key.params[name] for name in (schema.DATASET, schema.MODEL, schema.RATIO)},
        "comparison": pair.comparison,
        "method": method.label,
        "baseline": baseline.label,
        "outcome": outcome,
        "primary": primary,
        "of_method": means[0],
        "of_baseline": means[1],
        **result,
        "n_at_chance": int(chance.sum()),
    }


def _pooled(method: _Cell, baseline: _Cell, places: Sequence[np.ndarray], family: int) -> tuple[list[float], Row]:
    """Return alpha_new of either cell, and the test of their difference, over the networks at these places.

    The difference of two ratios of sums is a mean over seeds only to first order, so that its jackknife pseudo-values
    are tested. Its variance is the variance over seeds plus that over images, minus what both contain, a network's own
    answers to single images. It is at least as large as either of the two.
    """
    sums = np.array([cell.sums[:, rows] for cell, rows in zip((method, baseline), places, strict=True)])
    n = sums.shape[2]
    known = n > 1 and all(resampling.mean_interval(denominators)[0] > 0 for denominators in sums[:, 1])
    if not known:
        return [np.nan, np.nan], {**paired([], [], family=family), "n": n, "resampled": "seeds"}
    total = sums.sum(2)
    slopes = total[:, 0] / total[:, 1]
    values = [resampling.pseudo_values(numerators, denominators) for numerators, denominators in sums]
    result = paired(*values, family=family)
    if np.isnan(result["p"]):
        return list(slopes), {**result, "resampled": "seeds"}
    over_seeds = np.var(values[0] - values[1], ddof=1) / n
    variance, resampled = over_seeds, "seeds"
    if method.drawn and baseline.drawn and np.array_equal(method.drawn.label, baseline.drawn.label):
        both = zip((method.drawn, baseline.drawn), places, strict=True)
        drawn = [samples.sums[:, :, rows] for samples, rows in both]
        over_images, in_both = _image_variances(drawn, slopes, total[:, 1] / n)
        variance, resampled = max(over_seeds + over_images - in_both, over_seeds, over_images), "seeds and images"
    dof = (n - 1) * (variance / over_seeds) ** 2
    tested = from_standard_error(float(slopes[0] - slopes[1]), float(np.sqrt(variance)), float(dof), family=family)
    return list(slopes), {**result, **tested, "resampled": resampled}


def _image_variances(drawn: Sequence[np.ndarray], slopes: np.ndarray, denominators: np.ndarray) -> tuple[float, float]:
    """Return the variance of the difference over images, and the part of it that is specific to single networks.

    Parameters
    ----------
    drawn : (2, samples, networks)
        For method and baseline.
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
    """Return a row for each comparison with a column for each outcome, as text: difference (interval).

    A `*` says that Holm's p is below .05.

    Parameters
    ----------
    frame : DataFrame
        As `compare` returns it, or all rows of some of its comparisons.
    """
    rows = []
    for _, outcomes in frame.groupby(frame.groupby("outcome").cumcount(), sort=False):
        row = outcomes.iloc[0][[schema.DATASET, schema.MODEL, schema.RATIO, "method", "baseline"]].to_dict()
        row[schema.RATIO] = f"{row[schema.RATIO]:g}"
        row |= {"primary": "yes" if outcomes["primary"].any() else "", "n": str(outcomes["n"].max())}
        row |= {TITLES[result["outcome"]]: _text(result) for result in outcomes.to_dict("records")}
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
    """Return the factor by which an outcome is shown: shares are shown in points."""
    return 1.0 if outcome in (ALPHA, ALPHA_NEW) else 100.0


def _text(row: Mapping[str, Any]) -> str:
    if np.isnan(row["difference"]):
        return f"n/a ({row['n_at_chance']} at chance)" if row["n_at_chance"] else "n/a"
    write = decimals(2 if scale(row["outcome"]) == 1 else 1, sign=True)
    value, low, high = (
        scale(row["outcome"]) * row[name] for name in ("difference", "difference_low", "difference_high")
    )
    text = write(value) if np.isnan(row["p"]) else with_interval(value, low, high, write)
    significant = " *" if row["p_holm"] < LEVEL else ""
    left_out = f", n {row['n']}" if row["outcome"] in (ALPHA, ALPHA_NEW) and row["n_at_chance"] else ""
    return f"{text}{significant}{left_out}"
