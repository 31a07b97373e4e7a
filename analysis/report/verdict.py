"""A study in a few sentences for each data set and model: what pruning costs, and which classes pay for it."""

from collections.abc import Iterator
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd

from analysis.rendering.formats import short_ratio
from analysis.report.published import rank
from analysis.runs import frames, schema
from analysis.statistics.class_costs import FEWEST_FLIPPED, smallest_p
from analysis.statistics.hypothesis_tests import LEVEL, MARGIN
from analysis.statistics.moderation import FEWEST_CLASSES
from analysis.statistics.populations import FEWEST_TESTED
from analysis.statistics.weak_dense import sentence
from analysis.study.arrays import dense_weakness
from analysis.study.costs import CONTROL_OF_OTHER_SEEDS, networks_for_limit
from analysis.study.decay_advice import decay_advice
from analysis.study.settings import (
    CONTROL,
    ITERATION,
    at_level,
    in_number_format,
    is_pruned,
    never_fine_tuned,
    starts_anew,
)
from analysis.study.study import StudyData

SMALL_LOSS = 0.01
# Of recall of a single class: what a choice must rule out to be called safe.
SAFE_LOSS = 0.05
PLACE = [schema.DATASET, schema.MODEL]
MEANINGS = {
    "mp": "magnitude pruning",
    "gp": "gradient pruning",
    "up": "undecayed pruning",
    "up-signed": "undecayed pruning as released",
    "up-sum": "undecayed pruning as on the poster",
    "rp": "random pruning",
    "global-unstructured": "magnitude pruning over all layers at once",
    "l1-unstructured": "magnitude pruning by layer",
    "random-unstructured": "random pruning by layer",
    "l1-structured": "pruning of whole channels by the L1 norm",
    "l2-structured": "pruning of whole channels by the L2 norm",
    "linf-structured": "pruning of whole channels by their largest weight",
    "random-structured": "pruning of whole channels at random",
    "float16": "weights of 16 bits",
    "dynamic-int8": "weights of 8 bits, activations rounded as they come",
    "fixed-int8": "weights and activations of 8 bits, scaled by training images",
}
_NO_CONTROL = f"Without runs of {CONTROL}, nobody can tell pruning from fine-tuning."
_NOT_PAIRED = (
    f"The runs of {CONTROL} are of other seeds, so that losses are compared without pairs, and nothing is called safe: "
    f"make {CONTROL} for the seeds of the pruned networks."
)
_NOT_FINE_TUNED = "Fine-tuning plays no part in it, so that it is compared with the dense networks."
_BEYOND_CONTROL = (
    f"Losses are beyond those of the control ({CONTROL}), the same network trained as long and not pruned. Brackets "
    "hold 95 % intervals. A class's recall is the share of its test images that the network recognises. Its gap is its "
    "recall minus the accuracy; changes of gaps are in %."
)
_SAFE = (
    "Safe: bounds that hold with 95 % confidence, for all classes together, rule out that a class loses more than "
    f"{100 * SAFE_LOSS:g} points of recall or the accuracy more than {100 * SMALL_LOSS:g}. Each method is judged from "
    "its smallest ratio on, up to the first that fails. Networks at chance count in these bounds."
)
_WIDEST = 200  # An interval of the gaps' change that is wider, in % of the gap, is not printed: it says nothing.
_CLASS_TEST = (
    f"Classes are tested together: by a max-t test from {FEWEST_FLIPPED} networks on, by an audit's t-test with Holm's "
    "correction below."
)
_ONE_NETWORK = "Every cell has one network, so that nothing here has an interval over networks."

# A param, one of its values, and what a reader has to know of runs with it.
_TO_KNOW = (
    (
        schema.PROTOCOL,
        "released",
        "Runs of protocol `released` do as the paper's released code does: their epochs are chosen by the test loss, "
        "so their accuracies and recalls on test images flatter. They are for comparison only.",
    ),
    (
        schema.PRUNER,
        "up-signed",
        "`up-signed` prunes fewer weights than asked: its ratio is the one asked for, realized_ratio the one reached.",
    ),
)


class Decision(NamedTuple):
    """What to use of the pruned networks of one data set and model.

    Attributes
    ----------
    cell : Series
        The networks to use: the largest safe choice. Where nothing is called safe, those that the details are about.
    is_safe : bool, optional
        None where nobody can tell, for want of a control. False says that nothing is shown to be safe.
    detailed : Series
        The networks that the details of a report are about, at `leading_ratio`.
    """

    cell: pd.Series
    is_safe: bool | None
    detailed: pd.Series


