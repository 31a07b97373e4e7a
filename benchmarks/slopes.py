"""Bias and coverage of alpha, alpha_new and alpha_shared on simulated studies, each for its own target.

    OPENBLAS_NUM_THREADS=1 python benchmarks/slopes.py

A network predicts an image correctly if its skill in the class, plus the ease of the image, exceeds a random residual
(probit model). Its skill is the sum of the class's skill, which all seeds share, and of the network's accident, its own
deviation in this class. The ease of an image is the same for all networks, before and after pruning. A pruned network
keeps a part of its accident, reuses the residuals of some images and draws those of other images anew, and spreads the
classes more widely. results/validation/coverage.md has some of the results. Takes two minutes.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr, ndtri

from analysis.statistics.intensification import (
    alpha,
    alpha_shared,
)
from analysis.statistics.new_images import alpha_new, alpha_new_from_predictions
from analysis.statistics.recalls import Recalls
from analysis.statistics.resampling import mean_interval

EASE = 1.5 * ndtri((np.arange(8) + 0.5) / 8)
ACCIDENT = 0.3
ACCIDENT_KEPT = 0.6
SAME_ANSWER = 0.5

STUDIES = 100
SEEDS = (5, 10, 30)
NETWORKS_FOR_TARGET = 400


@dataclass(frozen=True)
class DataSet:
    """A simulated data set, and the effect of pruning on it.

    Parameters
    ----------
    name : str
    classes, images : int
        Number of classes, and of test images in each.
    recall : float
        Mean recall of the dense networks.
    spread : float
        Standard deviation of the skill between classes.
    widening, skill_kept : float
        Pruning multiplies the spread by `widening`, and the skill that all classes share by `skill_kept`.
    """

    name: str
    classes: int
    images: int
    recall: float
    spread: float
    widening: float = 1.15
    skill_kept: float = 0.9

    def skills(self, rng: np.random.Generator, seeds: int) -> tuple[np.ndarray, np.ndarray]:
        """Draw networks; return their skills before and after pruning, (seeds, classes) each."""
        class_skill = self.spread * ndtri((np.arange(self.classes) + 0.5) / self.classes)
        centre = ndtri(self.recall) * np.sqrt(1 + EASE.var() + self.spread**2)
        own, new = ACCIDENT * self.spread * rng.standard_normal((2, seeds, self.classes))
        kept = ACCIDENT_KEPT * own + np.sqrt(1 - ACCIDENT_KEPT**2) * new
        return centre + class_skill + own, self.skill_kept * centre + self.widening * class_skill + kept


DATA_SETS = (
    DataSet("MNIST", 10, 1000, recall=0.989, spread=0.3),
    DataSet("Fashion-MNIST", 10, 1000, recall=0.899, spread=1.0),
    DataSet("CIFAR-10", 10, 1000, recall=0.893, spread=0.5),
    DataSet("CIFAR-10, none", 10, 1000, recall=0.893, spread=0.5, widening=1, skill_kept=1),
    DataSet("CIFAR-100", 100, 100, recall=0.671, spread=0.8),
)


def main() -> None:
    print("data set       seeds  slope          resampled         target  estimate     bias  coverage  identified")
    for data_set in DATA_SETS:
        for seeds in SEEDS:
            rng = np.random.default_rng(0)
            target = new_images_target(rng, data_set)
            studies = [study(rng, data_set, seeds, target) for _ in range(STUDIES)]
            for slope, resampled in studies[0]:
                results = np.array([result[slope, resampled] for result in studies])
                print(f"{data_set.name:<14} {seeds:5}  {slope:<13}  {resampled:<16}" + summary(results))


def summary(results: np.ndarray) -> str:
    """Return the numbers of a row of the table, from (studies, 5): target, estimate, low, high, identified."""
    target, estimate, low, high, identified = results.T
    covered = (low <= target) & (target <= high)
    bias = (estimate - target).mean()
    return (
        f"{target.mean():8.3f}  {estimate.mean():8.3f}  {bias:+7.3f}  {covered.mean():8.2f}  {identified.mean():10.2f}"
    )


def study(rng: np.random.Generator, data_set: DataSet, seeds: int, new_images: float) -> dict:
    """Simulate a study; return for each table row, (slope, resampled): target, estimate, low, high, identified."""
    label = np.repeat(np.arange(data_set.classes), data_set.images)
    ease = rng.integers(len(EASE), size=label.size)
    printed_target, shared_target = these_images_targets(rng, data_set, label, ease)
    right = answers(rng, data_set.skills(rng, seeds), label, ease)

    recall, recall_after, both = (per_class(data_set, x) for x in (*right, right[0] & right[1]))
    before, after = (Recalls(r, r.mean(-1)).balance for r in (recall, recall_after))
    slopes = alpha(before, after)
    new = alpha_new(recall, recall_after, both, np.full(data_set.classes, data_set.images))
    two_way = alpha_new_from_predictions(label, *right)
    shared = alpha_shared(before, after)
    printed = (slopes.mean(), *mean_interval(slopes), 1)
    return {
        ("alpha", "seeds"): (printed_target, *printed),
        ("alpha", "(for alpha_new)"): (new_images, *printed),
        ("alpha_new", "seeds"): (new_images, *new[:3], new.identified),
        ("alpha_new", "seeds and images"): (new_images, *two_way[:3], two_way.identified),
        ("alpha_shared", "seeds"): (shared_target, *shared[:3], shared.identified),
    }


def answers(
    rng: np.random.Generator, skills: tuple[np.ndarray, np.ndarray], label: np.ndarray, ease: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Draw whether each network predicts each image correctly, before and after pruning, (seeds, images) each."""
    before, after = (ndtr(skill[..., np.newaxis] + EASE)[:, label, ease] for skill in skills)
    first, second, repeat = (rng.random(before.shape, dtype=np.float32) for _ in range(3))
    return first < before, np.where(repeat < SAME_ANSWER, first, second) < after


