"""Accuracy and distortion of trials on validation images, and the choice of the trial that wins."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import pandas as pd

from analysis.statistics import intensification, new_images
from analysis.statistics.recalls import Recalls, class_metrics
from pruning_study.training.evaluation import Predictions, both_right

A_POINT = 0.01
ROUNDING = 1e-9


@dataclass(frozen=True)
class PairedRecalls:
    """Recalls of dense models, and of the models pruned from them, on the same validation images.

    Parameters
    ----------
    before, after : (seeds, classes)
        Recall of each class before and after pruning.
    both_right : (seeds, classes)
        Share of each class's images that the model predicts right both before and after pruning.
    support : (classes,)
        Number of images of each class, the same for every seed.
    """

    before: np.ndarray
    after: np.ndarray
    both_right: np.ndarray
    support: np.ndarray

    def subset(self, indices: Sequence[int]) -> "PairedRecalls":
        """Return the recalls of the seeds at these indices."""
        rows = list(indices)
        return replace(self, before=self.before[rows], after=self.after[rows], both_right=self.both_right[rows])

    def __len__(self) -> int:
        return len(self.before)


def measure_recalls(before: Sequence[Predictions], after: Sequence[Predictions], classes: int) -> PairedRecalls:
    """Compute recalls from the predictions of each seed's dense model and of the model pruned from it.

    Parameters
    ----------
    before, after : sequence of Predictions, one for each seed
    classes : int
        Number of classes.
    """
    sides = [[class_metrics(part.label, part.predicted, classes) for part in side] for side in (before, after)]
    recall_before, recall_after = (np.array([counts.recall for counts in side]) for side in sides)
    both = [both_right(*pair, classes) for pair in zip(before, after, strict=True)]
    return PairedRecalls(recall_before, recall_after, np.array(both), sides[0][0].support)


def accuracies(recall: np.ndarray, support: np.ndarray) -> np.ndarray:
    """Return each seed's accuracy.

    Parameters
    ----------
    recall : (seeds, classes)
    support : (classes,)

    Returns
    -------
    (seeds,)
    """
    return recall @ support / support.sum()


def accuracy(recalls: PairedRecalls) -> float:
    """Return the accuracy after pruning, averaged over the seeds."""
    return float(accuracies(recalls.after, recalls.support).mean())


def expected_accuracy(recalls: PairedRecalls, dense: np.ndarray) -> float:
    """Predict the mean accuracy over all seeds, assuming that the remaining seeds lose as much as the first ones.

    Parameters
    ----------
    recalls : PairedRecalls
        Recalls of the first seeds.
    dense : (all seeds,)
        Accuracy of the dense models.
    """
    return accuracy(recalls) + float(dense.mean() - dense[: len(recalls)].mean())


def distortion(recalls: PairedRecalls) -> float:
    """Return the change in the differences between classes: max(alpha_new - 1, 0) + max(1 - correlation, 0).

    The first term is above 0 if the differences grew, the second if their pattern changed. Both terms pool all seeds.
    The result is NaN if alpha_new is undefined.
    """
    return max(alpha_new(recalls) - 1, 0.0) + max(1 - correlation(recalls), 0.0)


def alpha_new(recalls: PairedRecalls) -> float:
    """Estimate alpha for new images, pooled over the seeds."""
    return new_images.alpha_new(recalls.before, recalls.after, recalls.both_right, recalls.support).estimate


def correlation(recalls: PairedRecalls) -> float:
    """Return the uncentred correlation of recall balances before and after pruning, pooled over the seeds."""
    before, after = (
        Recalls(side, accuracies(side, recalls.support)).balance.ravel() for side in (recalls.before, recalls.after)
    )
    return float(intensification.correlation(before, after))


def standard_error(value: Callable[[PairedRecalls], float], recalls: PairedRecalls) -> float:
    """Return the jackknife standard error of a value over the seeds; NaN with one seed."""
    seeds = range(len(recalls))
    if len(recalls) < 2:
        return np.nan
    without_one = [value(recalls.subset([other for other in seeds if other != seed])) for seed in seeds]
    return float(np.sqrt((len(recalls) - 1) * np.var(without_one)))


def values(recalls: PairedRecalls) -> dict[str, float]:
    """Return all numbers of a trial, by name.

    Returns
    -------
    dict
        accuracy and distortion, each with its standard error (`_error`) and its value for each seed
        (`accuracy/<index>`); alpha_new and correlation, from which distortion is computed.
    """
    recalls_by_seed = [recalls.subset([index]) for index in range(len(recalls))]
    return {
        "accuracy": accuracy(recalls),
        "accuracy_error": standard_error(accuracy, recalls),
        "distortion": distortion(recalls),
        "distortion_error": standard_error(distortion, recalls),
        "alpha_new": alpha_new(recalls),
        "correlation": correlation(recalls),
        **{f"accuracy/{index}": accuracy(own_recalls) for index, own_recalls in enumerate(recalls_by_seed)},
        **{f"distortion/{index}": distortion(own_recalls) for index, own_recalls in enumerate(recalls_by_seed)},
    }


def with_comparable_accuracy(trials: pd.DataFrame, reference: str) -> pd.DataFrame:
    """Replace the accuracy of each stopped trial by an estimate of its accuracy over all seeds.

    A stopped trial has only the first seeds, whose dense models may be better or worse than those of later seeds. Its
    accuracy is replaced by a sum: the reference's accuracy over all seeds, plus the mean difference between the stopped
    trial and the reference over the seeds of the stopped trial.

    Parameters
    ----------
    trials : DataFrame
        complete, anchor, ratio, accuracy, accuracy/<index> (NaN for a seed that a trial does not have).
    reference : str
        Anchor that stopped trials of the same ratio are compared with.
    """
    columns = [name for name in trials.columns if name.startswith("accuracy/")]
    complete = trials[trials["complete"] & (trials["anchor"] == reference)].set_index("ratio")
    references = complete.reindex(trials["ratio"]).set_axis(trials.index)
    expected = references["accuracy"] + (trials[columns] - references[columns]).mean(axis=1)
    return trials.assign(accuracy=trials["accuracy"].where(trials["complete"], expected))


def eligible(trials: pd.DataFrame) -> pd.Series:
    """Return whether each trial may win: it is complete, and at most a point less accurate than the best anchor.

    Parameters
    ----------
    trials : DataFrame
        complete (bool), anchor ("" if it is none), accuracy.
    """
    anchors = trials.loc[trials["complete"] & (trials["anchor"] != ""), "accuracy"]
    return trials["complete"] & (trials["accuracy"] >= anchors.max() - A_POINT - ROUNDING)


def pareto_front(trials: pd.DataFrame) -> pd.Series:
    """Return whether each trial is on the Pareto front of accuracy and distortion.

    A complete trial is on the front if no other trial is at least as good in accuracy and distortion and better in one
    of them. A trial whose distortion is undefined is not on the front.

    Parameters
    ----------
    trials : DataFrame
        complete (bool), accuracy, distortion.
    """
    is_defined = trials["complete"] & trials["distortion"].notna()
    accuracy, distortion = (trials[name].where(is_defined).to_numpy() for name in ("accuracy", "distortion"))
    as_good = (accuracy >= accuracy[:, None]) & (distortion <= distortion[:, None])
    better = (accuracy > accuracy[:, None]) | (distortion < distortion[:, None])
    return is_defined & ~(as_good & better).any(axis=1)


class Winner(NamedTuple):
    """The trial that wins.

    Attributes
    ----------
    trial : int
        Its label in the index of the trials; the first trial wins if several are equally good.
    value : float
        Its accuracy if accuracy is the objective, else its distortion.
    candidates : int
        Number of trials that it was chosen from.
    """

    trial: int
    value: float
    candidates: int


def winner(trials: pd.DataFrame, objective: str) -> Winner:
    """Choose the trial that wins.

    Parameters
    ----------
    trials : DataFrame, in the order of the trials' numbers
        complete, anchor, accuracy, distortion.
    objective : {"accuracy", "alpha", "both"}

    Returns
    -------
    Winner
    """
    if objective == "accuracy":
        candidates = trials.loc[trials["complete"], "accuracy"]
        return Winner(candidates.idxmax(), candidates.max(), len(candidates))
    candidates = trials.loc[eligible(trials) & trials["distortion"].notna(), "distortion"]
    return Winner(candidates.idxmin(), candidates.min(), len(candidates))


def reason(trials: pd.DataFrame, objective: str, best: Winner) -> str:
    """Describe why a trial won, in a clause. `winner` describes the parameters, and returns `best`."""
    if objective == "accuracy":
        return f"the highest validation accuracy, {best.value:.4f}, of {best.candidates} complete trials"
    anchor = trials.loc[trials["complete"] & (trials["anchor"] != ""), "accuracy"].max()
    distortion = (
        f"the least distortion, {best.value:.4f}, of the {best.candidates} trials whose validation accuracy is at "
        f"most a point below the best anchor's accuracy, {anchor:.4f}"
    )
    if objective == "both":
        return f"{distortion}; {int(pareto_front(trials).sum())} of the complete trials are on the Pareto front"
    return distortion