def verdict(study: StudyData) -> list[str]:
    """Return a line for each data set and model: what to use, what it costs, which class pays, and how sure this is.

    A line rests on the numbers beyond the control: the accuracy, the losses and costs of classes, the raw slope and the
    raw spread ratio. Networks are safe if upper bounds rule out that the accuracy loses more than `SMALL_LOSS`, and a
    class more than `SAFE_LOSS`. That no harm is shown decides nothing, and neither do wider gaps, since any lost
    accuracy widens them. Of several methods the most accurate one is taken. Of number formats a line names the one that
    costs most accuracy. A line ends with `decay_advice`, where there is any.

    A line begins with what makes dense networks weak: those at chance, and classes with recall 0. Networks at chance
    count, and their number is said. If all dense networks are, it says nothing else.
    """
    compressed = study.cells[study.cells[schema.PRUNER] != CONTROL]
    if compressed.empty:
        return [
            f"No network of this experiment was pruned: its only pruner is {CONTROL}. "
            "Prune at some ratios, in the same experiment, to see what it costs."
        ]
    return [" ".join(_sentences(workload, cells, study)) for workload, cells in places(compressed)]


def reading(study: StudyData) -> list[str]:
    """Return sentences on how to read the verdict, none where it has no numbers."""
    compressed = study.cells[study.cells[schema.PRUNER] != CONTROL]
    weak = dense_weakness(study.runs.drop_duplicates(schema.DENSE_RUN_ID))
    return list(_reading(compressed)) if len(compressed) and weak.at_chance < weak.networks else []


def decision(cells: pd.DataFrame, study: StudyData) -> Decision:
    """Decide what to use.

    Parameters
    ----------
    cells : DataFrame
        Rows of `study.cells`, of pruned networks of one data set and model.
    study : StudyData
    """
    detailed = by_accuracy(cells, leading_ratio(cells)).iloc[0]
    if not calls_safe(cells, study):
        return Decision(detailed, None, detailed)
    safe = safe_choices(cells, study)
    cell = detailed if safe.empty or detailed.name in safe.index else safe.iloc[0]
    return Decision(cell, not safe.empty, detailed)


def costs(cell: pd.Series, study: StudyData) -> Iterator[str]:
    """Say what the networks of a cell cost: how much accuracy, and which classes pay."""
    yield f"It {_cost(cell)}."
    yield from _describe_payers(class_rows(study, cell), cell)


def to_know(runs: pd.DataFrame) -> list[str]:
    """Return what a reader has to know of a study's runs before any number."""
    return [
        sentence
        for name, value, sentence in _TO_KNOW
        if frames.column(name) in runs and (runs[frames.column(name)] == value).any()
    ]


def places(frame: pd.DataFrame) -> list[tuple[tuple[str, str], pd.DataFrame]]:
    """Return every data set and model with its rows; the data sets of print are first, in the order of print."""
    groups = [(key, rows) for key, rows in frame.groupby(PLACE, sort=False)]
    return sorted(groups, key=lambda place: rank(place[0][0]))


def leading_ratio(cells: pd.DataFrame) -> float:
    """Return the ratio that a verdict leads with, one at which people would ship a pruned network.

    It is the largest ratio at which some method loses at most `SMALL_LOSS` of accuracy beyond the control; without a
    control, beyond the dense networks. If there is none, it is the smallest ratio. Cells most of whose networks guess
    count only if there are no others.

    Parameters
    ----------
    cells : DataFrame
        Rows of pruned networks of one data set and model, as `cells.cells` returns them.
    """
    sound = _sound_or_all(cells)
    small = sound.loc[accuracy_loss(sound) <= SMALL_LOSS, schema.RATIO]
    return float(small.max() if len(small) else sound[schema.RATIO].min())


def by_accuracy(cells: pd.DataFrame, ratio: float) -> pd.DataFrame:
    """Return the cells at a ratio, the most accurate first, without those whose networks mostly guess if others do not.

    Levels of iterative pruning are at a ratio if their iteration has a level that is. Cells that lose at most
    `SMALL_LOSS` of accuracy stand before the others.
    """
    there = _sound_or_all(cells)
    there = there[at_level(there, ratio)]
    order = np.lexsort([-there["accuracy_after"], accuracy_loss(there) > SMALL_LOSS])
    return there.iloc[order]


