"""Size of the two-way test at small levels, with ten million studies a row. Takes a minute.

    python benchmarks/tails.py

docs/simulation.md shows and discusses the results.
"""

import numpy as np
from scipy import stats

STUDIES = 10_000_000
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


def sizes(rng: np.random.Generator, seeds: int, images: float) -> list[float]:
    """Return the share of studies that reject a true difference of 0, as a multiple of each level."""
    squared = (1 + images) * rng.standard_normal(STUDIES) ** 2
    over_seeds = rng.chisquare(seeds - 1, STUDIES) / (seeds - 1)
    return [
        float((squared > _square(stats.t(seeds - 1), level) * over_seeds + _square(stats.norm, level) * images).mean())
        / level
        for level in LEVELS
    ]


def _square(distribution: stats.rv_continuous, level: float) -> float:
    return distribution.isf(level / 2) ** 2


if __name__ == "__main__":
    main()
