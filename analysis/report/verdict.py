"""The verdict: a few sentences for each data set and model on the costs of pruning, overall and for single classes."""

from collections.abc import Iterator
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd

from analysis.compare.comparison import LOSS_FROM_CONTROL
from analysis.rendering.formats import short_ratio
from analysis.report.published import rank
from analysis.runs import frames, schema
from analysis.statistics.arithmetic import is_constant
from analysis.statistics.hypothesis_tests import LEVEL, MARGIN
from analysis.statistics.limits import LIMITS, rounded_up
from analysis.statistics.weak_networks import sentence
from analysis.study.arrays import RunArrays, dense_weakness
from analysis.study.decay_advice import decay_advice
from analysis.study.decision import (
    PLACE,
    Decision,
    Judged,
    accuracy_loss,
    class_rows,
    decisions,
    rows_of,
    run_rows,
)
from analysis.study.settings import (
    CONTROL,
    in_number_format,
    is_pruned,
    never_fine_tuned,
    starts_anew,
    without_fine_tuning,
)
from analysis.study.study import StudyData

MEANINGS = {
    "mp": "magnitude pruning",
    "gp": "gradient pruning",
    "up": "undecayed pruning",
    "up-signed": "undecayed pruning as in Good et al.'s released code",
    "up-sum": "undecayed pruning as on Good et al.'s poster",
    "rp": "random pruning",
    "global-unstructured": "magnitude pruning over all layers at once",
    "l1-unstructured": "magnitude pruning by layer",
    "random-unstructured": "random pruning by layer",
    "l1-structured": "pruning of whole channels by the L1 norm",
    "l2-structured": "pruning of whole channels by the L2 norm",
    "linf-structured": "pruning of whole channels by their largest weight",
    "random-structured": "pruning of whole channels at random",
    "float16": "weights of 16 bits",
    "dynamic-int8": "weights of 8 bits, activations quantized dynamically",
    "fixed-int8": "weights and activations of 8 bits, calibrated on training images",
}
_NO_CONTROL = f"Without runs of the pruner {CONTROL}, the effects of pruning and fine-tuning cannot be separated."
_NOT_FINE_TUNED = "This method involves no fine-tuning, so it is compared with the dense networks."
_BEYOND_CONTROL = (
    f"Losses are relative to the control (pruner {CONTROL}), the same network trained as long and not pruned. Brackets "
    "hold 95 % intervals (accuracy and gaps: {:g} %, jointly for a method's ratios). A class's recall is the share of "
    "its test images that the network recognises. Its gap is its recall minus the accuracy; changes of gaps are in % "
    "of the gaps before pruning. Tests of classes are corrected by Holm's method."
)
_SAFE = (
    f"Safe: 95 % bounds rule out that a class loses more than {100 * LIMITS.class_loss:g} points of recall or the "
    f"accuracy more than {100 * LIMITS.accuracy_loss:g}{{}}. Each method is judged from its smallest ratio up to the "
    "first that fails."
)
_SAFE_FROM_CONTROL = " against the control, and such a loss since the dense networks is not shown either"
_WIDEST = 200  # % of the gaps before pruning. A wider interval of their change is not printed: it is uninformative.
_ONE_NETWORK = "Every cell has one network, so there are no intervals over networks."

# A param, one of its values, and what a reader has to know about runs with that value.
_TO_KNOW = (
    (
        schema.PROTOCOL,
        "released",
        "Runs of protocol `released` do as the released code of Good et al. does: their epochs are chosen by the test "
        "loss, so their accuracies and recalls on test images are too high. They are for comparison only.",
    ),
    (
        schema.PRUNER,
        "up-signed",
        "`up-signed` prunes fewer weights than requested: its ratio is the requested one, realized_ratio the one "
        "achieved.",
    ),
)


def verdict(study: StudyData) -> list[str]:
    """Return a line for each data set and model: the recommended method, what it costs, which classes lose, and bounds.

    A line is about one ratio, which `analysis.study.decision` chooses. It states the losses and costs of classes, and
    how the accuracy, the raw slope and the raw spread ratio differ from those of the control. That no harm is shown
    does not make a ratio safe. Wider gaps do not make a ratio unsafe, because any loss of accuracy widens gaps. If
    there are number formats, a line names the one that costs most accuracy. A line ends with `decay_advice`, if there
    is any.

    A line begins with the weaknesses of dense networks: networks at chance, and classes with recall 0. The numbers of a
    line include networks at chance, and the line states how many networks these are. If all dense networks are at
    chance, the line states only that.
    """
    compressed = study.cells[study.cells[schema.PRUNER] != CONTROL]
    if compressed.empty:
        return [
            f"No network of this experiment was pruned: its only pruner is {CONTROL}. "
            "Prune at some ratios, in the same experiment, to see what it costs."
        ]
    return [" ".join(_sentences(workload, cells, study)) for workload, cells in places(compressed)]


