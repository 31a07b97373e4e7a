"""What an epsilon is worth on validation images, and which one wins."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from analysis.statistics import intensification
from analysis.statistics.class_metrics import class_metrics
from analysis.statistics.intensification import recall_balance
from pruning_study.training.evaluation import Predictions, both_right

A_POINT = 0.01
ROUNDING = 1e-9


@dataclass(frozen=True)
class Measured:
    """What several dense models and the models pruned from them get right of their validation images.

    Parameters
    ----------
    before, after : (seeds, classes)
        Recall.
    both_right : (seeds, classes)
        Share of the images of a class that are right before and after.
    support : (classes,)
        Images of each class, the same for every seed.
    """

    before: np.ndarray
    after: np.ndarray
    both_right: np.ndarray
    support: np.ndarray

    def of(self, seeds: Sequence[int]) -> "Measured":
        """Those with these places among the seeds."""
        chosen = list(seeds)
        return replace(self, before=self.before[chosen], after=self.after[chosen], both_right=self.both_right[chosen])

    def __len__(self) -> int:
        return len(self.before)


def measured(before: Sequence[Predictions], after: Sequence[Predictions], classes: int) -> Measured:
    """Recalls of each seed's dense model and of the model pruned from it, on the same images."""
    sides = [[class_metrics(part.label, part.predicted, classes) for part in side] for side in (before, after)]
    support = sides[0][0].support
    both = [both_right(*pair, classes) for pair in zip(before, after, strict=True)]
    recall_before, recall_after = (np.array([counts.recall for counts in side]) for side in sides)
    return Measured(recall_before, recall_after, np.array(both), support)


def accuracies(recall: np.ndarray, support: np.ndarray) -> np.ndarray:
    """Accuracy from recalls: (seeds, classes), (classes,) -> (seeds,)."""
    return recall @ support / support.sum()


def accuracy(of: Measured) -> float:
    """Mean accuracy after pruning over the seeds."""
    return float(accuracies(of.after, of.support).mean())


def expected_accuracy(of: Measured, dense: np.ndarray) -> float:
    """What the mean accuracy over all seeds would be, if the seeds to come lost as much as those there.

    Parameters
    ----------
    of : Measured
        Of the first seeds.
    dense : (all seeds,)
        Accuracy of the dense models.
    """
    return accuracy(of) + float(dense.mean() - dense[: len(of)].mean())


def distortion(of: Measured) -> float:
    """max(alpha_new - 1, 0) + max(1 - r, 0): the classes' differences grew, or are others than before.

    Both are pooled over the seeds: `intensification.alpha_new`, and the uncentred correlation of the balances of
    all seeds. NaN where alpha_new is undefined.
    """
    return max(alpha_new(of) - 1, 0.0) + max(1 - correlation(of), 0.0)


def alpha_new(of: Measured) -> float:
    """Slope that new images would show, of all seeds."""
    return intensification.alpha_new(of.before, of.after, of.both_right, of.support).estimate


def correlation(of: Measured) -> float:
    """Uncentred correlation of the balances of all seeds' classes before and after."""
    before, after = (recall_balance(side, accuracies(side, of.support)).ravel() for side in (of.before, of.after))
    return float(intensification.correlation(before, after))


def standard_error(value: Callable[[Measured], float], of: Measured) -> float:
    """Jackknife standard error over the seeds of a value; NaN with one seed."""
    seeds = range(len(of))
    if len(of) < 2:
        return np.nan
    without_one = np.array([value(of.of([other for other in seeds if other != seed])) for seed in seeds])
    return float(np.sqrt((len(of) - 1) * without_one.var()))


def values(of: Measured) -> dict[str, float]:
    """All that a trial comes to: accuracy and distortion, their standard errors and parts, and both of each seed."""
    each = [of.of([place]) for place in range(len(of))]
    return {
        "accuracy": accuracy(of),
        "accuracy_error": standard_error(accuracy, of),
        "distortion": distortion(of),
        "distortion_error": standard_error(distortion, of),
        "alpha_new": alpha_new(of),
        "correlation": correlation(of),
        **{f"accuracy/{place}": accuracy(one) for place, one in enumerate(each)},
        **{f"distortion/{place}": distortion(one) for place, one in enumerate(each)},
    }


def with_stopped_as_whole(trials: pd.DataFrame, anchor: str) -> pd.DataFrame:
    """Trials with an accuracy that compares with the others' where they were stopped: which seeds they had is no merit.

    Parameters
    ----------
    trials : DataFrame
        complete, anchor, ratio, accuracy, accuracy/<place> (NaN of the seeds that a trial did not have).
    anchor : str
        Whose accuracy, at the same ratio, theirs is measured against.
    """
    columns = [name for name in trials.columns if name.startswith("accuracy/")]
    reference = trials[trials["complete"] & (trials["anchor"] == anchor)].set_index("ratio")
    of_each = reference.reindex(trials["ratio"]).set_axis(trials.index)
    as_whole = of_each["accuracy"] + (trials[columns] - of_each[columns]).mean(axis=1)
    return trials.assign(accuracy=trials["accuracy"].where(trials["complete"], as_whole))


def eligible(trials: pd.DataFrame) -> pd.Series:
    """Which trials may win: complete ones, their accuracy within a point of the best anchor's.

    Parameters
    ----------
    trials : DataFrame
        complete (bool), anchor ("" where it is none), accuracy.
    """
    anchors = trials.loc[trials["complete"] & (trials["anchor"] != ""), "accuracy"]
    return trials["complete"] & (trials["accuracy"] >= anchors.max() - A_POINT - ROUNDING)


def pareto_front(trials: pd.DataFrame) -> pd.Series:
    """Which complete trials no other one beats in accuracy or distortion without losing in the other."""
    there = trials["complete"] & trials["distortion"].notna()
    accuracy, distortion = (trials[name].where(there).to_numpy() for name in ("accuracy", "distortion"))
    as_good = (accuracy >= accuracy[:, None]) & (distortion <= distortion[:, None])
    better = (accuracy > accuracy[:, None]) | (distortion < distortion[:, None])
    return there & ~(as_good & better).any(axis=1)


def winner(trials: pd.DataFrame, objective: str) -> tuple[int, str]:
    """The trial that wins, and why.

    Parameters
    ----------
    trials : DataFrame, in order, the anchors first
        complete, anchor, accuracy, distortion.
    objective : {"accuracy", "alpha", "both"}

    Returns
    -------
    index, reason : its place in the frame's index; of equal ones the first.
    """
    complete = trials[trials["complete"]]
    if objective == "accuracy":
        best = complete["accuracy"].idxmax()
        return best, f"the highest validation accuracy, {trials['accuracy'][best]:.4f}, of {len(complete)} whole trials"
    fit = trials[eligible(trials) & trials["distortion"].notna()]
    best = fit["distortion"].idxmin()
    anchor = complete.loc[complete["anchor"] != "", "accuracy"].max()
    among = f"of the {len(fit)} trials whose validation accuracy is within a point of the best anchor's, {anchor:.4f}"
    reason = f"the least distortion, {trials['distortion'][best]:.4f}, {among}"
    if objective == "both":
        return best, f"{reason}; {int(pareto_front(trials).sum())} of the whole trials are on the Pareto front"
    return best, reason
