"""Read a folder of images. Images that need much memory are decoded once, into a memory-mapped file."""

import hashlib
import logging
import os
import tempfile
import unicodedata
import warnings
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
import PIL
from numpy.lib import format as npy
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

from analysis.common.errors import StudyError, did_you_mean, first_line
from analysis.common.input_files import opened
from analysis.common.printable import shortened
from analysis.runs.characteristics import MOST_BITS
from pruning_study.data.entropy import entropies
from pruning_study.data.labels import check_class_names, some, split

MOST_LISTED = 20  # damaged images listed in an error
DEFAULT_TEST_FRACTION = 0.2
# Every run splits a folder with this seed, so that all runs have the same test images.
SPLIT_SEED = 0
# Images that together take more bytes than this are memory-mapped.
MAPPED_FROM = 2**30
# Formats that Pillow decodes itself, whatever the file's suffix. For others, such as EPS, Pillow runs another program.
FORMATS = ("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF", "PPM")
_DEEP = (";16B", ";16L", ";16N")  # ends of Pillow's modes of 16 bits a channel; "BGR;16" has 16 bits a pixel
ENDINGS = (".png", ".jpg", ".jpeg", ".gif", ".bmp", ".webp", ".tif", ".tiff", ".pbm", ".pgm", ".ppm", ".pnm")
# Files that Windows writes into a folder when it is viewed.
_OF_THE_SYSTEM = ("thumbs.db", "desktop.ini")
OPTION = "folder"
# Names that each part may have, also with capitals.
_PARTS = {"train": ("train", "training"), "val": ("val", "valid", "validation"), "test": ("test", "testing")}
HOLDS = "a data set folder holds images in train/<class>/ and test/<class>/"

log = logging.getLogger(__name__)


class Folder(NamedTuple):
    """The content of a folder of images.

    Parameters
    ----------
    classes : tuple of str
    images : dict of uint8 [N, C, H, W]
        Images of the parts `train` and `test`. The validation images come last in `train`.
    labels : dict of int64 [N]
    validation : int or None
        Number of images in the folder's part `val`; None if it has no such part.
    test_fraction : float or None
        Share of each class held out for testing; None if the folder has a part `test`.
    train_entropies : float64 [N] or None
        Entropies of the images of `train` before they were resized, in bits; None if they were not resized.
    """

    classes: tuple[str, ...]
    images: dict[str, np.ndarray]
    labels: dict[str, np.ndarray]
    validation: int | None
    test_fraction: float | None
    train_entropies: np.ndarray | None


class _Files(NamedTuple):
    """Paths and class indices of some images."""

    paths: list[Path]
    labels: np.ndarray

    def at(self, indices: np.ndarray) -> "_Files":
        return _Files([self.paths[index] for index in indices], self.labels[indices])


def read(folder: Path, image_size: int | None, *, test_fraction: float | None, decoded: Path) -> Folder:
    """Read a folder of images.

    Parameters
    ----------
    folder : Path
        Folder with images in `train/<class>/`, `test/<class>/` and optionally `val/<class>/`, or directly in
        `<class>/`. The parts may have any of the names in `_PARTS`, in upper or lower case.
    image_size : int, optional
        Height and width that the images are resized to.
    test_fraction : float, optional
        Share of each class to hold out for testing, if the folder has no parts; .2 by default.
    decoded : Path
        Path prefix of the file that images are decoded into if they take more than a gibibyte.

    Raises
    ------
    StudyError
        If classes differ between the parts, a file is not an image, or the images differ in size.
    """
    parts = _parts(folder)
    if not {"train", "test"} & parts.keys() and folder.is_dir() and _class_folders(folder):
        classes = tuple(sorted(path.name for path in _class_folders(folder)))
        check_class_names(str(folder), classes)
        fraction = DEFAULT_TEST_FRACTION if test_fraction is None else test_fraction
        files = _files(folder, classes)
        train, test = map(files.at, split(files.labels, fraction, SPLIT_SEED))
        validation = None
    else:
        fraction = None
        if test_fraction is not None:
            raise StudyError(
                f"{folder} has test images of its own, in {parts.get('test', folder / 'test')}", option="test_fraction"
            )
        classes = _classes_of(folder, parts)
        train, *own, test = (_files(path, classes) for path in parts.values())
        validation = len(own[0].paths) if own else None
        if own:
            train = _Files(train.paths + own[0].paths, np.concatenate([train.labels, own[0].labels]))
    before: list[float] | None = [] if image_size else None
    images = _decoded(folder, train.paths + test.paths, image_size, decoded, before)
    count = len(train.paths)
    return Folder(
        classes,
        {"train": images[:count], "test": images[count:]},
        {"train": train.labels, "test": test.labels},
        validation,
        fraction,
        None if before is None else np.array(before[:count]),
    )


