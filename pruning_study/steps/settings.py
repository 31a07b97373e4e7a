"""The options of a call with everything worked out that they leave open."""

import copy
import hashlib
import json
from dataclasses import fields, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from mlflow.entities import Dataset as MlflowDataset
from mlflow.entities import Run
from torch import Tensor, nn

from analysis.runs import schema
from analysis.runs.errors import StudyError
from analysis.runs.schema import text
from pruning_study import models
from pruning_study.config import ONE_SHOT, PruneConfig, TrainConfig
from pruning_study.data import datasets
from pruning_study.data.datasets import Dataset
from pruning_study.data.examples import Examples, Normalization, number_of_batches, seeded, to_device
from pruning_study.models import checkpoints
from pruning_study.options import option_name
from pruning_study.pruning import budget, schedules
from pruning_study.pruning.scores import needs
from pruning_study.steps import engine
from pruning_study.training import engines
from pruning_study.training.recipes import RECIPES, Schedule, scaled


class TrainSetting:
    """What a dense model is trained on, and how.

    Parameters
    ----------
    config : TrainConfig
    data : Dataset, optional
        The data set, where it has been read already.

    Raises
    ------
    StudyError
        Where the data set, the model, the weights or the device cannot be used.
    """

    def __init__(self, config: TrainConfig, data: Dataset | None = None) -> None:
        self.config = config
        self.released = config.protocol == "released"
        self.device = _device(config.device)
        models.set_threads(config.model)
        self.recipe = config.recipe or models.recipe(config.model)
        self.schedule = self._adapted(RECIPES[self.recipe].dense, config.epochs, config.learning_rate)
        self.data = data or datasets.load(config.dataset, data_dir=config.data_dir, image_size=config.image_size)
        self.train_indices, self.validation_indices = datasets.split(
            self.data.train_labels, config.validation_fraction, config.seed
        )
        self.weights, self.weights_metadata = self._given_weights()
        self.model = self._initial_model()
        self.memory_format = models.memory_format(self.model, self.data.image_shape)
        self.model.to(memory_format=self.memory_format)  # type: ignore[call-overload]

    @cached_property
    def engine(self) -> engines.Engine:
        """What trains; chosen at the first use, since the native engine may have to be compiled."""
        return engine.choose(
            self.config.engine,
            self.model,
            self.data.image_shape,
            device=self.device,
            augmentation=self.schedule.augmentation,
        )

    def _given_weights(self) -> tuple[dict[str, Tensor], checkpoints.Metadata]:
        return checkpoints.load(self.config.weights) if self.config.weights else ({}, {})

    def _adapted(self, schedule: Schedule, epochs: int | None, learning_rate: float | None) -> Schedule:
        config = self.config
        weight_decay = 0.0 if self.released else schedule.weight_decay
        adapted = replace(
            schedule,
            batch_size=config.batch_size or schedule.batch_size,
            momentum=schedule.momentum if config.momentum is None else config.momentum,
            weight_decay=weight_decay if config.weight_decay is None else config.weight_decay,
        )
        return scaled(adapted, epochs=epochs, learning_rate=learning_rate)

    def _initial_model(self) -> nn.Module:
        channels, height, width = self.data.image_shape
        with seeded(self.config.seed, "initial weights", torch.device("cpu")):
            model = models.build(
                self.config.model,
                num_classes=len(self.data.classes),
                in_channels=channels,
                image_size=(height, width),
            )
        if self.config.weights:
            checkpoints.load_weights(model, self.weights, str(self.config.weights))
        return model

    @cached_property
    def normalization(self) -> Normalization:
        """The one that the weights file names, else that of the training split."""
        channels = self.data.image_shape[0]
        named = checkpoints.normalization(self.weights_metadata, str(self.config.weights), channels)
        return named or Normalization(*datasets.normalization(self.data.train_images[self.train_indices]))

    @cached_property
    def train(self) -> Examples:
        return self._examples(self.data.train_images, self.data.train_labels, self.train_indices)

    @cached_property
    def validation(self) -> Examples:
        return self._examples(self.data.train_images, self.data.train_labels, self.validation_indices)

    @cached_property
    def test(self) -> Examples:
        return self._examples(self.data.test_images, self.data.test_labels, slice(None))

    def _examples(self, images: np.ndarray, labels: np.ndarray, chosen: np.ndarray | slice) -> Examples:
        layout = self.engine.layout or self.memory_format
        return to_device(images[chosen], labels[chosen], self.normalization, self.device, layout)

    @cached_property
    def params(self) -> dict[str, str]:
        """Every resolved setting that can change the dense model, as canonical text."""
        config = self.config
        params = {
            schema.DATASET: self.data.name,
            schema.DATASET_DIGEST: self.data.digest,
            schema.IMAGE_SHAPE: "x".join(str(side) for side in self.data.image_shape),
            schema.MODEL: config.model,
            schema.RECIPE: self.recipe,
            schema.PROTOCOL: config.protocol,
            schema.SEED: text(config.seed),
            schema.WEIGHT_DECAY: text(self.schedule.weight_decay),
            schema.VALIDATION_FRACTION: text(config.validation_fraction),
        }
        if digest := models.source_digest(config.model):
            params[schema.MODEL_DIGEST] = digest
        if config.weights:
            return params | {schema.WEIGHTS_DIGEST: hashlib.sha256(config.weights.read_bytes()).hexdigest()[:32]}
        return params | {
            **_loop_params(self.schedule),
            schema.EPOCHS: text(self.schedule.epochs),
            schema.LEARNING_RATE: text(self.schedule.learning_rate),
            schema.PHASES: str(self.schedule),
        }

    @property
    def name(self) -> str:
        return f"{self.data.name} {self.config.model} seed {self.config.seed}"

    @property
    def mlflow_dataset(self) -> MlflowDataset:
        return MlflowDataset(self.data.name, self.data.digest, "local", json.dumps({"uri": self.data.source}))


