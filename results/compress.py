"""compress*/: which chains of compression steps would accuracy alone choose, and what do they cost the classes?"""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import outcomes
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from of_analysis import (
    ABOVE,
    BELOW,
    DIFFERENT,
    LEVEL,
    NEUTRAL,
    Panel,
    Recalls,
    StudyError,
    draw,
    intervals,
    losses,
    mean_interval,
    wilson_interval,
)
from published import Study
from quantized_training import class_names

# Largest accepted losses of a class and of the accuracy.
_OF_CLASS, _OF_ACCURACY = 0.03, 0.01
# What limits the choice of the cheapest chain: the estimated loss of accuracy since the dense network; the upper bound
# of the loss of accuracy against the control; or this bound and the upper bound of the loss of every class.
ESTIMATE, BOUND, EVERY_CLASS = "accuracy, estimated", "accuracy, at most", "every class, at most"
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
        A row for each chain: chain, as in `l1-filter 1.28, 7 epochs, dynamic-int8`, and bytes.
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


@cache
def read(folder: Path) -> Measured:
    """Read a study's answers and its chains, each chain once.

    Raises
    ------
    StudyError
        If a file is missing or damaged.
    """
    try:
        (train_label, validation, places), (test_label, test, _) = map(
            _read, (folder / "validation.npz", folder / "test.npz")
        )
        chains = pd.read_csv(folder / "chains.csv")
    except (OSError, ValueError, KeyError) as error:
        raise StudyError(f"{folder}: its answers cannot be read: {error}") from error
    first = ~chains["chain"].duplicated()
    chains["chain"] = chains["chain"].str.replace(r"\w+ pruned by (\S+) at ratio", r"\1", regex=True)
    validation, test = (Answers(*(side[first] for side in sides)) for sides in (validation, test))
    return Measured(chains[first].reset_index(drop=True), train_label, places, validation, test_label, test)


def _read(path: Path) -> tuple[np.ndarray, Answers, np.ndarray]:
    """Read labels, answers, and the images of each network; stored is what differs from dense network or control."""
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
        places = np.array([np.flatnonzero(row) for row in _bits(arrays["places"], (networks, len(label)))])
    return label, answers, places


