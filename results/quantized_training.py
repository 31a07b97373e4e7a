"""quantized-training*/: what do classes pay if weights have few bits while training or after it?"""

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
import outcomes
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from of_analysis import (
    ABOVE,
    BELOW,
    NEUTRAL,
    Panel,
    Recalls,
    archives,
    draw,
    excess_loss,
    handle,
    intervals,
    largest_excess_floor,
    name_rows,
    share_scale,
    side_by_side,
)
from pies import CLASSES
from published import Study

ANSWERS = "answers.npz"
CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
DENSE, CONTROL = "dense", "control"
_BITS, _WHEN = (4, 8), ("while", "after")
# Names of quantized networks: "while 4" is quantized to 4 bits during training.
QUANTIZED = tuple(f"{when} {bits}" for bits, when in product(_BITS, _WHEN))
# Rounded to 4 bits after training like "after 4", with BatchNorm's statistics estimated again.
ANEW = "after 4, new statistics"
_COLORS = {"while": ABOVE, "after": BELOW}

# For each kind of network, by name: whether each network is right about each image, (networks, images) bool
Answers = Mapping[str, np.ndarray]


def read(folder: Path) -> tuple[np.ndarray, Answers]:
    """Return the labels, (images,), and whether each network is right about each image, by kind of network.

    Raises
    ------
    StudyError
        If the file of answers is damaged.
    """
    names = (CONTROL, *QUANTIZED)
    arrays = archives.read(folder / ANSWERS, ("label", DENSE, *names), [ANEW])
    changes = {name: arrays[name] ^ arrays[DENSE] for name in (*names, ANEW) if name in arrays}
    packed = {DENSE: arrays[DENSE]} | changes
    label = arrays["label"].astype(int)
    return label, {name: np.unpackbits(bits, axis=1, count=len(label)).astype(bool) for name, bits in packed.items()}


def networks(study: Study) -> pd.DataFrame:
    """Return a row for each network: seed, kind, and in points accuracy, largest_excess since dense, and its floor."""
    label, answers = read(study.folder)
    dense = answers[DENSE]
    tables = []
    for kind, right in answers.items():
        before, after, both = (Recalls.from_answers(label, each) for each in (dense, right, dense & right))
        floor = largest_excess_floor(before.recall, after.recall, both.recall, np.bincount(label))
        excess = excess_loss(before, after).max(1)
        measured = {"accuracy": 100 * right.mean(1), "largest_excess": 100 * excess, "floor": 100 * floor}
        tables.append(pd.DataFrame({"seed": range(len(right)), "kind": kind, **measured}))
    return pd.concat(tables, ignore_index=True)


def class_costs(study: Study) -> pd.DataFrame:
    """Return what classes lose in quantized networks, compared with the control or with the other way of rounding.

    Returns
    -------
    DataFrame
        kind, against, and the columns of `outcomes.class_costs`.
    """
    label, answers = read(study.folder)
    pairs = [(kind, CONTROL) for kind in (*QUANTIZED, ANEW) if kind in answers]
    ways = [(f"while {bits}", f"after {bits}") for bits in _BITS]
    tables = [
        outcomes.class_costs(label, answers[against], answers[kind], class_names(study)).assign(
            kind=kind, against=against
        )
        for kind, against in [*pairs, *ways, *((after, during) for during, after in ways)]
    ]
    return pd.concat(tables, ignore_index=True)


def class_names(study: Study) -> Sequence[str]:
    """Return the names of the classes of Fashion-MNIST or, if a study is of ResNet-20, of CIFAR-10."""
    return CIFAR10 if study.folder.name.endswith("resnet20") else CLASSES


def figure(study: Study) -> Figure:
    """Draw the largest excess loss of each network, and the loss of each class for every kind of quantized network."""
    losses = class_costs(study).query("against == 'control'")
    of_classes = [
        Panel(partial(_draw_losses, bits=bits), losses, f"loss beyond the control, points, {bits} bits")
        for bits in _BITS
    ]
    drawn = draw(
        [Panel(_draw_networks, networks(study), "movement of one network's hardest-hit class, points"), *of_classes],
        size=(3.8, 3.1),
        title="Rounded to 4 bits after training, a network's hardest-hit class moves most",
        note="Left: each dot a network, the bar their mean. Others: means of ten networks, each with its own 95 % "
        "interval.",
        legend=[handle(f"{when} training", color=color, marker="o") for when, color in _COLORS.items()],
    )
    share_scale(drawn.axes[1:])
    return drawn


def _draw_networks(axes: Axes, measured: pd.DataFrame) -> None:
    ways = {CONTROL: "control", "after 8": "8 bits", "while 8": "8 bits", "after 4": "4 bits", "while 4": "4 bits"}
    for place, kind in enumerate(ways):
        own = measured.loc[measured["kind"].eq(kind), "largest_excess"]
        color = _COLORS.get(kind.split()[0], NEUTRAL)
        axes.scatter([place] * len(own), own, s=12, color=color, alpha=0.6, linewidths=0)
        axes.hlines(own.mean(), place - 0.3, place + 0.3, color=color, linewidth=2)
    axes.set_xticks(range(len(ways)), list(ways.values()))
    axes.set_ylim(0)
    axes.grid(axis="y", alpha=0.3)


def _draw_losses(axes: Axes, losses: pd.DataFrame, bits: int) -> None:
    names = list(dict.fromkeys(losses["class"]))
    rows = losses.rename(columns={"loss": "value", "loss_low": "low", "loss_high": "high"})
    colors = {f"{when} {bits}": color for when, color in _COLORS.items()}
    intervals(axes, side_by_side(rows.assign(place=rows["class"].map(names.index)), "kind", colors, apart=0.3))
    name_rows(axes, names)
