"""Six dense and six compressed networks of a data set of 60 test images, whose PIEs are known: images 0, 5 and 1."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from analysis.runs import exports, pairs
from pruning_study.data import datasets
from tests import made_up_runs

CLASSES = ("bag", "shirt", "coat")
LABEL = np.arange(60) % 3
NETWORKS = 6
PIES = [0, 5, 1]  # the most surprising first


def predictions(networks: int = NETWORKS) -> dict[str, np.ndarray]:
    """What the networks predict, (networks, 60) a side.

    Image 0 is a bag to all dense networks, and a shirt to all compressed ones but one: 1 x 5/6. Image 5 is a coat that
    four dense networks take for a bag, and no compressed one: 4/6 x 1. Image 1 is a shirt to four dense networks and a
    coat to four compressed ones: 4/6 x 4/6. Image 2 is a coat that one dense network takes for a bag.
    """
    dense, compressed = np.tile(LABEL, (networks, 1)), np.tile(LABEL, (networks, 1))
    compressed[:-1, 0] = 1
    dense[:4, 5] = 0
    dense[4:, 1], compressed[:4, 1] = 2, 2
    dense[0, 2] = 0
    return {"dense": dense, "compressed": compressed}


def write_data(path: Path, label: np.ndarray = LABEL) -> Path:
    """Write the data set; all pixels of test image i are i."""
    images = np.arange(60, dtype=np.uint8)[:, np.newaxis, np.newaxis] * np.ones((1, 8, 8), np.uint8)
    np.savez(
        path,
        train_images=images[:6],
        train_labels=LABEL[:6],
        test_images=images,
        test_labels=label,
        class_names=CLASSES,
    )
    return path


def study(
    data: Path, sides: Mapping[str, np.ndarray], **params: str
) -> tuple[pd.DataFrame, dict[str, dict[str, np.ndarray]]]:
    """Return a frame of runs, as `pull.pull_runs` gives it, and the predictions by run id."""
    read = datasets.load(str(data), data_dir=data.parent)
    params = {"dataset_digest": read.digest, "image_shape": "1x8x8", **params}
    named = " ".join(params.values())
    rows, predicted = [], {}
    for seed, pair in enumerate(zip(sides["dense"], sides["compressed"], strict=True)):
        ids = f"dense {seed}", f"pruned {seed} {named}"
        right = [side == LABEL for side in pair]
        measured = {"accuracy_before": right[0].mean(), "accuracy_after": right[1].mean()}
        for index, name in enumerate(CLASSES):
            of_class = index == LABEL
            measured |= {f"recall_before/{name}": right[0][of_class].mean(), f"support/{name}": 20.0}
            measured |= {f"recall_after/{name}": right[1][of_class].mean()}
        rows.append(
            {
                **{"dataset": "made-up", "model": "lenet5", "pruner": "mp", "ratio": 10.0, "seed": seed},
                **{f"params.{name}": value for name, value in params.items()},
                **dict(sorted(measured.items(), key=lambda item: item[0].split("/")[0])),
                **dict(zip(("dense_run_id", "run_id"), ids, strict=True)),
            }
        )
        predicted |= {run_id: {"label": LABEL, "predicted": side} for run_id, side in zip(ids, pair, strict=True)}
    return pd.DataFrame(rows), predicted


def export(
    folder: Path,
    data: Path,
    sides: Mapping[str, np.ndarray] | None = None,
    *cells: Mapping[str, str | float],
    with_predictions: bool = True,
) -> Path:
    """Write the frames of a study; several cells, which differ in the given columns, have the same networks."""
    sides = predictions() if sides is None else sides
    runs, predicted = study(data, sides)
    made = []
    for place, cell in enumerate(cells or ({},)):
        ids = runs["run_id"] + f" {place}"
        predicted |= {new: predicted[old] for new, old in zip(ids, runs["run_id"], strict=True)}
        made.append(runs.assign(**cell, run_id=ids))
    rows = made_up_runs.rows(pd.concat(made, ignore_index=True))
    whole = pairs.paired(rows.assign(**{"tags.class_names": json.dumps(CLASSES)}), where="made up")
    known = set(whole.rows["run_id"]) if with_predictions else set()
    written = {run_id: arrays for run_id, arrays in predicted.items() if run_id in known}
    exports.write(whole, lambda ids: {i: written[i] for i in ids if i in written}, {}, folder)
    return folder
