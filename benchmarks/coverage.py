"""Coverage of the intervals of alpha_new, and of its difference between two methods, in simulations as in slopes.py.

    OPENBLAS_NUM_THREADS=1 python benchmarks/coverage.py

Two methods prune the same dense networks, and each adds its own accidents (see slopes.py). The second method spreads
the classes more widely. Takes eight minutes on one core. results/validation/coverage.md shows and discusses the
results.

The state of an image says whether a dense network, and each network pruned from it, predicts the image correctly. All
images of a class with the same state contribute equally to a network's sums, so the number of images in each state is
enough to compute them.
"""

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from itertools import product
from typing import NamedTuple

import numpy as np
from scipy.special import ndtr, ndtri
from scipy.stats import norm
from slopes import ACCIDENT, ACCIDENT_KEPT, DATA_SETS, EASE, DataSet

from analysis.statistics import two_way
from analysis.statistics.new_images import (
    SlopeParts,
    moves_by_state,
    new_image_sums,
    pair_covariances,
    pooled_slope,
)
from analysis.statistics.recalls import Recalls

WIDENINGS = (1.15, 1.25)
LEVELS = (0.05, 0.001, 0.00025)
ROWS = (
    *product(("Fashion-MNIST",), ((10, 100), (10, 1000), (100, 100), (100, 1000)), (2, 3, 4, 5, 8, 30)),
    *product(("CIFAR-10",), ((10, 100), (10, 1000), (100, 10)), (2, 30)),
    *product(("MNIST",), ((10, 1000), (100, 100)), (2, 30)),
)
# Number of predictions (images times networks) to simulate in each row; a row has at least 1,000 and at most 2,000
# studies.
ANSWERS = 100_000_000
FEWEST_STUDIES, MOST_STUDIES = 1000, 2000
NETWORKS_FOR_TARGET = 20_000

# The state of an image for a network has a bit for each pruning, `none` first: 1 if the prediction is correct.
PRUNINGS = 1 + len(WIDENINGS)
STATES = 2**PRUNINGS
BITS = (np.arange(STATES) >> np.arange(PRUNINGS)[:, np.newaxis]) & 1


class Study(NamedTuple):
    """Results for the slope of the first method, and for the difference, second method minus first."""

    estimates: list[float]
    half_widths: list[list[float]]
    identified: bool


def main() -> None:
    print(f"{'':42}{'alpha_new':<34}difference")
    coverages = f"{'95 %':>8}{'99.9 %':>8}{'99.975':>8}{'width':>7}   "
    print(f"{'data set':<14}{'classes':>7}{'images':>7}{'seeds':>6}{'known':>6}{2 * coverages}found  studies")
    worlds = {world.name: world for world in DATA_SETS}
    for name, (classes, images), seeds in ROWS:
        print(row(replace(worlds[name], classes=classes, images=images), seeds), flush=True)


def row(data_set: DataSet, seeds: int) -> str:
    """Return one row of the table: coverages, median widths, and the share of studies with identified slopes."""
    count = int(np.clip(ANSWERS / (seeds * data_set.classes * data_set.images), FEWEST_STUDIES, MOST_STUDIES))
    rng = np.random.Generator(np.random.SFC64(seeds))
    studies = [study(rng, data_set, seeds) for _ in range(count)]
    estimates, halves, identified = (np.array(results) for results in zip(*studies, strict=True))
    covered = (np.abs(estimates - targets(data_set))[..., np.newaxis] <= halves).mean(0)
    widths = np.median(halves[..., 0], axis=0) / (norm.isf(LEVELS[0] / 2) * estimates.std(axis=0, ddof=1))
    found = (np.abs(estimates[:, 1]) > halves[:, 1, 0]).mean()
    text = f"{data_set.name:<14}{data_set.classes:7}{data_set.images:7}{seeds:6}{identified.mean():6.2f}"
    for shares, width in zip(covered, widths, strict=True):
        text += f"{shares[0]:8.3f}{shares[1]:8.4f}{shares[2]:8.4f}{width:7.2f}   "
    return text + f"{found:5.2f}{count:9}"


