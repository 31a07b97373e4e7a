"""Read and write checkpoints, which are safetensors files."""

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from analysis.runs.errors import StudyError
from pruning_study import models
from pruning_study.data.examples import Normalization, in_layout

Metadata = dict[str, str]


class Classifier(nn.Module):
    """A network that normalises its images itself.

    Parameters
    ----------
    network : nn.Module
    normalization : Normalization
    classes : tuple of str
    """

    def __init__(self, network: nn.Module, normalization: Normalization, classes: tuple[str, ...]) -> None:
        super().__init__()
        self.network = network
        self.normalization = normalization
        self.classes = classes

    def forward(self, images: Tensor) -> Tensor:
        """Return logits [N, classes] of images [N, C, H, W], which are uint8 or floats in [0, 1].

        Raises
        ------
        StudyError
            If the images have another shape, type or range.
        """
        channels = len(self.normalization.mean)
        if images.ndim != 4 or images.shape[1] != channels:
            raise StudyError(f"images have shape {tuple(images.shape)}: it takes [N, {channels}, height, width]")
        if images.dtype != torch.uint8 and not (images.is_floating_point() and 0 <= images.min() <= images.max() <= 1):
            raise StudyError("images should be uint8, or floats in [0, 1]")
        return self.network(in_layout(self.normalization(images), torch.contiguous_format))


def save(path: Path, tensors: Mapping[str, Tensor], metadata: Metadata | None = None) -> None:
    """Write tensors by name.

    Parameters
    ----------
    path : Path
    tensors : mapping of state-dict names to Tensors
    metadata : dict of str, optional
    """
    # safetensors refuses tensors that share memory or have another memory layout.
    plain = {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()
    }
    save_file(plain, path, metadata)


def load(path: Path) -> tuple[dict[str, Tensor], Metadata]:
    """Return a file's tensors by name, and its metadata.

    Raises
    ------
    StudyError
        If the file is missing, truncated or not a safetensors file.
    """
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise StudyError(f"{path}: not a complete safetensors file ({error})") from error


def load_weights(model: nn.Module, weights: Mapping[str, Tensor], where: str) -> None:
    """Put weights into a model.

    Raises
    ------
    StudyError
        If names or shapes are not the model's, or a weight is NaN or infinite.
    """
    wanted = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    given = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    for name in sorted(wanted.keys() | given.keys()):
        if wanted.get(name) != given.get(name):
            raise StudyError(
                f"{where}: {name} has shape {given.get(name, 'none: it is missing')}, where the model has "
                f"{wanted.get(name, 'no such weight')}"
            )
        if not torch.isfinite(weights[name]).all():
            raise StudyError(f"{where}: {name} holds NaN or infinite weights")
    model.load_state_dict(dict(weights))


def describe(
    model: str, classes: tuple[str, ...], image_shape: tuple[int, int, int], normalization: Normalization
) -> Metadata:
    """Return the metadata of a checkpoint, from which `classifier` makes the model again."""
    return {
        "model": model,
        "classes": json.dumps(classes),
        "image_shape": json.dumps(image_shape),
        "mean": json.dumps(normalization.mean),
        "std": json.dumps(normalization.std),
    }


def normalization(metadata: Metadata, where: str, channels: int) -> Normalization | None:
    """Return the normalisation in a weights file's metadata, JSON lists `mean` and `std`; None if it has none.

    Raises
    ------
    StudyError
        If a list does not have one finite number for each channel, or if a standard deviation is not above 0.
    """
    if "mean" not in metadata and "std" not in metadata:
        return None
    try:
        mean, std = ([float(value) for value in json.loads(metadata[key])] for key in ("mean", "std"))
        sound = len(mean) == len(std) == channels and min(std) > 0 and all(abs(x) < 1e9 for x in mean + std)
    except (KeyError, ValueError, TypeError):
        sound = False
    if not sound:
        raise StudyError(
            f"{where}: its metadata should name mean and std as JSON lists, one number for each of {channels} channels"
        )
    return Normalization(mean, std)


def classifier(path: Path) -> Classifier:
    """Return the model of a checkpoint that this project wrote, in eval mode.

    Raises
    ------
    StudyError
        If the file is not such a checkpoint, or its model cannot be made.
    """
    weights, metadata = load(path)
    try:
        channels, height, width = json.loads(metadata["image_shape"])
        classes = tuple(json.loads(metadata["classes"]))
        name = metadata["model"]
    except (KeyError, ValueError) as error:
        raise StudyError(f"{path}: its metadata do not name a model, its classes and its image shape") from error
    network = models.build(name, num_classes=len(classes), in_channels=channels, image_size=(height, width))
    load_weights(network, weights, str(path))
    own = normalization(metadata, str(path), channels)
    assert own is not None
    return Classifier(network, own, classes).eval()