def reading(study: StudyData) -> list[str]:
    """Return sentences on how to read the verdict; none if it has no numbers."""
    compressed = study.cells[study.cells[schema.PRUNER] != CONTROL]
    if compressed.empty or dense_weakness(study.runs).is_hopeless:
        return []
    return list(_reading(compressed, study.options.confidence))


def to_know(runs: pd.DataFrame) -> list[str]:
    """Return the facts about a study's runs that a reader needs before any number."""
    return [
        sentence
        for name, value, sentence in _TO_KNOW
        if frames.column(name) in runs and (runs[frames.column(name)] == value).any()
    ]


def places(frame: pd.DataFrame) -> list[tuple[tuple[str, str], pd.DataFrame]]:
    """Return every data set and model with its rows; the papers' data sets come first, in the papers' order."""
    groups = [(key, rows) for key, rows in frame.groupby(PLACE, sort=False)]
    return sorted(groups, key=lambda place: rank(place[0][0]))


def _sentences(workload: tuple[str, str], cells: pd.DataFrame, study: StudyData) -> Iterator[str]:
    rows = _runs_of(workload, study)
    formats = cells[in_number_format(cells)]
    decided = decisions(study).get(workload)
    yield from on_workload(workload, decided, study)
    if dense_weakness(rows).is_hopeless:
        return
    if len(formats):
        yield from _on_number_formats(formats, study, decided.cell if decided else None)
    yield from decay_advice(rows)


def on_workload(workload: tuple[str, str], decided: Decision | None, study: StudyData) -> Iterator[str]:
    """Yield sentences on weak dense networks of a data set and model, and on the decision, if networks are pruned."""
    weak = dense_weakness(_runs_of(workload, study))
    if weakness := sentence(weak):
        yield f"On {workload[0]} with {workload[1]}: {weakness}"
    if decided is not None and not weak.is_hopeless:
        yield from on_pruning(decided, study)


def _runs_of(workload: tuple[str, str], study: StudyData) -> pd.DataFrame:
    return study.runs[(study.runs[PLACE] == list(workload)).all(axis=1)]


def on_pruning(decided: Decision, study: StudyData) -> Iterator[str]:
    """Yield sentences on a decision, its costs, and the reason why no larger ratio, or none at all, is shown safe."""
    cell, rows = decided.cell, class_rows(study, decided.cell)
    subject = choice(cell, study)
    if decided.is_safe:
        yield f"{_where(cell)}, use {subject}."
        yield f"It {_cost(cell)}."
    else:
        yield f"{_where(cell)}, nothing is shown to be safe. {subject} {_cost(cell)}."
    yield from _describe_payers(rows, cell)
    if not decided.is_safe:
        yield _why_nothing(decided)
    if cell["n_none"]:
        yield _describe_gaps(cell, study)
    else:
        yield _describe_missing_control(cell, study)
    if decided.is_safe:
        yield _and_no_larger(decided)


def _describe_missing_control(cell: pd.Series, study: StudyData) -> str:
    own = rows_of(cell, study.arrays.runs, study)
    if (starts_anew(own) | without_fine_tuning(own)).all():
        return _NOT_FINE_TUNED
    return _NO_CONTROL


def _and_no_larger(decided: Decision) -> str:
    if decided.failing is None:
        return "This is safe, and no larger ratio is shown to be."
    return f"This is safe. {_why_not_there(decided.failing)}"


def _why_nothing(decided: Decision) -> str:
    if decided.failing is None or not decided.judged.is_safe:
        return why_not(decided.judged)
    reason = _why_not_there(decided.failing)
    return f"This ratio would pass, but it is safe only if all smaller ratios of the method pass too. {reason}"


def _why_not_there(failing: Judged) -> str:
    reason = why_not(failing)
    return f"At ratio {short_ratio(failing.cell[schema.RATIO])}, {reason[0].lower()}{reason[1:]}"


