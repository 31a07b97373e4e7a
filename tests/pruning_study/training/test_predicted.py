"""One rule says which class is predicted: that of the largest logit, and of equal logits the first."""

import ast
from pathlib import Path

import numpy as np
import pytest
import torch

import pruning_study
from pruning_study.training.evaluation import from_logits
from pruning_study.training.predicted import most_probable, predicted_classes

NAN = float("nan")


@pytest.mark.parametrize(
    ("logits", "first_five"),
    [
        ([0, 3, 3, 1, 3, 2], [1, 2, 4, 5, 3]),
        ([7, 7, 7, 7, 7, 7], [0, 1, 2, 3, 4]),  # a destroyed network
        ([5, 4, 3, 2, 1, 1], [0, 1, 2, 3, 4]),  # the last ties with the one that is left out
        ([-0.0, 0.0, -1, 0.0, -2, -3], [0, 1, 3, 2, 4]),
        ([1, 2, 3], [2, 1, 0]),
        ([1, NAN, 3, NAN], [1, 3, 2, 0]),  # torch and NumPy take a NaN for the largest
    ],
)
def test_equal_logits_are_in_the_order_of_the_classes(logits, first_five):
    scores = torch.tensor([logits, logits[::-1]]).float()
    assert most_probable(scores, 5)[0].tolist() == first_five
    assert most_probable(scores, 5)[:, 0].tolist() == predicted_classes(scores).tolist()


def test_stored_predictions_are_the_argmax_of_integer_logits_by_torch_and_by_numpy():
    """Of 2,000 images a fifth have tied largest logits; `topk` predicts another class for most of these."""
    scores = torch.randint(-5, 5, (2000, 10), generator=torch.Generator().manual_seed(0)).float()
    largest = scores == scores.max(1, keepdim=True).values
    assert 400 < (largest.sum(1) > 1).sum() < 1400
    predictions, _ = from_logits(scores, torch.zeros(2000, dtype=torch.int64))
    assert np.array_equal(predictions.predicted, scores.numpy().argmax(1))
    assert np.array_equal(predictions.top5[:, 0], predictions.predicted)
    assert np.array_equal(predictions.top5, np.argsort(-scores.numpy(), axis=1, kind="stable")[:, :5])
    assert predictions.confidence == pytest.approx(scores.softmax(1).max(1).values.numpy())


def test_no_other_module_says_which_class_is_predicted():
    """The one rule is in `predicted.py`; another `argmax` over logits would be another rule."""
    root = Path(pruning_study.__file__).parent
    calls = {
        (path.relative_to(root).as_posix(), node.func.attr)
        for path in root.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in ("argmax", "topk")
    }
    others = {
        ("commands/quantize.py", "argmax"),  # the class that loses most
        ("data/datasets.py", "argmax"),  # the class of a one-hot label
        ("data/labels.py", "argmax"),  # the first label outside a range
        ("pruning/fairgrape.py", "argmax"),  # the neediest class
        ("steps/pictures.py", "argmax"),  # the class that lost most
    }
    assert calls - others == {("training/predicted.py", "argmax"), ("training/predicted.py", "topk")}
