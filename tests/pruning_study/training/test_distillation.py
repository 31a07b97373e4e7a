import copy
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from pruning_study.data.examples import Examples
from pruning_study.training.callbacks import Teacher
from pruning_study.training.distillation import Distillation
from pruning_study.training.engines import TORCH
from pruning_study.training.loop import fit
from pruning_study.training.recipes import Hyperparameters, Phase
from pruning_study.training.setup import TrainingSetup

RANDOM = torch.Generator().manual_seed(0)
TRAIN = Examples(torch.randn(48, 1, 6, 6, generator=RANDOM), torch.randint(0, 3, (48,), generator=RANDOM))


def network(seed):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3))


def train(model, distillation, augmentation="none", epochs=2, learning_rate=0.05):
    hyperparameters = Hyperparameters((Phase(epochs, learning_rate),), 16, 0.9, 0.0, augmentation)
    callbacks = [Teacher(distillation)] if distillation else []
    fit(model, TrainingSetup(TRAIN, TRAIN, hyperparameters, 0, "test", torch.zeros(1), callbacks=callbacks))


def trained(distillation, augmentation="none", epochs=2):
    model = network(1)
    train(model, distillation, augmentation, epochs)
    return nn.utils.parameters_to_vector(model.parameters()).detach()


class TestLoss:
    def test_by_hand(self):
        """Two classes: logits 0 and 2 ln 3 at temperature 2 are 1/4 and 3/4; the network's, 0 and 0, a half each.

        KL = 1/4 ln(1/2) + 3/4 ln(3/2), and the cross-entropy is ln 2.
        """
        scores, wanted = torch.zeros(1, 2), torch.tensor([[0.0, 2 * math.log(3)]])
        given = Distillation(nn.Identity(), 0.3, 2.0).loss(scores, torch.tensor([1]), wanted)
        divergence = 0.25 * math.log(0.5) + 0.75 * math.log(1.5)
        assert given.item() == pytest.approx(0.7 * math.log(2) + 0.3 * 4 * divergence)

    def test_of_an_image_by_hand_and_its_mean(self):
        random = torch.Generator().manual_seed(0)
        scores, wanted = torch.zeros(1, 2), torch.tensor([[0.0, 2 * math.log(3)]])
        divergence = 0.25 * math.log(0.5) + 0.75 * math.log(1.5)
        distillation = Distillation(nn.Identity(), 0.3, 2.0)
        losses = distillation.image_losses(scores, torch.tensor([1]), wanted)
        assert losses.tolist() == pytest.approx([0.7 * math.log(2) + 0.3 * 4 * divergence])
        scores, wanted = torch.randn(2, 5, 3, generator=random)
        labels = torch.tensor([0, 1, 2, 2, 1])
        losses = distillation.image_losses(scores, labels, wanted)
        assert losses.mean().item() == pytest.approx(distillation.loss(scores, labels, wanted).item())

    def test_at_weight_1_a_network_equal_to_its_teacher_has_no_gradient(self):
        scores = torch.randn(5, 3, generator=torch.Generator().manual_seed(0)).requires_grad_()
        loss = Distillation(nn.Identity(), 1.0, 4.0).loss(scores, torch.zeros(5, dtype=torch.int64), scores.detach())
        (gradient,) = torch.autograd.grad(loss, scores)
        assert loss.item() == pytest.approx(0, abs=1e-6)
        torch.testing.assert_close(gradient, torch.zeros_like(gradient), rtol=0, atol=1e-6)

    def test_at_weight_0_it_is_the_cross_entropy_exactly(self):
        scores, wanted = torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(0))
        labels = torch.tensor([0, 1, 2, 2, 1])
        assert Distillation(nn.Identity(), 0.0, 2.0).loss(scores, labels, wanted) == F.cross_entropy(scores, labels)


class TestTraining:
    def test_weight_0_is_plain_training_exactly(self):
        assert torch.equal(trained(Distillation(network(2), 0.0, 2.0)), trained(None))

    def test_weight_1_with_itself_as_teacher_stays_where_it_is(self):
        start = nn.utils.parameters_to_vector(network(1).parameters())
        torch.testing.assert_close(trained(Distillation(network(1), 1.0, 2.0)), start, rtol=0, atol=1e-6)

    def test_weight_1_follows_the_teacher_whatever_the_labels_say(self):
        teacher, model = network(2), network(1)
        with torch.no_grad():
            wanted = F.softmax(teacher(TRAIN.images), 1)
        before = F.softmax(model(TRAIN.images), 1)
        train(model, Distillation(teacher, 1.0, 1.0), epochs=60, learning_rate=0.1)
        after = F.softmax(model(TRAIN.images), 1)
        assert (after - wanted).abs().mean() < (before - wanted).abs().mean() / 3

    def test_the_teacher_sees_the_augmented_images_and_is_not_changed(self):
        teacher = nn.Sequential(nn.Flatten(), nn.Linear(36, 3), nn.BatchNorm1d(3), nn.Dropout(0.5))
        seen, before = [], copy.deepcopy(teacher.state_dict())
        distillation = Distillation(teacher, 0.5, 2.0)
        teacher_logits = distillation.teacher_logits

        class Watched(Distillation):
            def teacher_logits(self, batch, images):
                seen.append((batch, images))
                return teacher_logits(batch, images)

        trained(Watched(teacher, 0.5, 2.0), "flip-crop", epochs=1)
        assert sum(len(batch) for batch, _ in seen) == 48
        assert not any(torch.equal(images, TRAIN.images[batch]) for batch, images in seen)
        torch.testing.assert_close(teacher.state_dict(), before, rtol=0, atol=0)
        assert torch.equal(teacher_logits(*seen[0]), teacher_logits(*seen[0]))  # no dropout

    def test_without_augmentation_the_teacher_is_asked_once(self):
        teacher = network(2)
        asked = []
        teacher.register_forward_hook(lambda module, images, scores: asked.append(len(scores)))
        trained(Distillation(teacher, 0.5, 2.0), epochs=3)
        assert sum(asked) == 48
        logits = Distillation(teacher, 0.5, 2.0, TORCH.logits(teacher, TRAIN.images))
        batch = torch.tensor([7, 3])
        torch.testing.assert_close(logits.teacher_logits(batch, TRAIN.images[batch]), teacher(TRAIN.images[batch]))