def study(rng: np.random.Generator, data_set: DataSet, seeds: int) -> Study:
    """Simulate a study; return estimates, half-widths at `LEVELS`, and whether the slopes are identified."""
    classes, images = data_set.classes, data_set.images
    label, support = np.repeat(np.arange(classes), images), np.full(classes, images)
    states = answers(rng, data_set, seeds)
    place = STATES * (np.arange(seeds)[:, np.newaxis] * classes + label)
    place += states
    counts = np.bincount(place.ravel(), minlength=seeds * classes * STATES).reshape(seeds, classes, STATES)

    right = np.stack([states >> 1 & 1, states & 1]).astype(np.float32)
    pairs = pair_covariances(right / right.mean(-1, keepdims=True), label, support)
    slopes, tables = [], []
    for bits in BITS[1:]:
        before, after, both = (counts @ of_state / images for of_state in (BITS[0], bits, BITS[0] & bits))
        sums = new_image_sums(before, after, both, support)
        slope = pooled_slope(SlopeParts(sums, pairs=pairs))
        numerators, denominators = (
            x[..., BITS[0] + 2 * bits] for x in moves_by_state(before, after, both, sums, support)
        )
        slopes.append(slope)
        tables.append((numerators - slope.estimate * denominators) / slope.denominator)

    def moves(table: np.ndarray) -> np.ndarray:
        return np.take(table.astype(np.float32), place)

    first, second = slopes
    variances = [
        two_way.variances(first.pseudo_values, moves(tables[0]), first.pairs),
        two_way.variances(second.pseudo_values - first.pseudo_values, moves(tables[1] - tables[0])),
    ]
    known = first._replace(denominator_variances=two_way.variances(sums[1], moves(denominators)))
    return Study(
        [first.estimate, second.estimate - first.estimate],
        [[two_way.half_width(each, level) for level in LEVELS] for each in variances],
        known.identified(),
    )


def answers(rng: np.random.Generator, data_set: DataSet, seeds: int) -> np.ndarray:
    """Return the state of each image for each network, (seeds, images); images are in the order of their classes."""
    ease = rng.multinomial(data_set.images, np.full(len(EASE), 1 / len(EASE)), size=data_set.classes)
    shape = seeds, ease.sum()
    repeated, first = uniform(rng, shape, np.uint8), uniform(rng, shape, np.uint16)
    states = np.zeros(shape, dtype=np.uint8)
    for place, skill in enumerate(skills(rng, data_set, seeds)):
        chance = np.rint(2**16 * ndtr(skill[..., np.newaxis] + EASE)).clip(max=2**16 - 1).astype(np.uint16)
        chance = np.repeat(chance.reshape(seeds, -1), ease.ravel(), axis=1)
        right = (first < chance).view(np.uint8)
        if place:  # half of the predictions reuse the draw for the dense network
            anew = (uniform(rng, shape, np.uint16) < chance).view(np.uint8)
            right = np.bitwise_and(right ^ anew, repeated >> place) ^ anew
        states |= right << place
    return states


def uniform(rng: np.random.Generator, shape: tuple[int, int], dtype: type) -> np.ndarray:
    """Return random integers that use all bits of `dtype`."""
    size = shape[0] * shape[1]
    words = rng.integers(2**64, size=-(-size * np.dtype(dtype).itemsize // 8), dtype=np.uint64)
    return words.view(dtype)[:size].reshape(shape)


def skills(rng: np.random.Generator, data_set: DataSet, seeds: int) -> Iterator[np.ndarray]:
    """Yield the skill before pruning and after pruning by each method, (seeds, classes) each."""
    by_class = data_set.spread * ndtri((np.arange(data_set.classes) + 0.5) / data_set.classes)
    centre = ndtri(data_set.recall) * np.sqrt(1 + EASE.var() + data_set.spread**2)
    own, *new = ACCIDENT * data_set.spread * rng.standard_normal((1 + len(WIDENINGS), seeds, data_set.classes))
    yield centre + by_class + own
    for widening, accident in zip(WIDENINGS, new, strict=True):
        kept = ACCIDENT_KEPT * own + np.sqrt(1 - ACCIDENT_KEPT**2) * accident
        yield data_set.skill_kept * centre + widening * by_class + kept


@lru_cache
def targets(data_set: DataSet) -> tuple[float, float]:
    """Return the slope of the first method, and the difference, for very many networks and all possible images."""
    square, *slopes = true_products(np.random.default_rng(0), data_set, NETWORKS_FOR_TARGET).sum(-1)
    first, second = np.array(slopes) / square
    return float(first), float(second - first)


def true_products(rng: np.random.Generator, data_set: DataSet, networks: int) -> np.ndarray:
    """Return sums over classes of products of two balances, for infinitely many images.

    Returns
    -------
    (3, networks)
        Products of the balance before pruning: with itself, with the balance after pruning by the first method, and
        with the balance after pruning by the second.
    """
    skill_levels = np.linspace(-15, 15, 30_001)
    recall_at = ndtr(skill_levels[:, np.newaxis] + EASE).mean(-1)
    recalls = [np.interp(skill, skill_levels, recall_at) for skill in skills(rng, data_set, networks)]
    before, *after = (Recalls(recall, recall.mean(-1)).balance for recall in recalls)
    return np.array([(before * balance).sum(-1) for balance in (before, *after)])


if __name__ == "__main__":
    main()