class PruneSetting(TrainSetting):
    """What a dense model is trained on, and what is done to it then.

    Parameters
    ----------
    config : PruneConfig
    data : Dataset, optional

    Raises
    ------
    StudyError
        As for `TrainSetting`, and where a ratio cannot be attained.
    """

    config: PruneConfig

    def __init__(self, config: PruneConfig, data: Dataset | None = None) -> None:
        super().__init__(config, data)
        self.pruner = "up-signed" if self.released and config.pruner == "up" else config.pruner
        self.fine_tuning = self._adapted(
            RECIPES[self.recipe].fine_tuning, config.fine_tune_epochs, config.fine_tune_learning_rate
        )
        self.gradient_objective = config.gradient_objective or ("data" if self.released else "regularized")
        self.gradient_batches = config.gradient_batches or (1 if self.released else None)
        self.gradient_mode = config.gradient_mode or ("train" if self.released else "eval")
        self.prunable = budget.prunable(self.model, output_layer=config.prune_output_layer)
        self.budget = budget.Budget.of(self.model, self.prunable)
        self._check_fine_tuning()
        for ratio in config.ratio:
            self.kept_numbers(ratio)

    def _check_fine_tuning(self) -> None:
        config, epochs = self.config, self.fine_tuning.epochs
        if not epochs and (config.is_gradual or config.distill):
            what = "gradual pruning" if config.is_gradual else "distillation"
            raise StudyError(f"0 leaves no fine-tuning, and {what} is part of it", option="--fine-tune-epochs")
        if not config.is_gradual:
            return
        batches = number_of_batches(len(self.train_indices), self.fine_tuning.batch_size)
        if config.ramp_steps > batches:
            raise StudyError(f"{config.ramp_steps} is above {batches}, the batches of an epoch", option="--ramp-steps")
        if schedules.last_step(config.ramp * epochs, config.ramp_steps) >= epochs * config.ramp_steps:
            longest = 1 - 1 / (epochs * config.ramp_steps)
            raise StudyError(
                f"{config.ramp:g} leaves no step behind the ramp (epochs of fine-tuning: {epochs}, steps of each: "
                f"{config.ramp_steps}): it takes at most {int(longest * 1e4) / 1e4:g}, or more --ramp-steps",
                option="--ramp",
            )

    @property
    def gradient_images(self) -> int:
        """Training images that a gradient is averaged over."""
        batches = self.gradient_batches or len(self.train_indices)
        return min(len(self.train_indices), batches * self.schedule.batch_size)

    def kept_numbers(self, ratio: float) -> tuple[int, ...]:
        """Numbers of prunable weights kept at the steps of the ramp, the last for good; errors as in `Budget.kept`."""
        kept = self.budget.kept(ratio, released=self.released)
        ramp = self.config.ramp * self.fine_tuning.epochs if self.config.is_gradual else 0.0
        return schedules.cubic(self.budget.prunable, kept, ramp=ramp, steps=self.config.ramp_steps)

    def at(self, **options: Any) -> "PruneSetting":
        """The same with another epsilon, schedule, ramp or distillation, sharing all that has been worked out.

        Parameters
        ----------
        options
            Options of `prune` that neither the dense model nor the data depend on.
        """
        other = copy.copy(self)
        other.config = replace(self.config, **options)
        other._check_fine_tuning()
        return other

    @property
    def epsilon(self) -> float:
        """UP's weight: lambda, or the papers' 5e-4 where lambda is 0, since 0 would make it GP."""
        if self.config.epsilon is not None:
            return self.config.epsilon
        return schema.PAPERS_EPSILON if self.released else self.schedule.weight_decay or schema.PAPERS_EPSILON

    def pruned_params(self, dense: dict[str, str], ratio: float) -> dict[str, str]:
        """Every resolved setting that can change the pruned model, as canonical text.

        Parameters
        ----------
        dense : dict of str
            The dense model's params.
        ratio : float
        """
        needed = needs(self.pruner)
        params = {
            **dense,
            **_loop_params(self.fine_tuning),
            schema.PRUNER: self.pruner,
            schema.RATIO: text(ratio),
            schema.GRADIENT_OBJECTIVE: self.gradient_objective if "grad" in needed else "none",
            schema.FINE_TUNE_EPOCHS: text(self.fine_tuning.epochs),
            schema.PRUNE_OUTPUT_LAYER: text(self.config.prune_output_layer),
            schema.SCHEDULE: self.config.schedule if self.config.is_gradual else ONE_SHOT,
            schema.DISTILL: text(self.config.distill),
        }
        if self.fine_tuning.epochs:
            params[schema.FINE_TUNE_LEARNING_RATE] = text(self.fine_tuning.learning_rate)
            params[schema.FINE_TUNE_PHASES] = str(self.fine_tuning)
        if self.config.is_gradual:
            of_the_ramp = (schema.RAMP, schema.RAMP_STEPS, schema.REGROW)
            params |= {name: text(getattr(self.config, name)) for name in of_the_ramp}
        if self.config.distill:
            params[schema.TEMPERATURE] = text(self.config.temperature)
        if "epsilon" in needed:
            params[schema.EPSILON] = text(self.epsilon)
        if "grad" in needed:
            params[schema.GRADIENT_BATCHES] = text(self.gradient_batches or "all")
            params[schema.GRADIENT_MODE] = self.gradient_mode
        return params

    @property
    def method(self) -> str:
        """As `PruneConfig.method`, of the pruner as it is logged."""
        return replace(self.config, pruner=self.pruner).method

    def pruned_name(self, *ratios: float) -> str:
        of_ratios = ",".join(f"{ratio:g}" for ratio in ratios)
        return f"{self.data.name} {self.config.model} {self.method} t={of_ratios} seed {self.config.seed}"