def mostly_sound(cells: pd.DataFrame) -> pd.Series:
    """Return whether fewer than half of each cell's networks guess."""
    return cells["n"] > 2 * cells["n_at_chance"]


def _sound_or_all(cells: pd.DataFrame) -> pd.DataFrame:
    """Return the cells whose networks mostly do not guess, or all if there is none."""
    sound = mostly_sound(cells)
    return cells[sound] if sound.any() else cells


def accuracy_loss(cells: pd.DataFrame) -> pd.Series:
    """Return what each cell loses of accuracy beyond the control, or beyond the dense networks if it has no control."""
    loss = (-cells["accuracy_minus_none"]).fillna(cells["accuracy_before"] - cells["accuracy_after"])
    return loss.round(9)  # one point is one point


def class_rows(study: StudyData, cell: pd.Series) -> pd.DataFrame:
    """Return the rows of `study.classes` that are of a cell."""
    return _rows_of(cell, study.classes, study)


def _rows_of(cell: pd.Series, frame: pd.DataFrame, study: StudyData) -> pd.DataFrame:
    columns = study.cell_key
    conditions = [frame[name].isna() if pd.isna(cell[name]) else frame[name] == cell[name] for name in columns]
    return frame[np.logical_and.reduce(conditions)]


def class_test(rows: pd.DataFrame) -> str:
    """Return the name of the test that decides which classes of a cell lose more than the accuracy.

    Parameters
    ----------
    rows : DataFrame
        As `class_rows` returns it.
    """
    networks = rows["n_reference"].max()
    if networks < FEWEST_TESTED:
        return "test over images"
    if networks >= FEWEST_FLIPPED:
        return f"max-t test (p no less than {smallest_p(int(networks)):.1g})"
    return "moderated t-test" if len(rows) >= FEWEST_CLASSES else "plain t-test"


def _sentences(workload: tuple[str, str], cells: pd.DataFrame, study: StudyData) -> Iterator[str]:
    rows = study.runs[(study.runs[PLACE] == list(workload)).all(axis=1)]
    weak = dense_weakness(rows.drop_duplicates(schema.DENSE_RUN_ID))
    where = f"On {workload[0]} with {workload[1]}"
    if weakness := sentence(weak):
        yield f"{where}: {weakness}"
    if weak.at_chance == weak.networks:
        return
    pruned_cells, formats = cells[is_pruned(cells)], cells[in_number_format(cells)]
    if len(pruned_cells):
        yield from _on_pruning(pruned_cells, study)
    if len(formats):
        yield from _on_number_formats(formats, study, is_named=len(pruned_cells) > 0)
    yield from decay_advice(rows)


def _on_pruning(cells: pd.DataFrame, study: StudyData) -> Iterator[str]:
    cell, is_safe, detailed = decision(cells, study)
    if is_safe:
        yield f"{_where(cell)}, use {choice(cell, study)}."
        yield from costs(cell, study)
        if cell.name == detailed.name:
            yield from [_describe_gaps(cell)] if cell["n_none"] else [_NOT_FINE_TUNED]
            yield "This is safe, and no larger ratio is shown to be."
            return
        yield f"{choice(detailed, study)} {_cost(detailed)}."
    else:
        unsafe = "nothing is shown to be safe. " if is_safe is False else ""
        yield f"{_where(detailed)}, {unsafe}{choice(detailed, study)} {_cost(detailed)}."
    rows = class_rows(study, detailed)
    yield from _describe_payers(rows, detailed)
    if is_safe is not None:
        yield _describe_safety(detailed, rows, study)
    if detailed["n_none"]:
        yield _describe_gaps(detailed)
    elif (rows["reference"] == CONTROL_OF_OTHER_SEEDS).all():
        yield _NOT_PAIRED
    else:
        yield _NO_CONTROL if is_safe is None else _NOT_FINE_TUNED


def choice(cell: pd.Series, study: StudyData) -> str:
    """Return the method and the ratio of a cell in words."""
    return f"{study.method(cell)} at ratio {short_ratio(cell[schema.RATIO])}"


