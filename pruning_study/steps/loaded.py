"""The data set and the network of some options, in memory."""

import copy
from collections.abc import Mapping
from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn

from analysis.common.errors import StudyError, did_you_mean
from analysis.common.printable import shortened
from pruning_study import models
from pruning_study.data import datasets, labels
from pruning_study.data.datasets import Dataset
from pruning_study.data.examples import Examples, Normalization, seeded, to_device
from pruning_study.models import checkpoints
from pruning_study.options.config import TrainConfig
from pruning_study.steps import engine_choice, given_classes, given_zeros
from pruning_study.training.engines import Engine

# Normalisations whose images stay in memory: that of the data, and that of the network which is pruned.
_KEPT_NORMALIZATIONS = 2


class Loaded:
    """The data set of some options, its split, and the network as it is before training. Settings share it.

    Parameters
    ----------
    config : TrainConfig
    data : Dataset, optional
        The data set, if it has been read already.
    default_validation_fraction : float
        The validation fraction that stands for none that is given.

    Raises
    ------
    StudyError
        If the data set, the model, the weights or the device cannot be used.
    """

    def __init__(self, config: TrainConfig, data: Dataset | None, default_validation_fraction: float) -> None:
        self._config = config
        self.device = resolved_device(config.device)
        models.set_threads(config.model)
        self.data = data or datasets.load(
            config.dataset,
            data_dir=config.data_dir,
            image_size=config.image_size,
            max_data_gib=config.max_data_gib,
            test_fraction=config.test_fraction,
        )
        indices, self.validation_indices = _split_indices(self.data, config, default_validation_fraction)
        self.train_indices = _thin(self.data, config, indices)
        weights, metadata = checkpoints.load_given(config.weights) if config.weights else ({}, {})
        self.model = _initial_model(self.data, config, weights)
        self._named_normalization = checkpoints.normalization(metadata, str(config.weights), self.data.image_shape[0])
        self.memory_format = models.memory_format(self.model, self.data.image_shape)
        self.model.to(memory_format=self.memory_format)  # type: ignore[call-overload]
        self._images: list[DeviceImages] = []

    @cached_property
    def engine(self) -> Engine:
        """The training back end, chosen at its first use, since the native engine may have to be compiled."""
        config = self._config
        return engine_choice.choose(
            config.engine,
            self.model,
            self.data.image_shape,
            device=self.device,
            precision=config.precision,
            optimizer=config.optimizer,
        )

    @cached_property
    def normalization(self) -> Normalization:
        """The normalisation that the weights file names, otherwise that of the training split."""
        return self._named_normalization or Normalization(
            *datasets.normalization(self.data.train_images, self.train_indices)
        )

    def images(self, normalization: Normalization) -> "DeviceImages":
        """Return the images of the split in a normalisation; those that were used last stay in memory."""
        loaded_images = next((images for images in self._images if images.normalization == normalization), None)
        images = loaded_images or DeviceImages(self, normalization)
        other_images = [entry for entry in self._images if entry is not images]
        self._images = [*other_images, images][-_KEPT_NORMALIZATIONS:]
        return images

    def forget_images(self) -> None:
        """Free the images on the device; they are made again when they are used."""
        self._images.clear()


class DeviceImages:
    """The images of a split on the device, in the normalisation and the layout that a network takes.

    Parameters
    ----------
    loaded : Loaded
    normalization : Normalization
    """

    def __init__(self, loaded: Loaded, normalization: Normalization) -> None:
        self._loaded = loaded
        self.normalization = normalization

    @cached_property
    def train(self) -> Examples:
        return self.training(self._loaded.train_indices)

    @cached_property
    def validation(self) -> Examples:
        return self.training(self._loaded.validation_indices)

    @cached_property
    def test(self) -> Examples:
        return self._examples(self._loaded.data.test_images, self._loaded.data.test_labels)

    def training(self, indices: np.ndarray) -> Examples:
        """Return those images of the data set's training part that some indices point at."""
        return self._examples(self._loaded.data.train_images, self._loaded.data.train_labels, indices)

    def _examples(self, images: np.ndarray, labels: np.ndarray, indices: np.ndarray | None = None) -> Examples:
        layout = self._loaded.engine.layout or self._loaded.memory_format
        return to_device(images, labels, self.normalization, self._loaded.device, layout, indices)


def _split_indices(data: Dataset, config: TrainConfig, default_fraction: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the indices of the images to train on, and of those for validation."""
    if data.validation_indices is None:
        return labels.split(data.train_labels, config.validation_fraction, config.seed)
    if config.validation_fraction != default_fraction:
        raise StudyError(f"{data.source} has images for validation, in val", option="validation_fraction")
    return np.setdiff1d(np.arange(len(data.train_labels)), data.validation_indices), data.validation_indices


def _thin(data: Dataset, config: TrainConfig, indices: np.ndarray) -> np.ndarray:
    """Return the indices of the training images without those that `--class-fractions` leaves out."""
    fractions, classes = [item.rpartition("=") for item in config.class_fractions or ()], data.classes
    for name, _, _ in fractions:
        if name not in classes:
            hint = did_you_mean(name, classes, f"its classes are {labels.some(list(classes))}")
            raise StudyError(f"{data.name} has no class {shortened(name)}: {hint}", option="class_fractions")
    shares = {classes.index(name): float(share) for name, _, share in fractions}
    kept_indices = labels.thinned(data.train_labels, indices, shares, config.seed)
    counts = np.bincount(data.train_labels[kept_indices], minlength=len(classes))
    for label, share in shares.items():
        if not counts[label]:
            raise StudyError(
                f"{share:g} leaves no training image of class {shortened(classes[label])}: keep a larger share",
                option="class_fractions",
            )
    return kept_indices


def _initial_model(data: Dataset, config: TrainConfig, weights: Mapping[str, Tensor]) -> nn.Module:
    channels, height, width = data.image_shape
    with seeded(config.seed, "initial weights", torch.device("cpu")):
        model = models.build(
            config.model, num_classes=len(data.classes), in_channels=channels, image_size=(height, width)
        )
    if path := config.weights:
        initial = copy.deepcopy(model.state_dict())
        weights = given_zeros.with_masks(checkpoints.without_wrapper(weights, model, str(path)))
        checkpoints.load_weights(model, weights, str(path), len(data.classes))
        if not config.count_zeros:
            given_zeros.check(model, initial, str(path))
        if config.class_names:
            given_classes.put_in_order(model, given_classes.places(config.class_names, data.classes))
    return model


def resolved_device(name: str | None) -> str:
    """Return the device that an option names: without a name the GPU, if there is one.

    Raises
    ------
    StudyError
        If a GPU is named and there is none.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise StudyError("torch finds no CUDA device here", option="device")
    return name or ("cuda" if torch.cuda.is_available() else "cpu")
