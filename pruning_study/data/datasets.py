"""Read a data set into arrays: the embedded sample, a downloaded data set, an .npz file, or a folder of images."""

import hashlib
import math
import os
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image

from analysis.common import archives
from analysis.common.errors import StudyError, did_you_mean, first_line
from analysis.common.input_files import SizeLimit
from analysis.common.printable import fault_of_name
from pruning_study.data import folders
from pruning_study.data.entropy import entropies
from pruning_study.data.labels import check_class_names, check_labels
from pruning_study.data.portions import portions

MINI = "fashion-mnist-mini"
EMBEDDED = Path(__file__).parent / "fashion_mnist_mini.npz"
DOWNLOADABLE = ("mnist", "fashion-mnist", "kmnist", "qmnist", "emnist", "svhn", "cifar10", "cifar100")
PARTS = ("train", "test")
_VALIDATION = ("val", "valid", "validation")
_MOST_CHANNELS = 4


@dataclass(frozen=True)
class Dataset:
    """An image classification data set.

    Parameters
    ----------
    name : str
    classes : tuple of str
        Names of the classes, in the order of the labels.
    train_images, test_images : uint8 [N, C, H, W]
    train_labels, test_labels : int64 [N]
    source : str
        File or folder that the images were read from.
    validation_indices : int64 [n], optional
        Indices of the training images that the data set itself holds out for validation.
    test_fraction : float, optional
        Share of each class held out for testing by `load`. None if the data set has its own test images.
    train_entropies : float64 [N], optional
        Entropies of the training images before they were resized, in bits. None if they were not resized.
    """

    name: str
    classes: tuple[str, ...]
    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    source: str
    validation_indices: np.ndarray | None = None
    test_fraction: float | None = None
    train_entropies: np.ndarray | None = None

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of an image."""
        channels, height, width = self.train_images.shape[1:]
        return channels, height, width

    @cached_property
    def digest(self) -> str:
        """32 hexadecimal digits that depend on the images, labels, class names, validation indices and their order."""
        content = hashlib.sha256(repr((self.classes, self.train_images.shape, self.test_images.shape)).encode())
        for array in (self.train_images, self.train_labels, self.test_images, self.test_labels):
            for part in portions(array):
                content.update(np.ascontiguousarray(part).data)
        if self.validation_indices is not None:
            content.update(np.ascontiguousarray(self.validation_indices).data)
        return content.hexdigest()[:32]

    @cached_property
    def known_test_images(self) -> int:
        """Number of test images that are also among the training images, of which validation images are a part."""
        numbers = Counter(_image_digests(self.test_images))
        return sum(numbers.pop(digest, 0) for digest in _image_digests(self.train_images))


def _image_digests(images: np.ndarray) -> Iterator[bytes]:
    return (hashlib.sha256(image.tobytes()).digest() for part in portions(images) for image in part)


def load(
    dataset: str,
    *,
    data_dir: Path,
    image_size: int | None = None,
    test_fraction: float | None = None,
) -> Dataset:
    """Read a data set into memory, or memory-map it if it is a folder whose images take more than a gibibyte.

    Parameters
    ----------
    dataset : str
        One of:

        - `fashion-mnist-mini`, the embedded sample;
        - the name of a file `<data_dir>/<name>.npz`, where the file's name may have `_` for each `-`;
        - the name of a data set that torchvision can download into such a file;
        - the path of an .npz file with the arrays train_images, test_images (uint8, [N, H, W, C] or [N, H, W]),
          train_labels, test_labels (whole numbers, [N] or [N, 1], or one-hot, [N, classes]), and optionally class_names
          (strings, [classes]), val_images and val_labels;
        - the path of a folder with images in train/<class>/, test/<class>/ and optionally val/<class>/;
        - the path of a folder with images in <class>/, some of which are held out for testing.
    data_dir : Path
        Folder of the named data sets, and of the file that a large folder of images is decoded into.
    image_size : int, optional
        Height and width that the images are resized to.
    test_fraction : float, optional
        Share of each class to hold out for testing, .2 by default; every call holds out the same images. Only for a
        data set without test images.

    Returns
    -------
    Dataset

    Raises
    ------
    StudyError
        If the data set does not exist, or is truncated, mislabelled or incomplete.
    """
    path = _located(dataset, data_dir)
    if path is None:
        path = _named(dataset, data_dir)
        _download(dataset, path)
    name = dataset_name(dataset)
    if fault := fault_of_name(name):
        raise StudyError(f"{dataset}: the name of the data set {fault}: rename the file or folder", option="dataset")
    if path.is_dir():
        return _from_folder(path, name, image_size, test_fraction, data_dir)
    if test_fraction is not None:
        raise StudyError(f"{dataset} has test images of its own", option="test_fraction")
    return _from_npz(path, name, image_size)


def is_here(dataset: str, *, data_dir: Path) -> bool:
    """Return whether a data set can be read without a download; raise a StudyError if the data set is unknown."""
    return _located(dataset, data_dir) is not None


def source(dataset: str, *, data_dir: Path) -> Path:
    """Return the file or folder that `load` reads, which may not exist before a download."""
    return _located(dataset, data_dir) or _named(dataset, data_dir)


def is_path(name: str) -> bool:
    """Return whether a data set's name, as a run logs it, is a path, which an untrusted run could exploit."""
    return Path(name).name != name or name == ".."


