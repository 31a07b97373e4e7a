"""False alarms at small significance levels, of a test over networks and images, and of a test over networks alone.

    OPENBLAS_NUM_THREADS=1 python benchmarks/tails.py

The first table is for a normal statistic whose variance over images is known. The second is for alpha_new of a
method, and its difference between two methods, on infinitely many images in the simulation of Fashion-MNIST in
slopes.py. results/validation/coverage.md shows and discusses the results. Takes two minutes.
"""

import numpy as np
from coverage import targets, true_products
from scipy import stats
from slopes import DATA_SETS

STUDIES = 10_000_000
BLOCK = 10_000
BLOCKS = 20  # number of blocks of studies that `ratio_sizes` simulates
LEVELS = (0.05, 0.01, 0.001, 0.05 / 200)
SEEDS = (2, 3, 4, 5, 8, 30)
IMAGES = (0, 0.05, 0.1, 0.25, 0.5, 1, 2, 5)  # variance over images / variance over seeds, both of the mean


def main() -> None:
    print("seeds  images  " + "  ".join(f"at {level:g}" for level in LEVELS))
    rng = np.random.default_rng(0)
    for seeds in SEEDS:
        for images in IMAGES:
            told = (
                f"{size:{len(f'at {level:g}')}.1f}"
                for level, size in zip(LEVELS, sizes(rng, seeds, images), strict=True)
            )
            print(f"{seeds:5}  {images:6g}  " + "  ".join(told), flush=True)
    print("\nseeds  statistic   " + "  ".join(f"at {level:g}" for level in LEVELS))
    for seeds in SEEDS:
        for statistic, of_levels in zip(("alpha_new", "difference"), ratio_sizes(rng, seeds), strict=True):
            told = (f"{size:{len(f'at {level:g}')}.2f}" for level, size in zip(LEVELS, of_levels, strict=True))
            print(f"{seeds:5}  {statistic:<10}  " + "  ".join(told), flush=True)


def sizes(rng: np.random.Generator, seeds: int, images: float) -> list[float]:
    """Return the share of studies that reject a true difference of 0, as a multiple of each level."""
    squared = (1 + images) * rng.standard_normal(STUDIES) ** 2
    over_seeds = rng.chisquare(seeds - 1, STUDIES) / (seeds - 1)
    return [
        float((squared > _square(stats.t(seeds - 1), level) * over_seeds + _square(stats.norm, level) * images).mean())
        / level
        for level in LEVELS
    ]


def ratio_sizes(rng: np.random.Generator, seeds: int) -> np.ndarray:
    """Return the share of studies that reject a true value, as a multiple of each level.

    Returns
    -------
    (2, levels)
        For the true slope of a method, and for the true difference between the slopes of two methods.
    """
    data_set = DATA_SETS[1]
    critical = stats.t(seeds - 1).isf(np.array(LEVELS) / 2)
    rejected = np.zeros((2, len(LEVELS)))
    for _ in range(BLOCKS):
        products = true_products(rng, data_set, BLOCK * seeds).reshape(3, BLOCK, seeds)
        whole = products.sum(-1, keepdims=True)
        without_one = whole - products
        slopes = whole[1:, :, 0] / whole[0, :, 0]
        pseudo = seeds * slopes[..., np.newaxis] - (seeds - 1) * without_one[1:] / without_one[0]
        for values in (slopes, pseudo):
            values[1] -= values[0]
        error = np.abs(slopes - np.array(targets(data_set))[:, np.newaxis])
        ratio = error / (pseudo.std(-1, ddof=1) / np.sqrt(seeds))
        rejected += (ratio[..., np.newaxis] > critical).mean(1)
    return rejected / BLOCKS / LEVELS


def _square(distribution: stats.rv_continuous, level: float) -> float:
    return distribution.isf(level / 2) ** 2


if __name__ == "__main__":
    main()
