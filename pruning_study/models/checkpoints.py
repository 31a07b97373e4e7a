"""Read and write checkpoints, which are safetensors files, and read state dicts of `torch.save`."""

import json
import logging
import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialized
from torch import Tensor, nn

from analysis.common.errors import StudyError, first_line
from analysis.common.input_files import begins_as
from analysis.common.printable import shortened
from analysis.runs import schema
from pruning_study import models
from pruning_study.data.examples import Normalization, in_layout, seeded

log = logging.getLogger(__name__)

Metadata = dict[str, str]

OPTION = "weights"
_LENGTH = 8  # bytes before the header of a safetensors file, which give its length
INITIAL_WEIGHTS = "initial weights"  # the random stream from which a model is built
# First bytes of a file of `torch.save`: an archive, or a pickle from older versions.
PICKLES = (b"PK\x03\x04", b"\x80\x02")
# Keys under which training scripts store the weights, beside epoch and optimiser state.
_STATES = (
    *("state_dict", "weights", "model_state_dict", "model_state", "model", "net", "network", "ema", "model_ema"),
    "module",
)


class Classifier(nn.Module):
    """Network that normalises its input images itself.

    `torch.export` can export it, because the check of the images' values runs before `forward`, and only if the call is
    not traced.

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
        self.register_forward_pre_hook(_check_images, with_kwargs=True)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits [N, classes] of images [N, C, H, W], which are uint8 or floats in [0, 1].

        Raises
        ------
        StudyError
            If the images have another number of axes or channels, another type or another range.
        """
        return self.network(in_layout(self.normalization(images), torch.contiguous_format))


def _check_images(classifier: Classifier, arguments: tuple[Tensor, ...], named: dict[str, Tensor]) -> None:
    images = arguments[0] if arguments else named["images"]
    channels = len(classifier.normalization.mean)
    if images.ndim != 4 or images.shape[1] != channels:
        raise StudyError(f"images have shape {tuple(images.shape)}: the network takes [N, {channels}, height, width]")
    if images.dtype == torch.uint8:
        return
    traced = torch.compiler.is_compiling() or torch.jit.is_tracing()
    if not images.is_floating_point() or not (traced or 0 <= images.min() <= images.max() <= 1):
        raise StudyError("images must be uint8, or floats in [0, 1]")


def save(path: Path, tensors: Mapping[str, Tensor], metadata: Metadata | None = None) -> None:
    """Write a safetensors file with its tensors in a fixed order, so that equal contents give equal bytes.

    Parameters
    ----------
    path : Path
    tensors : mapping of state-dict names to Tensors
    metadata : dict of str, optional

    Raises
    ------
    OSError
        If the file cannot be written, as on a full disk; a partial file is deleted.
    """
    # safetensors rejects tensors that share memory or are not contiguous.
    plain = {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()
    }
    content = _with_metadata(serialized(plain), metadata)
    try:
        path.touch(0o600)
        path.write_bytes(content)
    except OSError:
        path.unlink(missing_ok=True)
        raise


def _with_metadata(content: bytes, metadata: Metadata | None) -> bytes:
    """Put metadata, sorted by name, into a safetensors file, because safetensors would write them in random order."""
    behind = _LENGTH + int.from_bytes(content[:_LENGTH], "little")
    header = ({"__metadata__": metadata} if metadata else {}) | json.loads(content[_LENGTH:behind])
    text = json.dumps(header, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % _LENGTH)  # the tensors begin at a multiple of 8 bytes, as the format recommends
    return len(text).to_bytes(_LENGTH, "little") + text + content[behind:]


def load(path: Path, where: str | None = None) -> tuple[dict[str, Tensor], Metadata]:
    """Return a file's tensors by name, and its metadata.

    Parameters
    ----------
    path : Path
    where : str, optional
        Name of the file in errors; the path by default.

    Raises
    ------
    StudyError
        If the file is missing, truncated or not a safetensors file.
    """
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        reason = (begins_as(path) if path.is_file() else "") or first_line(error)
        raise StudyError(f"{where or path}: not a complete safetensors file ({reason})") from error


