"""The class order of a given network's outputs.

A file with one class name per line (`--class-names`) names it, or the metadata of the weights' file.
"""

import unicodedata
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from analysis.common.errors import StudyError, first_line, option_name
from analysis.common.printable import shortened
from pruning_study.models import checkpoints
from pruning_study.pruning import budget
from pruning_study.training.engines import TORCH

OPTION = "class_names"
_ROUNDING = 1e-4  # tolerance, as a share of the largest logit


def output_order(
    weights: Path, metadata: checkpoints.Metadata, class_names: Path | None, classes: Sequence[str]
) -> list[int]:
    """Return, for each class of the data, the index of its output in the given network.

    Parameters
    ----------
    weights : Path
        The file of the network's weights.
    metadata : dict of str
        Metadata of this file, which may name the classes of the outputs.
    class_names : Path, optional
        A text file with one class name per line, in the order of the network's outputs. It overrides the metadata.
    classes : sequence of str
        The classes of the data, in their order.

    Returns
    -------
    list of int
        An empty list if the outputs are in the order of the data's classes.

    Raises
    ------
    StudyError
        If a file cannot be read, if it names a class twice, or if its names are not the classes of the data.
    """
    if class_names:
        order = _order(_lines(class_names), classes, class_names, OPTION, "write one class of the data on each line")
    elif "classes" in metadata:
        remedy = f"write the data's classes, in the order of the outputs, into a file, and give {option_name(OPTION)}"
        try:
            names = checkpoints.class_names(metadata, str(weights))
        except StudyError as error:
            raise StudyError(f"{error}: {remedy}", option=checkpoints.OPTION) from error
        if {*names} != {*classes} and list(names) == [str(number) for number in range(len(names))]:
            return []  # the data of the checkpoint did not name their classes
        order = _order(names, classes, weights, checkpoints.OPTION, remedy)
    else:
        return []
    return order if order != sorted(order) else []


def _lines(path: Path) -> list[str]:
    """Return the lines of a text file that are not empty."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, ValueError) as error:
        raise StudyError(f"{path}: no text file in UTF-8 ({first_line(error)})", option=OPTION) from error
    return [line.strip() for line in lines if line.strip()]


def _order(names: Sequence[str], classes: Sequence[str], path: Path, option: str, remedy: str) -> list[int]:
    """Return, for each class, the index of its name in `names`, which `path` has."""
    given_name = {_normalized(name): name for name in classes}
    names = [given_name.get(_normalized(name), name) for name in names]
    if twice := [name for name in names if names.count(name) > 1]:
        raise StudyError(f"{path} names {shortened(twice[0])} twice: name each output once", option=option)
    unknown = [name for name in names if name not in classes]
    missing = [name for name in classes if name not in names]
    if unknown or missing:
        faults = [f"{path} has {_some(unknown)}, which the data lack"] * bool(unknown)
        faults += [f"the data have {_some(missing)}, which {'the file' if unknown else path} lacks"] * bool(missing)
        raise StudyError(f"{', and '.join(faults)}: {remedy}", option=option)
    return [names.index(name) for name in classes]


def _normalized(name: str) -> str:
    return unicodedata.normalize("NFC", name.strip())


def put_in_order(model: nn.Module, order: Sequence[int], image_shape: tuple[int, int, int]) -> None:
    """Reorder the outputs of a network, in place, to the order of the classes.

    Parameters
    ----------
    model : nn.Module
        Its last layer has an output for each class, which is a logit or from which a logit is computed in the same way
        for every class.
    order : sequence of int
        As `output_order` returns it.
    image_shape : (channels, height, width)

    Raises
    ------
    StudyError
        If the number of outputs of the last layer differs from the number of classes, or if reordering them does not
        reorder the logits in the same way.
    """
    name, layer = budget.output_layer(model)
    parameters = [value for value in (layer.weight, layer.bias) if isinstance(value, torch.Tensor)]
    if any(len(value) != len(order) for value in parameters):
        raise StudyError(
            f"the last layer, {name}, has {len(parameters[0]):,} outputs for {len(order):,} classes, so their order "
            "cannot be changed: train a last layer with one output for each class",
            option=OPTION,
        )
    images = torch.randn(2, *image_shape, generator=torch.Generator().manual_seed(0))
    wanted = TORCH.logits(model, images)[:, list(order)]
    with torch.no_grad():
        for value in parameters:
            value.copy_(value[torch.tensor(order)])
    if not torch.allclose(TORCH.logits(model, images), wanted, rtol=0, atol=_ROUNDING * float(wanted.abs().max())):
        raise StudyError(
            f"the logits of {type(model).__name__} are not the outputs of {name} alone, the last layer that it "
            "defines, so their order cannot be changed: define the output layer last, or give the data's classes the "
            "order of the logits, for example by renaming their folders",
            option=OPTION,
        )


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - 3:,} more" if len(names) > 3 else ""
    return ", ".join(map(shortened, names[:3])) + more
