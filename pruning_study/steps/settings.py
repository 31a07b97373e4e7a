"""Resolved options with their data set and model, and what they make of a network."""

import copy
import hashlib
import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import Field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self, TypeVar

import numpy as np
import torch
from mlflow.entities import Dataset as MlflowDataset
from mlflow.entities import Run
from torch import Tensor

from analysis.common.errors import StudyError
from analysis.common.printable import shortened
from analysis.runs import schema
from analysis.runs.options.commands import of_command
from analysis.runs.schema import text
from pruning_study import models
from pruning_study.data import datasets
from pruning_study.data.datasets import Dataset
from pruning_study.data.examples import Examples, Normalization, number_of_batches
from pruning_study.models import checkpoints, onnx_export
from pruning_study.options.config import IterateConfig, PruneConfig, TrainConfig
from pruning_study.pruning import budget, coupled_filters, filters, schedules, sparse_training
from pruning_study.pruning.coupled import is_transposed
from pruning_study.pruning.filters import Filters
from pruning_study.steps import given_classes
from pruning_study.steps.identity import config_hash
from pruning_study.steps.loaded import DeviceImages, Loaded
from pruning_study.steps.prune_plan import PrunePlan
from pruning_study.steps.resolved import (
    ResolvedPruning,
    check_average,
    check_decay,
    check_ramp,
    final_epochs,
    pruning_params,
    pruning_steps,
    resolve_pruning,
    resolve_training,
    training_params,
)
from pruning_study.training.engines import Engine
from pruning_study.training.mitigation import class_offsets, data_quotas
from pruning_study.training.recipes import Hyperparameters

# Options that `--dense-run-id` takes from the params of the dense run.
FOLLOWED = {name for name, record in of_command("train").items() if record.param}
# Those of them that say nothing about a network whose weights were given.
_OF_TRAINING = {"decay", "average_epochs", schema.OPTIMIZER}
Config = TypeVar("Config", TrainConfig, PruneConfig, IterateConfig)


class TrainSetting:
    """Options with their data and model, and hyperparameters for training a dense model.

    Parameters
    ----------
    config : TrainConfig
    data : Dataset, optional
        The data set, if it has been read already.
    loaded : Loaded, optional
        Data set and network, if they are in memory already: those of options that differ at most in pruning.
    normalization : Normalization, optional
        Normalisation of the model that is pruned or evaluated; by default the one of the training.

    Raises
    ------
    StudyError
        If the data set, the model, the weights or the device cannot be used.
    """

    default_validation_fraction = TrainConfig.validation_fraction

    def __init__(
        self,
        config: TrainConfig,
        data: Dataset | None = None,
        *,
        loaded: Loaded | None = None,
        normalization: Normalization | None = None,
    ) -> None:
        self.config = config
        self.training = resolve_training(config)
        self.loaded = loaded or Loaded(config, data, self.default_validation_fraction)
        self.data, self.model, self.device = self.loaded.data, self.loaded.model, self.loaded.device
        self.train_indices, self.validation_indices = self.loaded.train_indices, self.loaded.validation_indices
        self._own_normalization = normalization
        check_decay(self.training.hyperparameters, len(self.train_indices), "decay")
        check_average(self.training.hyperparameters, "average_epochs")

    @property
    def engine(self) -> Engine:
        """The training back end."""
        return self.loaded.engine

    def engine_of(self, hyperparameters: Hyperparameters) -> Engine:
        """Return the back end of a training, which may compute with quantised weights."""
        quantization = hyperparameters.quantization
        if quantization and quantization.while_training:
            return self.engine.with_weight_bits(quantization.bits)
        return self.engine

    @property
    def normalization(self) -> Normalization:
        return self._own_normalization or self.loaded.normalization

    def normalized_as(self, normalization: Normalization) -> Self:
        """Return this setting with another normalisation; the setting itself if its normalisation is the same.

        Parameters
        ----------
        normalization : Normalization
            Normalisation of the model that is pruned or evaluated.
        """
        if normalization == self.normalization:
            return self
        return type(self)(self.options, loaded=self.loaded, normalization=normalization)

    @property
    def options(self) -> TrainConfig:
        """The options that the setting is made of."""
        return self.config

    @property
    def images(self) -> DeviceImages:
        """The images in the setting's normalisation."""
        return self.loaded.images(self.normalization)

    @property
    def train(self) -> Examples:
        return self.images.train

    @property
    def validation(self) -> Examples:
        return self.images.validation

    @property
    def test(self) -> Examples:
        return self.images.test

    @cached_property
    def params(self) -> dict[str, str]:
        """Every resolved setting that can change the dense model, as canonical text."""
        config = self.config
        described = {
            schema.DATASET: self.data.name,
            schema.DATASET_DIGEST: self.data.digest,
            schema.IMAGE_SHAPE: "x".join(str(side) for side in self.data.image_shape),
        }
        if self.data.test_fraction is not None:
            described[schema.TEST_FRACTION] = text(self.data.test_fraction)
        if digest := models.source_digest(config.model):
            described[schema.MODEL_DIGEST] = digest
        if config.weights:
            described[schema.WEIGHTS_DIGEST] = self._weights_digest(config.weights)
        params = training_params(config, self.training, described)
        if self.data.validation_indices is not None:
            del params[schema.VALIDATION_FRACTION]
        return params

    def _weights_digest(self, weights: Path) -> str:
        """Return a digest of given weights, and of the order of their classes if it is not that of the data."""
        content, path = hashlib.sha256(weights.read_bytes()), self.config.class_names
        order = given_classes.places(path, self.data.classes) if path else []
        if order != sorted(order):
            content.update(json.dumps(order).encode())
        return content.hexdigest()[:32]

    @property
    def name(self) -> str:
        """Name of the dense run."""
        return self.named(schema.DENSE)

    def named(self, start: str, end: str = "", seed: str = "") -> str:
        """Return a run's name. MLflow shows about fifteen characters, so that what differs stands first."""
        parts = [start, f"s{seed or self.config.seed}", end, self.config.model, self.data.name]
        return " ".join(part for part in parts if part)

    @property
    def mlflow_dataset(self) -> MlflowDataset:
        return MlflowDataset(self.data.name, self.data.digest, "local", json.dumps({"uri": self.data.source}))


