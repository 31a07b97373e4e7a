"""Compare methods on the same dense networks: pruners, epsilons, schedules, distillation, number formats and more.

Here, a number format is compared with 32 bits for pruned networks only. The effect of a number format on dense networks
is in the other tables, which compare every network with its dense network.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice, product
from types import MappingProxyType
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import pandas as pd

from analysis.report.methods import systematic
from analysis.runs import frames, schema
from analysis.runs.frames import ReadPredictions
from analysis.runs.primaries import (
    ACCURACY,
    ALPHA,
    ALPHA_BEYOND,
    ALPHA_NEW,
    EXCESS,
    LOSS,
    OUTCOMES,
    RAW_SLOPE,
    WEAKEST,
    Direction,
    Primary,
)
from analysis.statistics import equal_accuracy, intensification, two_way
from analysis.statistics.equal_accuracy import Curve
from analysis.statistics.hypothesis_tests import LEVEL, Row, corrected, paired
from analysis.statistics.new_images import PooledSlope, SlopeParts, new_image_sums, pooled_slope
from analysis.statistics.proportion import pooled_alpha_beyond
from analysis.study import settings
from analysis.study.arrays import RunArrays, common_support
from analysis.study.labels import method_label
from analysis.study.predictions import LabelledImages, StudyPredictions
from analysis.study.settings import CELL, CellKey

# Most slopes agree closely. Therefore a family of tests includes only the first of these slopes among its outcomes,
# even if it cannot be computed, and the tests of each other slope are a family of their own.
SLOPES = (ALPHA_NEW, ALPHA, RAW_SLOPE, ALPHA_BEYOND)
# Outcomes that are pooled over networks.
_POOLED = (ALPHA_NEW, ALPHA_BEYOND)
# Slopes that depend on the accuracy, and are therefore also compared at equal accuracy.
OVER_ACCURACY = (ALPHA_NEW, ALPHA)
# Kinds of comparison; `OTHER` is a primary comparison of none of the other kinds.
SCHEDULE, DISTILLATION, MITIGATION, PRUNER, EPSILON = "schedule", "distillation", "mitigation", "pruner", "epsilon"
TREATMENT, REWIND_STEP = schema.WEIGHT_TREATMENT, schema.REWIND_STEP
START, NUMBER_FORMAT, WEIGHT_BITS = schema.START, schema.NUMBER_FORMAT, schema.WEIGHT_BITS
AGAINST_CONTROL, OTHER = "control", "other"
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
    "alternative",
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
    *systematic.COLUMNS,
]


def compare(
    study: RunArrays,
    predictions: ReadPredictions | StudyPredictions | None = None,
    *,
    baseline: str = "mp",
    baseline_ratios: Mapping[float, float] = MappingProxyType({}),
    primaries: Sequence[Primary] = (),
) -> pd.DataFrame:
    """Compare every method with its baseline, network by network (`methods.csv`).

    The methods and their baselines are:

    - a schedule, or pruning during training: one shot;
    - distillation: no distillation;
    - one mitigation (such as class offsets) or several together: no mitigation;
    - a pruner: the baseline pruner;
    - an epsilon: the papers' 5e-4;
    - a number format, or weights of fewer bits, of a pruned network: 32 bits;
    - rewound weights in iterative pruning: fine-tuned weights;
    - weights rewound to an early step: weights rewound to their initial values.

    All other settings (data set, model, ratio and so on) and the dense networks are the same. Levels of iterative
    pruning are matched by iteration, because rounding may change the ratio a little. Each method is also compared with
    its control, which is fine-tuned alike and not pruned, and has the same mitigation if the study has such a control.
    A primary comparison may be between any two methods. Only cells with the settings that its labels stand for in the
    study's grid are compared.

    Parameters
    ----------
    study : RunArrays
    predictions : callable or StudyPredictions, optional
        As for `cells.cells`. With predictions, intervals and p-values of alpha_new and alpha_beyond hold for new images
        too.
    baseline : str
        The pruner with which the other pruners are compared; by default magnitude pruning.
    baseline_ratios : mapping of float to float
        Ratio of the baseline pruner for each ratio of the other pruners; by default the same ratio.
    primaries : sequence of Primary
        The primary comparisons. The tests of each primary comparison are corrected together, as a family that has all
        planned tests: each outcome of each method that its label names, on every data set and model of the study's
        grid, even if its networks are missing. Of comparisons without settings, the plan is known only to have each
        outcome on every data set. All other comparisons with the control form one more family, and all remaining
        comparisons another.

    Returns
    -------
    DataFrame, one row per comparison and outcome
        `METHOD_COLUMNS`, and `params.iteration` if the study has levels of iterative pruning. `attrs["unpaired"]` lists
        the primary comparisons without a pair of networks. Among the columns:

        - outcome: the quantity that is compared:

          - accuracy.
          - weakest_recall: the lowest recall of a class.
          - largest_loss: the largest loss of recall of a class since the dense network.
          - largest_excess: the largest excess loss of a class (chance movement); the class differs between networks.
          - alpha_new: one estimate from all networks of the cell.
          - alpha, raw_slope: the slopes of each network.
          - alpha_beyond: alpha_new divided by the odds ratio of an error relative to the dense networks
            (`proportion.pooled_alpha_beyond`). Unlike alpha_new, it can compare methods of different accuracy.
        - of_method, of_baseline: means over the networks; pooled for alpha_new and alpha_beyond.
        - difference: of_method minus of_baseline, with its two-sided 95 % interval. p is two-sided, unless
          `alternative` gives the predicted direction of a primary comparison. p_holm is corrected within its family;
          that of a primary comparison includes planned tests without networks. Of the slopes alpha_new, alpha,
          raw_slope and alpha_beyond, only the first among the outcomes belongs to the family, even if it cannot be
          computed; each other slope has its own family. p_permutation is from a permutation test that flips the signs
          of the seeds' differences.
        - effect_size: Cohen's d_z.
        - detectable_difference: the smallest difference detectable at 80 % power and level .05 / family size.
        - at_equal_accuracy: for alpha and alpha_new, the difference from the baseline at the same accuracy, with its
          95 % interval over networks. The baseline is interpolated between its ratios and its control, which is at
          ratio 1. NaN if the baseline does not reach that accuracy, has fewer than two ratios, or if the data do not
          determine alpha_new of the method.
        - n: the number of pairs of networks. Pairs with a network at chance, counted by n_at_chance, are left out of
          slopes only.
        - dof: degrees of freedom of the variance over networks.
        - resampled: the sources of variance in the interval, `seeds and images` or `seeds`.
        - cost_class, cost, cost_low, cost_high, cost_p (`systematic.systematic`), only in rows of largest_excess: a
          class's cost is its mean excess loss with the method minus that with the baseline, and cost_class is the class
          with the largest cost. Networks at chance are included. cost_p is corrected for the classes, not for the
          comparisons.
        - spared_class, spared, spared_low, spared_high, spared_p: the same with method and baseline exchanged.

        A value that cannot be computed is NaN. alpha_new cannot be computed if noise hides the differences between the
        classes of the dense networks.
    """
    shared_predictions = StudyPredictions.shared(predictions)
    cells = [_cell(study, rows, shared_predictions) for rows in study.cells]
    curves = _Curves(cells, _of_pruning(study.runs))
    pairs = list(_pairs(study.runs, cells, curves, baseline, baseline_ratios))
    primary_pairs = [_primary_pairs(primary, cells, curves) for primary in primaries]
    pair_keys = {pair.keys for pair in pairs}
    further = {keys: pair for own_pairs in primary_pairs for keys, pair in own_pairs.items() if keys not in pair_keys}
    pairs += further.values()
    members: dict[_Family, list[int]] = {}
    families = [_family(pair, outcome, primaries, primary_pairs) for pair, outcome in product(pairs, OUTCOMES)]
    for index, family in enumerate(families):
        members.setdefault(family, []).append(index)
    sizes = {family: max(len(indices), family.planned) for family, indices in members.items()}
    each = iter(families)
    rows = [
        row
        for pair in pairs
        for row in _rows(study, shared_predictions, pair, [(of, sizes[of]) for of in islice(each, len(OUTCOMES))])
    ]
    axis = [settings.ITERATION] if settings.is_iterated(study.runs).any() else []
    frame = pd.DataFrame(rows, columns=[*METHOD_COLUMNS, *axis]).astype({"p_holm": float})
    for family, indices in members.items():
        frame.loc[indices, "p_holm"] = corrected(frame.loc[indices, "p"], sizes[family])[1]
    frame.attrs["unpaired"] = [primary for primary, own in zip(primaries, primary_pairs, strict=True) if not own]
    return frame


class _Family(NamedTuple):
    """Tests that are corrected together.

    Attributes
    ----------
    name : str
        `primary`, `control`, or `the rest`.
    place : int
        Index of the primary comparison.
    slope : str
        Name of the slope if the family tests one further slope; otherwise empty.
    planned : int
        Number of planned tests; 0 if unknown.
    direction : {"two-sided", "less", "greater"}
    """

    name: str
    place: int = 0
    slope: str = ""
    planned: int = 0
    direction: Direction = "two-sided"

    @property
    def is_primary(self) -> bool:
        return self.name == "primary"


@dataclass(frozen=True, eq=False)
class _ComparedCell:
    """A cell and its networks, in the order of their seeds.

    Parameters
    ----------
    key : CellKey
    label : str
        Name of the method, as printed.
    rows : (networks,), integers
        Rows of the networks in the study.
    classes : (classes of all data sets,), bool
        True for the classes of the cell.
    networks : Index
    dense : frozenset of str
        Run ids of the dense networks.
    outcomes : dict of outcome -> (networks,)
    accuracy_before : (networks,)
    at_chance : (networks,), bool
    images : LabelledImages, optional
        The test images, if predictions are known.
    right : pair of (networks, images), bool, optional
        Whether each network classifies each image correctly, before and after, if predictions are known.
    parts : SlopeParts, optional
        Parts of alpha_new.
    pooled : PooledSlope, optional
        alpha_new pooled over the networks, if the parts are known and there are at least two networks.
    """

    key: CellKey
    label: str
    rows: np.ndarray
    classes: np.ndarray
    networks: pd.Index
    dense: frozenset[str]
    outcomes: dict[str, np.ndarray]
    accuracy_before: np.ndarray
    at_chance: np.ndarray
    images: LabelledImages | None
    right: tuple[np.ndarray, np.ndarray] | None
    parts: SlopeParts | None
    pooled: PooledSlope | None

    def at(self, networks: pd.Index) -> "_ComparedCell":
        """Return the cell restricted to some of its networks, in the given order."""
        if networks.equals(self.networks):
            return self
        rows = self.networks.get_indexer(networks)
        parts = self.parts.of(rows) if self.parts else None
        return replace(
            self,
            rows=self.rows[rows],
            networks=networks,
            outcomes={name: values[rows] for name, values in self.outcomes.items()},
            accuracy_before=self.accuracy_before[rows],
            at_chance=self.at_chance[rows],
            right=(self.right[0][rows], self.right[1][rows]) if self.right else None,
            parts=parts,
            pooled=pooled_slope(parts) if parts and len(rows) > 1 else None,
        )

    @cached_property
    def slopes(self) -> dict[str, PooledSlope | None]:
        """The outcomes that are pooled over the networks."""
        if not self.pooled:
            return dict.fromkeys(_POOLED)
        answers = (self.images.place, *self.right) if self.images and self.right else None
        beyond = pooled_alpha_beyond(self.pooled, self.accuracy_before, self.outcomes[ACCURACY], answers)
        return {ALPHA_NEW: self.pooled, ALPHA_BEYOND: beyond}

    @property
    def sound(self) -> pd.Index:
        """The networks that are not at chance."""
        return self.networks[~self.at_chance]

    def curve(self, outcome: str, networks: pd.Index) -> Curve:
        """Return accuracy and slope of some networks as a curve with a single ratio.

        The slope is NaN if it is `alpha_new` and the data do not determine it.
        """
        cell = self.at(networks)
        accuracy = cell.outcomes[ACCURACY][np.newaxis]
        if outcome == ALPHA_NEW:
            known = cell.parts if cell.pooled and cell.pooled.identified() else None
            sums = known.sums if known else np.full((2, len(networks)), np.nan)
            return Curve(accuracy, sums[:1], sums[1:2])
        return Curve(accuracy, cell.outcomes[outcome][np.newaxis], np.ones_like(accuracy))


_Keys: TypeAlias = tuple[CellKey, CellKey]


class _Comparison(NamedTuple):
    comparison: str
    method: _ComparedCell
    baseline: _ComparedCell
    curve: Sequence[_ComparedCell]  # the baseline at all its ratios, and its control

    @property
    def keys(self) -> _Keys:
        return self.method.key, self.baseline.key


class _Curves:
    """For each cell, the cells of the same method at other ratios or iterations, and the control.

    Parameters
    ----------
    cells : sequence of _ComparedCell
    of_pruning : set of str
        Settings in which a pruned network may differ from its control.
    """

    def __init__(self, cells: Sequence[_ComparedCell], of_pruning: set[str]) -> None:
        self._of_pruning = of_pruning
        self._cells: dict[CellKey, list[_ComparedCell]] = {}
        self._controls: dict[frozenset[tuple[str, Any]], list[_ComparedCell]] = {}
        for cell in cells:
            self._cells.setdefault(_off_axis(cell.key), []).append(cell)
            if cell.key.pruner == settings.CONTROL:
                self._controls.setdefault(cell.key.without(of_pruning), []).append(cell)

    def of(self, cell: _ComparedCell) -> list[_ComparedCell]:
        """Return the cells of the same method at all ratios, this cell included, and the control as ratio 1."""
        same_method = self._cells[_off_axis(cell.key)]
        if cell.key.pruner == settings.CONTROL:
            return same_method
        controls = self._controls.get(cell.key.without(self._of_pruning), [])
        control = _nearest(cell.key, _spared_alike(cell.key, controls))
        return [*same_method, control] if control else same_method


def _off_axis(key: CellKey) -> CellKey:
    """Return the settings that a cell shares with cells of the same method at other ratios or iterations."""
    settings_of = dict(key.settings)
    if key.is_iterated and key.pruner != settings.CONTROL:
        del settings_of[schema.ITERATION]
    return key._replace(ratio=1.0, settings=tuple(settings_of.items()))


def _cell(study: RunArrays, rows: np.ndarray, predictions: StudyPredictions | None) -> _ComparedCell:
    index = settings.networks(study.runs.iloc[rows])
    first = np.flatnonzero(~index.duplicated())
    first = first[index[first].argsort()]
    rows = rows[first]
    classes = ~np.isnan(study.before[rows[0]])
    run = study.runs.iloc[rows[0]]
    before, after = study.measured(rows, classes)
    pair_predictions = predictions.of_runs(study.runs.iloc[rows]) if predictions else None
    parts = pair_predictions.slope_parts if pair_predictions else _parts(study, rows, classes)
    return _ComparedCell(
        key=CellKey.from_run(run, settings.further_settings(study.runs)),
        label=method_label(run, study.shown, exact=study.exact),
        rows=rows,
        classes=classes,
        networks=index[first],
        dense=frozenset(study.runs[schema.DENSE_RUN_ID].iloc[rows]),
        outcomes={
            ACCURACY: after.accuracy,
            WEAKEST: after.recall.min(1),
            LOSS: (before.recall - after.recall).max(1),
            EXCESS: intensification.excess_loss(before, after).max(1),
            ALPHA: intensification.alpha(before.balance, after.balance),
            RAW_SLOPE: intensification.raw_slope(before, after),
        },
        accuracy_before=before.accuracy,
        at_chance=study.at_chance[rows],
        images=pair_predictions.images if pair_predictions else None,
        right=pair_predictions.right if pair_predictions else None,
        parts=parts,
        pooled=(pair_predictions.pooled if pair_predictions else pooled_slope(parts))
        if parts and len(rows) > 1
        else None,
    )


def _parts(study: RunArrays, rows: np.ndarray, classes: np.ndarray) -> SlopeParts | None:
    """Compute the parts of alpha_new from recalls alone; None if networks have different numbers of test images."""
    part = np.ix_(rows, classes)
    support = common_support(study.support[part])
    if support is None:
        return None
    return SlopeParts(new_image_sums(study.before[part], study.after[part], study.both_right[part], support))


def _pairs(
    runs: pd.DataFrame,
    cells: Sequence[_ComparedCell],
    curves: _Curves,
    baseline: str,
    baseline_ratios: Mapping[float, float],
) -> Iterator[_Comparison]:
    pruners = {schema.PRUNER, *map(frames.param, settings.pruner_settings(runs, lacked_by=baseline))}
    absent_values = schema.ABSENT
    schedule = {schema.SCHEDULE, *schema.details(schema.SCHEDULE)}
    fine_tuning = {schema.FINE_TUNE_EPOCHS, schema.FINE_TUNE_LEARNING_RATE}
    start = {schema.START, *schema.details(schema.START), schema.SCOPE, *schedule, *fine_tuning}
    mitigation = set(map(frames.param, settings.mitigation_columns(runs)))
    for comparison, is_baseline, varying in (
        (SCHEDULE, _with(schema.SCHEDULE), schedule),
        (START, _with(schema.START), start),
        (DISTILLATION, _with(schema.DISTILL), {schema.DISTILL, *schema.details(schema.DISTILL)}),
        (MITIGATION, lambda key: not key.mitigation, mitigation),
        (PRUNER, _with(schema.PRUNER, baseline), pruners),
        (EPSILON, _with(schema.EPSILON, str(schema.PAPERS_EPSILON)), {schema.EPSILON}),
        (TREATMENT, _with(schema.WEIGHT_TREATMENT, schema.FINETUNE), {schema.WEIGHT_TREATMENT, schema.REWIND_STEP}),
        (REWIND_STEP, _with(schema.REWIND_STEP), {schema.REWIND_STEP}),
        (NUMBER_FORMAT, _with(schema.NUMBER_FORMAT), {schema.NUMBER_FORMAT}),
        (WEIGHT_BITS, _with(schema.WEIGHT_BITS), {schema.WEIGHT_BITS, *schema.details(schema.WEIGHT_BITS)}),
        (AGAINST_CONTROL, _with(schema.PRUNER, settings.CONTROL), _of_pruning(runs)),
    ):
        baselines: dict[frozenset[tuple[str, Any]], list[_ComparedCell]] = {}
        for cell in cells:
            is_gradual = (
                cell.key.params.get(schema.SCHEDULE, absent_values[schema.SCHEDULE]) != absent_values[schema.SCHEDULE]
            )
            if is_baseline(cell.key) and not (comparison == START and is_gradual):
                baselines.setdefault(_fixed(cell.key, varying), []).append(cell)
        for cell in cells:
            key = cell.key
            if comparison == PRUNER:
                key = key._replace(ratio=baseline_ratios.get(key.ratio, key.ratio))
            candidates = baselines.get(_fixed(key, varying), [])
            against = _nearest(key, _spared_alike(key, candidates) if comparison == AGAINST_CONTROL else candidates)
            if against and not is_baseline(cell.key) and not _has_no_pruner(cell.key, comparison):
                yield _Comparison(comparison, cell, against, curves.of(against))


def _with(param: str, value: str | None = None) -> Callable[[CellKey], bool]:
    """Return a test whether a cell has the given value of a param, by default that of a run without the param."""
    own_value = schema.ABSENT[param] if value is None else value
    return lambda key: key.params.get(param) == own_value


def _spared_alike(key: CellKey, controls: Sequence[_ComparedCell]) -> Sequence[_ComparedCell]:
    """Return the controls with the same mitigation as a cell, or, if there are none, those without a mitigation."""
    alike = [control for control in controls if control.key.mitigation == key.mitigation]
    return alike or [control for control in controls if not control.key.mitigation]


def _fixed(key: CellKey, varying: set[str]) -> frozenset[tuple[str, Any]]:
    """Return the settings in which the two cells of a comparison must agree.

    Levels of iterative pruning need not agree in the ratio. The scope is left out if it is the pruner's default.
    """
    free = {schema.RATIO} if key.is_iterated else set()
    if key.params.get(schema.SCOPE) == settings.own_scope(key.params):
        free.add(schema.SCOPE)
    return key.without(varying | free)


def _has_no_pruner(key: CellKey, comparison: str) -> bool:
    """Return whether a comparison of pruners, or a comparison with the control, is meaningless for a cell."""
    if comparison == AGAINST_CONTROL:
        return key.pruner == settings.CONTROL or key.pruner in schema.BITS  # a number format has no fine-tuning
    return comparison == PRUNER and (key.pruner == settings.CONTROL or key.pruner in frames.NUMBER_FORMATS)


def _of_pruning(runs: pd.DataFrame) -> set[str]:
    """Return the settings in which a pruned network may differ from its control."""
    every = {*CELL, *map(frames.param, settings.further_settings(runs))}
    return every - set(map(frames.param, settings.control_columns(runs)))


def _nearest(key: CellKey, baselines: Sequence[_ComparedCell]) -> _ComparedCell | None:
    """Return the baseline that shares the most settings with a cell; None if there is no baseline, or if two tie."""
    n_common = [len(key.without(set()) & cell.key.without(set())) for cell in baselines]
    return baselines[n_common.index(max(n_common))] if n_common.count(max(n_common, default=0)) == 1 else None


def _primary_pairs(primary: Primary, cells: Sequence[_ComparedCell], curves: _Curves) -> dict[_Keys, _Comparison]:
    """Return the pairs of cells that a primary comparison names, keyed by the keys of the two cells."""
    cells_of_workload: dict[tuple[str, str], list[_ComparedCell]] = {}
    for cell in cells:
        if not primary.datasets or cell.key.dataset in primary.datasets:
            cells_of_workload.setdefault((cell.key.dataset, cell.key.model), []).append(cell)
    pairs = {}
    for group in cells_of_workload.values():
        methods, baselines = primary.among([cell.key.params for cell in group])
        for method in (group[index] for index in methods):
            others = [group[index] for index in baselines if group[index] is not method]
            alike = [cell for cell in others if cell.dense & method.dense]
            against = _nearest(method.key, alike)
            if against:
                pairs[method.key, against.key] = _Comparison(OTHER, method, against, curves.of(against))
    return pairs


def _family(
    pair: _Comparison, outcome: str, primaries: Sequence[Primary], primary_pairs: Sequence[Mapping[_Keys, _Comparison]]
) -> _Family:
    """Return the family of a test: a primary comparison, the comparisons with the control, or the rest."""
    for index, (primary, own_pairs) in enumerate(zip(primaries, primary_pairs, strict=True)):
        if outcome in primary.outcomes and pair.keys in own_pairs:
            slope = _further_slope(outcome, primary.outcomes)
            together = [name for name in primary.outcomes if _further_slope(name, primary.outcomes) == slope]
            planned = len(together) * len(primary.methods or primary.datasets)
            return _Family("primary", index, slope, planned, primary.direction)
    family_name = AGAINST_CONTROL if pair.comparison == AGAINST_CONTROL else "the rest"
    return _Family(family_name, slope=_further_slope(outcome, OUTCOMES))


def _further_slope(outcome: str, outcomes: Sequence[str]) -> str:
    """Return the outcome if it is a slope other than the first among the outcomes; otherwise an empty string."""
    slopes = [slope for slope in SLOPES if slope in outcomes]
    return outcome if outcome in slopes[1:] else ""


def _rows(
    study: RunArrays, predictions: StudyPredictions | None, pair: _Comparison, families: Sequence[tuple[_Family, int]]
) -> Iterator[dict[str, Any]]:
    """Yield a row for each outcome, given its family and the family's size."""
    common_networks = pair.method.networks.intersection(pair.baseline.networks)
    sound = common_networks.intersection(pair.method.sound).intersection(pair.baseline.sound)
    of_all = _over(pair, common_networks)
    with_slopes = of_all if sound.equals(common_networks) else _over(pair, sound)
    costs = systematic.systematic(study, of_all.method.rows, of_all.baseline.rows, of_all.method.classes, predictions)
    for outcome, (family, size) in zip(OUTCOMES, families, strict=True):
        compared = with_slopes if outcome in SLOPES else of_all
        method, baseline = compared.method, compared.baseline
        if outcome in _POOLED:
            means, result = _compare_pooled(method, baseline, outcome, size, family.direction)
        else:
            values = np.array([cell.outcomes[outcome] for cell in (method, baseline)])
            is_defined = np.isfinite(values).all(0)
            means = [outcomes[is_defined].mean() if is_defined.any() else np.nan for outcomes in values]
            result = {**paired(*values, family=size, alternative=family.direction), "resampled": "seeds"}
        yield {
            **{name: method.key.params[name] for name in (schema.DATASET, schema.MODEL, schema.RATIO)},
            "comparison": pair.comparison,
            "method": method.label,
            "baseline": baseline.label,
            "outcome": outcome,
            "primary": family.is_primary,
            "of_method": means[0],
            "of_baseline": means[1],
            "alternative": family.direction,
            **result,
            **_at_equal_accuracy(method, compared.curve, outcome),
            "n_at_chance": len(common_networks) - len(sound),
            **(costs if outcome == EXCESS else systematic.NOTHING),
            settings.ITERATION: method.key.params.get(schema.ITERATION) if method.key.is_iterated else None,
        }


