"""Effect of class offsets on new images, by the number of images in the fit.

    python benchmarks/class_offsets.py [--seeds 0-7] [--draws 5]

For each seed a LeNet5 is pruned by magnitude (cubic, ratio 20) on Fashion-MNIST, unless the tracking store has it.
Two kinds of offsets are fitted to validation images: offsets that remove all of each class's excess, and offsets that
remove only the reliable share of it. A row of the table is for a number of validation images drawn from each class. The
row has the root mean square of the classes' excesses on test images, in points, for both kinds of offsets, and the
difference between the kinds with its standard error over networks. results/validation/README.md discusses the table.
Training takes a minute for each seed on one core.
"""

import math

import click
import numpy as np

from analysis.statistics import class_offsets
from pruning_study import load_model, prune
from pruning_study.options.config import TrainConfig
from pruning_study.steps.loaded import load_context
from pruning_study.training.engines import TORCH

DATASET, CLASSES = "fashion-mnist", 10
COUNTS = (600, 300, 150, 80, 40, 20)
SHRINKAGES = (0.0, 1.0)
class_offsets.LEAST_IMAGES = 1  # fit below the limit too: this benchmark was made to choose it


@click.command()
@click.option("--seeds", default="0-7", show_default=True)
@click.option(
    "--draws",
    default=5,
    show_default=True,
    type=click.IntRange(min=1),
    help="Draws for each number of images below 600.",
)
def main(seeds: str, draws: int) -> None:
    """Prune the networks, fit offsets, print one table."""
    runs = prune(dataset=DATASET, pruner="mp", ratio=20, schedule="cubic", seed=seeds).runs
    found = np.array([excesses(run, draws) for run in runs.to_dict("records")])
    plain, points = found[:, 0, 0].mean(), found[:, 1:].mean(0)
    print(f"{len(found)} networks; without offsets {100 * plain:.2f} points")
    print("| images of each class | all removed | reliable share removed | difference (standard error) |")
    print("| ---: | ---: | ---: | ---: |")
    for count, (every, reliable), each in zip(COUNTS, 100 * points, found[:, 1:].swapaxes(0, 1), strict=True):
        change = 100 * (each[:, 1] - each[:, 0])
        error = change.std(ddof=1) / math.sqrt(len(change)) if len(change) > 1 else math.nan
        print(f"| {count} | {every:.2f} | {reliable:.2f} | {change.mean():+.2f} ({error:.2f}) |")


def excesses(run: dict[str, object], draws: int) -> list[list[float]]:
    """Return the root mean square of a network's excesses: without offsets, and by number of images and shrinkage."""
    context = load_context(TrainConfig(dataset=DATASET, seed=int(str(run["seed"]))))
    networks = [load_model(str(run[name])).network for name in ("dense_run_id", "run_id")]
    parts = context.validation, context.test
    fitted, tested = ([TORCH.logits(each, part.images).numpy() for each in networks] for part in parts)
    label, test_label = (part.labels.numpy() for part in parts)
    rows = [[size(*tested, test_label)] * len(SHRINKAGES)]
    for count in COUNTS:
        sizes = []
        for draw in range(draws if count < COUNTS[0] else 1):
            chosen = drawn(label, count, draw)
            offsets = (
                class_offsets.fit(*(each[chosen] for each in fitted), label[chosen], shrinkage=shrinkage).value
                for shrinkage in SHRINKAGES
            )
            sizes.append([size(tested[0], tested[1] + value, test_label) for value in offsets])
        rows.append(np.mean(sizes, axis=0).tolist())
    return rows


def drawn(label: np.ndarray, count: int, draw: int) -> np.ndarray:
    random = np.random.default_rng(draw)
    return np.concatenate([random.permutation(np.flatnonzero(label == each))[:count] for each in range(CLASSES)])


def size(before: np.ndarray, after: np.ndarray, label: np.ndarray) -> float:
    right = (each.argmax(1) == label for each in (before, after))
    return float(np.sqrt(np.mean(class_offsets.excess(*right, label, CLASSES)[0] ** 2)))


if __name__ == "__main__":
    main()