def choice(cell: pd.Series, study: StudyData) -> str:
    """Return the method and the ratio of a cell in words."""
    return f"{study.explained_method(cell)} at ratio {short_ratio(cell[schema.RATIO])}"


def _on_number_formats(cells: pd.DataFrame, study: StudyData, named: pd.Series | None) -> Iterator[str]:
    """Yield sentences on the number format that costs most accuracy.

    Only number formats of dense networks are considered or, if there are none, those of the control. `named` is
    the cell whose data set, model and networks an earlier sentence gave; then only a different number is given.
    """
    of_dense = never_fine_tuned(cells)
    cells = cells[of_dense] if of_dense.any() else cells
    cell = cells.loc[accuracy_loss(cells).idxmax()]
    name, against = study.explained_method(cell), "" if cell["n_none"] else ", compared with the dense networks"
    formats = cells[schema.PRUNER].nunique()
    subject = f"{name} does worst of {formats} number formats: it" if formats > 1 else name
    if named is None:
        where = f"{_where(cell)}, "
    else:
        where = "" if _networks(cell) == _networks(named) else f"In {_networks(cell)}, "
    yield f"{where}{subject} {_cost(cell)}{against}."
    yield from _describe_payers(class_rows(study, cell), cell)


def _where(cell: pd.Series) -> str:
    return f"On {cell[schema.DATASET]} with {cell[schema.MODEL]} ({_networks(cell)})"


def _networks(cell: pd.Series) -> str:
    networks = "one network" if cell["n"] == 1 else f"{cell['n']} networks"
    if 0 < cell["n_none"] < cell["n"]:
        networks += f", {cell['n'] - cell['n_none']} of them without a control"
    return networks + (f", {cell['n_at_chance']} at chance" if cell["n_at_chance"] else "")


def _cost(cell: pd.Series) -> str:
    change = "accuracy_minus_none" if cell["n_none"] else "accuracy_change"
    loss, high, low = (-100 * value for value in (cell[change], *_ends(cell, change)))
    if round(loss, 9) < 0:
        low, high = -high, -low
    verb = "gains" if round(loss, 9) < 0 else "costs"
    return f"{verb} {abs(loss):.1f} points of accuracy{_brackets(low, high)}"


class Payers(NamedTuple):
    """The classes that are shown to lose more than the accuracy.

    Attributes
    ----------
    are_tested : bool
        Whether there is a test of single classes.
    names : list of str
        Names of these classes, largest cost first.
    points : (classes, 3)
        Their costs (losses minus the loss of accuracy) in points, with the ends of the intervals.
    losses : (classes,)
        Their losses in points, from the control if there is one.
    """

    are_tested: bool
    names: list[str]
    points: np.ndarray
    losses: np.ndarray


def payers(rows: pd.DataFrame) -> Payers:
    """Find the classes of a cell that are shown to lose more than the accuracy; `rows` as `class_rows` returns them."""
    paying = rows[(rows["cost_p"] <= LEVEL) & (rows["cost"] > 0)].sort_values("cost", ascending=False)
    points = 100 * paying[["cost", "cost_low", "cost_high"]].to_numpy()
    are_tested = bool(rows["cost_p"].notna().any())
    from_reference = paying[LOSS_FROM_CONTROL].fillna(paying["loss"])
    return Payers(are_tested, list(paying["class"]), points, 100 * from_reference.to_numpy())


def _describe_payers(rows: pd.DataFrame, cell: pd.Series) -> Iterator[str]:
    """Yield a sentence on the classes that lose more than the accuracy or, if none does, on the bound of all losses."""
    are_tested, names, points, losses = payers(rows)
    if not names:
        none = "No class is shown to lose" if are_tested else "It is unknown whether a class loses"
        bound = cell["worst_class_loss_upper"]
        with_control = " in the one network that has a control" if cell["n_none"] == 1 else ""
        which = " in this network" if cell["n"] == 1 else with_control
        ruled_out = f"; a loss above {rounded_up(bound)} points is ruled out for all{which}" if bound < 1 else ""
        yield f"{none} more than the accuracy{ruled_out}."
    else:
        second = f", {names[1]} {points[1, 0]:.1f}" if len(names) > 1 else ""
        rest = len(names) - 2
        rest_text = f", {rest} {'other' if rest == 1 else 'others'} less" if rest > 0 else ""
        cost = f"{points[0, 0]:.1f} points{_brackets(*points[0, 1:])}"
        if round(points[0, 0] - losses[0], 9) > 0:
            yield f"The accuracy rises, but relative to it {names[0]} loses {cost}{second}{rest_text}."
        else:
            yield f"{names[0]} loses {cost} more than the accuracy{second}{rest_text}."