def load_given(path: Path) -> tuple[dict[str, Tensor], Metadata]:
    """Return the tensors of a user's own weights file by name, and its metadata.

    Parameters
    ----------
    path : Path
        A safetensors file, or a file of `torch.save`, which is read without running code.

    Raises
    ------
    StudyError
        As for `load`. If a file of `torch.save` cannot be read without running code, the message explains how to
        convert it.
    """
    if not path.exists():
        raise StudyError(f"{path}: no such file exists", option=OPTION)
    if path.is_file() and _is_pickle(path):
        return _load_pickle(path), {}
    return load(path)


def _load_pickle(path: Path) -> dict[str, Tensor]:
    """Return the state dict in a file of `torch.save`, which a training script may have stored beside other things."""
    reason = "it holds no tensor with a name"
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, OSError) as error:
        state, reason = {}, first_line(error)
    except Exception as error:
        target = path.with_suffix(".safetensors").name
        raise StudyError(
            f"{path} holds more than weights, and may run code when read; if you trust it, convert its state dict "
            "once, in Python:",
            "  import torch; from safetensors.torch import save_file; "
            f"state = torch.load({str(path)!r}, map_location='cpu', weights_only=False)",
            f"  for key in {_STATES}: state = state[key] if isinstance(state.get(key), dict) else state",
            "  save_file({name: tensor.clone().contiguous() "
            "for name, tensor in state.items() if torch.is_tensor(tensor)}, "
            f"{target!r})",
            "  # if the file holds a whole model, load it in your own code and save model.state_dict()",
            option=OPTION,
        ) from error
    for key in _STATES:
        state = state[key] if isinstance(state, dict) and isinstance(state.get(key), dict) else state
    named = state.items() if isinstance(state, dict) else ()
    weights = {name: value for name, value in named if isinstance(name, str) and torch.is_tensor(value)}
    if not weights:
        raise StudyError(
            f"{path}: no state dict can be read from it ({reason}): save model.state_dict()", option=OPTION
        )
    return weights


def _is_pickle(path: Path) -> bool:
    with path.open("rb") as file:
        start = file.read(_LENGTH + 1)
    # A safetensors file with a header of 640 bytes begins with the same two bytes as an old pickle.
    return start.startswith(PICKLES) and start[_LENGTH:] != b"{"


def without_wrapper(weights: Mapping[str, Tensor], model: nn.Module, where: str) -> Mapping[str, Tensor]:
    """Return the weights of a model that DataParallel, torch.compile or Lightning wrapped, under their own names.

    If the file has each of the model's names behind the same prefix, the prefix is removed, tensors without it are left
    out, and a warning is logged.

    Parameters
    ----------
    weights : mapping of names to Tensors
    model : nn.Module
        Model for the weights.
    where : str
        Name of the file in the warning.
    """
    names = list(model.state_dict())
    starts = [name.removesuffix(names[0]) for name in weights if name.endswith(names[0])]
    start = next((each for each in starts if all(each + name in weights for name in names)), "")
    if not start:
        return weights
    others = ", and the other tensors are left out" if len(weights) > len(names) else ""
    log.warning("%s: names start with %s, the prefix of a wrapped model; it is removed%s", where, start, others)
    return {name: weights[start + name] for name in names}


def load_weights(model: nn.Module, weights: Mapping[str, Tensor], where: str) -> None:
    """Load weights of any floating-point dtype into a model.

    Raises
    ------
    StudyError
        If names or shapes differ from the model's, or a weight is NaN or infinite.
    """
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        faults = "; ".join(line.strip() for line in str(error).splitlines()[1:])[:300]
        raise StudyError(
            f"{where} does not fit {type(model).__name__} for these classes and images: {faults}"
        ) from error
    if name := not_finite(model.state_dict()):
        raise StudyError(f"{where}: {name} holds NaN or infinite weights")


def not_finite(tensors: Mapping[str, Tensor]) -> str | None:
    """Return the name of the first tensor that holds a NaN or infinite number; None if all numbers are finite."""
    return next((name for name, tensor in tensors.items() if not torch.isfinite(tensor).all()), None)


