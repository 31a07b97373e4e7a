"""The class order of a given network's outputs, from a file with one class name per line (`--class-names`)."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from analysis.common.errors import StudyError, first_line
from analysis.common.printable import shortened
from pruning_study.pruning import budget

OPTION = "class_names"


def places(path: Path, classes: Sequence[str]) -> list[int]:
    """Return, for each class of the data, the index of its output in the given network.

    Parameters
    ----------
    path : Path
        A text file with one class name per line, in the order of the network's outputs.
    classes : sequence of str
        The classes of the data, in their order.

    Raises
    ------
    StudyError
        If the file cannot be read, if it names a class twice, or if its names are not the classes of the data.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, ValueError) as error:
        raise StudyError(f"{path}: no text file in UTF-8 ({first_line(error)})", option=OPTION) from error
    names = [line.strip() for line in lines if line.strip()]
    if twice := [name for name in names if names.count(name) > 1]:
        raise StudyError(f"{path} names {shortened(twice[0])} twice: name each output once", option=OPTION)
    unknown = [name for name in names if name not in classes]
    missing = [name for name in classes if name not in names]
    if unknown or missing:
        faults = [f"{path} has {_some(unknown)}, which the data lack"] * bool(unknown)
        faults += [f"the data have {_some(missing)}, which {'the file' if unknown else path} lacks"] * bool(missing)
        raise StudyError(f"{', and '.join(faults)}: write one class of the data on each line", option=OPTION)
    return [names.index(name) for name in classes]


def put_in_order(model: nn.Module, order: Sequence[int]) -> None:
    """Reorder the outputs of a network, in place, to the order of the classes.

    Parameters
    ----------
    model : nn.Module
        Its last layer has an output for each class.
    order : sequence of int
        As `places` returns it.

    Raises
    ------
    StudyError
        If the number of outputs of the last layer differs from the number of classes.
    """
    name, layer = budget.output_layer(model)
    parameters = [value for value in (layer.weight, layer.bias) if isinstance(value, torch.Tensor)]
    if any(len(value) != len(order) for value in parameters):
        raise StudyError(
            f"the last layer, {name}, has {len(parameters[0]):,} outputs for {len(order):,} classes, so their order "
            "cannot be changed: train a last layer with one output for each class",
            option=OPTION,
        )
    with torch.no_grad():
        for value in parameters:
            value.copy_(value[torch.tensor(order)])


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - 3:,} more" if len(names) > 3 else ""
    return ", ".join(map(shortened, names[:3])) + more