def _on_number_formats(cells: pd.DataFrame, study: StudyData, *, is_named: bool) -> Iterator[str]:
    """Say what the number format costs that costs most; `is_named` if data set and model were named before.

    Those of dense networks are spoken of, and those of the control where there are no others.
    """
    of_dense = never_fine_tuned(cells)
    cells = cells[of_dense] if of_dense.any() else cells
    cell = cells.loc[accuracy_loss(cells).idxmax()]
    name, against = study.method(cell), "" if cell["n_none"] else ", against the dense networks"
    subject = f"{name} does worst of {len(cells)} number formats: it" if len(cells) > 1 else name
    yield f"{'' if is_named else f'{_where(cell)}, '}{subject} {_cost(cell)}{against}."
    yield from _describe_payers(class_rows(study, cell), cell)


def _where(cell: pd.Series) -> str:
    count = cell["n_none"] or cell["n"]
    networks = "one network" if count == 1 else f"{count} networks"
    at_chance = f", {cell['n_at_chance']} at chance" if cell["n_at_chance"] else ""
    return f"On {cell[schema.DATASET]} with {cell[schema.MODEL]} ({networks}{at_chance})"


def _cost(cell: pd.Series) -> str:
    change = "accuracy_minus_none" if cell["n_none"] else "accuracy_change"
    loss, low, high = (-100 * cell[f"{change}{end}"] for end in ("", "_high", "_low"))
    if round(loss, 9) < 0:
        low, high = -high, -low
    verb = "gains" if round(loss, 9) < 0 else "costs"
    return f"{verb} {abs(loss):.1f} points of accuracy{_brackets(low, high)}"


class Payers(NamedTuple):
    """Which classes lose more than the accuracy.

    Attributes
    ----------
    are_tested : bool
        Whether there is a test of single classes.
    names : list of str
        The classes that are shown to lose more, the one that loses most first.
    points : (classes, 3)
        What they lose beyond the accuracy in percentage points, with the ends of the intervals.
    """

    are_tested: bool
    names: list[str]
    points: np.ndarray


def payers(rows: pd.DataFrame) -> Payers:
    """Find the classes of a cell that are shown to lose more than the accuracy; `rows` as `class_rows` returns them."""
    paying = rows[(rows["cost_p"] < LEVEL) & (rows["cost"] > 0)].sort_values("cost", ascending=False)
    points = 100 * paying[["cost", "cost_low", "cost_high"]].to_numpy()
    return Payers(bool(rows["cost_p"].notna().any()), list(paying["class"]), points)


def _describe_payers(rows: pd.DataFrame, cell: pd.Series) -> Iterator[str]:
    """Say which classes lose more than the accuracy, the one that loses most first, and what none loses more than."""
    are_tested, names, points = payers(rows)
    if not are_tested:
        yield "Whether single classes lose more than that is unknown."
    elif not names:
        bound = cell["worst_class_loss_upper"]
        ruled_out = f"; a loss above {100 * bound:.1f} points is ruled out for all" if np.isfinite(bound) else ""
        yield f"No class is shown to lose more than the accuracy{ruled_out}."
    else:
        second = f", {names[1]} {points[1, 0]:.1f}" if len(names) > 1 else ""
        rest = len(names) - 2
        rest_text = f", {rest} {'other' if rest == 1 else 'others'} less" if rest > 0 else ""
        loss_text = f"{points[0, 0]:.1f} points{_brackets(*points[0, 1:])} more than the accuracy"
        yield f"{names[0]} loses {loss_text}{second}{rest_text}."


Safety = Literal["safe", "beyond", "undecided"]


def safety(cell: pd.Series, rows: pd.DataFrame) -> Safety:
    """Hold the bounds of a cell against the limits of what is safe.

    Parameters
    ----------
    cell : Series
        A row of `study.cells`.
    rows : DataFrame
        As `class_rows` returns it.

    Returns
    -------
    str
        beyond: a class, or the accuracy, surely loses more than its limit. undecided: it may.
    """
    if cell["worst_class_loss_upper"] <= SAFE_LOSS and cell["accuracy_loss_upper"] <= SMALL_LOSS:
        return "safe"
    return "beyond" if (_lower_bounds(rows) > SAFE_LOSS).any() or _surely_loses_accuracy(cell, rows) else "undecided"


def _lower_bounds(rows: pd.DataFrame) -> pd.Series:
    """Return lower bounds of the losses that hold for all classes together, as far below the loss as the upper ones."""
    return 2 * rows["loss"] - rows["loss_upper_all"]


