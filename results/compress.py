"""Tables and pictures of compress*/: the chains that accuracy alone would choose, and their costs for classes."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import answer_costs
import folders
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from pies import CLASSES
from quantized_training import CIFAR10
from scipy import stats

from analysis.common.errors import StudyError
from analysis.rendering.drawing import ABOVE, BELOW, DIFFERENT, NEUTRAL
from analysis.rendering.layout import Panel, draw
from analysis.rendering.panels import intervals
from analysis.statistics import limits
from analysis.statistics.chain_choice import choose
from analysis.statistics.hypothesis_tests import wilson_interval
from analysis.statistics.limits import Limits
from pruning_study.study.compression import judgement
from pruning_study.study.compression.judgement import Sides, Validated

LENET5, RESNET20 = "compress", "compress-resnet20"
CHAINS, VALIDATION, TEST = "chains.csv", "validation.npz", "test.npz"
LIMITS = Limits(class_loss=0.03, accuracy_loss=0.01)
# What limits the choice of the cheapest chain: the estimated loss of accuracy since the dense network; the upper bound
# of the loss of accuracy against the control; or this bound and the upper bound of the loss of every class.
ESTIMATE, BOUND, EVERY_CLASS = "accuracy, estimated", "accuracy, at most", "every class, at most"
RULES = (ESTIMATE, BOUND, EVERY_CLASS)
ALONE, TOGETHER = "one network", "all networks"
_MARKS = {ESTIMATE: (ABOVE, "o"), BOUND: (DIFFERENT, "s"), EVERY_CLASS: (BELOW, "D")}


class Answers(NamedTuple):
    """Which images dense, control and compressed networks recognise; each array is (chains, networks, images) bool."""

    before: np.ndarray
    control: np.ndarray
    after: np.ndarray


class Measured(NamedTuple):
    """The chains of a study, and which images the networks of each chain recognise.

    Attributes
    ----------
    chains : DataFrame
        A row for each chain: chain (in words) and bytes.
    train_label, test_label : (images,), integers
        Class of each training image and of each test image.
    places : (networks, images), integers
        Indices of the training images that each network uses for validation.
    validation, test : Answers
    """

    chains: pd.DataFrame
    train_label: np.ndarray
    places: np.ndarray
    validation: Answers
    test_label: np.ndarray
    test: Answers


def write(results: Path) -> None:
    """Write the tables and the picture of each study whose answers are stored.

    Raises
    ------
    StudyError
        If a file is damaged.
    """
    for study, classes in ((LENET5, CLASSES), (RESNET20, CIFAR10)):
        folder = results / study
        if (folder / TEST).is_file():
            measured = read(folder)
            chosen, costs = choices(measured), class_costs(measured, classes)
            tables = {
                "choices": chosen,
                "summary": summary(chosen),
                "losses": losses(measured),
                answer_costs.NAME: costs,
            }
            folders.write(folder, tables, {"chains": picture(costs, chosen, measured.chains["bytes"].iloc[0])})


def choices(measured: Measured) -> pd.DataFrame:
    """Return the chains that each rule chooses on validation images: once for each network, once for all together.

    Returns
    -------
    DataFrame, one row per choice
        The last three items are measured on test images. A choice by one network is measured with the other networks,
        and a choice by all networks with all of them.

        - rule, judges (who chose: `ALONE` or `TOGETHER`), and network (index of the network that chose; -1 for all);
        - chain, bytes, and share (of the dense network's bytes);
        - worst_class, the class with the largest loss against the control, and its loss, low and high, as shares of 1;
        - accuracy_loss;
        - state: `beyond` if a class is shown to lose more than the limit, `within` if this is ruled out for all
          classes, else `undecided`.
    """
    networks = measured.places.shape[0]
    judges = [(ALONE, [place]) for place in range(networks)] + [(TOGETHER, list(range(networks)))]
    rows = []
    for kind, members in judges:
        table = _judge(measured, members)
        others = [place for place in range(networks) if place not in members] or members
        for rule in RULES:
            row = {"rule": rule, "judges": kind, "network": members[0] if kind == ALONE else -1}
            place = _cheapest(table, rule)
            rows.append(row if place is None else row | _tested(measured, place, others))
    return pd.DataFrame(rows)


def summary(chosen: pd.DataFrame) -> pd.DataFrame:
    """Summarise the choices by each rule: how often a class loses more than the limit, and how many bytes are left.

    Returns
    -------
    DataFrame, two rows per rule: the choices of single networks, and the choice of all networks together
        - rule, judges (who chose), and n (number of choices);
        - beyond, beyond_low and beyond_high: the share of choices in which a class is shown to lose more than the
          limit, with Wilson's interval;
        - within and undecided: the numbers of choices in these states;
        - share: the geometric mean of the shares of the dense network's bytes;
        - larger, larger_low and larger_high: the bytes of the chain that all networks together choose by
          `EVERY_CLASS`, divided by those of this row's choices, with a t-interval over choices.
    """
    together = chosen[(chosen["rule"] == EVERY_CLASS) & (chosen["judges"] == TOGETHER)]["bytes"].item()
    rows = []
    for (rule, judges), group in chosen.groupby(["rule", "judges"], sort=False):
        chosen_rows = group.dropna(subset=["chain"])
        if chosen_rows.empty:
            rows.append({"rule": rule, "judges": judges, "n": 0})
            continue
        counts = chosen_rows["state"].value_counts()
        low, high = wilson_interval(np.array([counts.get("beyond", 0)]), np.array([len(chosen_rows)]))
        larger = np.log(together / chosen_rows["bytes"].to_numpy(float))
        half = stats.t.ppf(0.975, len(chosen_rows) - 1) * stats.sem(larger) if len(chosen_rows) > 1 else np.nan
        rows.append(
            {
                **{
                    "rule": rule,
                    "judges": judges,
                    "n": len(chosen_rows),
                    "beyond": counts.get("beyond", 0) / len(chosen_rows),
                },
                **{"beyond_low": low[0], "beyond_high": high[0]},
                **{state: int(counts.get(state, 0)) for state in ("within", "undecided")},
                "share": np.exp(np.log(chosen_rows["share"]).mean()),
                "larger": np.exp(larger.mean()),
                **{"larger_low": np.exp(larger.mean() - half), "larger_high": np.exp(larger.mean() + half)},
            }
        )
    return pd.DataFrame(rows)


def losses(measured: Measured) -> pd.DataFrame:
    """Return the mean losses of accuracy and of each class by each chain, over all networks, on test images."""
    everyone = range(measured.places.shape[0])
    tables = (
        measure_on_test(measured, place, list(everyone)).assign(chain=row["chain"], bytes=row["bytes"])
        for place, row in measured.chains.iterrows()
    )
    return pd.concat(tables, ignore_index=True)[["chain", "bytes", "name", "support", "loss", "low", "high"]]


def class_costs(measured: Measured, classes: Sequence[str]) -> pd.DataFrame:
    """Return, for each chain except the first, the class that `costliest` returns on test images, with its cost."""
    rows = (
        {"chain": row["chain"], "bytes": row["bytes"]}
        | answer_costs.costliest(measured.test_label, measured.test.control[place], measured.test.after[place], classes)
        for place, row in measured.chains.iloc[1:].iterrows()
    )
    return pd.DataFrame(rows)


def picture(costs: pd.DataFrame, chosen: pd.DataFrame, dense_bytes: int) -> Figure:
    """Draw each chain: its bytes on one axis, the loss of the class that pays most on the other. Mark chosen chains.

    Parameters
    ----------
    costs, chosen : DataFrame
        As `class_costs` and `choices` return them.
    dense_bytes : int
    """
    highest = 5 * 100 * LIMITS.class_loss
    rows = costs.drop_duplicates("chain")
    rows = rows[rows["loss"] <= highest / 100]
    share, loss, most = 100 * rows["bytes"] / dense_bytes, 100 * rows["loss"], 100 * rows["loss_upper_all"]
    rows = rows.assign(place=share, value=loss, low=loss, high=most, color=NEUTRAL, mark=".")
    chosen = chosen[chosen["judges"].eq(TOGETHER)]
    return draw(
        [Panel(_draw, (rows, chosen), "", "bytes, % of the dense network's", "recall lost, points")],
        size=(7.8, 3.1),
        title="What every chain costs the class that pays most, by its bytes",
        note="A dot is the recall that this class loses beyond the control. Its line ends at the bound of all losses, "
        f"with 95 % confidence. Chains that lose more than {highest:.0f} points are left out. Large marks: the chains "
        "that all networks together choose by three rules.",
    )


def _draw(axes: Axes, rows_and_choices: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    rows, chosen = rows_and_choices
    intervals(axes, rows, upright=True, no_effect=None)
    for rule, (color, mark) in _MARKS.items():
        own = rows[rows["chain"].isin(chosen.loc[chosen["rule"].eq(rule), "chain"])]
        intervals(axes, own.assign(color=color, mark=mark, label=rule), upright=True, no_effect=None)
    axes.axhline(100 * LIMITS.class_loss, color="black", linestyle="--", linewidth=0.8, label="limit of every class")


def _judge(measured: Measured, members: Sequence[int]) -> pd.DataFrame:
    """Return the losses by every chain, averaged over some networks, on their validation images."""
    rows = []
    for place, row in measured.chains.iterrows():
        validated = [
            Validated(measured.places[member], *(side[place, member] for side in measured.validation))
            for member in members
        ]
        table = _as_planned(judgement.losses_on_validation(_names(measured), measured.train_label, validated))
        result = judgement.judge(table, 0.0, row["bytes"], row["bytes"], 0, "")
        estimated = np.mean([each.before.mean() - each.after.mean() for each in validated])
        rows.append({**result._asdict(), "number": place, ESTIMATE: estimated})
    return pd.DataFrame(rows)


def _cheapest(table: pd.DataFrame, rule: str) -> int | None:
    """Return the index of the chain that a rule chooses; None if it chooses none."""
    if rule == ESTIMATE:
        within_limit = table[table[ESTIMATE] <= LIMITS.accuracy_loss]
        return None if within_limit.empty else int(within_limit.sort_values(["cost", ESTIMATE, "number"]).index[0])
    choice = choose(table, LIMITS)
    return choice.by_accuracy if rule == BOUND else choice.best


def _tested(measured: Measured, place: int, networks: Sequence[int]) -> dict[str, object]:
    """Describe a chosen chain, with the losses of some of the networks on test images."""
    table = measure_on_test(measured, place, networks)
    classes = table.iloc[1:]
    worst = classes.loc[classes["loss"].idxmax()]
    row, dense = measured.chains.iloc[place], measured.chains.iloc[0]
    return {
        **{"chain": row["chain"], "bytes": row["bytes"], "share": row["bytes"] / dense["bytes"]},
        **{"worst_class": worst["name"], **{name: worst[name] for name in ("loss", "low", "high")}},
        "accuracy_loss": table["loss"].iloc[0],
        "state": limits.gate(table, Limits(class_loss=LIMITS.class_loss)).state,
    }


def measure_on_test(measured: Measured, place: int, networks: Sequence[int]) -> pd.DataFrame:
    sides = Sides(*(side[place, networks] for side in measured.test))
    return _as_planned(judgement.losses(_names(measured), measured.test_label, sides))


def _as_planned(table: pd.DataFrame) -> pd.DataFrame:
    """Replace upper bounds of losses by the planned ones: the upper end of each class's own 95 % interval."""
    return table.assign(upper=table["high"])


def _names(measured: Measured) -> list[str]:
    return [str(number) for number in range(int(measured.test_label.max()) + 1)]


# Files. Networks differ from their controls, and controls from dense networks, in few answers, so the differences are
# stored, one bit each.


def save(path: Path, label: np.ndarray, answers: Answers, places: np.ndarray | None = None) -> None:
    """Write labels, answers and, for validation images, `Measured.places` to a compressed file."""
    before, control, after = answers
    arrays = {"label": label.astype(np.uint8), "shape": np.array(before.shape)}
    controls, which = np.unique(control ^ before, axis=0, return_inverse=True)
    arrays |= {"before": np.packbits(before[0]), "control": np.packbits(controls), "which": which.ravel()}
    arrays |= {"after": np.packbits(after ^ control)}
    if places is not None:
        arrays["places"] = np.packbits(np.array([np.isin(np.arange(len(label)), each) for each in places]))
    np.savez_compressed(path, allow_pickle=False, **arrays)


def read(folder: Path) -> Measured:
    """Read a study's answers, which `save` wrote, and its chains.

    Raises
    ------
    StudyError
        If a file is missing or damaged.
    """
    try:
        train_label, validation, places = _read(folder / VALIDATION)
        test_label, test, _ = _read(folder / TEST)
        chains = pd.read_csv(folder / CHAINS)
    except (OSError, ValueError, KeyError) as error:
        raise StudyError(f"{folder}: its answers cannot be read: {error}") from error
    return Measured(chains, train_label, places, validation, test_label, test)


def _read(path: Path) -> tuple[np.ndarray, Answers, np.ndarray]:
    with np.load(path, allow_pickle=False) as stored:
        arrays = {name: stored[name] for name in stored.files}
    shape, label = tuple(arrays["shape"]), arrays["label"].astype(int)
    _, networks, images = shape
    before = np.broadcast_to(_bits(arrays["before"], shape[1:]), shape)
    which = arrays["which"]
    control = _bits(arrays["control"], (which.max() + 1, networks, images))[which] ^ before
    answers = Answers(before, control, _bits(arrays["after"], shape) ^ control)
    places = np.arange(images)[np.newaxis]
    if "places" in arrays:
        mask = _bits(arrays["places"], (networks, len(label)))
        places = np.array([np.flatnonzero(row) for row in mask])
    return label, answers, places


def _bits(packed: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    return np.unpackbits(packed, count=int(np.prod(shape))).reshape(shape).astype(bool)