def _bits(packed: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    return np.unpackbits(packed, count=int(np.prod(shape))).reshape(shape).astype(bool)


@cache
def choices(study: Study) -> pd.DataFrame:
    """Return the chains that each rule chooses on validation images: once for each network, once for all together.

    Returns
    -------
    DataFrame, one row per choice
        Losses are in points, and measured on test images: a choice by one network with the other networks, and a choice
        by all networks with all of them.

        - rule, judges (who chose: `ALONE` or `TOGETHER`), and network (index of the network that chose, or `TOGETHER`);
        - place (index of the chain), chain, bytes, and share (of the dense network's bytes);
        - class, the class with the largest loss against the control, and its loss, loss_low and loss_high;
        - accuracy_loss;
        - state: `beyond` if a class is shown to lose more than the limit, `within` if this is ruled out for all
          classes, else `undecided`.
    """
    measured = read(study.folder)
    everyone = [*range(len(measured.places))]
    rows = []
    for members in (*([network] for network in everyone), everyone):
        judged = _judge(measured, members)
        judges, network = (ALONE, members[0]) if len(members) == 1 else (TOGETHER, TOGETHER)
        testers = [each for each in everyone if each not in members] or members
        for rule in _MARKS:
            if len(within := judged[judged[rule]]):
                by = "estimate" if rule == ESTIMATE else "class_loss"
                place = within.sort_values(["bytes", by], kind="stable").index[0]
                rows.append({"rule": rule, "judges": judges, "network": network, **_tested(study, place, testers)})
    return pd.DataFrame(rows)


def _judge(measured: Measured, members: list[int]) -> pd.DataFrame:
    """Return each chain's losses on validation images, with their bounds, and whether it keeps to each rule."""
    rows = []
    for place in measured.chains.index:
        before, control, after = (side[place, members] for side in measured.validation)
        places = measured.places[members]
        images = np.unique(places)
        changes = np.full((len(members), len(images)), np.nan)
        for each, (row, *sides) in enumerate(zip(np.searchsorted(images, places), control, after, strict=True)):
            changes[each, row] = np.subtract(*sides, dtype=np.int8)
        label = measured.train_label[images]
        found = losses.accuracy(label, changes), losses.spread(label, changes)
        estimate = (before.mean(1) - after.mean(1)).mean()
        # As planned, each class has a bound of its own: the upper end of its 95 % interval.
        rows.append((estimate, *(each.interval()[1].max() for each in found)))
    table = pd.DataFrame(rows, columns=["estimate", "accuracy_loss", "class_loss"])
    is_accurate = table["accuracy_loss"] < _OF_ACCURACY
    rules = table["estimate"] <= _OF_ACCURACY, is_accurate, is_accurate & (table["class_loss"] < _OF_CLASS)
    return table.assign(bytes=measured.chains["bytes"], **dict(zip(_MARKS, rules, strict=True)))


def _tested(study: Study, place: int, networks: list[int]) -> dict[str, object]:
    """Describe a chosen chain, with its losses in some of the networks on test images."""
    measured, names = read(study.folder), class_names(study)
    _, control, after = (side[place, networks] for side in measured.test)
    found = losses.between(measured.test_label, control, after)
    worst, low, high = int(found.value.argmax()), found.interval(LEVEL / len(names))[0], found.interval()[1]
    is_beyond, is_within = (low > _OF_CLASS).any(), (high < _OF_CLASS).all()
    row = measured.chains.loc[place]
    return {
        **{"place": place, "chain": row["chain"], "bytes": row["bytes"]},
        "share": 100 * row["bytes"] / measured.chains["bytes"][0],
        **{"class": names[worst], "loss": 100 * found.value[worst]},
        **{"loss_low": 100 * low[worst], "loss_high": 100 * high[worst]},
        "accuracy_loss": 100 * (control.mean() - after.mean()),
        "state": "beyond" if is_beyond else "within" if is_within else "undecided",
    }


def summary(study: Study) -> pd.DataFrame:
    """Summarise the choices by each rule: how often a class loses more than the limit, and how many bytes are left.

    Returns
    -------
    DataFrame, two rows per rule: the choices of single networks, and the choice of all networks together
        - rule, judges (who chose), and n (number of choices);
        - beyond: the share of choices in which a class is shown to lose more than the limit, with Wilson's interval;
        - within and undecided: the numbers of choices in these states;
        - share: the geometric mean of the shares of the dense network's bytes;
        - larger: the bytes of the chain that all networks together choose by `EVERY_CLASS`, divided by those of this
          row's choices, with a t-interval over choices.
    """
    chosen, rows = choices(study), []
    together = chosen.query("rule == @EVERY_CLASS and judges == @TOGETHER")["bytes"].item()
    for (rule, judges), group in chosen.groupby(["rule", "judges"], sort=False):
        n, counts = len(group), group["state"].value_counts()
        beyond = np.array([counts.get("beyond", 0)])
        larger = np.log(together / group["bytes"].to_numpy(float))
        row = {"rule": rule, "judges": judges, "n": n, "share": np.exp(np.log(group["share"]).mean())}
        row |= {state: counts.get(state, 0) for state in ("within", "undecided")}
        for name, value, (low, high) in (
            ("beyond", beyond.item() / n, wilson_interval(beyond, np.array([n]))),
            ("larger", np.exp(larger.mean()), np.exp(mean_interval(larger))),
        ):
            row |= {name: value, f"{name}_low": np.ravel(low)[0], f"{name}_high": np.ravel(high)[0]}
        rows.append(row)
    return pd.DataFrame(rows)


def class_costs(study: Study) -> pd.DataFrame:
    """Return what each chain costs the class that pays most, on test images.

    Returns
    -------
    DataFrame
        chain, bytes, share (of the dense network's bytes, in per cent), and the columns of `outcomes.class_costs`.
    """
    measured = read(study.folder)
    tables = []
    for place, row in measured.chains.iterrows():
        sides = measured.test.control[place], measured.test.after[place]
        table = outcomes.class_costs(measured.test_label, *sides, class_names(study)).query("costliest")
        share = 100 * row["bytes"] / measured.chains["bytes"][0]
        tables.append(table.assign(chain=row["chain"], bytes=row["bytes"], share=share))
    return pd.concat(tables, ignore_index=True)


def networks(study: Study) -> pd.DataFrame:
    """Return the accuracy and the recall of each class, in points, of dense networks, controls and chosen networks.

    The controls are those of the chain that all networks together choose by estimated accuracy.
    """
    measured, chosen = read(study.folder), choices(study).query("judges == @TOGETHER").set_index("rule")["place"]
    first = chosen[ESTIMATE]
    sides = {"dense": measured.test.before[first], "control": measured.test.control[first]}
    sides |= {rule: measured.test.after[place] for rule, place in chosen.items()}
    tables = []
    for kind, right in sides.items():
        recalls = 100 * Recalls.from_answers(measured.test_label, right).recall
        table = pd.DataFrame(recalls, columns=[f"recall of {name}" for name in class_names(study)])
        tables.append(table.assign(seed=table.index, kind=kind, accuracy=100 * right.mean(1)))
    return pd.concat(tables, ignore_index=True)


def figure(study: Study) -> Figure:
    """Draw each chain: its bytes on one axis, the loss of the class that pays most on the other. Mark chosen chains."""
    highest = 5 * 100 * _OF_CLASS
    rows = class_costs(study).query("loss <= @highest")
    rows = rows.rename(columns={"share": "place", "loss": "value", "no_class_more": "high"})
    rows = rows.assign(low=rows["value"], color=NEUTRAL, mark=".")
    return draw(
        [Panel(_draw, (rows, choices(study)), "", "bytes, % of the dense network's", "recall lost, points")],
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
        own = rows[rows["chain"].isin(chosen.query("judges == @TOGETHER and rule == @rule")["chain"])]
        intervals(axes, own.assign(color=color, mark=mark, label=rule), upright=True, no_effect=None)
    axes.axhline(100 * _OF_CLASS, color="black", linestyle="--", linewidth=0.8, label="limit of every class")