def _surely_loses_accuracy(cell: pd.Series, rows: pd.DataFrame) -> bool:
    # A class's loss minus its cost is the loss of accuracy, of the same networks as the bound.
    loss = (rows["loss"] - rows["cost"]).mean()
    return bool(2 * loss - cell["accuracy_loss_upper"] > SMALL_LOSS)


def _describe_safety(cell: pd.Series, rows: pd.DataFrame, study: StudyData) -> str:
    """Say that networks are not safe, or why it is undecided and how many networks would decide."""
    worst = rows.loc[rows["loss_upper_all"].fillna(np.inf).idxmax()]
    if safety(cell, rows) == "beyond":
        lower = _lower_bounds(rows)
        if lower.max() > SAFE_LOSS:
            name = rows.loc[lower.idxmax(), "class"]
            return f"It is not safe: {name} surely loses more than {100 * SAFE_LOSS:g} points of recall."
        return f"It is not safe: the accuracy surely loses more than {100 * SMALL_LOSS:g} point."
    if not np.isfinite(worst["loss_upper_all"]):
        return "Whether it is safe is unknown: with one network nothing shows how far classes move."
    needed = needed_networks(cell, study)
    remedy = f"{needed:,} networks would decide" if needed else "more networks may decide"
    if worst["loss_upper_all"] > SAFE_LOSS:
        may_lose = (
            f"{worst['class']} may lose up to {100 * worst['loss_upper_all']:.1f} points (limit {100 * SAFE_LOSS:g})"
        )
    else:
        may_lose = (
            f"the accuracy may lose up to {100 * cell['accuracy_loss_upper']:.1f} points (limit {100 * SMALL_LOSS:g})"
        )
    return f"Undecided: {may_lose}; {remedy}."


def needed_networks(cell: pd.Series, study: StudyData) -> int | None:
    """Return how many networks would rule out that a class of a cell loses more than `SAFE_LOSS`, if losses stay."""
    rows = _rows_of(cell, study.arrays.runs, study).index.to_numpy()
    return networks_for_limit(study.arrays, rows, SAFE_LOSS, study.predicted)


GapKind = Literal[
    "reversed",
    "unrelated",
    "weak behind",
    "wider",
    "narrower",
    "same",
    "relative",
    "too few",
    "unknown",
    "one network",
]


class Gaps(NamedTuple):
    """What became of the gaps between classes, in % of those of the control.

    Attributes
    ----------
    kind : str
        reversed: strong classes became the weak ones. unrelated: no relation to the gaps before is shown. weak behind:
        those of weak classes grow. wider: gaps grow, not shown to be those of weak classes. narrower: they shrink.
        same: an equivalence test shows no change. relative: they grow relative to the accuracy alone. too few: the
        interval is too wide. unknown: they may grow or shrink. one network: there is no interval.
    change, low, high : float
        Change of the raw slope, which follows weak classes, with its interval.
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
    """Decide whether weak classes fall further behind, by the raw slope, and whether gaps grow between others."""
    change, low, high = (100 * cell[f"raw_slope_minus_none{end}"] for end in ("", "_low", "_high"))
    spread, spread_low, spread_high = (100 * cell[f"raw_spread_ratio_minus_none{end}"] for end in ("", "_low", "_high"))
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
    elif cell["alpha_minus_none_low"] > 0:
        kind = "relative"
    elif high - low > _WIDEST:
        kind = "too few"
    else:
        kind = "unknown" if np.isfinite(low) else "one network"
    return Gaps(kind, change, low, high, spread, spread_low, spread_high)


def _describe_gaps(cell: pd.Series) -> str:
    """Say what `gaps` decides, with the numbers that show it."""
    kind, change, low, high, spread, spread_low, spread_high = gaps(cell)
    wider = f"grow {spread:.0f} %{_brackets(spread_low, spread_high, 0)}"
    if kind == "reversed":
        return _reversed(cell)
    if kind == "unrelated":
        slope = f"the raw slope may be 0{_brackets(cell['raw_slope_low'], cell['raw_slope_high'], 2)}"
        growth = f"{wider} and " if spread_low > 0 else ""
        return f"Gaps {growth}have no shown relation to those before: {slope}."
    addition = ", more than accuracy explains" if cell["alpha_minus_none_low"] > 0 else ""
    sentences = {
        "weak behind": f"Weak classes fall behind: gaps grow {change:.0f} %{_brackets(low, high, 0)}{addition}.",
        "wider": f"Gaps {wider}; that weak classes fall behind is not shown.",
        "narrower": f"Gaps shrink {-change:.0f} %{_brackets(-high, -low, 0)}.",
        "same": f"Gaps of weak classes change by less than {100 * MARGIN:g} %, by an equivalence test.",
        "relative": "Gaps grow only relative to the lower accuracy.",
        "too few": f"{cell['n']:.0f} networks are too few to say whether gaps grow or shrink.",
        "unknown": f"Gaps between classes may shrink or grow ({low:+.0f} to {high:+.0f} %).",
        "one network": f"Gaps {'grow' if change >= 0 else 'shrink'} by {abs(change):.0f} % in this network.",
    }
    return sentences[kind]


def _order(cell: pd.Series) -> Literal["kept", "unrelated", "reversed"]:
    """Decide how the gaps after pruning lie to those of the dense networks; `unrelated` if a slope of 1 is excluded."""
    low, high = (cell[f"raw_slope_{end}"] for end in ("low", "high"))
    if high < 0 or (np.isnan(high) and cell["raw_slope_mean"] < 0):
        return "reversed"
    return "unrelated" if low <= 0 and high < 1 else "kept"


def _reversed(cell: pd.Series) -> str:
    """Say that strong classes became the weak ones, and how far the raw slope is from the control's."""
    slope, from_none = cell["raw_slope_mean"], cell["raw_slope_minus_none"]
    which = "in this network " if np.isnan(cell["raw_slope_high"]) else ""
    interval = _brackets(cell["raw_slope_low"], cell["raw_slope_high"], 2)
    beside = f"{abs(from_none):.2f} {'below' if from_none < 0 else 'above'} the control's"
    return (
        f"The order of the classes reverses {which}and strong classes become the weak ones: the raw slope is "
        f"{slope:.2f}{interval}, {beside}."
    )


