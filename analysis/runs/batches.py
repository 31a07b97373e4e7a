"""Batches of one study: folders of networks that differ in the seed, and so were to be trained alike."""

from collections.abc import Mapping
from itertools import combinations
from pathlib import Path

import pandas as pd

from analysis.common.errors import StudyError
from analysis.common.printable import shortened
from analysis.runs import frames, schema

_NETWORK = [schema.DATASET, schema.MODEL]


def check_one_design(dense_runs: Mapping[Path, pd.DataFrame]) -> None:
    """Check that folders of networks of different seeds were trained with the same settings.

    Folders of the same seeds may differ: they compare settings. So may a folder that has several values of a setting.

    Parameters
    ----------
    dense_runs : mapping of Path to DataFrame
        The dense runs of each folder, as `pull.study` returns them.

    Raises
    ------
    StudyError
        Two folders have no seed in common, and each has a value of its own of a setting of the training.
    """
    everything = pd.concat(dense_runs, names=["folder"])
    completed = frames.with_canonical_values(frames.with_former_values(everything))
    settings = [column for column in frames.params(completed) if _is_of_training(frames.param(column))]
    for _, networks in completed.groupby(_NETWORK):
        batches = dict(iter(networks.groupby(level="folder", sort=False)))
        for (first, one), (second, other) in combinations(batches.items(), 2):
            if set(one[schema.SEED]) & set(other[schema.SEED]):
                continue
            for column in settings:
                values, others = (batch[column].dropna().unique() for batch in (one, other))
                if len(values) == len(others) == 1 and values[0] != others[0]:
                    raise StudyError(
                        f"{first} and {second} have networks of different seeds, and those of one study are trained "
                        f"alike: their {frames.param(column)} is {shortened(values[0])} and {shortened(others[0])}. "
                        "Leave a folder out, or train its networks again",
                        option="frames",
                    )


def _is_of_training(param: str) -> bool:
    role = schema.role(param)
    return role.role == "setting" and role.concerns == "network" and param not in _NETWORK
