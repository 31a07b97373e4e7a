import math
from collections import deque

import numpy as np
import pytest
import torch
from torch import tensor

from pruning_study.training.mitigation.constraints import MEMORY, empty_buffers, over_buffers, over_images, remember

CPU = torch.device("cpu")
ONE = tensor([7])


def test_means_over_images():
    means = over_images(tensor([0, 0, 2, 0]), tensor([1.0, 2.0, 5.0, 6.0]), classes=3)
    assert means.each.tolist() == [3.0, 0.0, 5.0]
    assert means.overall.item() == 3.5
    assert means.has_mean.tolist() == [True, False, True]


def test_means_over_images_that_are_right_or_wrong_are_recalls_and_the_accuracy():
    means = over_images(tensor([0, 0, 1, 1, 1, 1]), tensor([True, False, True, True, True, False]), classes=2)
    assert means.each.tolist() == [0.5, 0.75]
    assert means.overall.item() == pytest.approx(4 / 6)


def test_a_class_has_a_mean_once_its_buffer_is_full():
    buffers = empty_buffers(2, CPU)
    remember(buffers, tensor([0] * (MEMORY - 1) + [1]), torch.ones(MEMORY))
    assert over_buffers(buffers, tensor([7, 5])).has_mean.tolist() == [False, False]
    remember(buffers, tensor([0]), tensor([1.0 + MEMORY]))
    means = over_buffers(buffers, tensor([7, 5]))
    assert means.has_mean.tolist() == [True, False]
    assert means.each[0].item() == 2.0
    assert means.overall.item() == 2.0  # of class 0 alone


def test_means_are_rounded_once():
    """A single-precision sum of 2^24 and ones, one after the other, stays 2^24."""
    values = tensor([2.0**24, *[1.0] * (MEMORY - 1)])
    labels, buffers = torch.zeros(MEMORY, dtype=torch.int64), empty_buffers(1, CPU)
    remember(buffers, labels, values)
    wanted = tensor((2**24 + MEMORY - 1) / MEMORY)
    assert over_buffers(buffers, ONE).each.item() == over_buffers(buffers, ONE).overall.item() == wanted.item()
    images = over_images(labels, values, classes=1)
    assert images.each.item() == images.overall.item() == wanted.item()


def test_the_oldest_values_leave_a_buffer():
    buffers = empty_buffers(1, CPU)
    remember(buffers, torch.zeros(MEMORY, dtype=torch.int64), torch.zeros(MEMORY))
    remember(buffers, torch.zeros(10, dtype=torch.int64), torch.ones(10))
    assert over_buffers(buffers, ONE).each.item() == 10 / MEMORY
    remember(buffers, torch.zeros(MEMORY, dtype=torch.int64), torch.arange(float(MEMORY)))
    assert over_buffers(buffers, ONE).each.item() == (MEMORY - 1) / 2


def test_of_a_batch_that_a_buffer_cannot_hold_the_last_images_stay():
    buffers = empty_buffers(1, CPU)
    remember(buffers, torch.zeros(MEMORY + 20, dtype=torch.int64), torch.arange(float(MEMORY + 20)))
    assert sorted(buffers["buffered_values"][0].tolist()) == list(range(20, MEMORY + 20))


def test_buffers_hold_what_queues_of_the_released_code_hold():
    random = np.random.default_rng(0)
    buffers, queues = empty_buffers(3, CPU), [deque(maxlen=40) for _ in range(3)]
    for _ in range(12):
        labels, values = random.choice(3, 25, p=[0.6, 0.3, 0.1]), random.random(25).astype(np.float32)
        remember(buffers, torch.from_numpy(labels), torch.from_numpy(values))
        for label, value in zip(labels, values, strict=True):
            queues[label].append(value)
    full = [len(queue) == 40 for queue in queues]
    means = over_buffers(buffers, tensor([7, 7, 7]))
    assert means.has_mean.tolist() == full == [True, True, False]
    assert means.each[:2].tolist() == pytest.approx([np.mean(queue) for queue in queues[:2]])
    assert means.overall.item() == pytest.approx(np.mean([np.mean(queue) for queue in queues[:2]]))


def test_the_mean_over_buffers_is_that_of_all_images_of_the_classes_with_a_full_buffer():
    buffers, sizes = empty_buffers(3, CPU), tensor([1600, 80, 20])
    remember(buffers, tensor([0, 1] * MEMORY), tensor([0.75, 0.5] * MEMORY))
    # (1600 * .75 + 80 * .5) / 1680; with class 2, (1240 + 20 * .25) / 1700.
    assert over_buffers(buffers, sizes).overall.item() == pytest.approx(1240 / 1680)
    remember(buffers, tensor([2] * MEMORY), torch.full((MEMORY,), 0.25))
    assert over_buffers(buffers, sizes).overall.item() == pytest.approx(1245 / 1700)


def test_classes_of_the_same_size_have_the_plain_mean_to_the_last_bit():
    random = torch.Generator().manual_seed(0)
    buffers = empty_buffers(10, CPU)
    for _ in range(100):
        remember(buffers, torch.arange(10).repeat(MEMORY), torch.rand(10 * MEMORY, generator=random))
        means = over_buffers(buffers, torch.full((10,), 4500))
        assert means.overall.item() == tensor(math.fsum(means.each.tolist()) / 10).item()
