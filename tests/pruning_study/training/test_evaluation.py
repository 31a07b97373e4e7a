import numpy as np
import pytest
import torch
from torch import nn

from pruning_study.data.examples import Examples
from pruning_study.training.engines import TORCH
from pruning_study.training.evaluation import Predictions, loss_and_accuracy, predict

# An identity for a model: the images are the logits.
SCORES = torch.log(torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6], [0.5, 0.25, 0.25]]))
EXAMPLES = Examples(SCORES.view(3, 3, 1, 1), torch.tensor([0, 1, 0]))


def test_predictions_of_known_probabilities():
    predictions, loss = predict(nn.Flatten(), EXAMPLES)
    assert predictions.label.tolist() == [0, 1, 0]
    assert predictions.predicted.tolist() == [0, 2, 0]
    assert predictions.top5.tolist()[:2] == [[0, 1, 2], [2, 1, 0]]
    assert predictions.confidence == pytest.approx([0.7, 0.6, 0.5])
    assert predictions.right.tolist() == [True, False, True]
    assert predictions.accuracy == pytest.approx(2 / 3)
    assert loss == pytest.approx(-np.log([0.7, 0.3, 0.5]).mean())
    assert (predictions.label.dtype, predictions.confidence.dtype) == (np.int64, np.float32)


def test_the_confusion_matrix_is_counted_once_and_stays_out_of_the_file(tmp_path):
    predictions, _ = predict(nn.Flatten(), EXAMPLES)
    counts = predictions.counts(3)
    assert counts.confusion.tolist() == [[2, 0, 0], [0, 0, 1], [0, 0, 0]]
    assert predictions.counts(3) is counts
    predictions.save(tmp_path / "predictions.npz")
    assert sorted(np.load(tmp_path / "predictions.npz").files) == ["confidence", "label", "predicted", "top5"]


def test_top5_where_probabilities_are_too_small_for_floats():
    examples = Examples(torch.tensor([300.0, 100, 120, 90, 110, 80, 70]).view(1, 7, 1, 1), torch.tensor([0]))
    assert predict(nn.Flatten(), examples)[0].top5.tolist() == [[0, 2, 4, 1, 3]]


def test_loss_and_accuracy():
    loss, accuracy = loss_and_accuracy(nn.Flatten(), EXAMPLES)
    assert (loss, accuracy) == pytest.approx((-np.log([0.7, 0.3, 0.5]).mean(), 2 / 3))


def test_evaluates_in_eval_mode_and_leaves_the_mode():
    model = nn.Sequential(nn.Flatten(), nn.Dropout(0.9)).train()
    assert torch.equal(TORCH.logits(model, EXAMPLES.images), SCORES)
    assert model.training


def test_goes_through_a_file(tmp_path):
    predictions, _ = predict(nn.Flatten(), EXAMPLES)
    predictions.save(tmp_path / "predictions.npz")
    loaded = Predictions.load(tmp_path / "predictions.npz")
    for name in ("label", "predicted", "top5", "confidence"):
        assert np.array_equal(getattr(loaded, name), getattr(predictions, name))