def dataset_name(dataset: str) -> str:
    """Return the name that runs log for a data set: that of its file (without .npz) or folder, with `-` for `_`."""
    path = Path(dataset)
    return (path.stem if path.suffix == ".npz" else path.resolve().name).replace("_", "-")


def normalization(images: np.ndarray, indices: np.ndarray | None = None) -> tuple[list[float], list[float]]:
    """Return the mean and the standard deviation of each channel, with pixels scaled to [0, 1].

    Parameters
    ----------
    images : uint8 [N, C, H, W]
    indices : int64 [n], optional
        Images to average over; all by default.

    Returns
    -------
    means, deviations : list of float
        Lists of one value per channel. The standard deviation of a constant channel is returned as 1.
    """
    indices = np.arange(len(images)) if indices is None else indices
    counts = np.zeros((images.shape[1], 256), np.int64)
    # bincount needs eight bytes per pixel.
    for part in portions(indices, images[:1].nbytes * 8 // images.shape[1]):
        for channel, count in enumerate(counts):
            count += np.bincount(images[part, channel].ravel(), minlength=256)
    means, deviations = [], []
    for histogram in counts.tolist():
        # Integer sums are exact, whereas NumPy's floating-point sums are rounded differently on different processors.
        pixels, total = sum(histogram), sum(value * number for value, number in enumerate(histogram))
        squares = sum(value**2 * number for value, number in enumerate(histogram))
        means.append(total / (255 * pixels))
        deviations.append(math.sqrt((pixels * squares - total**2) / (255 * pixels) ** 2) or 1.0)
    return means, deviations


def _located(dataset: str, data_dir: Path) -> Path | None:
    """Return the file or folder of a data set, or None if it has to be downloaded."""
    if dataset == MINI:
        return EMBEDDED
    try:
        path = Path(dataset).expanduser()
        if path.suffix == ".npz":
            if not path.is_file():
                raise StudyError(f"{path}: no such file exists", option="dataset")
            return path
        files = [_named(dataset, data_dir), *sorted(data_dir.glob("*.npz"))]
        names = {dataset_name(str(file)): file for file in reversed(files) if file.is_file()}
        if os.sep not in dataset and (named := names.get(dataset.replace("_", "-"))):
            return named
        if dataset in DOWNLOADABLE:
            return None
        if path.is_dir():
            return path
    except (OSError, RuntimeError) as error:  # the name is too long, or `~user` has no home
        raise StudyError(f"{dataset[:100]!r} cannot be looked up ({error})", option="dataset") from error
    raise _unknown(dataset, data_dir)


def _named(dataset: str, data_dir: Path) -> Path:
    return data_dir / f"{dataset.replace('-', '_')}.npz"


def _unknown(dataset: str, data_dir: Path) -> StudyError:
    there = [path.stem.replace("_", "-") for path in sorted(data_dir.glob("*.npz"))]
    names = list(dict.fromkeys([MINI, *DOWNLOADABLE, *there]))
    if os.sep in dataset:
        hint = "no such file or folder exists"
    else:
        choices = f"choose one of {', '.join(names)}, or give the path of an .npz file or of a folder of images"
        hint = did_you_mean(dataset, names, choices)
    return StudyError(f"{dataset!r} is no data set: {hint}", option="dataset")


def _from_npz(path: Path, name: str, image_size: int | None) -> Dataset:
    required = [f"{part}_{kind}" for part in PARTS for kind in ("images", "labels")]
    of_validation = [f"{part}_{kind}" for part in _VALIDATION for kind in ("images", "labels")]
    arrays = archives.read(path, required, optional=["class_names", *of_validation], limit=SizeLimit(math.inf))
    parts = [*PARTS, *_validation_parts(path, arrays)]
    images = {part: _npz_images(arrays[f"{part}_images"], f"{path}: {part}_images") for part in parts}
    labels = {part: _npz_labels(arrays[f"{part}_labels"], f"{path}: {part}_labels") for part in parts}
    validation, before_joining = None, dict[str, tuple[int, np.ndarray]]()
    for part in parts[len(PARTS) :]:
        before_joining = {each: (len(images[each]), labels[each]) for each in ("train", part)}
        images["train"], labels["train"], validation = _with_validation(path, part, images, labels)
        del images[part], labels[part]
    train_entropies = None
    if image_size:
        train_entropies = entropies(images["train"])
        images = {part: _resized_images(array, f"{path}: {part}_images", image_size) for part, array in images.items()}
    if "class_names" in arrays:
        classes = _class_names(arrays["class_names"], str(path))
    else:
        count = 1 + int(labels["train"].max(initial=-1))
        # If a label exceeds the number of images, some class has no image, and `_checked` raises an error.
        classes = tuple(str(label) for label in range(min(count, len(labels["train"]))))
    check_class_names(str(path), classes)
    for part, (number, its_labels) in before_joining.items():
        check_labels(f"{path}: {part}", number, its_labels, classes)
    data = _checked(name, classes, images, labels, str(path))
    return replace(data, train_entropies=train_entropies, validation_indices=validation)


def _validation_parts(path: Path, arrays: Mapping[str, np.ndarray]) -> list[str]:
    """Return the name of the file's validation part in a list, which is empty if there is none."""
    parts = [part for part in _VALIDATION if {f"{part}_images", f"{part}_labels"} & arrays.keys()]
    if len(parts) > 1:
        raise StudyError(f"{path}: {' and '.join(parts)} may each be the validation images: keep only one")
    if missing := [
        f"{part}_{kind}" for part in parts for kind in ("images", "labels") if f"{part}_{kind}" not in arrays
    ]:
        raise StudyError(f"{path} has no {missing[0]}, which the validation images need")
    return parts


def _with_validation(
    path: Path, part: str, images: Mapping[str, np.ndarray], labels: Mapping[str, np.ndarray]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Append the validation part to the training images and labels; return both, and the validation indices."""
    shapes = [images[each].shape[1:] for each in ("train", part)]
    if shapes[0] != shapes[1]:
        raise StudyError(f"{path}: train_images and {part}_images differ in shape, {shapes[0]} and {shapes[1]}")
    start, end = len(images["train"]), len(images["train"]) + len(images[part])
    together = (np.concatenate([arrays["train"], arrays[part]]) for arrays in (images, labels))
    return *together, np.arange(start, end)  # type: ignore[return-value]


def _class_names(names: np.ndarray, where: str) -> tuple[str, ...]:
    if names.ndim != 1 or names.dtype.kind not in "US":
        raise StudyError(
            f"{where}: class_names are {names.dtype} of shape {names.shape}; they must be strings of shape [classes]"
        )
    try:
        return tuple(str(name) for name in (np.char.decode(names, "utf-8") if names.dtype.kind == "S" else names))
    except ValueError as error:
        raise StudyError(f"{where}: class_names are not UTF-8 text ({first_line(error)})") from error


def _npz_images(images: np.ndarray, where: str) -> np.ndarray:
    """Check images, uint8 [N, H, W, C] or [N, H, W], and return them as [N, C, H, W]."""
    if np.issubdtype(images.dtype, np.floating) and not np.isfinite(images).all():
        bad = np.count_nonzero(~np.isfinite(images))
        raise StudyError(f"{where} hold {bad:,} NaN or infinite pixels; they must be uint8, 0 to 255")
    if images.dtype != np.uint8:
        raise StudyError(f"{where} are {images.dtype}; they must be uint8, 0 to 255")
    if images.ndim == 3:
        images = images[..., None]
    if images.ndim != 4 or 0 in images.shape:
        raise StudyError(f"{where} have shape {images.shape}; they must have shape [N, H, W, C] or [N, H, W]")
    channels, *_, last = images.shape[1:]
    if channels <= _MOST_CHANNELS < last:
        raise StudyError(
            f"{where} have shape {images.shape}, which is [N, C, H, W] rather than [N, H, W, C]: save "
            "images.transpose(0, 2, 3, 1)"
        )
    return images.transpose(0, 3, 1, 2)


def _resized_images(images: np.ndarray, where: str, image_size: int) -> np.ndarray:
    if images.shape[2:] == (image_size, image_size):  # images that need no resizing may have any number of channels
        return images
    if images.shape[1] not in (1, 3):
        raise StudyError(f"{where} have {images.shape[1]} channels; --image-size resizes only images with 1 or 3")
    pictures = (Image.fromarray(image[0] if len(image) == 1 else image.transpose(1, 2, 0)) for image in images)
    small = (np.atleast_3d(np.asarray(folders.resized(picture, image_size))) for picture in pictures)
    return folders.stacked(small, len(images)).transpose(0, 3, 1, 2)


def _npz_labels(labels: np.ndarray, where: str) -> np.ndarray:
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    elif labels.ndim == 2 and labels.dtype.kind in "biuf" and _is_one_hot(labels):
        labels = labels.argmax(1)
    if not np.issubdtype(labels.dtype, np.integer) or labels.ndim != 1:
        raise StudyError(f"{where} are {labels.dtype} of shape {labels.shape}; they must be whole numbers of shape [N]")
    if (beyond := labels > np.iinfo(np.int64).max).any():
        raise StudyError(f"{where} holds {labels[beyond][0]}, which is not a class index")
    return labels.astype(np.int64)


def _is_one_hot(labels: np.ndarray) -> bool:
    return bool(np.isin(labels, (0, 1)).all() and (labels.sum(1) == 1).all())


def _from_folder(path: Path, name: str, image_size: int | None, test_fraction: float | None, data_dir: Path) -> Dataset:
    decoded = data_dir / "decoded" / name
    content = folders.read(path, image_size, test_fraction=test_fraction, decoded=decoded)
    data = _checked(name, content.classes, content.images, content.labels, str(path))
    validation = None
    if content.validation is not None:
        count = len(data.train_labels)
        validation = np.arange(count - content.validation, count)
    return replace(
        data,
        validation_indices=validation,
        test_fraction=content.test_fraction,
        train_entropies=content.train_entropies,
    )


def _checked(
    name: str,
    classes: tuple[str, ...],
    images: dict[str, np.ndarray],
    labels: dict[str, np.ndarray],
    source: str,
) -> Dataset:
    if len(classes) < 2:
        raise StudyError(f"{source} has {len(classes)} classes; a classifier needs at least 2")
    if images["train"].shape[1:] != images["test"].shape[1:]:
        shapes = " and ".join(str(images[part].shape[1:]) for part in PARTS)
        raise StudyError(f"{source}: training and test images differ in shape, {shapes}: resize them with --image-size")
    for part in PARTS:
        check_labels(f"{source}: {part}", len(images[part]), labels[part], classes, least=2 if part == "train" else 1)
    return Dataset(name, classes, images["train"], labels["train"], images["test"], labels["test"], source)


def _download(name: str, target: Path) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.stem}-") as folder:
            arrays = _from_torchvision(name, folder)
            part = Path(folder, target.name)
            np.savez(part, allow_pickle=False, **arrays)
            part.rename(target)
    except Exception as error:
        reason = first_line(error).rstrip(":")
        raise StudyError(
            f"{name}: it is not at {target}, and its download failed ({reason}): put the file there, or name another "
            "folder with --data-dir"
        ) from error


def _from_torchvision(name: str, folder: str) -> dict[str, np.ndarray]:
    from pruning_study.data.torchvision_import import torchvision

    sets = torchvision.datasets
    make = {
        "mnist": lambda part: sets.MNIST(folder, part == "train", download=True),
        "fashion-mnist": lambda part: sets.FashionMNIST(folder, part == "train", download=True),
        "kmnist": lambda part: sets.KMNIST(folder, part == "train", download=True),
        "qmnist": lambda part: sets.QMNIST(folder, what=part, download=True),
        "emnist": lambda part: sets.EMNIST(folder, "byclass", train=part == "train", download=True),
        "svhn": lambda part: sets.SVHN(folder, part, download=True),
        "cifar10": lambda part: sets.CIFAR10(folder, part == "train", download=True),
        "cifar100": lambda part: sets.CIFAR100(folder, part == "train", download=True),
    }[name]
    arrays: dict[str, np.ndarray] = {}
    for part in PARTS:
        downloaded = make(part)
        images = np.asarray(downloaded.data)
        if name == "emnist":
            images = images.transpose(0, 2, 1)  # the files hold transposed images
        if name == "svhn":
            images = images.transpose(0, 2, 3, 1)
        labels = np.asarray(downloaded.labels if name == "svhn" else downloaded.targets, dtype=np.int64)
        if name == "qmnist":  # its labels have eight columns: digit, series of forms, writer, and five more
            labels, arrays[f"{part}_hsf"], arrays[f"{part}_writer"] = labels[:, :3].T
        arrays[f"{part}_images"] = images.reshape(*images.shape[:3], -1)
        arrays[f"{part}_labels"] = labels
        classes = getattr(downloaded, "classes", [str(digit) for digit in range(10)])
    # In MNIST, a class name has the form "5 - five".
    arrays["class_names"] = np.array([str(item).partition(" - ")[0] for item in classes])
    return arrays
