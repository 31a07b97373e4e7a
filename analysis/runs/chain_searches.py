"""Searches of chains by `compress`: read and write the size, latency or MACs of each chain, and its losses."""

import json
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from analysis.common.errors import StudyError, first_line
from analysis.runs import schema
from analysis.runs.frames import Artifacts
from analysis.runs.names import NUMBER_FORMATS

GOALS = ("size", "latency", "macs")
NOTHING = "none"  # the pruner of a chain that prunes nothing
FILTERS = ("l1-filter", "chip")
WEIGHTS = "mp"
PRUNERS = (NOTHING, *FILTERS, WEIGHTS)
FORMATS = (schema.FLOAT32, *NUMBER_FORMATS)
_TEXTS = ("chain", schema.PRUNER, schema.NUMBER_FORMAT, "worst_class")
_NUMBERS = ("number", "cost", "accuracy_loss", "accuracy_loss_upper", "class_loss", "class_loss_upper")


class ChainTrials(NamedTuple):
    """The chains that a search tried.

    Attributes
    ----------
    name : str
    minimize : {"size", "latency", "macs"}
    max_class_loss, max_accuracy_loss : float
        The limits, as shares.
    trials : DataFrame, one row per chain
        Losses are since the dense network, on validation images. The columns:

        - chain: the chain in words
        - pruner, number_format
        - number: number of the trial
        - cost: the quantity to minimise
        - accuracy_loss, accuracy_loss_upper: loss of accuracy, and its upper 95 % bound
        - worst_class: the class that may lose most
        - class_loss, class_loss_upper: loss of recall of this class, and its upper 95 % bound
    dataset : str
        Empty if an earlier release wrote the search.
    """

    name: str
    minimize: str
    max_class_loss: float
    max_accuracy_loss: float
    trials: pd.DataFrame
    dataset: str = ""


def of_artifacts(artifacts: Artifacts) -> list[ChainTrials]:
    """Return the searches of an experiment; if several have the same name, return only the last of them.

    Raises
    ------
    StudyError
        If a file was not written by a search.
    """
    contents = artifacts.get(schema.CHAINS, {}).items()
    searches = (parsed(content, f"{schema.CHAINS} of run {run_id}") for run_id, content in contents)
    return list({search.name: search for search in searches}.values())


def described(search: ChainTrials) -> str:
    """Write a search as JSON, which `parsed` reads."""
    trials = search.trials[[*_TEXTS, *_NUMBERS]].to_dict("records")
    return json.dumps({**search._asdict(), "trials": trials}, indent=1)


def parsed(content: bytes, where: str) -> ChainTrials:
    """Read a search from JSON.

    Raises
    ------
    StudyError
        If the content was not written by `described`.
    """
    try:
        search = json.loads(content)
        trials = pd.DataFrame(search["trials"])[[*_TEXTS, *_NUMBERS]]
        trials = trials.astype(dict.fromkeys(_TEXTS, "str") | dict.fromkeys(_NUMBERS, "float"))
        _check_known("minimize", [search["minimize"]], GOALS)
        _check_known(schema.PRUNER, trials[schema.PRUNER], PRUNERS)
        _check_known(schema.NUMBER_FORMAT, trials[schema.NUMBER_FORMAT], FORMATS)
        of_class, of_accuracy = (float(search[name]) for name in ("max_class_loss", "max_accuracy_loss"))
        if not (np.isfinite([of_class, of_accuracy]).all() and np.isfinite(trials[[*_NUMBERS]]).all(axis=None)):
            raise ValueError("a limit or a number of a chain is missing or infinite")
        named = str(search["name"]), str(search["minimize"])
        return ChainTrials(*named, of_class, of_accuracy, trials, str(search.get("dataset", "")))
    # Given arbitrary bytes, pandas and the JSON decoder raise errors of more than a dozen types.
    except Exception as error:
        reason = f"{type(error).__name__}: {first_line(error)[:200]}"
        raise StudyError(f"{where}: not what pruning-study compress writes ({reason}); make it again") from error


def _check_known(name: str, values: Iterable[str], choices: Sequence[str]) -> None:
    """Raise a ValueError if there is no value, or an unknown one."""
    if unknown := set(values) - set(choices) or not list(values):
        raise ValueError(f"{name} is {unknown}")