def _over(pair: _Comparison, networks: pd.Index) -> _Comparison:
    """Restrict a comparison to some networks, and its curve to ratios at which none of them is at chance."""
    curve = [cell for cell in pair.curve if networks.isin(cell.sound).all()]
    return pair._replace(method=pair.method.at(networks), baseline=pair.baseline.at(networks), curve=curve)


def _at_equal_accuracy(method: _ComparedCell, curve: Sequence[_ComparedCell], outcome: str) -> dict[str, float]:
    """Return the difference of a slope from the baseline's curve at the same accuracy, with its interval."""
    names = ("at_equal_accuracy", "at_equal_accuracy_low", "at_equal_accuracy_high")
    if outcome not in OVER_ACCURACY or len(curve) < 2 or not len(method.networks):
        return dict.fromkeys(names, np.nan)
    own, *curves = (cell.curve(outcome, method.networks) for cell in (method, *curve))
    baseline = Curve(*map(np.concatenate, zip(*curves, strict=True)))
    return dict(zip(names, equal_accuracy.difference(own, baseline, 1 - LEVEL), strict=True))


def _compare_pooled(
    method: _ComparedCell, baseline: _ComparedCell, outcome: str, family: int, direction: Direction
) -> tuple[list[float], Row]:
    """Return the pooled slopes of two cells with the same networks, and the test of their difference.

    The difference of two ratios of sums is a mean over seeds only to first order, so its jackknife pseudo-values are
    tested.
    """
    first, second = method.slopes[outcome], baseline.slopes[outcome]
    if not (first and second and first.identified() and second.identified()):
        n = len(method.networks)
        return [np.nan, np.nan], {**paired([], [], family=family), "n": n, "resampled": "seeds"}
    result = paired(first.pseudo_values, second.pseudo_values, family=family, alternative=direction)
    moves = None
    if first.moves is not None and second.moves is not None and method.images is baseline.images:
        moves = first.moves - second.moves
    variances = two_way.variances(first.pseudo_values - second.pseudo_values, moves)
    difference = first.estimate - second.estimate
    test = _test(difference, variances, family, direction) if variances.total > 0 else {}
    return [first.estimate, second.estimate], {
        **result,
        **test,
        "resampled": "seeds" if moves is None else "seeds and images",
    }


def _test(difference: float, variances: two_way.Variances, family: int, direction: Direction) -> Row:
    half = two_way.half_width(variances)
    p, level = two_way.p_value(variances, difference), LEVEL / family
    if direction != "two-sided":
        as_predicted = (difference < 0) == (direction == "less")
        p, level = p / 2 if as_predicted else 1 - p / 2, 2 * level
    return {
        "difference": difference,
        "difference_low": difference - half,
        "difference_high": difference + half,
        "statistic": difference / float(variances.total) ** 0.5,
        "p": p,
        "detectable_difference": two_way.detectable(variances, level),
    }