def read_labelled(
    folder: Path, classes: tuple[str, ...], image_size: int | None, *, decoded: Path
) -> tuple[np.ndarray, np.ndarray]:
    """Read a folder of labelled images, from some or all classes of a data set.

    Parameters
    ----------
    folder : Path
        Folder with images in `<class>/`.
    classes : tuple of str
        All classes of the data set.
    image_size, decoded
        As for `read`.

    Returns
    -------
    images : uint8 [N, C, H, W]
    labels : int64 [N]
        Indices into `classes`.

    Raises
    ------
    StudyError
        As for `read`, and if the name of a subfolder is not a class.
    """
    if not folder.is_dir():
        raise StudyError(f"{folder}: no such folder exists", option=OPTION)
    names = sorted(path.name for path in _class_folders(folder))
    if not names:
        raise StudyError(f"{folder}: it contains no folders; images must be in <class>/", option=OPTION)
    index_of_name = {unicodedata.normalize("NFC", name): index for index, name in enumerate(classes)}
    for name in names:
        if unicodedata.normalize("NFC", name) not in index_of_name:
            hint = did_you_mean(name, classes, f"their classes are {some(list(classes))}")
            raise StudyError(f"{folder}: {shortened(name)} is no class of the networks, {hint}", option=OPTION)
    files = _files(folder, tuple(names))
    images = _decoded(folder, files.paths, image_size, decoded)
    return images, np.array([index_of_name[unicodedata.normalize("NFC", name)] for name in names])[files.labels]


def _parts(folder: Path) -> dict[str, Path]:
    """Map each part that exists to its folder, in the order train, val, test."""
    entries = sorted(_class_folders(folder)) if folder.is_dir() else []
    parts = {}
    for part, names in _PARTS.items():
        paths = [path for path in entries if path.name.casefold() in names]
        if len(paths) > 1:
            raise StudyError(f"{paths[0]} and {paths[1].name} may both be the part {part}: rename one of them")
        if paths:
            parts[part] = paths[0]
    return parts


def _classes_of(folder: Path, parts: Mapping[str, Path]) -> tuple[str, ...]:
    for part in ("train", "test"):
        if part not in parts:
            hint = "; val holds images for validation, so rename it if they are for testing" if "val" in parts else ""
            raise StudyError(f"{folder / part}: no such folder exists; {HOLDS}{hint}")
    names = {part: sorted(each.name for each in _class_folders(path)) for part, path in parts.items()}
    classes = tuple(sorted(set().union(*names.values())))
    for part, path in parts.items():
        if gone := sorted(set(classes) - set(names[part])):
            other = "the other part" if len(parts) == 2 else "another part"
            raise StudyError(
                f"{path}: there is no folder for class {some(gone)}, which {other} has"
                + _spelt_otherwise(gone, names[part])
            )
    check_class_names(str(folder), classes)
    return classes


