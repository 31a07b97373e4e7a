"""Check batches of one study: folders whose dense networks should differ from one another only in the seed."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from analysis.common.errors import StudyError
from analysis.common.printable import shortened
from analysis.runs import frames, schema

_NETWORK = [frames.PARAM + schema.DATASET, frames.PARAM + schema.MODEL]
_SEED, _ARITHMETIC = frames.PARAM + schema.SEED, frames.TAG + schema.ARITHMETIC
_NOT_RECORDED = "not recorded"


def check_one_design(run_rows: Mapping[Path, pd.DataFrame]) -> None:
    """Check that folders whose networks have different seeds agree in the settings and arithmetic of the training.

    A setting may differ if it has several values for one seed or in one folder, because the folders then compare
    settings.

    Parameters
    ----------
    run_rows : mapping of Path to DataFrame
        The runs of each folder, as in `frames.Study.rows`.

    Raises
    ------
    StudyError
        If folders without common seeds differ in a setting or the arithmetic of the training, although each folder has
        only one value of it.
    """
    if len(run_rows) < 2:
        return
    everything = pd.concat(run_rows, names=["folder"])
    dense_runs = everything[everything[frames.TAG + schema.KIND] == schema.DENSE]
    completed = frames.with_canonical_values(frames.with_absent_values(dense_runs)).reset_index("folder")
    arithmetic = completed.reindex(columns=[_ARITHMETIC])[_ARITHMETIC]
    completed[_ARITHMETIC] = arithmetic.astype(object).fillna(_NOT_RECORDED)
    for _, networks in completed.groupby(_NETWORK):
        for column in [_ARITHMETIC, *filter(_is_of_training, frames.params(networks))]:
            values = networks[["folder", _SEED, column]].dropna().drop_duplicates()
            of_folders = values.drop_duplicates(["folder", column])
            is_alike = of_folders[column].nunique() < 2
            of_seeds = values.drop_duplicates([_SEED, column])
            if is_alike or of_folders["folder"].duplicated().any() or of_seeds[_SEED].duplicated().any():
                continue
            (first, value), (second, other) = of_folders.drop_duplicates(column)[["folder", column]].to_numpy()[:2]
            name = frames.param(column).removeprefix(frames.TAG)
            raise StudyError(
                f"{first} and {second} have networks of different seeds, which must be trained alike in one study: "
                f"their {name} is {shortened(value)} and {shortened(other)}, respectively. Leave a "
                "folder out, or train its networks again",
                option="frames",
            )


def _is_of_training(column: str) -> bool:
    role = schema.PARAM_ROLES.get(frames.param(column))
    is_setting = role is not None and (role.role, role.concerns) == ("setting", "network")
    return is_setting and column not in _NETWORK
