"""Operations per second of each layer of the native engine, against the limit of one core.

    python benchmarks/layers.py [--model lenet5] [--image-shape 1x28x28] [--rounds 20]
    python benchmarks/layers.py --model resnet20 --image-shape 3x32x32 --rounds 5

The limit is measured with independent multiply-adds in registers, each of which counts as two operations. Each round
measures the limit and every layer, forward and backward, in CPU time; the table has the best of each. A layer's
operations are the multiplications and additions of its definition, and twice as many backward (equally many for the
first layer, whose input needs no gradient). Other work of a layer, such as pooling, adds to its time and not to its
operations.

In a residual network, each kind of convolution is measured in three ways: as the network computes it, by its
definition, and with a tenth of its weights. Operations are those of the definition, so a way that needs fewer products
can exceed the limit.
"""

import ctypes
import re
from pathlib import Path

import click
import numpy as np

from analysis.common.errors import StudyError
from pruning_study import models
from pruning_study.training.native import compiler, stack
from pruning_study.training.native.layers import NativeError

SOURCE = Path(__file__).parent / "layers.cpp"
WAYS = ("", "by definition", "a tenth")


@click.command()
@click.option("--model", default="lenet5", show_default=True, help="Model, as for the command `train`.")
@click.option("--image-shape", default="1x28x28", show_default=True, help="Channels x height x width.")
@click.option("--classes", default=10, show_default=True, type=click.IntRange(min=2))
@click.option("--rounds", default=20, show_default=True, type=click.IntRange(min=1))
def main(model: str, image_shape: str, classes: int, rounds: int) -> None:
    """Measure the limit of one core and the speed of every layer, and print one table."""
    channels, height, width = (int(side) for side in image_shape.split("x"))
    try:
        built = models.build(model, num_classes=classes, in_channels=channels, image_size=(height, width))
        layers = stack.read(built, (channels, height, width))
        network, names = convolutions(layers) if layers.normalizations else (layers.network, layers.layers)
        library = ctypes.CDLL(str(compiler.library(network, SOURCE)))
    except (StudyError, NativeError) as error:
        raise click.ClickException(str(error)) from error
    peak, operations, seconds = measure(library, names, rounds, len(WAYS) if layers.normalizations else 1)
    print(f"one core: {peak / 1e9:.0f} GFLOP/s of multiply-adds in registers")
    print(f"{'layer':<76}{'':>10}{'ns an image':>12}{'GFLOP/s':>9}{'of peak':>9}")
    for layer, counts, times in zip(names, operations, seconds, strict=True):
        for name, count, time in zip(("forward", "backward"), counts, times, strict=True):
            print(f"{layer:<76}{name:>10}{time * 1e9:12.0f}{count / time / 1e9:9.1f}{count / time / peak:9.0%}")
    if layers.normalizations:
        return  # the network has several layers of each kind, so a sum over kinds means nothing
    total, least = seconds.sum(), operations.sum() / peak
    print(f"{'all':<86}{total * 1e9:12.0f}{operations.sum() / total / 1e9:9.1f}{least / total:9.0%}")
    print(f"{1 / total:,.0f} images a second if a step were only its layers, {1 / least:,.0f} at the peak")


def convolutions(layers: stack.Stack) -> tuple[str, tuple[str, ...]]:
    """Return the C++ type of a network with one of each kind of convolution, and a name for each row of results."""
    kinds = {re.sub(r"(, \d), Image<[^>]*>>$", r"\1>", unit): None for unit in layers.layers[:-1]}  # no shortcuts
    names = tuple(f"{kind.removeprefix('Unit')} {way}".strip() for kind in kinds for way in WAYS)
    return f"ResidualNetwork<{', '.join((layers.layers[-1], *kinds))}>", names


def measure(
    library: ctypes.CDLL, names: tuple[str, ...], rounds: int, first: int
) -> tuple[float, np.ndarray, np.ndarray]:
    """Return the limit in operations per second, and the operations and the least seconds per image.

    The two arrays have a row for each name, and the columns forward and backward. The first rows, `first` in number,
    are for the layer whose input needs no gradient.
    """
    library.peak.restype = ctypes.c_double
    results = np.empty((rounds, len(names), 4))
    peaks = []
    for row in results:
        peaks.append(library.peak())
        library.layers(row.ctypes.data_as(ctypes.c_void_p))
    images, forward = results[0, :, 0], results[0, :, 1]
    backward = forward * np.where(np.arange(len(names)) < first, 1, 2)
    seconds = results[:, :, 2:].min(0) / images[:, None]
    return max(peaks), np.stack([forward, backward], 1), seconds


if __name__ == "__main__":
    main()
