import numpy as np
import pytest
import torch
from torch import nn

from pruning_study.data.examples import Examples
from pruning_study.training.callbacks import Factors
from pruning_study.training.evaluation import Predictions
from pruning_study.training.loop import fit
from pruning_study.training.mitigation import class_weights
from pruning_study.training.mitigation.class_weights import FixedClassWeights
from pruning_study.training.recipes import Hyperparameters, Phase
from pruning_study.training.setup import TrainingSetup


def weights(right, support, images, power):
    return class_weights.class_weights(np.array(right), np.array(support), np.array(images), power).tolist()


class TestClassWeights:
    def test_by_hand(self):
        """Recalls 1/2 and 1: 2 and 1, whose mean over as many images of both is 3/2."""
        assert weights([5, 10], [10, 10], [100, 100], 1) == pytest.approx([4 / 3, 2 / 3])
        assert weights([5, 10], [10, 10], [100, 100], 2) == pytest.approx([8 / 5, 2 / 5])

    def test_their_mean_over_the_training_images_is_1(self):
        """2 and 1, whose mean is 5/4 over one image of the first class and three of the second."""
        assert weights([5, 10], [10, 10], [1, 3], 1) == pytest.approx([8 / 5, 4 / 5])

    def test_a_class_of_recall_0_has_the_recall_of_half_an_image(self):
        """Recalls 1/8 and 1: 8 and 1, whose mean is 9/2."""
        assert weights([0, 7], [4, 7], [10, 10], 1) == pytest.approx([16 / 9, 2 / 9])
        assert weights([0, 7], [4, 7], [10, 10], 1) == weights([0.5, 7], [4, 7], [10, 10], 1)

    def test_power_0_gives_1_to_every_class(self):
        assert weights([0, 7], [4, 7], [10, 30], 0) == [1, 1]

    def test_a_large_power_does_not_overflow(self):
        assert weights([0, 7, 7], [400, 7, 7], [10, 10, 10], 1000) == pytest.approx([3, 0, 0])


def test_the_table_is_of_the_dense_networks_recall_on_the_images_given():
    """Class a is right once of two, b always."""
    label, predicted = np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1])
    dense = Predictions(label, predicted, predicted[:, None], np.ones(4, dtype=np.float32))
    table = class_weights.from_dense(dense, torch.tensor([0, 1, 1, 1]), ("a", "b"), power=1.0)
    assert table["class"].tolist() == ["a", "b"]
    assert table["support"].tolist() == [2, 2]
    assert table["recall"].tolist() == [0.5, 1]
    assert table["weight"].tolist() == pytest.approx([8 / 5, 4 / 5])
    assert class_weights.weighting(table).of_classes.tolist() == pytest.approx([8 / 5, 4 / 5])


def test_weighted_training_is_that_of_torchs_weighted_loss():
    random = torch.Generator().manual_seed(0)
    train = Examples(torch.randn(40, 5, generator=random), torch.randint(0, 2, (40,), generator=random))
    rule = FixedClassWeights(torch.tensor([1.75, 0.25]))
    torch.manual_seed(0)
    model, reference = nn.Linear(5, 2), nn.Linear(5, 2)
    reference.load_state_dict(model.state_dict())
    plan = Hyperparameters((Phase(1, 0.1),), 40, 0.0, 0.0, "none")
    fit(model, TrainingSetup(train, train, plan, 0, "test", torch.zeros(1), callbacks=[Factors(rule)]))
    losses = nn.CrossEntropyLoss(weight=rule.of_classes, reduction="sum")(reference(train.images), train.labels)
    (losses / 40).backward()
    for ours, theirs in zip(model.parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs - 0.1 * theirs.grad)
