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
from analysis.statistics import equal_accuracy, intensification, two_way
from analysis.statistics.equal_accuracy import Curve
from analysis.statistics.hypothesis_tests import LEVEL, Row, corrected, paired
from analysis.statistics.new_images import SlopeParts, new_image_sums, pooled_slope, slope_parts

ACCURACY, WEAKEST, LOSS, EXCESS = "accuracy", "weakest_recall", "largest_loss", "largest_excess"
ALPHA_NEW, ALPHA, RAW_SLOPE = "alpha_new", "alpha", "raw_slope"
OUTCOMES = (ACCURACY, WEAKEST, LOSS, EXCESS, ALPHA_NEW, ALPHA, RAW_SLOPE)
# They say nearly the same as alpha_new, and each has families of tests of its own.
NEAR_DUPLICATES = (ALPHA, RAW_SLOPE)
SLOPES = (ALPHA_NEW, ALPHA, RAW_SLOPE)
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
    "at_equal_accuracy",
    "at_equal_accuracy_low",
    "at_equal_accuracy_high",
    "n",
    "n_at_chance",
    "resampled",
]


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
          recall fell; largest_excess, the most that a class's recall fell beyond the accuracy; alpha_new, of all
          networks of the cell together; alpha and raw_slope, of each network.
        - of_method, of_baseline: means over the networks; pooled for alpha_new.
        - difference: of_method minus of_baseline, with its 95 % interval and two-sided p. p_holm is corrected within
          its family; alpha and raw_slope, near-duplicates of alpha_new, have families of their own. p_permutation
          flips the signs of the seeds' differences.
        - effect_size: d_z.
        - detectable_difference: at 80 % power and level .05 / family.
        - at_equal_accuracy: for alpha and alpha_new, the difference from the baseline where it is as accurate as the
          method, interpolated over the baseline's ratios, with its 95 % interval over networks. NaN if the baseline is
          as accurate at none of its ratios, or with fewer than two ratios.
        - n: the number of pairs. A pair with a network at chance is left out; n_at_chance counts such pairs.
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
    parts : SlopeParts, optional
        Parts of alpha_new.
    images : (images,)
        Labels of the test images; empty unless predictions are known.
    """

    key: CellKey
    label: str
    networks: pd.Index
    outcomes: dict[str, np.ndarray]
    at_chance: np.ndarray
    parts: SlopeParts | None
    images: np.ndarray

    def at(self, networks: pd.Index) -> "_Cell":
        """Return the cell with these of its networks alone, in this order."""
        if networks.equals(self.networks):
            return self
        rows = self.networks.get_indexer(networks)
        return self._replace(
            networks=networks,
            outcomes={name: values[rows] for name, values in self.outcomes.items()},
            at_chance=self.at_chance[rows],
            parts=self.parts.of(rows) if self.parts else None,
        )

    @property
    def sound(self) -> pd.Index:
        """The networks that do not guess."""
        return self.networks[~self.at_chance]

    def curve(self, outcome: str) -> Curve:
        """Return accuracy and slope of the networks as a curve of one ratio."""
        accuracy = self.outcomes[ACCURACY][np.newaxis]
        if outcome == ALPHA_NEW:
            sums = self.parts.sums if self.parts else np.full((2, len(self.networks)), np.nan)
            return Curve(accuracy, sums[:1], sums[1:2])
        return Curve(accuracy, self.outcomes[outcome][np.newaxis], np.ones_like(accuracy))


class _Pair(NamedTuple):
    comparison: str
    method: _Cell
    baseline: _Cell
    curve: Sequence[_Cell]  # the baseline at all its ratios


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
    parts = _parts(study, part, found)
    measured = study.measured(rows, classes)
    return _Cell(
        key=CellKey.from_run(run, settings.further_settings(study.runs)),
        label=settings.method_label(run, study.shown),
        networks=index[first],
        outcomes={
            ACCURACY: study.accuracy_after[rows],
            WEAKEST: after.min(1),
            LOSS: (before - after).max(1),
            EXCESS: intensification.excess_loss(*measured).max(1),
            ALPHA: intensification.alpha(*study.balances(rows, classes)),
            RAW_SLOPE: intensification.raw_slope(*measured),
        },
        at_chance=study.at_chance[rows],
        parts=parts,
        images=found.label if found else np.empty(0),
    )


def _parts(study: RunArrays, part: tuple[np.ndarray, ...], found: Predicted | None) -> SlopeParts | None:
    if found:
        return slope_parts(found.label, found.before == found.label, found.after == found.label)
    before, after, both_right = (values[part] for values in (study.before, study.after, study.both_right))
    support = common_support(study.support[part])
    return None if support is None else SlopeParts(new_image_sums(before, after, both_right, support))


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
                yield _Pair(comparison, cell, against, _at_all_ratios(against, baselines))


def _at_all_ratios(baseline: _Cell, baselines: Mapping[Any, Sequence[_Cell]]) -> list[_Cell]:
    """Return the cells that differ from a baseline in nothing but the ratio, itself included."""
    key = baseline.key._replace(ratio=1.0)
    return [cell for cells in baselines.values() for cell in cells if cell.key._replace(ratio=1.0) == key]


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
    rest = AGAINST_CONTROL if pair.comparison == AGAINST_CONTROL else "the rest"
    return f"{rest}, {outcome}" if outcome in NEAR_DUPLICATES else rest


def _row(pair: _Pair, outcome: str, primary: bool, family: int) -> dict[str, Any]:
    shared = pair.method.networks.intersection(pair.baseline.networks)
    sound = shared.intersection(pair.method.sound).intersection(pair.baseline.sound)
    method, baseline = pair.method.at(sound), pair.baseline.at(sound)
    if outcome == ALPHA_NEW:
        means, result = _pooled(method, baseline, family)
    else:
        values = np.array([cell.outcomes[outcome] for cell in (method, baseline)])
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
        **_at_equal_accuracy(method, pair.curve, outcome),
        "n_at_chance": len(shared) - len(sound),
    }


def _at_equal_accuracy(method: _Cell, curve: Sequence[_Cell], outcome: str) -> dict[str, float]:
    """Return the difference in a slope from a baseline's curve, over the ratios that have all the method's networks."""
    names = ("at_equal_accuracy", "at_equal_accuracy_low", "at_equal_accuracy_high")
    whole = [cell.at(method.networks) for cell in curve if method.networks.isin(cell.sound).all()]
    if outcome not in (ALPHA, ALPHA_NEW) or len(whole) < 2 or not len(method.networks):
        return dict.fromkeys(names, np.nan)
    parts = zip(*(cell.curve(outcome) for cell in whole), strict=True)
    baseline = Curve(*(np.concatenate(part) for part in parts))
    return dict(zip(names, equal_accuracy.difference(method.curve(outcome), baseline, 1 - LEVEL), strict=True))


def _pooled(method: _Cell, baseline: _Cell, family: int) -> tuple[list[float], Row]:
    """Return alpha_new of either cell, and the test of their difference, over the same networks.

    The difference of two ratios of sums is a mean over seeds only to first order, so that its jackknife pseudo-values
    are tested.
    """
    n = len(method.networks)
    slopes = [pooled_slope(cell.parts) for cell in (method, baseline) if cell.parts and n > 1]
    if len(slopes) < 2 or not all(slope.identified() for slope in slopes):
        return [np.nan, np.nan], {**paired([], [], family=family), "n": n, "resampled": "seeds"}
    first, second = slopes
    result = paired(first.pseudo_values, second.pseudo_values, family=family)
    moves = None
    if first.moves is not None and second.moves is not None and np.array_equal(method.images, baseline.images):
        moves = first.moves - second.moves
    variances = two_way.variances(first.pseudo_values - second.pseudo_values, moves)
    difference = first.estimate - second.estimate
    tested = _tested(difference, variances, family) if variances.total > 0 else {}
    return [first.estimate, second.estimate], {
        **result,
        **tested,
        "resampled": "seeds" if moves is None else "seeds and images",
    }


def _tested(difference: float, variances: two_way.Variances, family: int) -> Row:
    half = two_way.half_width(variances)
    return {
        "difference": difference,
        "difference_low": difference - half,
        "difference_high": difference + half,
        "statistic": difference / variances.total**0.5,
        "p": two_way.p_value(variances, difference),
        "detectable_difference": two_way.detectable(variances, LEVEL / family),
    }


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
    EXCESS: "largest excess loss, points",
    ALPHA_NEW: "alpha (new)",
    ALPHA: "alpha",
    RAW_SLOPE: "raw slope",
}


def scale(outcome: str) -> float:
    """Return the factor by which an outcome is shown: shares are shown in points."""
    return 1.0 if outcome in SLOPES else 100.0


def _text(row: Mapping[str, Any]) -> str:
    if np.isnan(row["difference"]):
        return f"n/a ({row['n_at_chance']} at chance)" if row["n_at_chance"] else "n/a"
    write = decimals(2 if scale(row["outcome"]) == 1 else 1, sign=True)
    value, low, high = (
        scale(row["outcome"]) * row[name] for name in ("difference", "difference_low", "difference_high")
    )
    text = write(value) if np.isnan(row["p"]) else with_interval(value, low, high, write)
    significant = " *" if row["p_holm"] < LEVEL else ""
    left_out = f", n {row['n']}" if row["n_at_chance"] else ""
    return f"{text}{significant}{left_out}"
