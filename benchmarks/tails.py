"""Size of the t-test whose variance is that of seeds plus that of images, at small levels. Takes ten seconds.

    python benchmarks/tails.py

docs/simulation.md shows and discusses the results.
"""

import numpy as np
from scipy import stats

STUDIES = 2_000_000
LEVELS = (0.05, 0.01, 0.001, 0.05 / 200)
IMAGES = (0, 0.05, 0.1, 0.25, 0.5, 1, 2, 5)  # known variance over images / estimated variance over seeds


def main() -> None:
    print("seeds  images  " + "  ".join(f"at {level:g}" for level in LEVELS))
    rng = np.random.default_rng(0)
    for seeds in (4, 30):
        for images in IMAGES:
            p = p_values(rng, seeds, images)
            told = (f"{(p < level).mean() / level:{len(f'at {level:g}')}.1f}" for level in LEVELS)
            print(f"{seeds:5}  {images:6g}  " + "  ".join(told))


def p_values(rng: np.random.Generator, seeds: int, images: float) -> np.ndarray:
    """Return the p-values, (STUDIES,), of studies whose true difference is 0."""
    difference = np.sqrt(1 + images) * rng.standard_normal(STUDIES)
    over_seeds = rng.chisquare(seeds - 1, STUDIES) / (seeds - 1)
    variance = over_seeds + images
    dof = (seeds - 1) * (variance / over_seeds) ** 2
    return 2 * stats.t.sf(np.abs(difference) / np.sqrt(variance), dof)


if __name__ == "__main__":
    main()
