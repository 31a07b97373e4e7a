"""Tables and pictures of quantized-training*/: what classes pay if weights have few bits in training or after it."""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import answer_costs
import folders
import network_measures
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from pies import CLASSES

import analysis
from analysis.common import archives, files
from analysis.common.errors import StudyError
from analysis.rendering.drawing import ABOVE, BELOW, NEUTRAL, share_scale
from analysis.rendering.layout import Panel, draw, handle
from analysis.rendering.panels import intervals, name_rows, side_by_side
from analysis.runs import frames, pull, schema
from analysis.runs.options.names import AFTER_TRAINING, WHILE_TRAINING
from analysis.statistics import class_losses
from analysis.statistics.hypothesis_tests import corrected, paired
from analysis.statistics.intensification import excess_loss
from analysis.statistics.largest_excess import largest_excess_floor
from analysis.statistics.recalls import Recalls
from analysis.statistics.resampling import mean_interval

ANSWERS = "answers.npz"
LENET5, RESNET20 = "quantized-training", "quantized-training-resnet20"
CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_CLASSES = {LENET5: CLASSES, RESNET20: CIFAR10}
BITS = (4, 8)
DENSE, CONTROL = "dense", "control"
_WHEN = {"while": WHILE_TRAINING, "after": AFTER_TRAINING}
# Names of quantized networks in tables: "while 4" is quantized to 4 bits during training.
QUANTIZED = tuple(f"{when} {bits}" for bits in BITS for when in _WHEN)
# Rounded to 4 bits after training like "after 4", with BatchNorm's statistics estimated again.
ANEW = "after 4, new statistics"
_STATISTICS_FROM = 6_400  # training images
_COLORS = {"while": ABOVE, "after": BELOW}
_POINTS = 100

# For each kind of network, by name: whether each network is right about each image, (networks, images) bool
Answers = Mapping[str, np.ndarray]


def write(results: Path) -> None:
    """Write the tables and the picture of each study whose file of answers is stored."""
    for study, classes in _CLASSES.items():
        folder = results / study
        if (folder / ANSWERS).is_file():
            label, answers = read(folder)
            losses = class_table(label, answers, classes)
            measured = networks(label, answers)
            tables = {
                "networks": measured,
                "summary": summary(label, answers),
                "comparisons": comparisons(label, answers),
                "class_losses": losses,
                answer_costs.NAME: class_costs(label, answers, classes),
            }
            folders.write(folder, tables, {"classes": picture(measured, losses)})


def collect(folder: Path, experiment: str, tracking_uri: str, data: Path | None = None) -> None:
    """Read predictions from the tracking store, and write whether each network is right about each test image.

    `data`, the .npz file of the data set, is needed if the study has no runs that were quantized after training. The
    study's controls are then rounded here to 4 and to 8 bits, and to 4 bits also with new statistics of BatchNorm. The
    tracking store must then be the current one.

    Raises
    ------
    StudyError
        If the networks predicted other test images than those of `data`.
    """
    run_ids = _run_ids(analysis.pull_runs(experiment, tracking_uri=tracking_uri).sort_values(schema.SEED))
    arrays: dict[str, Any] = {}
    for name, ids in run_ids.items():
        predictions = pull.predictions(list(ids), names=(schema.LABEL, schema.PREDICTED), tracking_uri=tracking_uri)
        label = predictions[ids.iloc[0]][schema.LABEL].astype(np.uint8)
        arrays[name] = np.packbits([predictions[run][schema.PREDICTED] == label for run in ids], axis=1)
    if data:
        content = np.load(data)
        if not np.array_equal(content["test_labels"], label):
            raise StudyError(f"{data}: its test images are not those that the networks of {experiment} predicted")
        arrays = _rounded_answers(run_ids[CONTROL], content) | arrays
    dense = arrays[DENSE]
    arrays |= {name: packed ^ dense for name, packed in arrays.items() if name != DENSE}  # changes compress well
    with files.one_aside(folder / ANSWERS, in_git=True) as path:
        np.savez_compressed(path, **(arrays | {schema.LABEL: label}))


def _run_ids(runs: pd.DataFrame) -> dict[str, pd.Series]:
    """Return the run ids of the study's networks, by the name of their kind."""
    bits, when = (runs[frames.column(name)] for name in (schema.WEIGHT_BITS, schema.QUANTIZATION))
    is_control = bits.eq(schema.FORMERLY[schema.WEIGHT_BITS])
    run_ids = {DENSE: runs.loc[is_control, "dense_run_id"], CONTROL: runs.loc[is_control, "run_id"]}
    for name in QUANTIZED:
        word, own_bits = name.split()
        run_ids[name] = runs.loc[bits.eq(own_bits) & when.eq(_WHEN[word]), "run_id"]
    return {name: ids for name, ids in run_ids.items() if len(ids)}


