"""Collect the chains of a study compress*/ and every network's predictions from the tracking store.

python results/compress_answers.py [compress-resnet20]
"""

import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import compress
import numpy as np
import pandas as pd

from analysis.common import csv_text
from pruning_study.commands.compress import dense_networks, opened_task
from pruning_study.options.config import CompressConfig
from pruning_study.study.compression.chains import Chain, chain_of
from pruning_study.study.compression.judgement import Validated
from pruning_study.study.compression.trying import in_turn

_LIMITS = {"decay": "cosine", "max_class_loss": 3, "max_accuracy_loss": 1}
OPTIONS: dict[str, dict[str, Any]] = {
    compress.LENET5: {"dataset": "fashion-mnist", "n_trials": 40, **_LIMITS},
    compress.RESNET20: {
        **{"dataset": "cifar10_jpeg", "model": "resnet20", "epochs": 6, "fine_tune_epochs": 3},
        **{"n_trials": 12, **_LIMITS},
    },
}
SEEDS = range(200, 210)


def collect(folder: Path, configs: Sequence[CompressConfig]) -> None:
    """Write the chains and the predictions of a search that has ended.

    The test images are predicted only here, for every chain and network, after all chains are made.

    Parameters
    ----------
    folder : Path
        Where the files are written.
    configs : sequence of CompressConfig
        The options of the search, one configuration for each seed.
    """
    task = opened_task(configs)
    trials = task.search.trials()
    chains = [chain_of(row) for _, row in trials.iterrows()]
    with task.store.job(f"answers of {task.search.name}", {}) as job:
        networks = dense_networks(task, job)
        validated = [[network.validated(chain) for network in in_turn(networks)] for chain in chains]
        tested = [[network.tested(chain) for network in in_turn(networks)] for chain in chains]
    data = networks[0].context.data
    folder.mkdir(parents=True, exist_ok=True)
    csv_text.write(_chains(trials, chains), folder / compress.CHAINS)
    places = np.array([network.context.validation_indices for network in networks])
    labels = np.asarray(data.train_labels)
    compress.save(folder / compress.VALIDATION, labels, compress.Answers(*_stacked(validated)), places)
    sides = [[Validated(np.array([]), *(side[0] for side in each)) for each in of_chain] for of_chain in tested]
    compress.save(folder / compress.TEST, np.asarray(data.test_labels), compress.Answers(*_stacked(sides)))


def _stacked(answers: Sequence[Sequence[Validated]]) -> list[np.ndarray]:
    """Return whether dense, control and compressed networks are right on each image: (chains, networks, images)."""
    return [np.array([[each[side] for each in of_chain] for of_chain in answers]) for side in (1, 2, 3)]


def _chains(trials: pd.DataFrame, chains: Sequence[Chain]) -> pd.DataFrame:
    rows = pd.DataFrame([{"chain": str(chain), **asdict(chain)} for chain in chains])
    return rows.assign(number=trials["number"], bytes=trials["model_bytes"], macs=trials["macs"])


if __name__ == "__main__":
    (study,) = sys.argv[1:] or [compress.LENET5]
    collect(Path(__file__).parent / study, [CompressConfig(seed=seed, **OPTIONS[study]) for seed in SEEDS])