def why_not(judged: Judged) -> str:
    """Explain why networks are not safe, or why their safety is undecided and what would decide it."""
    return f"It is {'not safe' if judged.gate.state == 'beyond' else 'undecided'}: {judged.gate.reason}"


GapKind = Literal[
    "reversed",
    "unrelated",
    "weak behind",
    "wider",
    "narrower",
    "same",
    "moved",
    "too few",
    "unknown",
    "relative",
    "no interval",
    "undefined",
]


class Gaps(NamedTuple):
    """The change of the gaps between classes beyond that of the control, in % of the gaps before pruning.

    Attributes
    ----------
    kind : str
        - reversed: strong classes became the weak ones.
        - unrelated: no relation to the gaps before pruning is shown.
        - weak behind: weak classes fall further behind.
        - wider: gaps grow, but weak classes are not shown to fall further behind.
        - narrower: gaps shrink.
        - same: an equivalence test shows that gaps hardly change.
        - moved: gaps move to other classes, so the raw slope falls, but gaps are not shown to shrink.
        - too few: with so few networks the interval is too wide.
        - unknown: gaps may grow or shrink.
        - relative: gaps may grow or shrink, but grow relative to the accuracy.
        - no interval: one network is compared with its control, or all change alike.
        - undefined: no network has slopes and a control with slopes.
    change, low, high : float
        Change of the raw slope, which measures whether the same classes fall behind, with its interval.
    spread, spread_low, spread_high : float
        Change of the spread, whichever classes are weak.
    """

    kind: GapKind
    change: float
    low: float
    high: float
    spread: float
    spread_low: float
    spread_high: float


def gaps(cell: pd.Series) -> Gaps:
    """Decide whether weak classes fall further behind, by the raw slope, and whether gaps grow, by the raw spread."""
    change, low, high, spread, spread_low, spread_high = (
        100 * value
        for name in ("raw_slope_minus_none", "raw_spread_ratio_minus_none")
        for value in (cell[name], *_ends(cell, name))
    )
    kind: GapKind
    if (order := _order(cell)) != "kept":
        kind = order
    elif low > 0:
        kind = "weak behind"
    elif spread_low > 0:
        kind = "wider"
    elif high < 0 and spread_high < 0:
        kind = "narrower"
    elif cell["raw_slope_equivalence_p"] < 1 - cell["confidence"]:
        kind = "same"
    elif high < 0:
        kind = "moved"
    elif high - low > _WIDEST:
        kind = "too few"
    elif np.isfinite(low):
        kind = "relative" if _ends(cell, "alpha_minus_none")[0] > 0 else "unknown"
    else:
        kind = "no interval" if np.isfinite(change) else "undefined"
    return Gaps(kind, change, low, high, spread, spread_low, spread_high)


def _describe_gaps(cell: pd.Series, study: StudyData) -> str:
    """Describe the change of the gaps, as `gaps` decides it, with its numbers."""
    arrays, rows = study.arrays, run_rows(cell, study)
    compared = len(arrays.with_sloped_control(arrays.sloped(rows)))
    kind, change, low, high, spread, spread_low, spread_high = gaps(cell)
    wider = f"grow {spread:.0f} %{_brackets(spread_low, spread_high, 0)}"
    open_change = f"may shrink or grow ({low:+.0f} to {high:+.0f} %)"
    if kind == "reversed":
        return _reversed(cell)
    if kind == "unrelated":
        slope = f"the raw slope may be 0{_brackets(*_ends(cell, 'raw_slope'), 2)}"
        growth = f"{wider} and " if spread_low > 0 else ""
        return f"Gaps {growth}are not shown to be related to the gaps before pruning: {slope}."
    addition = ", more than in proportion to the errors" if cell["alpha_beyond_low"] > 1 else ""
    sentences = {
        "weak behind": f"Weak classes fall behind: gaps grow {change:.0f} %{_brackets(low, high, 0)}{addition}.",
        "wider": f"Gaps {wider}; that weak classes fall behind is not shown.",
        "narrower": f"Gaps shrink {-change:.0f} %{_brackets(-high, -low, 0)}.",
        "same": f"Gaps of weak classes change by less than {100 * MARGIN:g} %, by an equivalence test.",
        "moved": (
            f"Gaps move to other classes: the raw slope is {-change / 100:.2f}{_brackets(-high / 100, -low / 100, 2)} "
            "below that of the control."
        ),
        "too few": f"{compared} networks are too few to say whether gaps grow or shrink.",
        "unknown": f"Gaps between classes {open_change}.",
        "relative": f"Gaps grow relative to the accuracy; the gaps themselves {open_change}.",
        "no interval": (
            f"Gaps {'grow' if change >= 0 else 'shrink'} by {abs(change):.0f} % in {_which_networks(compared, cell)}."
        ),
        "undefined": f"The change of gaps is undefined, because {_why_undefined(arrays, arrays.with_control(rows))}.",
    }
    return sentences[kind]