def _rounded_answers(controls: Iterable[str], content: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Return whether the rounded controls are right about each test image of a data set's file, as packed bits."""
    images, label, train_images = (content[name] for name in ("test_images", "test_labels", "train_images"))
    count = min(len(train_images), _STATISTICS_FROM)
    drawn = np.random.default_rng(0).choice(len(train_images), count, replace=False)
    predicted = {f"after {bits}": rounded_afterwards(controls, images, bits) for bits in BITS}
    predicted[ANEW] = rounded_afterwards(controls, images, 4, train_images[drawn])
    return {name: np.packbits(classes == label, axis=1) for name, classes in predicted.items()}


def rounded_afterwards(
    run_ids: Iterable[str], images: np.ndarray, bits: int, statistics_from: np.ndarray | None = None
) -> np.ndarray:
    """Round the weights of networks in the current tracking store, and return their predictions, [networks, images].

    The images are as in a data set's file, [N, H, W, C] or [N, H, W]. With `statistics_from`, BatchNorm's statistics
    are means over batches of 128 of its images.
    """
    import torch  # here, so that tables and pictures are made without it

    import pruning_study
    from pruning_study.training.quantization import quantize

    def batches(of: np.ndarray, size: int) -> Sequence[torch.Tensor]:
        return torch.from_numpy(of.reshape(*of.shape[:3], -1)).permute(0, 3, 1, 2).split(size)

    predicted = []
    for run_id in run_ids:
        model = pruning_study.load_model(run_id)
        quantize(model, bits)
        with torch.inference_mode():
            if statistics_from is not None:
                for module in model.modules():
                    if isinstance(module, torch.nn.BatchNorm2d):
                        module.train().reset_running_stats()
                        module.momentum = None  # all batches count alike
                for part in batches(statistics_from, 128):
                    model(part)
                model.eval()
            predicted.append(torch.cat([model(part).argmax(1) for part in batches(images, 1000)]).numpy())
    return np.stack(predicted)


def read(folder: Path) -> tuple[np.ndarray, Answers]:
    """Return the labels, (images,), and whether each network is right about each image, by kind of network.

    Raises
    ------
    StudyError
        If the file of answers is damaged.
    """
    names = (CONTROL, *QUANTIZED)
    arrays = archives.read(folder / ANSWERS, (schema.LABEL, DENSE, *names), [ANEW])
    changes = {name: arrays[name] ^ arrays[DENSE] for name in (*names, ANEW) if name in arrays}
    packed = {DENSE: arrays[DENSE]} | changes
    label = arrays[schema.LABEL].astype(int)
    return label, {name: np.unpackbits(bits, axis=1, count=len(label)).astype(bool) for name, bits in packed.items()}


def largest_excess(label: np.ndarray, answers: Answers, name: str) -> np.ndarray:
    """Return the largest excess loss of each network since its dense network, in points, (networks,)."""
    losses = excess_loss(*(Recalls.from_answers(label, answers[each]) for each in (DENSE, name)))
    return _POINTS * losses.max(1)


def networks(label: np.ndarray, answers: Answers) -> pd.DataFrame:
    """Return a row for each network: its number, the name of its kind, accuracy, and largest excess loss in points."""
    rows = []
    for name, right in answers.items():
        excess = largest_excess(label, answers, name) if name != DENSE else np.full(len(right), np.nan)
        rows += [
            {"network": place, "name": name, "accuracy": own.mean(), "largest_excess": excess[place]}
            for place, own in enumerate(right)
        ]
    return pd.DataFrame(rows)


def summary(label: np.ndarray, answers: Answers) -> pd.DataFrame:
    """Return means of each kind of network, in points: accuracy, largest excess loss with interval, and its floor."""
    rows = []
    for name in (each for each in answers if each != DENSE):
        excess = largest_excess(label, answers, name)
        before, after = answers[DENSE], answers[name]
        first, second, both = (Recalls.from_answers(label, each).recall for each in (before, after, before & after))
        floor = _POINTS * largest_excess_floor(first, second, both, np.bincount(label))
        low, high = mean_interval(excess)
        row = {"name": name, "accuracy": _POINTS * after.mean(), "largest_excess": excess.mean()}
        rows.append({**row, "low": low, "high": high, "floor": floor.mean(), "n": len(excess)})
    return pd.DataFrame(rows)


def comparisons(label: np.ndarray, answers: Answers) -> pd.DataFrame:
    """Compare networks quantized during training with networks quantized after training, and with the control.

    Networks are paired by their dense network. The outcomes are the largest excess loss and the accuracy, in points.
    Only the primary tests have a `p_holm`, corrected over 4 and 8 bits: those of the largest excess loss, during
    training minus after training.
    """
    compared = [(AFTER_TRAINING, bits, f"after {bits}") for bits in BITS] + [(CONTROL, bits, CONTROL) for bits in BITS]
    compared += [(ANEW, 4, ANEW)] if ANEW in answers else []
    rows = []
    for outcome, (against, bits, other) in product(("largest_excess", "accuracy"), compared):
        first, second = (
            largest_excess(label, answers, name) if outcome == "largest_excess" else _POINTS * answers[name].mean(1)
            for name in (f"while {bits}", other)
        )
        key = {"outcome": outcome, "against": against, "bits": bits}
        rows.append({**key, **paired(first, second, family=len(BITS))})
    table = pd.DataFrame(rows).drop(columns="p_equivalence")  # its margin, .05, does not fit points
    is_primary = table["outcome"].eq("largest_excess") & table["against"].eq(AFTER_TRAINING)
    return table.assign(p_holm=network_measures.holm(table["p"], is_primary))


def class_table(label: np.ndarray, answers: Answers, classes: Sequence[str]) -> pd.DataFrame:
    """Return the loss of each class, in points, with p of the moderated test and Holm's correction over the classes.

    Each kind of quantized network is compared with the control. Networks quantized during training are also compared
    with networks quantized after it.
    """
    pairs = [(name, CONTROL) for name in QUANTIZED] + [(f"while {bits}", f"after {bits}") for bits in BITS]
    tables = []
    for name, against in pairs:
        before, after = answers[against], answers[name]
        recall = (Recalls.from_answers(label, before).recall + Recalls.from_answers(label, after).recall).mean(0) / 2
        changes = class_losses.moderated(class_losses.from_predictions(label, before, after), recall)
        estimates = class_losses.estimates(changes, -np.eye(len(recall)))
        points = {key: _POINTS * estimates[key] for key in ("value", "low", "high")}
        table = pd.DataFrame({"name": name, "against": against, "class": list(classes), **points, "p": estimates["p"]})
        tables.append(table.assign(p_holm=corrected(estimates["p"], len(recall))[1]))
    return pd.concat(tables, ignore_index=True).rename(columns={"value": "loss"})


def class_costs(label: np.ndarray, answers: Answers, classes: Sequence[str]) -> pd.DataFrame:
    """Return a row for each comparison, with the class that loses most beyond the accuracy (see `costliest`).

    Each kind of quantized network is compared with the control. Networks quantized during training are also compared
    with networks quantized after it, in both directions. A row has means over networks.
    """
    pairs = [(name, CONTROL) for name in (*QUANTIZED, ANEW) if name in answers]
    ways = [(f"while {bits}", f"after {bits}") for bits in BITS]
    pairs += [*ways, *((after, during) for during, after in ways)]
    rows = (
        {"name": name, "against": against} | answer_costs.costliest(label, answers[against], answers[name], classes)
        for name, against in pairs
    )
    return pd.DataFrame(rows)


def picture(measured: pd.DataFrame, losses: pd.DataFrame) -> Figure:
    """Draw the largest excess loss of each network, and the loss of each class for every kind of quantized network.

    `measured` is a table of `networks`, and `losses` a table of `class_table`.
    """
    against_control = losses[losses["against"].eq(CONTROL)]
    of_classes = [
        Panel(partial(_draw_losses, bits=bits), against_control, f"loss beyond the control, points, {bits} bits")
        for bits in BITS
    ]
    figure = draw(
        [Panel(_draw_networks, measured, "movement of one network's hardest-hit class, points"), *of_classes],
        size=(3.8, 3.1),
        title="Rounded to 4 bits after training, a network's hardest-hit class moves most",
        note="Left: each dot a network, the bar their mean. Others: means of ten networks, each with its own 95 % "
        "interval.",
        legend=[handle(f"{when} training", color=color, marker="o") for when, color in _COLORS.items()],
    )
    share_scale(figure.axes[1:])
    return figure


def _draw_networks(axes: Axes, measured: pd.DataFrame) -> None:
    ways = {CONTROL: "control", "after 8": "8 bits", "while 8": "8 bits", "after 4": "4 bits", "while 4": "4 bits"}
    for place, name in enumerate(ways):
        own = measured.loc[measured["name"].eq(name), "largest_excess"]
        color = _COLORS.get(name.split()[0], NEUTRAL)
        axes.scatter([place] * len(own), own, s=12, color=color, alpha=0.6, linewidths=0)
        axes.hlines(own.mean(), place - 0.3, place + 0.3, color=color, linewidth=2)
    axes.set_xticks(range(len(ways)), list(ways.values()))
    axes.set_ylim(0)
    axes.grid(axis="y", alpha=0.3)


def _draw_losses(axes: Axes, losses: pd.DataFrame, bits: int) -> None:
    classes = list(dict.fromkeys(losses["class"]))
    rows = losses.assign(value=losses["loss"], place=losses["class"].map(classes.index))
    intervals(axes, side_by_side(rows, "name", {f"{when} {bits}": color for when, color in _COLORS.items()}, apart=0.3))
    name_rows(axes, classes)
