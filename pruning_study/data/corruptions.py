"""Corrupted test images: the twelve corruptions that Hooker et al. tabulate, each at five severities.

The package `imagecorruptions-imaug` (extra `corruptions`) corrupts an image as Hendrycks & Dietterich (2019) do. The
severities are designed for images of 224 x 224 pixels.
"""

import hashlib
import importlib.metadata
import io
from collections.abc import Iterator
from contextlib import redirect_stdout
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np

from analysis.common import imports
from analysis.common.errors import StudyError
from pruning_study.data import folders

PACKAGE = "imagecorruptions-imaug"
# Names in the package that differ from those in the tables of Hooker et al.
_PACKAGE_NAMES = {"elastic": "elastic_transform", "frosted_glass_blur": "glass_blur"}
SMALLEST = 32  # height and width in pixels
# The package draws from NumPy's global generator, except in these corruptions, to which a seed is passed.
_TAKE_A_SEED = ("glass_blur", "impulse_noise")
_SAMPLE_SEED = 0
_AT_ONCE = 256  # images that a process corrupts in one task


class Sample(NamedTuple):
    """Sample of a data set's test images.

    Parameters
    ----------
    name, digest : str
        Name and digest of the data set.
    images : uint8 [N, C, H, W]
        All test images of the data set.
    indices : int64 [n]
        Indices of the test images in the sample, ascending.
    """

    name: str
    digest: str
    images: np.ndarray
    indices: np.ndarray

    @property
    def identity(self) -> str:
        """16 hexadecimal digits that depend on the data set, the sample's indices and the package's version."""
        content = hashlib.sha256(f"{self.digest} {importlib.metadata.version(PACKAGE)}".encode())
        content.update(np.ascontiguousarray(self.indices, np.int64).data)
        return content.hexdigest()[:16]


def check_installed(*, option: str | None = None) -> None:
    """Check that the package of the extra `corruptions` is installed, without importing the package.

    Raises
    ------
    StudyError
        If the package is missing. The message explains how to install it.
    """
    imports.check_installed("corruptions", {"imagecorruptions": PACKAGE}, option=option)


def check_images(source: str, images: np.ndarray) -> None:
    """Check that images can be corrupted.

    Parameters
    ----------
    source : str
        File or folder of the images, for the error message.
    images : uint8 [N, C, H, W]

    Raises
    ------
    StudyError
        If the images are smaller than 32 x 32 pixels, or have neither one channel nor three.
    """
    channels, height, width = images.shape[1:]
    if min(height, width) < SMALLEST:
        raise StudyError(
            f"{source}: its images have {height}x{width} pixels, and corruptions need {SMALLEST}x{SMALLEST} or more: "
            f"train networks with --image-size {SMALLEST}"
        )
    if channels not in (1, 3):
        raise StudyError(f"{source}: its images have {channels} channels, and corruptions need 1 or 3")


def chosen(labels: np.ndarray, count: int | None) -> np.ndarray:
    """Return the indices of a seeded sample, stratified by class; a larger sample contains every smaller one.

    Parameters
    ----------
    labels : int64 [N]
    count : int, optional
        Size of the sample; None for all images.

    Returns
    -------
    int64 [n]
        Ascending.
    """
    order = np.random.default_rng(_SAMPLE_SEED).permutation(len(labels))
    place, drawn = np.empty(len(labels)), np.argsort(order)
    for label in np.unique(labels):
        members = order[labels[order] == label]
        place[members] = (np.arange(len(members)) + 0.5) / len(members)
    return np.sort(np.lexsort((drawn, place))[:count])


def corrupted(sample: Sample, corruption: str, severity: int, folder: Path) -> np.ndarray:
    """Return a sample's corrupted images, made once and then read from a file.

    The corrupted version of an image depends only on the data set's digest, the corruption, the severity, and the
    image's index among the test images, not on the rest of the sample.

    Parameters
    ----------
    sample : Sample
    corruption : str
        One of `analysis.runs.names.CORRUPTIONS`.
    severity : int, 1 to 5
    folder : Path
        Folder of the data sets; the file is in its subfolder `corrupted`.

    Returns
    -------
    uint8 [n, C, H, W], memory-mapped

    Raises
    ------
    StudyError
        If the file cannot be written, or does not hold these images.
    """
    return folders.mapped(
        cached_file(sample, corruption, severity, folder),
        lambda: chain.from_iterable(_make_parts(sample, corruption, severity)),
        (len(sample.indices), *sample.images.shape[1:]),
        what="corrupted",
    )


def cached_file(sample: Sample, corruption: str, severity: int, folder: Path) -> Path:
    """Return the path of the file for a sample's corrupted images."""
    return folder / "corrupted" / f"{sample.name}-{sample.identity}" / f"{corruption}-{severity}.npy"


def _make_parts(sample: Sample, corruption: str, severity: int) -> Iterator[np.ndarray]:
    """Yield the corrupted images in order, in parts that several processes make in parallel."""
    from joblib import Parallel, cpu_count, delayed  # slow to import, and few commands need it

    parts = np.split(sample.indices, range(_AT_ONCE, len(sample.indices), _AT_ONCE))
    task = delayed(corrupt)
    workers = Parallel(n_jobs=min(cpu_count(), len(parts)), return_as="generator", pre_dispatch="2*n_jobs")
    return workers(
        task(np.array(sample.images[part]), sample.digest, corruption, severity, part.tolist()) for part in parts
    )


def corrupt(images: np.ndarray, digest: str, corruption: str, severity: int, indices: list[int]) -> np.ndarray:
    """Corrupt images, each with a seed of its own.

    Parameters
    ----------
    images : uint8 [n, C, H, W]
        With three channels or one. A grey image is corrupted as three equal channels, of which the first is kept.
    digest : str
        Digest of the data set. The same image in another data set is corrupted with other random numbers.
    corruption : str
    severity : int
    indices : list of int
        Index of each image among the test images of the data set.
    """
    import imagecorruptions

    name = _PACKAGE_NAMES.get(corruption, corruption)
    corrupted_images = np.empty_like(images)
    state = np.random.get_state()
    try:
        with redirect_stdout(io.StringIO()):  # zoom blur prints a message if the image's size is odd
            for place, index in enumerate(indices):
                seed = _seed(digest, corruption, severity, index)
                np.random.seed(seed)
                pixels = images[place].transpose(1, 2, 0)
                pixels = np.ascontiguousarray(np.broadcast_to(pixels, (*pixels.shape[:2], 3)))
                seeded = {"seed": seed} if name in _TAKE_A_SEED else {}
                result = imagecorruptions.corrupt(pixels, severity, name, **seeded)
                corrupted_images[place] = result.transpose(2, 0, 1)[: images.shape[1]]
    finally:
        np.random.set_state(state)
    return corrupted_images


def _seed(digest: str, corruption: str, severity: int, index: int) -> int:
    content = hashlib.sha256(f"{digest} {corruption} {severity} {index}".encode()).digest()
    return int.from_bytes(content[:4], "little")
