"""Read a data set into arrays: the embedded sample, a downloaded one, an .npz file, or a folder of images."""

import hashlib
import os
import tempfile
import unicodedata
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from analysis.runs import archives
from analysis.runs.errors import StudyError, did_you_mean, first_line
from analysis.runs.input_files import SizeLimit, opened
from analysis.runs.printable import fault_of_name, shortened

MINI = "fashion-mnist-mini"
EMBEDDED = Path(__file__).parent / "fashion_mnist_mini.npz"
DOWNLOADABLE = ("mnist", "fashion-mnist", "kmnist", "qmnist", "emnist", "svhn", "cifar10", "cifar100")
PARTS = ("train", "test")
DEFAULT_MAX_GIB = SizeLimit().gib
# Formats that Pillow decodes itself, whatever the file's name ends in. For others, such as EPS, it starts a program.
FORMATS = ("PNG", "JPEG", "GIF", "BMP", "WEBP")


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
    """

    name: str
    classes: tuple[str, ...]
    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    source: str

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of an image."""
        channels, height, width = self.train_images.shape[1:]
        return channels, height, width

    @cached_property
    def digest(self) -> str:
        """Digest of images, labels and class names in their order, 32 hexadecimal digits."""
        content = hashlib.sha256(repr((self.classes, self.train_images.shape, self.test_images.shape)).encode())
        for array in (self.train_images, self.train_labels, self.test_images, self.test_labels):
            content.update(np.ascontiguousarray(array).data)
        return content.hexdigest()[:32]


def load(
    dataset: str, *, data_dir: Path, image_size: int | None = None, max_data_gib: float = DEFAULT_MAX_GIB
) -> Dataset:
    """Read a data set into memory.

    Parameters
    ----------
    dataset : str
        One of:

        - `fashion-mnist-mini`, the embedded sample;
        - the name of a file `<data_dir>/<name>.npz`, in whose file name each `-` is an `_`;
        - the name of a data set that torchvision can download into such a file;
        - the path of an .npz file with the arrays train_images, test_images (uint8, [N, H, W, C] or [N, H, W]),
          train_labels, test_labels (whole numbers, [N]) and optionally class_names (text, [classes]);
        - the path of a folder with images train/<class>/*.png|jpg and test/<class>/*.png|jpg.
    data_dir : Path
        Folder of the named data sets.
    image_size : int, optional
        Height and width that the images are resized to.
    max_data_gib : float
        Most memory, in GiB, that the data set may take. A larger one is refused before it is read.

    Returns
    -------
    Dataset

    Raises
    ------
    StudyError
        If no such data set exists, or if it is truncated, mislabelled, incomplete or too large.
    """
    path = _located(dataset, data_dir)
    if path is None:
        path = _named(dataset, data_dir)
        _download(dataset, path)
    name = dataset_name(dataset)
    if fault := fault_of_name(name):
        raise StudyError(f"{dataset}: the name of the data set {fault}: rename the file or folder", option="--dataset")
    limit = SizeLimit(max_data_gib, "--max-data-gib")
    if path.is_dir():
        return _from_folder(path, name, image_size, limit)
    return _from_npz(path, name, image_size, limit)


def is_here(dataset: str, *, data_dir: Path) -> bool:
    """Return whether a data set can be read without a download; parameters and errors are those of `load`."""
    return _located(dataset, data_dir) is not None


def dataset_name(dataset: str) -> str:
    """Return the name that runs log for a data set: the stem of a path, with `-` in place of each `_`."""
    path = Path(dataset)
    return (path.stem if path.suffix == ".npz" else path.resolve().name).replace("_", "-")


