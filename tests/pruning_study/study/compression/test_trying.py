"""Chains of a small network: how they are judged, and which chains a network allows."""

import gc
import weakref
from contextlib import suppress
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import nn

from pruning_study.options.config import CompressConfig
from pruning_study.steps import dense as dense_step
from pruning_study.steps import pruned, runs
from pruning_study.steps.context import Context
from pruning_study.study.compression import trying
from pruning_study.study.compression.chains import Chain
from pruning_study.study.compression.trying import Network, space_of
from pruning_study.tracking import connect
from tests.plans import planned
from tests.samples import first_images

QUICK = {"epochs": 4, "fine_tune_epochs": 2, "batch_size": 32, "validation_fraction": 0.667}


@pytest.fixture
def setting(tmp_path, store_uri):
    """Of 60 training images of each class, two thirds of them for validation."""
    np.savez(tmp_path / "small.npz", **first_images(train=60))
    return planned(CompressConfig(dataset=tmp_path / "small.npz", **QUICK).pruning)


@pytest.mark.onnx
@pytest.mark.structured
def test_images_are_judged_with_class_offsets_that_were_fitted_without_them(setting):
    """`pruned.trial` makes the same network without offsets, and adds those of the other folds to each image."""
    store, chain = connect.connect(), Chain("mp", 4.0, fine_tune_epochs=2, class_offsets="dense")
    with store.job("job", {}) as job:
        in_job = setting.in_job(store, job.run_id)
        network = Network(*in_job, dense_step.train(*in_job.dense))
        made = network.make(chain)
        result = trying.judge([network], chain, "size")
    each = setting.at(**chain.options)
    wanted = pruned.trial(*each.at_ratio(each.plan.options.ratio[0]), network.dense)
    given = runs.val_predictions(store, made.run_id)
    assert given.predicted.tolist() == wanted.predicted.tolist()
    (run,) = store.of_kinds(["pruned"])  # no control is trained
    of_offsets = runs.val_predictions(store, run.info.run_id)
    assert of_offsets.predicted.tolist() != wanted.predicted.tolist()  # fitted on the image too
    assert result.accuracy_loss == pytest.approx(network.dense.dense.val_predictions.accuracy - wanted.accuracy)


class OnlyContext(NamedTuple):
    """A network of which only what is in memory is asked for."""

    context: Context


def test_networks_free_their_images_after_their_turn(setting):
    other = planned(replace(setting.plan.options, seed=1), setting.context.data)
    networks = [OnlyContext(each) for each in (setting.context, other.context)]
    in_turn = []
    for network in trying.in_turn(networks):
        gc.collect()
        assert [images() for images in in_turn] == [None] * len(in_turn)
        in_turn.append(weakref.ref(network.context.train.images))
    gc.collect()
    assert [images() for images in in_turn] == [None, None]
    assert torch.isfinite(setting.context.train.images).all()  # made again


def test_a_turn_that_fails_frees_its_images_too(setting):
    with suppress(ZeroDivisionError):
        for network in trying.in_turn([OnlyContext(setting.context)]):
            images = weakref.ref(network.context.train.images)
            1 / 0  # noqa: B018
    gc.collect()
    assert images() is None


@pytest.mark.structured
class TestSpace:
    def test_lenet5_has_all_kinds(self, setting):
        """Half of 6 and 16 filters leave 3 * 10 + 8 * 28 + 24,000 + 120 + 10,164 + 850 of 60,074 parameters."""
        space, lines = space_of(*setting, "size", {})
        assert lines == []
        assert space.pruners == ("none", "l1-filter", "chip", "mp")
        assert space.half_ratio == pytest.approx(60_074 / 35_388)
        assert space.most_filters == 4.24
        assert (space.epochs, space.gradual, space.offsets) == ((1, 2), False, True)

    def test_a_network_that_cannot_be_followed_has_number_formats_and_a_line_that_says_why(self, setting, monkeypatch):
        monkeypatch.setattr(setting.context, "model", Opaque())
        space, lines = space_of(*setting, "size", {})
        assert space.pruners == ("none",)
        (line,) = lines
        assert line.startswith("Only number formats are tried: the network cannot be made smaller: ")

    def test_too_few_images_leave_class_offsets_out(self, setting):
        options = QUICK | {"dataset": setting.plan.options.dataset, "validation_fraction": 0.5}
        few = planned(CompressConfig(**options).pruning)
        space, lines = space_of(*few, "size", {})
        assert not space.offsets
        assert lines[0].startswith("Class offsets are not tried: class ")
        assert "30 images" in lines[0]


class Opaque(nn.Module):
    """It computes with the weight of a layer that it does not call."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(784, 10)

    def forward(self, images):
        return images.flatten(1) @ self.layer.weight.T + self.layer.bias
