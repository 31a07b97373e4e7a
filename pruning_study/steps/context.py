"""Context: what steps share in memory, namely a data set, an initial network, a device and an engine."""

import copy
import json
from collections.abc import Callable, Iterable, Sequence
from functools import cache, cached_property
from typing import Self

import numpy as np
import torch
from mlflow.entities import Dataset as MlflowDataset
from torch import nn

from pruning_study import models
from pruning_study.data import datasets
from pruning_study.data.datasets import Dataset
from pruning_study.data.examples import Examples, Normalization, to_device
from pruning_study.models.plain_layers import with_plain_layers
from pruning_study.pruning import filters
from pruning_study.pruning.filters import Filters
from pruning_study.tracking.store import Store
from pruning_study.training.engines import Engine
from pruning_study.training.recipes import Hyperparameters

# Number of normalisations whose images stay in memory: the data's own, and that of the network which is pruned.
_KEPT_NORMALIZATIONS = 2


class Context:
    """A data set with its split, and an initial network. A context holds no options, so several plans can share it.

    Parameters
    ----------
    data : Dataset
    train_indices, validation_indices : int64 [N]
        Indices into the data set's training images: the images to train on, and those for validation.
    model : nn.Module
        The network before training, or with the user's weights. Steps copy it and never change it.
    device : {"cpu", "cuda"}
    choose_engine : callable
        Returns the training back end. Called at first use, because the native engine may have to be compiled.
    normalization : Normalization, optional
        Normalisation of the network that is trained, pruned or evaluated; computed from the training split by default.
    output_order : sequence of int
        The order into which the outputs of the user's network were put, or empty if they were in the data's order.

    Attributes
    ----------
    unused : tuple of str
        State-dict names of the network's parameters that its forward pass never uses, as those of auxiliary heads.
    early_networks : dict
        Networks after some steps of their training. Each key has the hash of the dense run and the number of steps.
    """

    def __init__(
        self,
        data: Dataset,
        train_indices: np.ndarray,
        validation_indices: np.ndarray,
        model: nn.Module,
        device: str,
        choose_engine: Callable[[], Engine],
        normalization: Normalization | None = None,
        output_order: Sequence[int] = (),
    ) -> None:
        self.data, self.device, self.output_order = data, device, output_order
        self.train_indices, self.validation_indices = train_indices, validation_indices
        self.memory_format, self.unused = models.trace(model, data.image_shape)
        self.model = model.to(memory_format=self.memory_format)  # type: ignore[call-overload]
        self._choose_engine = cache(choose_engine)
        self._images: list[DeviceImages] = []
        self.early_networks: dict[tuple[str, int], nn.Module] = {}
        if normalization:
            self.normalization = normalization

    @property
    def engine(self) -> Engine:
        """The training back end."""
        return self._choose_engine()

    def engine_of(self, training: Hyperparameters) -> Engine:
        """Return the back end for a training, which computes with quantized weights in quantization-aware training."""
        quantization = training.quantization
        if quantization and quantization.while_training:
            return self.engine.with_weight_bits(quantization.bits)
        return self.engine

    @cached_property
    def normalization(self) -> Normalization:
        """Normalisation applied to the images."""
        return Normalization(*datasets.normalization(self.data.train_images, self.train_indices))

    def normalized_as(self, normalization: Normalization) -> Self:
        """Return a copy of this context with the given normalisation, or this context itself if that is its own."""
        if normalization == self.normalization:
            return self
        other = copy.copy(self)
        other.normalization = normalization
        other.early_networks = {}
        return other

    @property
    def train(self) -> Examples:
        return self.images.train

    @property
    def validation(self) -> Examples:
        return self.images.validation

    @property
    def test(self) -> Examples:
        return self.images.test

    def training(self, indices: np.ndarray) -> Examples:
        """Return the data set's training images at these indices."""
        return self.train if indices is self.train_indices else self.images.training(indices)

    @property
    def images(self) -> "DeviceImages":
        """The split's images in the context's normalisation; those of the two latest normalisations stay in memory."""
        loaded = next((images for images in self._images if images.normalization == self.normalization), None)
        images = loaded or DeviceImages(self)
        others = [entry for entry in self._images if entry is not images]
        self._images[:] = [*others, images][-_KEPT_NORMALIZATIONS:]
        return images

    def forget_images(self) -> None:
        """Free the images on the device; the next use loads them again."""
        self._images.clear()

    @property
    def validation_support(self) -> np.ndarray:
        """Number of validation images of each class."""
        return np.bincount(self.data.train_labels[self.validation_indices], minlength=len(self.data.classes))

    def filters(self, prunable: Iterable[str]) -> Filters:
        """Return the removable filters of the network, and the weights that are removed with each.

        Parameters
        ----------
        prunable : iterable of str
            State-dict names of the prunable weights.
        """
        model, shape = copy.deepcopy(self.model).eval(), self.data.image_shape
        calls = with_plain_layers(model, shape)
        return filters.removable(model, torch.zeros(1, *shape), list(prunable), calls=calls)

    @property
    def mlflow_dataset(self) -> MlflowDataset:
        """The data set as an MLflow data set, which runs log."""
        return MlflowDataset(self.data.name, self.data.digest, "local", json.dumps({"uri": self.data.source}))


class JobContext(Context):
    """A context in which a job makes runs.

    Parameters
    ----------
    context : Context
        Its data set, network and images are shared, not copied.
    store : Store
        Store that the runs are written to.
    job_run_id : str
        The job to which the runs belong.
    study : str
        Name of the study to which the runs belong, if any.
    """

    def __init__(self, context: Context, store: Store, job_run_id: str, study: str = "") -> None:
        vars(self).update(vars(context))
        self.store, self.job_run_id, self.study = store, job_run_id, study


class DeviceImages:
    """The images of a split on the device, in the normalisation and memory layout that a network needs."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self.normalization = context.normalization

    @cached_property
    def train(self) -> Examples:
        return self.training(self._context.train_indices)

    @cached_property
    def validation(self) -> Examples:
        return self.training(self._context.validation_indices)

    @cached_property
    def test(self) -> Examples:
        return self._examples(self._context.data.test_images, self._context.data.test_labels)

    def training(self, indices: np.ndarray) -> Examples:
        """Return the data set's training images at these indices."""
        return self._examples(self._context.data.train_images, self._context.data.train_labels, indices)

    def _examples(self, images: np.ndarray, labels: np.ndarray, indices: np.ndarray | None = None) -> Examples:
        layout = self._context.engine.layout or self._context.memory_format
        return to_device(images, labels, self.normalization, self._context.device, layout, indices)
