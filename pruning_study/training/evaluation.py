"""Compute a model's predictions, loss and accuracy."""

from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
from torch import Tensor, nn

from analysis.common import archives
from analysis.statistics.recalls import ClassMetrics, Recalls, class_metrics
from pruning_study.data.examples import Examples
from pruning_study.training.engines import TORCH, Engine
from pruning_study.training.predicted import most_probable, predicted_classes


@dataclass(frozen=True)
class Predictions:
    """Predictions of a model for N images, in the order of the images.

    Parameters
    ----------
    label : int64 [N]
        True class of each image.
    predicted : int64 [N]
        Most probable class of each image, the first in a tie.
    top5 : int64 [N, min(5, classes)]
        Most probable classes of each image, the most probable first.
    confidence : float32 [N]
        Probability of the predicted class.
    """

    label: np.ndarray
    predicted: np.ndarray
    top5: np.ndarray
    confidence: np.ndarray

    @property
    def right(self) -> np.ndarray:
        """Whether the prediction of each image is correct, bool [N]."""
        right: np.ndarray = self.label == self.predicted
        return right

    @property
    def accuracy(self) -> float:
        """Share of correct predictions."""
        return float(self.right.mean())

    def counts(self, classes: int) -> ClassMetrics:
        """Return the confusion matrix, and each class's recall, precision and F1, all cached."""
        kept: dict[int, ClassMetrics] = vars(self).setdefault("_counts", {})
        if classes not in kept:
            kept[classes] = class_metrics(self.label, self.predicted, classes)
        return kept[classes]

    def recalls(self, classes: int) -> Recalls:
        """Return the recall of each class, and the accuracy."""
        return Recalls(self.counts(classes).recall, self.accuracy)

    def save(self, path: Path) -> None:
        """Write the arrays to a compressed .npz file."""
        np.savez_compressed(path, allow_pickle=False, **asdict(self))

    @classmethod
    def load(cls, path: Path) -> "Predictions":
        """Read a file that `save` wrote; raise a StudyError if it is damaged."""
        return cls(**archives.read(path, [field.name for field in fields(cls)]))


def both_right(before: Predictions, after: Predictions, classes: int) -> np.ndarray:
    """Return the share of each class's images that both sets of predictions get right.

    Parameters
    ----------
    before, after : Predictions
        Predictions for the same images in the same order.
    classes : int
        Number of classes.

    Returns
    -------
    float64 [classes]
    """
    support = np.bincount(after.label, minlength=classes)
    return np.bincount(after.label, weights=before.right & after.right, minlength=classes) / support


def loss_and_accuracy(model: nn.Module, examples: Examples, engine: Engine = TORCH) -> tuple[float, float]:
    """Return the mean cross-entropy and the accuracy."""
    scores = engine.logits(model, examples.images)
    right = predicted_classes(scores) == examples.labels
    return engine.cross_entropy(scores, examples.labels), right.sum().item() / len(right)


def predict(model: nn.Module, examples: Examples, engine: Engine = TORCH) -> tuple[Predictions, float]:
    """Predict the classes of all images; return the predictions and the mean cross-entropy."""
    return from_logits(engine.logits(model, examples.images), examples.labels, engine)


def from_logits(scores: Tensor, labels: Tensor, engine: Engine = TORCH) -> tuple[Predictions, float]:
    """Return the predictions that logits make, and the mean cross-entropy.

    Parameters
    ----------
    scores : float32 Tensor [N, classes]
    labels : int64 Tensor [N]
    """
    top5 = most_probable(scores, 5)
    predictions = Predictions(
        label=labels.cpu().numpy(),
        predicted=top5[:, 0].cpu().numpy(),
        top5=top5.cpu().numpy(),
        confidence=engine.probabilities(scores).gather(1, top5[:, :1])[:, 0].cpu().numpy(),
    )
    return predictions, engine.cross_entropy(scores, labels)