def describe(
    model: str, classes: tuple[str, ...], image_shape: tuple[int, int, int], normalization: Normalization
) -> Metadata:
    """Return the metadata of a checkpoint, from which `classifier` rebuilds the model."""
    return {
        "model": model,
        "classes": json.dumps(classes),
        "image_shape": json.dumps(image_shape),
        "mean": json.dumps(normalization.mean),
        "std": json.dumps(normalization.std),
    }


def normalization(metadata: Metadata, where: str, channels: int) -> Normalization | None:
    """Return the normalisation from the JSON lists `mean` and `std` in a file's metadata, or None if both are missing.

    Raises
    ------
    StudyError
        If one list is missing, a list is not one number per channel, a number is 1e9 or more in size, or a standard
        deviation is below 1e-9.
    """
    if "mean" not in metadata and "std" not in metadata:
        return None
    try:
        mean, std = (list(map(float, _json(metadata[key]))) for key in ("mean", "std"))
        sound = len(mean) == len(std) == channels and min(std) >= 1e-9 and all(abs(x) < 1e9 for x in mean + std)
    except (KeyError, ValueError, TypeError, OverflowError):
        sound = False
    if not sound:
        raise StudyError(
            f"{where}: its metadata must hold mean and std as JSON lists, one number for each of {channels} channels"
        )
    return Normalization(mean, std)


def own_normalization(metadata: Metadata) -> Normalization:
    """Return the normalisation in a run's checkpoint."""
    return Normalization(*(json.loads(metadata[key]) for key in ("mean", "std")))


def classifier(
    path: Path, run_id: str, model: str | None = None, params: Mapping[str, str] = MappingProxyType({})
) -> Classifier:
    """Load the model of a run's checkpoint, in eval mode.

    Parameters
    ----------
    path : Path
    run_id : str
        ID of the run, for errors.
    model : str, optional
        Import path of the model, if the user gives it. Otherwise the checkpoint must name a built-in model.
    params : mapping of str
        The run's params. The model is built with their seed, because it may hold random tensors outside its state
        dict. If they contain a digest of the model's source and the source has changed, a warning is logged.

    Raises
    ------
    StudyError
        If the file names a model that is neither built in nor given by the user, or holds weights that do not fit the
        model.
    """
    where = f"run {run_id}: {path.name}"
    weights, metadata = load(path, where)
    name = model or metadata.get("model", "")
    if not model:
        models.check_built_in(name, where, lambda path: f'load_model("{run_id}", model="{path}")')
    classes = class_names(metadata, where)
    channels, height, width = json.loads(metadata["image_shape"])
    with seeded(int(params.get(schema.SEED, "0")), INITIAL_WEIGHTS, torch.device("cpu")):
        network = models.build(name, num_classes=len(classes), in_channels=channels, image_size=(height, width))
    load_weights(network, weights, where)
    digests = params.get(schema.MODEL_DIGEST), models.source_digest(name)
    if all(digests) and digests[0] != digests[1]:
        log.warning("the source of %s has changed since run %s, so the predictions may have changed too", name, run_id)
    return Classifier(network, own_normalization(metadata), classes).eval()


def image_shape(text: str, where: str, *, option: str | None = None) -> tuple[int, int, int]:
    """Return channels, height and width from a run's param such as 3x32x32; raise a StudyError for other texts."""
    if not re.fullmatch("[1-9][0-9]*x[1-9][0-9]*x[1-9][0-9]*", text, re.ASCII):
        raise StudyError(f"{where} names the image shape {shortened(text)}, not one such as 3x32x32", option=option)
    channels, height, width = map(int, text.split("x"))
    return channels, height, width


def class_names(metadata: Metadata, where: str) -> tuple[str, ...]:
    classes = _json(metadata["classes"])
    if not isinstance(classes, list) or len(classes) < 2 or not all(isinstance(name, str) for name in classes):
        given = shortened(metadata["classes"])
        raise StudyError(f"{where} names the classes {given}, not a list of two or more strings")
    return tuple(classes)


def _json(value: str) -> Any:
    """Parse a string as JSON; return None if it is not JSON."""
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return None
