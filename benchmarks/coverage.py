"""Coverage of the intervals of alpha_new, and of the difference of two methods, in the world of slopes.py.

    OPENBLAS_NUM_THREADS=1 python benchmarks/coverage.py

Three methods prune the same dense networks, each with accidents of its own. The second spreads the classes as widely as
the first, the third more widely. Takes fifteen minutes on two cores. docs/simulation.md shows and discusses the
results.
"""

from collections.abc import Iterator
from itertools import product

import joblib
import numpy as np
from scipy.special import ndtr, ndtri
from scipy.stats import norm
from slopes import ACCIDENT, ACCIDENT_KEPT, DATA_SETS, EASE, SAME_ANSWER, DataSet

from analysis.statistics import two_way
from analysis.statistics.intensification import recall_balance
from analysis.statistics.new_images import PooledSlope, pooled_slope, slope_parts

WIDENINGS = (1.15, 1.15, 1.25)
LEVELS = (0.05, 0.001, 0.00025)
SEEDS = (2, 3, 4, 5, 8, 30)
SIZES = tuple(product((10, 100), (100, 1000)))
# Answers, of an image by a network, that are simulated in each row; a row has at least 200 and at most 2,000 studies.
ANSWERS = 30_000_000
NETWORKS_FOR_TARGET = 4000
MOST_STUDIES, FEWEST_STUDIES = 2000, 200


def main() -> None:
    titles = ("alpha_new", "same methods", "other methods")
    print(f"{'':42}" + "".join(f"{title:<32}" for title in titles))
    columns = "".join(f"{'95 %':>7}{'99.9 %':>8}{'99.975':>8}{'width':>6}   " for _ in titles)
    print(f"{'data set':<14}{'classes':>7}{'images':>7}{'seeds':>6}{'known':>6}  " + columns + " p < .05  studies")
    for world, (classes, images), seeds in product(DATA_SETS[1:2], SIZES, SEEDS):
        print(row(DataSet(world.name, classes, images, world.recall, world.spread), seeds), flush=True)


def row(data_set: DataSet, seeds: int) -> str:
    """Return one row of the table: coverages, median widths, and the share of studies with identified slopes."""
    count = int(np.clip(ANSWERS / (seeds * data_set.classes * data_set.images), FEWEST_STUDIES, MOST_STUDIES))
    made = joblib.Parallel(n_jobs=-1, backend="multiprocessing")(
        joblib.delayed(study)(data_set, seeds, number) for number in range(count)
    )
    known = np.mean([identified for _, identified in made])
    text = f"{data_set.name:<14}{data_set.classes:7}{data_set.images:7}{seeds:6}{known:6.2f}  "
    by_slope = np.moveaxis(np.array([results for results, _ in made]), 1, 0)
    for target, results in zip(targets(data_set), by_slope, strict=True):
        estimate, half = results[:, 0], results[:, 1:-1]
        covered = (np.abs(estimate - target)[:, np.newaxis] <= half).mean(0)
        exact = norm.isf(LEVELS[0] / 2) * estimate.std(ddof=1)
        text += f"{covered[0]:7.3f}{covered[1]:8.4f}{covered[2]:8.4f}{np.median(half[:, 0]) / exact:6.2f}   "
    return text + f"{(by_slope[-1, :, -1] < LEVELS[0]).mean():8.2f}  {count:7}"


def study(data_set: DataSet, seeds: int, number: int) -> tuple[list[list[float]], bool]:
    """Return estimate, half-widths at `LEVELS` and p of the slope and both differences; whether all are identified."""
    rng = np.random.default_rng([number, seeds])
    label = np.repeat(np.arange(data_set.classes), data_set.images)
    before, *after = answers(rng, data_set, label, seeds)
    first, *others = (pooled_slope(slope_parts(label, before, right)) for right in after)
    results = [
        result(first.estimate, first.variances, 1.0),
        *(result(other.estimate - first.estimate, of_difference(other, first), 0.0) for other in others),
    ]
    return results, all(slope.identified() for slope in (first, *others))


def of_difference(one: PooledSlope, other: PooledSlope) -> two_way.Variances:
    return two_way.variances(one.pseudo_values - other.pseudo_values, one.moves - other.moves)


def result(estimate: float, variances: two_way.Variances, null: float) -> list[float]:
    halves = [two_way.half_width(variances, level) for level in LEVELS]
    return [estimate, *halves, two_way.p_value(variances, estimate - null)]


def skills(rng: np.random.Generator, data_set: DataSet, seeds: int) -> Iterator[np.ndarray]:
    """Yield the skill before pruning and after pruning by each method, (seeds, classes) each."""
    by_class = data_set.spread * ndtri((np.arange(data_set.classes) + 0.5) / data_set.classes)
    centre = ndtri(data_set.recall) * np.sqrt(1 + EASE.var() + data_set.spread**2)
    own, *new = ACCIDENT * data_set.spread * rng.standard_normal((1 + len(WIDENINGS), seeds, data_set.classes))
    yield centre + by_class + own
    for widening, accident in zip(WIDENINGS, new, strict=True):
        kept = ACCIDENT_KEPT * own + np.sqrt(1 - ACCIDENT_KEPT**2) * accident
        yield data_set.skill_kept * centre + widening * by_class + kept


def answers(rng: np.random.Generator, data_set: DataSet, label: np.ndarray, seeds: int) -> Iterator[np.ndarray]:
    """Yield whether each network is right about each image, (seeds, images), before pruning and after each method."""
    ease = rng.integers(len(EASE), size=label.size)
    first = rng.random((seeds, label.size), dtype=np.float32)
    for place, skill in enumerate(skills(rng, data_set, seeds)):
        chance = ndtr(skill[..., np.newaxis] + EASE).astype(np.float32)[:, label, ease]
        again, repeat = (rng.random(first.shape, dtype=np.float32) for _ in range(2))
        yield (np.where(repeat < SAME_ANSWER, first, again) if place else first) < chance


def targets(data_set: DataSet) -> tuple[float, float, float]:
    """Return the slope of the first method, and both differences, of infinitely many networks and images."""
    rng = np.random.default_rng(0)
    products = []
    for _ in range(20):
        recalls = [ndtr(skill[..., np.newaxis] + EASE).mean(-1) for skill in skills(rng, data_set, NETWORKS_FOR_TARGET)]
        before, *after = (recall_balance(recall, recall.mean(-1)) for recall in recalls)
        products.append([(before * balance).sum() for balance in (before, *after)])
    square, *slopes = np.sum(products, axis=0)
    first, *others = np.array(slopes) / square
    return float(first), float(others[0] - first), float(others[1] - first)


if __name__ == "__main__":
    main()