def split(labels: np.ndarray, fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Split the training data by class, at random, into images to train on and images for validation.

    Parameters
    ----------
    labels : int64 [N]
        Labels with at least two images of each class.
    fraction : float in (0, 1)
        Share of each class that goes into validation: at least one image, and never all of them.
    seed : int

    Returns
    -------
    train, validation : int64 arrays
        Indices of the images, ascending.
    """
    generator = np.random.default_rng(seed)
    chosen = []
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        count = min(max(round(len(members) * fraction), 1), len(members) - 1)
        chosen.append(generator.permutation(members)[:count])
    validation = np.sort(np.concatenate(chosen))
    return np.setdiff1d(np.arange(len(labels)), validation), validation


def normalization(images: np.ndarray) -> tuple[list[float], list[float]]:
    """Return the mean and the standard deviation of each channel, with pixels scaled to [0, 1].

    Parameters
    ----------
    images : uint8 [N, C, H, W]

    Returns
    -------
    means, deviations : list of float
        The deviation of a constant channel is given as 1.
    """
    values = np.arange(256) / 255
    means, deviations = [], []
    for channel in range(images.shape[1]):
        # bincount makes eight bytes of each pixel, so it gets 1,000 images at a time.
        parts = (images[start : start + 1000, channel].ravel() for start in range(0, len(images), 1000))
        share = sum(np.bincount(part, minlength=256) for part in parts) / images[:, channel].size
        means.append(float(share @ values))
        deviations.append(float(np.sqrt(share @ np.square(values - means[-1]))) or 1.0)
    return means, deviations


def _located(dataset: str, data_dir: Path) -> Path | None:
    """Return the file or folder of a data set, or None if it has to be downloaded."""
    if dataset == MINI:
        return EMBEDDED
    try:
        path = Path(dataset).expanduser()
        if path.suffix == ".npz":
            if not path.is_file():
                raise StudyError(f"{path}: no such file exists", option="--dataset")
            return path
        named = _named(dataset, data_dir)
        if os.sep not in dataset and named.is_file():
            return named
        if dataset in DOWNLOADABLE:
            return None
        if path.is_dir():
            return path
    except (OSError, RuntimeError) as error:  # the name is too long, or `~user` has no home
        raise StudyError(f"{dataset[:100]!r} cannot be looked up ({error})", option="--dataset") from error
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
    return StudyError(f"{dataset!r} is no data set: {hint}", option="--dataset")


def _from_npz(path: Path, name: str, image_size: int | None, limit: SizeLimit) -> Dataset:
    required = [f"{part}_{kind}" for part in PARTS for kind in ("images", "labels")]
    arrays = archives.read(path, required, optional=["class_names"], limit=limit)
    images = {part: _npz_images(arrays[f"{part}_images"], f"{path}: {part}_images") for part in PARTS}
    labels = {part: _npz_labels(arrays[f"{part}_labels"], f"{path}: {part}_labels") for part in PARTS}
    if image_size:
        limit.check(path, sum(array[..., 0, 0].size for array in images.values()) * image_size**2)
        images = {part: _resized_images(array, f"{path}: {part}_images", image_size) for part, array in images.items()}
    if "class_names" in arrays:
        classes = _class_names(arrays["class_names"], str(path))
    else:
        count = 1 + int(labels["train"].max(initial=-1))
        # Every class has an image, so a label above the number of images is a fault, which `_checked` names.
        classes = tuple(str(label) for label in range(min(count, len(labels["train"]))))
    return _checked(name, classes, images, labels, str(path))


def _class_names(names: np.ndarray, where: str) -> tuple[str, ...]:
    if names.ndim != 1 or names.dtype.kind not in "US":
        raise StudyError(
            f"{where}: class_names are {names.dtype} of shape {names.shape}; they must be text of shape [classes]"
        )
    try:
        return tuple(str(name) for name in (np.char.decode(names, "utf-8") if names.dtype.kind == "S" else names))
    except ValueError as error:
        raise StudyError(f"{where}: class_names are no text in UTF-8 ({first_line(error)})") from error


def _npz_images(images: np.ndarray, where: str) -> np.ndarray:
    """Return uint8 images, [N, C, H, W]."""
    if np.issubdtype(images.dtype, np.floating) and not np.isfinite(images).all():
        bad = np.count_nonzero(~np.isfinite(images))
        raise StudyError(f"{where} hold {bad:,} NaN or infinite pixels; they must be uint8, 0 to 255")
    if images.dtype != np.uint8:
        raise StudyError(f"{where} are {images.dtype}; they must be uint8, 0 to 255")
    if images.ndim == 3:
        images = images[..., None]
    if images.ndim != 4 or 0 in images.shape:
        raise StudyError(f"{where} have shape {images.shape}; they must have shape [N, H, W, C] or [N, H, W]")
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2))


def _resized_images(images: np.ndarray, where: str, image_size: int) -> np.ndarray:
    if images.shape[1] not in (1, 3):
        raise StudyError(f"{where} have {images.shape[1]} channels; --image-size can resize images of 1 or 3")
    pictures = (Image.fromarray(image[0] if len(image) == 1 else image.transpose(1, 2, 0)) for image in images)
    return _stacked(_resized(picture, image_size) for picture in pictures)


def _npz_labels(labels: np.ndarray, where: str) -> np.ndarray:
    if not np.issubdtype(labels.dtype, np.integer) or labels.ndim != 1:
        raise StudyError(f"{where} are {labels.dtype} of shape {labels.shape}; they must be whole numbers of shape [N]")
    if (beyond := labels > np.iinfo(np.int64).max).any():
        raise StudyError(f"{where} holds {labels[beyond][0]}, which is no index of a class")
    return labels.astype(np.int64)


def _from_folder(folder: Path, name: str, image_size: int | None, limit: SizeLimit) -> Dataset:
    classes = _classes_of_folder(folder)
    files = {
        part: [(path, index) for index, name in enumerate(classes) for path in _pictures(folder / part / name)]
        for part in PARTS
    }
    paths = [path for part in PARTS for path, _ in files[part]]
    if image_size:
        limit.check(folder, len(paths) * image_size**2)
    pictures = (_read_picture(path, image_size, limit) for path in paths)
    stacked = _stacked(_within(limit, folder, _equally_sized(pictures, paths)))
    train = len(files["train"])
    images = {"train": stacked[:train], "test": stacked[train:]}
    labels = {part: np.array([index for _, index in files[part]], dtype=np.int64) for part in PARTS}
    return _checked(name, classes, images, labels, str(folder))


def _classes_of_folder(folder: Path) -> tuple[str, ...]:
    names = {part: sorted(path.name for path in _class_folders(folder / part)) for part in PARTS}
    classes = tuple(dict.fromkeys(sorted([*names["train"], *names["test"]])))
    for part in PARTS:
        if gone := sorted(set(classes) - set(names[part])):
            raise StudyError(
                f"{folder / part}: there is no folder for class {_some(gone)}, which the other part has"
                + _spelt_otherwise(gone, names[part])
            )
    _check_class_names(str(folder), classes)
    return classes


def _spelt_otherwise(gone: list[str], names: list[str]) -> str:
    """Return a hint if a class that is gone from a part is there with other capitals, or with other accents' bytes."""
    alike = {_letters(name): name for name in names}
    there = next((alike[_letters(name)] for name in gone if _letters(name) in alike), None)
    return f"; it has {there!a}: give the folder the same name in both parts" if there else ""


def _letters(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _class_folders(part: Path) -> list[Path]:
    if not part.is_dir():
        raise StudyError(
            f"{part}: no such folder exists; a data set folder holds train/<class>/*.png|jpg and test/<class>/*.png|jpg"
        )
    return [path for path in part.iterdir() if path.is_dir() and not path.name.startswith(".")]


def _pictures(folder: Path) -> list[Path]:
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in (".png", ".jpg", ".jpeg"))
    if not files:
        raise StudyError(f"{folder}: the folder has no .png or .jpg in it; add images of the class, or remove it")
    return files


def _read_picture(path: Path, image_size: int | None, limit: SizeLimit) -> Image.Image:
    with opened(path) as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # such as of a palette's transparency, which is dropped
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            with Image.open(file, formats=FORMATS) as opened_picture:
                limit.check(path, 3 * opened_picture.width * opened_picture.height)
                return _as_uint8(path, ImageOps.exif_transpose(opened_picture), image_size)
        except StudyError:
            raise
        except UnidentifiedImageError as error:
            raise StudyError(f"{path}: this is no image; it must be PNG or JPEG") from error
        # On bytes of any kind, the decoders raise errors of more than a dozen types.
        except Exception as error:
            raise StudyError(f"{path}: this is not a complete image ({first_line(error)[:200]})") from error


def _as_uint8(path: Path, picture: Image.Image, image_size: int | None) -> Image.Image:
    """Return a picture as grey or RGB with 8 bits a channel, resized if it should be."""
    if picture.mode.startswith(("I", "F")):
        raise StudyError(f"{path}: its pixels have mode {picture.mode}; images must have 8 bits a channel")
    if 0 in picture.size:
        raise StudyError(f"{path}: the image has {picture.width}x{picture.height} pixels")
    picture = picture.convert("L" if picture.mode in ("1", "L", "LA") else "RGB")
    return _resized(picture, image_size) if image_size else picture


def _equally_sized(pictures: Iterator[Image.Image], files: list[Path]) -> Iterator[Image.Image]:
    size = None
    for picture, path in zip(pictures, files, strict=True):
        size = size or picture.size
        if picture.size != size:
            raise StudyError(
                f"{path} has {picture.width}x{picture.height} pixels and {files[0]} has {size[0]}x{size[1]}: "
                "resize them with --image-size"
            )
        yield picture


def _within(limit: SizeLimit, folder: Path, pictures: Iterator[Image.Image]) -> Iterator[Image.Image]:
    """Yield pictures as long as all of them together, with the channels of the most colourful, are within the limit."""
    pixels = channels = 0
    for picture in pictures:
        pixels += picture.width * picture.height
        channels = max(channels, len(picture.getbands()))
        limit.check(folder, pixels * channels)
        yield picture


def _resized(picture: Image.Image, image_size: int) -> Image.Image:
    return picture.resize((image_size, image_size), Image.Resampling.BILINEAR)


def _stacked(pictures: Iterator[Image.Image]) -> np.ndarray:
    """Return uint8 [N, C, H, W], with one channel if all pictures are grey and three otherwise."""
    arrays = [np.atleast_3d(np.asarray(picture)) for picture in pictures]
    channels = max(array.shape[-1] for array in arrays)
    stacked = np.stack([np.broadcast_to(array, (*array.shape[:2], channels)) for array in arrays])
    return np.ascontiguousarray(stacked.transpose(0, 3, 1, 2))


def _checked(
    name: str,
    classes: tuple[str, ...],
    images: dict[str, np.ndarray],
    labels: dict[str, np.ndarray],
    source: str,
) -> Dataset:
    if len(classes) < 2:
        raise StudyError(f"{source} has {len(classes)} classes; a classifier needs at least 2")
    _check_class_names(source, classes)
    if images["train"].shape[1:] != images["test"].shape[1:]:
        shapes = " and ".join(str(images[part].shape[1:]) for part in PARTS)
        raise StudyError(f"{source}: training and test images differ in shape, {shapes}: resize them with --image-size")
    for part in PARTS:
        _check_labels(f"{source}: {part}", len(images[part]), labels[part], classes)
    return Dataset(name, classes, images["train"], labels["train"], images["test"], labels["test"], source)


def _check_class_names(source: str, classes: tuple[str, ...]) -> None:
    for name in classes:
        if fault := fault_of_name(name):
            raise StudyError(f"{source}: the class name {shortened(name)} {fault}; rename the class")
    if len({unicodedata.normalize("NFC", name) for name in classes}) < len(classes):
        raise StudyError(f"{source}: two classes have the same name; rename one of them")


def _some(names: list[str]) -> str:
    more = f" and {len(names) - 5:,} more" if len(names) > 5 else ""
    return ", ".join(names[:5]) + more


def _check_labels(where: str, count: int, labels: np.ndarray, classes: tuple[str, ...]) -> None:
    if len(labels) != count:
        raise StudyError(f"{where}_labels has {len(labels):,} entries for {count:,} images")
    outside = (labels < 0) | (labels >= len(classes))
    if outside.any():
        first = int(np.argmax(outside))
        raise StudyError(
            f"{where}_labels holds {labels[first]} at index {first}, outside the {len(classes)} classes (0 to "
            f"{len(classes) - 1})"
        )
    support = np.bincount(labels, minlength=len(classes))
    if not support.all():
        missing = [classes[index] for index in np.flatnonzero(support == 0)]
        raise StudyError(f"{where} data have no image of class {_some(missing)}")
    if where.endswith("train") and support.min() < 2:
        raise StudyError(
            f"{where} data have 1 image of class {classes[int(support.argmin())]}; it needs 2, one to train on and one "
            "for validation"
        )


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
        arrays[f"{part}_images"] = images.reshape(*images.shape[:3], -1)
        arrays[f"{part}_labels"] = labels[:, 0] if name == "qmnist" else labels
        classes = getattr(downloaded, "classes", [str(digit) for digit in range(10)])
    arrays["class_names"] = np.array([str(item) for item in classes])
    return arrays