def following(config: PruneConfig, dense: Run) -> PruneConfig:
    """The options with those that make the dense model taken from a dense run.

    Parameters
    ----------
    config : PruneConfig
    dense : mlflow.entities.Run

    Raises
    ------
    StudyError
        Where the run is no finished dense run, or an option says something else than the run.
    """
    run_id = dense.info.run_id
    if dense.data.tags.get(schema.KIND) != schema.DENSE or dense.info.status != "FINISHED":
        kind = dense.data.tags.get(schema.KIND, "unknown")
        raise StudyError(
            f"run {run_id} is no finished dense run (kind {kind}, {dense.info.status})",
            option="--dense-run-id",
        )
    if config.weights:
        raise StudyError("the dense run has its weights already", option="--weights")
    taken = {}
    for item in fields(TrainConfig):
        if item.name not in FOLLOWED or item.name not in dense.data.params:
            continue
        given, there = getattr(config, item.name), item.metadata["check"](dense.data.params[item.name])
        said = datasets.dataset_name(given) if item.name == schema.DATASET else given
        if given != item.default and said != there:
            raise StudyError(f"{given} is not what dense run {run_id} has: {there}", option=option_name(item.name))
        if given == item.default:
            taken[item.name] = there
    height, width = (int(side) for side in dense.data.params.get(schema.IMAGE_SHAPE, "0x0x1").split("x")[1:])
    if config.image_size is None and height == width:
        taken["image_size"] = height
    return replace(config, **taken)


FOLLOWED = {
    schema.DATASET,
    schema.MODEL,
    schema.RECIPE,
    schema.PROTOCOL,
    schema.SEED,
    schema.EPOCHS,
    schema.BATCH_SIZE,
    schema.LEARNING_RATE,
    schema.MOMENTUM,
    schema.WEIGHT_DECAY,
    schema.VALIDATION_FRACTION,
}


def _loop_params(schedule: Schedule) -> dict[str, str]:
    return {
        schema.BATCH_SIZE: text(schedule.batch_size),
        schema.MOMENTUM: text(schedule.momentum),
        schema.AUGMENTATION: schedule.augmentation,
    }


def _device(name: str | None) -> str:
    if name == "cuda" and not torch.cuda.is_available():
        raise StudyError("torch finds no CUDA device here", option="--device")
    return name or ("cuda" if torch.cuda.is_available() else "cpu")