def per_class(data_set: DataSet, right: np.ndarray) -> np.ndarray:
    """Return the recalls, (seeds, classes), from right answers, (seeds, images), in the order of the classes."""
    return right.reshape(len(right), data_set.classes, data_set.images).mean(-1)


def new_images_target(rng: np.random.Generator, data_set: DataSet) -> float:
    """Return the slope of 4,000 networks on infinitely many images, without the noise of a test set."""
    recalls = (ndtr(skill[..., np.newaxis] + EASE).mean(-1) for skill in data_set.skills(rng, 4000))
    before, after = (Recalls(r, r.mean(-1)).balance for r in recalls)
    return (before * after).sum() / np.square(before).sum()


def these_images_targets(
    rng: np.random.Generator, data_set: DataSet, label: np.ndarray, ease: np.ndarray
) -> tuple[float, float]:
    """Simulate alpha and alpha_shared of many networks on the given images, from counts of correct predictions."""
    images = np.zeros((data_set.classes, len(EASE)), dtype=int)
    np.add.at(images, (label, ease), 1)
    skills = data_set.skills(rng, NETWORKS_FOR_TARGET)
    p, q = (ndtr(skill[..., np.newaxis] + EASE) for skill in skills)
    p_both = SAME_ANSWER * np.minimum(p, q) + (1 - SAME_ANSWER) * p * q
    both = rng.binomial(images, p_both)
    lost = rng.binomial(images - both, (p - p_both) / (1 - p_both))
    won = rng.binomial(images - both - lost, np.minimum((q - p_both) / (1 - p), 1))
    recalls = ((both + changed).sum(-1) / data_set.images for changed in (lost, won))
    before, after = (Recalls(r, r.mean(-1)).balance for r in recalls)
    return float(alpha(before, after).mean()), alpha_shared(before, after).estimate


if __name__ == "__main__":
    main()