class PruneSetting(TrainSetting):
    """Options with their data and model, and how the model is pruned and fine-tuned: `plan` says it for a ratio.

    Parameters
    ----------
    config : PruneConfig
    data, loaded, normalization
        As for `TrainSetting`.

    Raises
    ------
    StudyError
        As for `TrainSetting`, and if the pruner cannot be used or a ratio cannot be attained.
    """

    config: PruneConfig

    def __init__(
        self,
        config: PruneConfig,
        data: Dataset | None = None,
        *,
        loaded: Loaded | None = None,
        normalization: Normalization | None = None,
    ) -> None:
        super().__init__(config, data, loaded=loaded, normalization=normalization)
        self.prunable = budget.prunable(
            self.model, output_layer=config.prune_output_layer, keep=config.keep_layers or ()
        )
        self.budget = self.training.protocol.budget(self.model, self.prunable)
        self.config = self.with_ratios(config)
        self.pruning = self._resolved_pruning()
        self.pruning_steps = pruning_steps(self.config, self.pruning.fine_tuning, len(self.train_indices))
        self._check_fine_tuning(len(self.train_indices))
        self._filter_numbers: dict[float, dict[str, int]] = {}
        self._check_ratios("sparsity" if config.sparsity else "ratio")
        if config.class_offsets != "none":
            class_offsets.check(self.model, self.data.image_shape, self.validation_support, self.data.classes)

    def _check_ratios(self, option: str) -> None:
        """Raise a StudyError if a ratio cannot be attained."""
        for ratio in self.config.ratio:
            if self.pruning.pruner.unit == "filter":
                self.filter_numbers(ratio, option)  # an error where a layer has none left
            numbers = self.kept_numbers(ratio)
            if self.pruning.pruner.unit == "channel":
                budget.check_channels(self.prunable_shapes, numbers[-1], option)

    def _check_fine_tuning(self, images: int) -> None:
        """Raise a StudyError if the fine-tuning on so many images has too few steps for what the options ask."""
        training = self.pruning.fine_tuning
        check_ramp(self.config, training, images)
        check_decay(training, images, "fine_tune_decay")
        option = "average_epochs" if self.config.starts_anew else "fine_tune_average_epochs"
        check_average(training, option, final_epochs(self.config, training, images))

    @property
    def validation_support(self) -> np.ndarray:
        """Number of validation images of each class."""
        return np.bincount(self.data.train_labels[self.validation_indices], minlength=len(self.data.classes))

    @property
    def prunable_shapes(self) -> dict[str, torch.Size]:
        """Shapes of the prunable weights by their state-dict names, with the input channels along axis 1."""
        weights = {name: self.model.get_parameter(name) for name in self.prunable}
        return {name: tensor.shape for name, tensor in self.inputs_second(weights).items()}

    def inputs_second(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return tensors of weights with axes 0 and 1 exchanged where a transposed convolution has its inputs along 0.

        Called twice, it changes nothing.
        """
        transposed = {f"{name}.weight" for name, module in self.model.named_modules() if is_transposed(module)}
        return {
            name: tensor.transpose(0, 1).contiguous() if name in transposed else tensor
            for name, tensor in tensors.items()
        }

    @cached_property
    def filters(self) -> Filters:
        """The filters of the network that can be removed, and what goes with them."""
        model = copy.deepcopy(self.model).eval()
        image = torch.zeros(1, *self.data.image_shape)
        return coupled_filters.removable(model, image, self.prunable, calls=onnx_export.with_plain_layers(model))

    def filter_numbers(self, ratio: float, option: str = "ratio") -> dict[str, int]:
        """Return how many filters each convolution keeps at a ratio.

        Parameters
        ----------
        ratio : float
        option : str
            The option that says how much is pruned, for the error.

        Raises
        ------
        StudyError
            If no filter can be removed, or if one of each convolution leaves too many parameters.
        """
        if ratio not in self._filter_numbers:
            total, numbers = self.budget.total, self.filters.numbers

            def count_parameters(numbers: Mapping[str, int]) -> int:
                return total - filters.removed(self.filters, numbers)

            self.budget.check_filters(ratio, count_parameters(dict.fromkeys(numbers, 1)), option)
            shares = filters.shares(self.config.model, numbers, ratio)
            self._filter_numbers[ratio] = budget.nearest_filters(
                numbers, shares, count_parameters, round(total / ratio)
            )
        return self._filter_numbers[ratio]

    def with_ratios(self, config: PruneConfig) -> PruneConfig:
        """Return options for this network in which ratios stand for the sparsities.

        Raises
        ------
        StudyError
            If a sparsity keeps no weight, or two keep as many.
        """
        if not config.sparsity:
            return config
        ratios = tuple(map(self.budget.ratio_of, config.sparsity))
        if len(set(ratios)) < len(ratios):
            raise StudyError("two sparsities keep as many weights of this network", option="sparsity")
        return replace(config, ratio=ratios, sparsity=None)

    def _resolved_pruning(self) -> ResolvedPruning:
        return resolve_pruning(self.config, self.training)

    def kept_numbers(self, ratio: float, remaining: int | None = None) -> tuple[int, ...]:
        """Return the numbers of prunable weights kept at the steps of the ramp, the last one for good.

        Parameters
        ----------
        ratio : float
        remaining : int, optional
            Number of prunable weights that are not pruned yet; all of them by default.

        Raises
        ------
        StudyError
            If the ratio keeps no weight, or more than are left.
        """
        return tuple(self.kept_at(ratio, remaining).values())

    def kept_at(self, ratio: float, remaining: int | None = None, images: int | None = None) -> dict[int, int]:
        """Return from which step of the training on each of the `kept_numbers` is kept; errors as there.

        Parameters
        ----------
        ratio : float
        remaining : int, optional
            Number of prunable weights that are not pruned yet; all of them by default.
        images : int, optional
            Number of images of the training that follows or accompanies pruning; all for training by default.

        Returns
        -------
        dict of int to int
            Batch of that training -> number of weights kept from it on.
        """
        remaining = self.budget.prunable if remaining is None else remaining
        n_kept = self._finally_kept(ratio, remaining)
        if n_kept > remaining:
            raise StudyError(
                f"{ratio:g} keeps {n_kept:,} prunable weights, and the run that it starts from has {remaining:,} left: "
                "take a larger ratio",
                option="ratio",
            )
        if self.config.is_sparse_from_start:
            return sparse_training.exchanges(n_kept, **self.pruning_steps)
        if self.pruning_steps:
            return {0: remaining} | schedules.while_training(remaining, n_kept, **self.pruning_steps)
        ramp = self.config.ramp * self.pruning.fine_tuning.epochs if self.config.is_gradual else 0.0
        numbers = schedules.cubic(remaining, n_kept, ramp=ramp, steps=self.config.ramp_steps)
        batches = number_of_batches(images or len(self.train_indices), self.pruning.fine_tuning.batch_size)
        return schedules.at_batches(numbers, self.config.ramp_steps, batches)

    def _finally_kept(self, ratio: float, remaining: int) -> int:
        pruner = self.pruning.pruner
        if pruner.unit == "filter":
            return self.budget.prunable - filters.removed(self.filters, self.filter_numbers(ratio), self.prunable)
        return self.budget.kept_weights(ratio) if pruner.prunes else remaining

    def at(self, **options: Any) -> "PruneSetting":
        """Return the setting of other options of pruning, sharing the data and the model.

        Parameters
        ----------
        options
            Options of `prune` that neither the dense model nor the data depend on.
        """
        return PruneSetting(replace(self.config, **options), loaded=self.loaded)

    def fine_tuning_indices(self, recall: np.ndarray) -> np.ndarray:
        """Return the indices of the training images that `--data-quotas` keeps for fine-tuning; of all without it.

        Parameters
        ----------
        recall : (classes,)
            Recall of each class on validation images, of the network that is pruned.

        Raises
        ------
        StudyError
            If no image of a class is kept, or if an epoch of fine-tuning has fewer batches than steps of the ramp.
        """
        config, data = self.config, self.data
        if config.data_quotas == "none":
            return self.train_indices
        indices = data_quotas.chosen(
            *(data.train_labels, self.train_indices, recall, config.data_density),
            seed=config.seed,
            classes=data.classes,
        )
        self._check_fine_tuning(len(indices))
        return indices

    def plan(
        self,
        ratio: float,
        dense: Mapping[str, str],
        parent_hash: str = "",
        *,
        iteration: int = 1,
        remaining: int | None = None,
        images: int | None = None,
    ) -> PrunePlan:
        """Work out what a pruned run will be.

        Parameters
        ----------
        ratio : float
        dense : mapping of str
            Params of the dense run at the root.
        parent_hash : str
            Hash of the run that is pruned.
        iteration : int
            Number of prunings since the dense run, this one included.
        remaining, images
            As `kept_at` takes them.

        Raises
        ------
        StudyError
            If the ratio keeps no weight, or more than are left.
        """
        n_kept = self._finally_kept(ratio, self.budget.prunable)
        own = pruning_params(self.config, self.pruning, ratio, iteration, self.pruning_steps)
        params = {**dense, **own, schema.SPARSITY: text(self.budget.sparsity_of(n_kept))}
        if self.pruning.pruner.unit == "filter" and self.filters.is_coupled:
            params[schema.CHANNEL_GROUPS] = schema.TORCH_PRUNING
        return PrunePlan(
            ratio=ratio,
            kept_numbers=self.kept_at(ratio, remaining, images),
            steps=self.pruning_steps,
            params=params,
            name=self.pruned_name(ratio, iteration=iteration, seed=dense.get(schema.SEED, "")),
            hash=config_hash(schema.PRUNED, params, parent_hash),
        )

    @property
    def method(self) -> str:
        """`PruneConfig.method` with the pruner as it is logged."""
        return replace(self.config, pruner=self.pruning.pruner.name).method

    def pruned_name(self, *ratios: float, iteration: int = 1, seed: str = "") -> str:
        again = f" iteration {iteration}" if iteration > 1 else ""
        return self.named(_times(ratios), f"{self.method}{again}", seed)

    @property
    def job_name(self) -> str:
        return self.named("prune", f"{self.method} {_times(self.config.ratio)}")


def _times(ratios: Iterable[float]) -> str:
    """Return ratios as they stand in names: 2,10x is pruned to a half, and to a tenth."""
    return ",".join(f"{ratio:.5g}" for ratio in ratios) + "x"


def following(config: Config, dense: Run, option: str | None = "dense_run_id") -> Config:
    """Return the options, with the options of the dense model taken from a dense run.

    Parameters
    ----------
    config : TrainConfig, PruneConfig or IterateConfig
    dense : mlflow.entities.Run
    option : str, optional
        The option that named the run, for errors about it.

    Raises
    ------
    StudyError
        If the run is not a finished dense run, if an option contradicts it, or if its model is the user's own and the
        options do not name it.
    """
    where = f"dense run {dense.info.run_id}"
    check_finished(dense, [schema.DENSE], option)
    if config.weights:
        raise StudyError("the dense run has its weights already", option="weights")
    is_given = schema.WEIGHTS_DIGEST in dense.data.params
    needs_initial_weights = {
        "start": isinstance(config, PruneConfig) and config.starts_anew,
        "weight_treatment": isinstance(config, IterateConfig) and config.rewinds,
    }
    for name, needs in needs_initial_weights.items():
        if needs and is_given:
            raise StudyError(f"{where} was not trained here, so its initial weights are not known", option=name)
    followed = {}
    for item in fields(config):
        if item.name not in FOLLOWED:
            continue
        if item.name in dense.data.params:
            dense_value = _followed(item, dense.data.params[item.name], where, option)
        elif item.name in schema.FORMERLY and not (is_given and item.name in _OF_TRAINING):
            legacy_default = schema.FORMERLY[item.name]
            dense_value = (
                None if legacy_default == "none" and item.default is None else item.metadata["check"](legacy_default)
            )
        else:
            continue
        value = getattr(config, item.name)
        logged_value = datasets.dataset_name(value) if item.name == schema.DATASET else value
        if value != item.default:
            if logged_value != dense_value:
                has = "none" if dense_value is None else text(dense_value)
                raise StudyError(f"{text(value)} is not what {where} has: {has}", option=item.name)
            continue
        if item.name == schema.MODEL:
            models.check_built_in(dense_value, where, lambda path: f"--model {path}", option=models.OPTION)
        if item.name == schema.DATASET and datasets.is_path(dense_value):
            raise StudyError(f"{where} names the path {shortened(dense_value)}: give its data", option="dataset")
        followed[item.name] = dense_value
    if schema.IMAGE_SHAPE in dense.data.params:
        _, height, width = checkpoints.image_shape(dense.data.params[schema.IMAGE_SHAPE], where, option=option)
        if config.image_size is None and height == width:
            followed["image_size"] = height
    return replace(config, **followed)


def check_finished(run: Run, kinds: Collection[str], option: str | None = None) -> None:
    """Check that a run which the user names is a finished run of one of the kinds.

    Raises
    ------
    StudyError
        If it is not, or is deleted.
    """
    run_id, kind = run.info.run_id, run.data.tags.get(schema.KIND, "unknown")
    if kind not in kinds or run.info.status != "FINISHED":
        root = run.data.tags.get(schema.DENSE_RUN_ID)
        is_known = root and kind not in kinds and schema.DENSE in kinds
        hint = f"its dense run is {shortened(str(root))[1:-1]}" if is_known else "name one that is"
        *first_kinds, last = kinds
        kind_names = f"{', '.join(first_kinds)} or {last}" if first_kinds else last
        raise StudyError(
            f"run {run_id} is not a finished {kind_names} run (kind {shortened(kind)[1:-1]}, {run.info.status}): "
            f"{hint}",
            option=option,
        )
    if run.info.lifecycle_stage != "active":
        raise StudyError(f"run {run_id} is deleted: mlflow runs restore --run-id {run_id}", option=option)


def _followed(item: Field[Any], param: str, where: str, option: str | None) -> Any:
    """Return the value of an option that a dense run's param holds."""
    try:
        return item.metadata["check"](param)
    except ValueError as error:
        raise StudyError(f"{where}: its param {item.name}: {error}", option=option) from None