def calls_safe(cells: pd.DataFrame, study: StudyData) -> bool:
    """Return whether a verdict says which choice of pruned networks is safe.

    It does if the networks that it leads with have a control, or need none because they were pruned as they were
    trained.
    """
    best = by_accuracy(cells, leading_ratio(cells)).iloc[0]
    return bool(best["n_none"]) or _need_no_control(best, study)


def _need_no_control(cell: pd.Series, study: StudyData) -> bool:
    return bool(starts_anew(_rows_of(cell, study.runs, study)).all())


def safe_choices(cells: pd.DataFrame, study: StudyData) -> pd.DataFrame:
    """Return the cells that a verdict calls safe: the largest ratio first, and there the most accurate.

    Each method is judged from its smallest ratio on, up to the first that fails, so that many ratios do not make it
    likelier that one of them passes by chance.
    """
    of_method = [name for name in study.cell_key if name not in (schema.RATIO, ITERATION)]
    passing: list[int] = []
    for _, method in cells.sort_values(schema.RATIO, kind="stable").groupby(of_method, dropna=False, sort=False):
        is_safe = [safety(cell, class_rows(study, cell)) == "safe" for _, cell in method.iterrows()]
        passing += list(method.index[: is_safe.index(False) if False in is_safe else len(is_safe)])
    return cells.loc[passing].sort_values([schema.RATIO, "accuracy_after"], ascending=False, kind="stable")


def _reading(pruned_cells: pd.DataFrame) -> Iterator[str]:
    if (pruned_cells["n_none"] > 0).any():
        yield _BEYOND_CONTROL
        yield _CLASS_TEST
        yield _SAFE
    if (pruned_cells["n"] == 1).all():
        yield _ONE_NETWORK
    if pruned_cells["n_at_chance"].any():
        yield "Networks at chance have no alpha, and count in all other numbers."
    if pruner_meanings := [
        f"{name} is {meaning}" for name, meaning in MEANINGS.items() if name in set(pruned_cells[schema.PRUNER])
    ]:
        yield f"{'; '.join(pruner_meanings)}."


def _brackets(low: float, high: float, digits: int = 1) -> str:
    if not np.isfinite([low, high]).all():
        return ""
    low, high = round(low, digits) + 0.0, round(high, digits) + 0.0  # no -0.0
    return f" ({low:.{digits}f} to {high:.{digits}f})"