def _why_undefined(arrays: RunArrays, rows: np.ndarray) -> str:
    """Return the reason why no pruned network, of those with a control, has slopes that can be compared."""
    pruned, controls = arrays.at_chance[rows], arrays.at_chance[arrays.controls[rows]]
    if not (pruned | controls).any():
        return "all classes have the same recall before pruning"
    if pruned.all() or controls.all():
        return f"all {'pruned networks' if pruned.all() else 'controls'} are at chance"
    others = "" if (pruned | controls).all() else ", or had the same recall for all classes before pruning"
    return f"every pruned network or its control is at chance{others}"


def _which_networks(compared: int, cell: pd.Series) -> str:
    if compared > 1:
        return f"each of {compared} networks"
    return "this network" if cell["n"] == 1 else "the only network whose gaps can be compared"


def _order(cell: pd.Series) -> Literal["kept", "unrelated", "reversed"]:
    """Decide whether the gaps keep their order; `unrelated` if the raw slope may be 0 and is shown to be below 1."""
    low, high = _ends(cell, "raw_slope")
    if high < 0 or (np.isnan(high) and cell["raw_slope_mean"] < 0):
        return "reversed"
    return "unrelated" if low <= 0 and high < 1 else "kept"


def _reversed(cell: pd.Series) -> str:
    """State that strong classes became the weak ones, with the raw slope, and its difference from the control's."""
    slope, from_none = cell["raw_slope_mean"], cell["raw_slope_minus_none"]
    low, high = _ends(cell, "raw_slope")
    which = f"in {_which_networks(cell['n_alpha'], cell)} " if np.isnan(high) else ""
    beside = f", {abs(from_none):.2f} {'below' if from_none < 0 else 'above'} that of the control"
    return (
        f"The order of the classes reverses {which}and strong classes become the weak ones: the raw slope is "
        f"{slope:.2f}{_brackets(low, high, 2)}{'' if np.isnan(from_none) else beside}."
    )


def _reading(pruned_cells: pd.DataFrame, confidence: float) -> Iterator[str]:
    if has_control := (pruned_cells["n_none"] > 0).any():
        yield _BEYOND_CONTROL.format(100 * confidence)
    if is_pruned(pruned_cells).any():
        yield _SAFE.format(_SAFE_FROM_CONTROL if has_control else "")
    if (pruned_cells["n"] == 1).all():
        yield _ONE_NETWORK
    if pruned_cells["n_at_chance"].any():
        yield "Networks at chance count in all numbers but slopes and changes of gaps."
    if pruner_meanings := [
        f"{name} is {meaning}" for name, meaning in MEANINGS.items() if name in set(pruned_cells[schema.PRUNER])
    ]:
        yield f"{'; '.join(pruner_meanings)}."


def _ends(cell: pd.Series, name: str) -> tuple[float, float]:
    """Return an interval of a cell, or NaN if all networks have the same number: its variance is then unknown."""
    low, high = cell[f"{name}_low"], cell[f"{name}_high"]
    return (np.nan, np.nan) if is_constant(np.array([low, high])) else (low, high)


def _brackets(low: float, high: float, digits: int = 1) -> str:
    if not np.isfinite([low, high]).all():
        return ""
    low, high = round(low, digits) + 0.0, round(high, digits) + 0.0  # no -0.0
    return f" ({low:.{digits}f} to {high:.{digits}f})"
