"""Load the data set and build the network that options name."""

import copy
from collections.abc import Mapping
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from analysis.common.errors import StudyError, did_you_mean
from analysis.common.printable import shortened
from pruning_study import models
from pruning_study.data import datasets, labels
from pruning_study.data.datasets import Dataset
from pruning_study.data.examples import seeded
from pruning_study.models import checkpoints
from pruning_study.options.config import TrainConfig
from pruning_study.steps import engine_choice, given_classes, given_zeros
from pruning_study.steps.context import Context


def load_context(options: TrainConfig, data: Dataset | None = None) -> Context:
    """Load and split the data set of the options, and build their network, untrained or with given weights.

    Parameters
    ----------
    options : TrainConfig
    data : Dataset, optional
        The data set, if it has been read already.

    Raises
    ------
    StudyError
        If the data set, the model, the weights or the device cannot be used.
    """
    device = resolved_device(options.device)
    models.set_threads(options.model)
    data = data or datasets.load(
        options.dataset,
        data_dir=options.data_dir,
        image_size=options.image_size,
        test_fraction=options.test_fraction,
    )
    if count := data.known_test_images:
        engine_choice.say_once(
            f"{data.source}: {count:,} of {len(data.test_labels):,} test images are also training or validation "
            "images, so accuracies and losses on new images may be worse than those measured here: keep one copy of "
            "each image"
        )
    indices, validation_indices = _split_indices(data, options)
    train_indices = _thin(data, options, indices)
    weights, metadata = checkpoints.load_given(options.weights) if options.weights else ({}, {})
    model, order = _initial_model(data, options, weights), []
    if options.weights and (
        order := given_classes.output_order(options.weights, metadata, options.class_names, data.classes)
    ):
        given_classes.put_in_order(model, order, data.image_shape)
    context = Context(
        data,
        train_indices,
        validation_indices,
        model,
        device,
        partial(
            engine_choice.choose,
            options.engine,
            model,
            data.image_shape,
            device=device,
            precision=options.precision,
            optimizer=options.optimizer,
        ),
        checkpoints.normalization(metadata, str(options.weights), data.image_shape[0]),
        order,
    )
    if context.unused:
        layers = list(dict.fromkeys(name.rpartition(".")[0] or name for name in context.unused))
        number = sum(model.get_parameter(name).numel() for name in context.unused)
        engine_choice.say_once(
            f"the forward pass never uses {labels.some(layers)}, with {number:,} parameters: these are not pruned, and "
            "the ratio does not count them"
        )
    return context


def _split_indices(data: Dataset, options: TrainConfig) -> tuple[np.ndarray, np.ndarray]:
    """Return the indices of the images to train on, and of the validation images."""
    if data.validation_indices is None:
        return labels.split(data.train_labels, options.validation_fraction, options.seed)
    if options.validation_fraction != type(options).validation_fraction:
        raise StudyError(
            f"{data.source} has its own validation images: leave this option out", option="validation_fraction"
        )
    return np.setdiff1d(np.arange(len(data.train_labels)), data.validation_indices), data.validation_indices


def _thin(data: Dataset, options: TrainConfig, indices: np.ndarray) -> np.ndarray:
    """Return the indices of the training images without those that `--class-fractions` leaves out."""
    fractions, classes = [item.rpartition("=") for item in options.class_fractions or ()], data.classes
    for name, _, _ in fractions:
        if name not in classes:
            hint = did_you_mean(name, classes, f"its classes are {labels.some(list(classes))}")
            raise StudyError(f"{data.name} has no class {shortened(name)}: {hint}", option="class_fractions")
    shares = {classes.index(name): float(share) for name, _, share in fractions}
    kept_indices = labels.thinned(data.train_labels, indices, shares, options.seed)
    counts = np.bincount(data.train_labels[kept_indices], minlength=len(classes))
    for label, share in shares.items():
        if not counts[label]:
            raise StudyError(
                f"{share:g} leaves no training image of class {shortened(classes[label])}: keep a larger share",
                option="class_fractions",
            )
    return kept_indices


def _initial_model(data: Dataset, options: TrainConfig, weights: Mapping[str, Tensor]) -> nn.Module:
    channels, height, width = data.image_shape
    with seeded(options.seed, checkpoints.INITIAL_WEIGHTS, torch.device("cpu")):
        model = models.build(
            options.model, num_classes=len(data.classes), in_channels=channels, image_size=(height, width)
        )
    if path := options.weights:
        initial = copy.deepcopy(model.state_dict())
        weights = checkpoints.without_wrapper(given_zeros.with_masks(weights), model, str(path))
        checkpoints.load_weights(model, weights, str(path), len(data.classes))
        if not options.count_zeros:
            given_zeros.check(model, initial, str(path))
    return model


def resolved_device(name: str | None) -> str:
    """Return the device that an option names; without a name, the GPU if there is one.

    Raises
    ------
    StudyError
        If a GPU is named and there is none.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise StudyError("torch finds no CUDA device here", option="device")
    return name or ("cuda" if torch.cuda.is_available() else "cpu")
