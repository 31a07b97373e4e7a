"""Collect the margins of the controls of the study proportion/ from the current tracking store."""

from pathlib import Path

import margins
import mlflow
import network_measures
import numpy as np
import pandas as pd
import torch
from margins import Margins

from analysis.common.errors import StudyError
from analysis.runs import frames, pull, schema
from analysis.study.settings import CONTROL
from pruning_study import load_model
from pruning_study.data import datasets
from pruning_study.options.config import default_data_dir

SEEDS = range(300, 310)
_BATCH = 1000


def collect(folder: Path) -> dict[str, int]:
    """Store the margins of each data set whose networks are all in the current tracking store.

    Margins of other data sets stay as they were stored before.

    Returns
    -------
    dict of str to int
        By data set, the number of controls whose margins are stored now.

    Raises
    ------
    StudyError
        If no data set has a pruned network and its control for all seeds.
    """
    pairs = _pairs()
    if not pairs:
        raise StudyError(
            f"{mlflow.get_tracking_uri()}: no data set has a pruned network and its control for all seeds "
            f"{SEEDS[0]} to {SEEDS[-1]}"
        )
    collected = margins.read(folder) if (folder / margins.MARGINS).is_file() else {}
    collected |= {dataset: _margins(dataset, own) for dataset, own in pairs.items()}
    margins.save(folder, collected)
    return {dataset: len(own) for dataset, own in pairs.items()}


def _pairs() -> dict[str, pd.DataFrame]:
    """Return the run ids of pruned networks and their controls, for each data set that has all seeds."""
    runs = pull.pull_runs(margins.STUDY)
    runs = runs[
        runs[schema.SEED].isin(SEEDS) & (network_measures.param(runs, schema.FINE_TUNE_DECAY, "none") == "cosine")
    ]
    runs = runs[network_measures.param(runs, "kept_epoch", "none") == "none"]
    is_control = runs[schema.PRUNER] == CONTROL
    is_gradual = runs[schema.RATIO].eq(20) & network_measures.param(runs, schema.SCHEDULE, "").eq("cubic")
    ids = [
        runs[which].set_index([schema.DATASET, schema.SEED])[frames.RUN_ID].rename(name)
        for which, name in ((is_control, CONTROL), (is_gradual, "pruned"))
    ]
    pairs = pd.concat(ids, axis=1, join="inner").sort_index()
    return {dataset: own for dataset, own in pairs.groupby(schema.DATASET) if len(own) == len(SEEDS)}


def _margins(dataset: str, pairs: pd.DataFrame) -> Margins:
    data = datasets.load(dataset, data_dir=Path(default_data_dir()))
    images, label = (
        torch.from_numpy(np.asarray(data.test_images)),
        torch.from_numpy(np.asarray(data.test_labels)).long(),
    )
    margin, right = [], []
    for _, own in pairs.iterrows():
        logits, pruned_logits = (_logits(own[name], images) for name in (CONTROL, "pruned"))
        of_label = logits.gather(1, label[:, None])
        others = logits.scatter(1, label[:, None], -torch.inf)
        margin.append((of_label[:, 0] - others.amax(1)).numpy())
        right.append((pruned_logits.argmax(1) == label).numpy())
    return Margins(label.numpy(), np.array(margin), np.array(right))


def _logits(run_id: str, images: torch.Tensor) -> torch.Tensor:
    model = load_model(run_id)
    with torch.no_grad():
        return torch.cat([model(batch) for batch in images.split(_BATCH)])


if __name__ == "__main__":
    print(collect(Path(__file__).parent / margins.STUDY))