def _spelt_otherwise(gone: list[str], names: list[str]) -> str:
    """Return a hint if the name of a missing class exists in different case or with differently encoded accents."""
    alike = {_letters(name): name for name in names}
    there = next((alike[_letters(name)] for name in gone if _letters(name) in alike), None)
    return f"; there is one named {there!a}: give the folder the same name in all parts" if there else ""


def _letters(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _class_folders(part: Path) -> list[Path]:
    return [path for path in part.iterdir() if path.is_dir() and not path.name.startswith(".")]


def _files(part: Path, classes: tuple[str, ...]) -> _Files:
    files = [(path, index) for index, name in enumerate(classes) for path in _pictures(part / name)]
    return _Files([path for path, _ in files], np.array([index for _, index in files], dtype=np.int64))


def _pictures(folder: Path) -> list[Path]:
    """Return the paths of a class's images, and warn of other files and folders beside them."""
    entries = sorted(path for path in folder.iterdir() if not _is_of_the_system(path))
    pictures = [path for path in entries if path.suffix.lower() in ENDINGS]
    others = [path for path in entries if path.suffix.lower() not in ENDINGS]
    folders = sum(path.is_dir() for path in others)
    kinds = {"file": len(others) - folders, "folder": folders}
    left_out = " and ".join(f"{count:,} {kind}{'s' if count > 1 else ''}" for kind, count in kinds.items() if count)
    if not pictures:
        beside = f", only {left_out} of other kinds" if left_out else ""
        raise StudyError(
            f"{folder}: no image ({' '.join(ENDINGS)}) in it{beside}; put images of the class in it, or remove it"
        )
    if left_out:
        log.warning(
            "%s: %s left out: only files directly in the folder that end in %s are read",
            folder,
            left_out,
            " ".join(ENDINGS),
        )
    return pictures


def _is_of_the_system(path: Path) -> bool:
    return path.name.startswith(".") or path.name.lower() in _OF_THE_SYSTEM


def _decoded(
    folder: Path,
    paths: list[Path],
    image_size: int | None,
    decoded: Path,
    before: list[float] | None = None,
) -> np.ndarray:
    """Decode images to uint8 [N, C, H, W], in memory or mapped; fill `before` with their entropies before resizing."""

    def pictures() -> Iterator[np.ndarray]:
        read = _read_pictures(folder, paths)
        if before is not None:
            before.clear()
            read = _measured(read, before)
        sized = (resized(picture, image_size) for picture in read) if image_size else _equally_sized(read, paths)
        return (np.atleast_3d(np.asarray(picture)) for picture in sized)

    first = next(pictures())
    if len(paths) * first.nbytes > MAPPED_FROM:
        file = _file(decoded, paths, image_size)
        images = _decoded_once(pictures, paths, first.shape, file)
        if before is not None:
            before[:] = _entropies_once(file.with_suffix(".entropies.npy"), pictures, before, len(paths))
    else:
        images = stacked(pictures(), len(paths))
    return images.transpose(0, 3, 1, 2)


def _measured(pictures: Iterable[Image.Image], measured: list[float]) -> Iterator[Image.Image]:
    """Yield pictures, and append the entropy of each to `measured`."""
    for picture in pictures:
        measured.append(entropies(np.asarray(picture)[None]).item())
        yield picture


def _entropies_once(
    file: Path, pictures: Callable[[], Iterable[np.ndarray]], measured: list[float], count: int
) -> list[float]:
    """Return the entropies in a file, writing it first if it does not exist.

    Parameters
    ----------
    file : Path
    pictures : callable
        Decodes the pictures again, and puts their entropies into `measured`.
    measured : list of float
        Entropies from the last decoding, which may have stopped after the first picture.
    count : int
        Number of pictures.
    """
    if not file.is_file():
        if len(measured) < count:
            log.warning("%s images are decoded again: the file with their entropies is missing", f"{count:,}")
            deque(pictures(), maxlen=0)
        with _written(file, "entropies") as part:
            np.save(part, measured)
    values = _loaded(file, "entropies")
    if values.dtype != float or values.shape != (count,) or not ((values >= 0) & (values <= MOST_BITS)).all():
        raise StudyError(f"{file}: this file does not hold the entropies of the images: delete the file")
    return [float(entropy) for entropy in values]


def stacked(pictures: Iterable[np.ndarray], count: int) -> np.ndarray:
    """Stack pictures [H, W, 1 or 3] into one array [count, H, W, C], with C = 1 if all are grey."""
    images: np.ndarray | None = None
    for index, pixels in enumerate(pictures):
        if images is None:
            images = np.empty((count, *pixels.shape), np.uint8)
        if pixels.shape[-1] > images.shape[-1]:
            coloured = np.empty((count, *pixels.shape), np.uint8)
            coloured[:index] = images[:index]
            images = coloured
        images[index] = pixels
    assert images is not None
    return images


def _file(decoded: Path, paths: list[Path], image_size: int | None) -> Path:
    """Return the path of the file for decoded images; the file's name changes if the bytes of an image change."""
    content = hashlib.sha256(f"{PIL.__version__} {image_size}".encode())
    for path in paths:
        with opened(path) as file:
            digest = hashlib.sha256(file.read()).hexdigest()
        content.update(f"{path} {digest}\n".encode(errors="surrogateescape"))
    return decoded.with_name(f"{decoded.name}-{content.hexdigest()[:16]}.npy")


class _ColouredError(Exception):
    """A coloured picture among pictures that were assumed to be grey."""


def _decoded_once(
    pictures: Callable[[], Iterator[np.ndarray]],
    paths: list[Path],
    shape: tuple[int, ...],
    file: Path,
) -> np.ndarray:
    if not file.is_file():
        log.warning("%s images are decoded once, into %s; delete it when you are done", f"{len(paths):,}", file)
    grey, coloured = ((len(paths), *shape[:2], channels) for channels in (1, 3))
    try:
        images = mapped(file, pictures, (len(paths), *shape), (grey, coloured), what="decoded")
    except _ColouredError:
        images = mapped(file, pictures, coloured, what="decoded")
    return images


def mapped(
    file: Path,
    pictures: Callable[[], Iterable[np.ndarray]],
    shape: tuple[int, ...],
    shapes: Collection[tuple[int, ...]] = (),
    *,
    what: str,
) -> np.ndarray:
    """Memory-map the images in an .npy file, writing the file first if it does not exist.

    Parameters
    ----------
    file : Path
    pictures : callable
        Returns the images in order, one or several per array. Called only if the file has to be written.
    shape : tuple of int
        Shape of the array to write.
    shapes : collection of tuple of int, optional
        Shapes that the array in an existing file may have; by default `shape`.
    what : str
        Word for the images in errors, such as `decoded`.

    Returns
    -------
    uint8 [N, ...], memory-mapped

    Raises
    ------
    StudyError
        If the file cannot be written, or does not hold these images.
    """
    if not file.is_file():
        with _written(file, f"{what} images") as part:
            npy.write_array_header_1_0(part, {"descr": "|u1", "fortran_order": False, "shape": shape})
            for pixels in pictures():
                if pixels.shape[-1] > shape[-1]:
                    raise _ColouredError
                part.write(np.broadcast_to(pixels, shape[1:]).tobytes())
    images = _loaded(file, f"{what} images", mapped=True)
    if images.dtype != np.uint8 or images.shape not in (shapes or (shape,)):
        raise StudyError(f"{file}: this file does not hold the {what} images: delete the file")
    return images


@contextmanager
def _written(file: Path, what: str) -> Iterator[IO[bytes]]:
    """Write a file under a temporary name, and rename it when complete; delete it if writing fails."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.stem}-")
        try:
            with os.fdopen(descriptor, "wb") as part:
                yield part
            Path(name).rename(file)
        finally:
            Path(name).unlink(missing_ok=True)
    except OSError as error:
        raise StudyError(
            f"{file}: the {what} cannot be written ({first_line(error)}): name a folder for them", option="data_dir"
        ) from error


def _loaded(file: Path, what: str, *, mapped: bool = False) -> np.ndarray:
    try:
        if mapped:
            return npy.open_memmap(file, mode="r")
        with file.open("rb") as part:
            content: np.ndarray = npy.read_array(part, allow_pickle=False)
            return content
    except (ValueError, OSError, EOFError) as error:
        raise StudyError(f"{file}: this file holds no {what} ({first_line(error)}): delete the file") from error


class _DamagedError(StudyError):
    """A file that is not a complete image."""


def _read_pictures(folder: Path, paths: Sequence[Path]) -> Iterator[Image.Image]:
    """Yield pictures; at the end, raise a StudyError that lists the files, if any, that are not images."""
    faults: list[str] = []
    for path in paths:
        try:
            picture = _read_picture(path)
        except _DamagedError as error:
            faults.append(str(error))
            continue
        if not faults:
            yield picture
    if len(faults) == 1:
        raise StudyError(*faults)
    if faults:
        more = [f"and {len(faults) - MOST_LISTED:,} more"] if len(faults) > MOST_LISTED else []
        raise StudyError(f"{folder}: {len(faults):,} files are not images; remove them", *faults[:MOST_LISTED], *more)


def _read_picture(path: Path) -> Image.Image:
    with opened(path) as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # for example about a palette's transparency
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            with Image.open(file, formats=FORMATS) as opened_picture:
                _check_depth(path, opened_picture)
                return _as_uint8(path, ImageOps.exif_transpose(opened_picture))
        except StudyError:
            raise
        except UnidentifiedImageError as error:
            raise _DamagedError(f"{path}: this is not an image in a supported format ({', '.join(FORMATS)})") from error
        # For damaged files, Pillow's decoders raise errors of more than a dozen types.
        except Exception as error:
            raise _DamagedError(f"{path}: this is not a complete image ({first_line(error)[:200]})") from error


def _check_depth(path: Path, opened_picture: ImageFile.ImageFile) -> None:
    """Refuse a picture whose decoder's settings show 16 bits a channel, because Pillow would keep only 8."""
    for _, _, _, settings in opened_picture.tile:
        raw_mode, *others = settings if isinstance(settings, tuple) else (settings,)
        has_deep_values = opened_picture.format == "PPM" and others and others[0] > 255
        if has_deep_values or str(raw_mode).endswith(_DEEP):
            raise StudyError(f"{path}: it has 16 bits a channel; images must have 8 bits a channel")


def _as_uint8(path: Path, picture: Image.Image) -> Image.Image:
    """Convert a picture to grey or RGB with 8 bits a channel."""
    if picture.mode.startswith(("I", "F")):
        raise StudyError(f"{path}: its pixels have mode {picture.mode}; images must have 8 bits a channel")
    if 0 in picture.size:
        raise StudyError(f"{path}: the image has {picture.width}x{picture.height} pixels")
    if picture.has_transparency_data:
        picture = _on_white(path, picture)
    return picture.convert("L" if picture.mode in ("1", "L", "LA") else "RGB")


def _on_white(path: Path, picture: Image.Image) -> Image.Image:
    """Compose a picture on white, because the colours of its transparent pixels are arbitrary."""
    mode = "L" if picture.mode in ("1", "L", "LA", "La") else "RGB"
    picture = picture.convert("RGBA")
    if picture.getchannel("A").getextrema() == (255, 255):
        return picture.convert(mode)
    _say_transparent(path.parent.parent)
    return Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert(mode)


@lru_cache(maxsize=1024)  # warn once for each part
def _say_transparent(folder: Path) -> None:
    log.warning("%s has images with transparent pixels: they are read on a white background", folder)


def resized(picture: Image.Image, image_size: int) -> Image.Image:
    """Resize a picture to `image_size` pixels each way."""
    return picture.resize((image_size, image_size), Image.Resampling.BILINEAR)


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
