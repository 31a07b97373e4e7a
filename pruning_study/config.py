"""The options of every command: names, defaults, checks and help stand here and nowhere else.

A field's check turns what was typed into the value, and raises ValueError with what it takes. The click
options and the parameters in MLproject are made from these fields or held against them. None stands for
`auto`: worked out from the other options and the data.
"""

import math
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from analysis.runs.errors import StudyError
from pruning_study.options import (
    AUTO,
    boolean,
    check_fields,
    checked_value,
    choice,
    gpu_share,
    integer,
    nonempty_text,
    option,
    path,
    positive_range,
    same_option,
    several,
    within,
)
from pruning_study.protocols import PROTOCOLS
from pruning_study.pruning import pruners
from pruning_study.pruning.pruners import PRUNERS, SCOPES
from pruning_study.training.recipes import RECIPES

ONE_SHOT = "one-shot"
CUBIC = "cubic"
SCHEDULES = (ONE_SHOT, CUBIC)


_ratios = several(within(1, math.inf, low_too=True))


def _pruner_name(value: str) -> str:
    try:
        pruners.check_name(value)
    except StudyError as error:
        raise ValueError(str(error)) from None
    return value


@dataclass(frozen=True)
class TrainConfig:
    """Options of `train`. Every value may be given as text, as on the command line.

    Raises
    ------
    StudyError
        Where a value is not what its option takes.
    """

    dataset: str = option("fashion-mnist-mini", nonempty_text, "Data set: a name, an .npz file or a folder of images.")
    model: str = option("lenet5", nonempty_text, "lenet5, resnet20|32|44|56|110, or package.module:factory.")
    weights: Path | None = option(
        AUTO, path, "Trained weights, .safetensors: the dense model without training. Auto: train."
    )
    recipe: str | None = option(
        AUTO, choice(RECIPES), f"Training schedule, {' or '.join(RECIPES)}. Auto: the model's own."
    )
    protocol: str = option("paper", choice(PROTOCOLS), "paper, its text; or released, what its code does instead.")
    seed: int = option("0", integer(0), "Of initial weights, batch order, validation split and random scores.")
    epochs: int | None = option(AUTO, integer(1), "Epochs of dense training. Auto: the recipe's.")
    batch_size: int | None = option(AUTO, integer(1), "Auto: the recipe's.")
    learning_rate: float | None = option(AUTO, within(0, math.inf), "Of the first phase. Auto: the recipe's.")
    momentum: float | None = option(AUTO, within(0, 1, low_too=True), "Nesterov's. Auto: the recipe's.")
    weight_decay: float | None = option(AUTO, within(0, math.inf, low_too=True), "Auto: the recipe's.")
    validation_fraction: float = option("0.1", within(0, 1), "Share of the training data held out to choose epochs.")
    device: str | None = option(AUTO, choice(("cpu", "cuda")), "cpu or cuda. Auto: cuda where there is one.")
    engine: str | None = option(
        AUTO, choice(("torch", "native")), "torch, or native, compiled here. Auto: native where it can be."
    )
    data_dir: Path = option(AUTO, path, "Folder of the data sets. Auto: $PRUNING_STUDY_DATA, or data.")
    image_size: int | None = option(AUTO, integer(1), "Resize images to this height and width. Auto: as they are.")
    experiment: str | None = option(AUTO, nonempty_text, "MLflow experiment. Auto: the current one.")
    force: bool = option("false", boolean, "Train anew what is there already.")

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True)
class PruneConfig(TrainConfig):
    """Options of `prune`: those of the dense model, and what is done to it."""

    pruner: str = option("mp", _pruner_name, f"Method: {', '.join(PRUNERS)}.")
    ratio: tuple[float, ...] = option(
        AUTO, _ratios, "Parameters before / after; several as 2,4,10. Auto: 10, and 1 for the pruner none."
    )
    scope: str | None = option(AUTO, choice(SCOPES), "TODO")
    epsilon: float | None = option(
        AUTO,
        within(0, math.inf, low_too=True),
        "Weight of UP's undecay term. Auto: the weight decay, or 5e-4 where 0.",
    )
    dense_run_id: str | None = option(
        AUTO, nonempty_text, "Dense run to start from. Auto: found by its options, or made."
    )
    gradient_objective: str | None = option(
        AUTO, choice(("regularized", "data")), "regularized, with weight decay, or data, without. Auto: regularized."
    )
    gradient_batches: int | None = option(
        AUTO, integer(1), "Batches that the gradient is averaged over. Auto: the whole training set."
    )
    gradient_mode: str | None = option(
        AUTO,
        choice(("eval", "train")),
        "eval, BatchNorm's running statistics, or train, the batch's, and augmented. Auto: eval.",
    )
    fine_tune_epochs: int | None = option(AUTO, integer(0), "Epochs after pruning; 0: as pruned. Auto: the recipe's.")
    fine_tune_learning_rate: float | None = option(
        AUTO, within(0, math.inf), "Of fine-tuning's first phase. Auto: the recipe's."
    )
    prune_output_layer: bool = option("false", boolean, "Prune the output layer's weights too.")
    schedule: str = option("one-shot", choice(SCHEDULES), "one-shot, or cubic: gradually, while fine-tuning.")
    ramp: float = option(
        "0.5", within(0, 1, low_too=True), "Share of the fine-tuning over which cubic prunes; 0: at once."
    )
    ramp_steps: int = option("1", integer(1), "How often in an epoch cubic prunes.")
    regrow: bool = option("false", boolean, "May a weight that cubic pruned come back while it prunes? Or --no-regrow.")
    distill: float = option(
        "0",
        within(0, 1, low_too=True, high_too=True),
        "Weight of the dense network's soft predictions beside the labels while fine-tuning, 0 to 1.",
    )
    temperature: float = option("2", within(0, math.inf), "That logits are divided by, with --distill.")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.ratio is None:
            object.__setattr__(self, "ratio", (10.0,) if pruners.prunes(self.pruner) else (1.0,))
        if not pruners.prunes(self.pruner) and self.ratio != (1.0,):
            raise StudyError(
                f"the pruner {self.pruner} prunes nothing: it takes ratio 1 and no other", option="--ratio"
            )

    @property
    def is_gradual(self) -> bool:
        """Whether there is a ramp; over none of the epochs it is one shot, and `none` prunes nothing."""
        return self.schedule != ONE_SHOT and self.ramp > 0 and pruners.prunes(self.pruner)

    @property
    def method(self) -> str:
        """The pruner, and how it is gone about where that is not one shot by the labels."""
        gradual = [self.schedule] if self.is_gradual else []
        distilled = [f"distill {self.distill:g}"] if self.distill else []
        return " ".join([self.pruner, *gradual, *distilled])


@dataclass(frozen=True)
class StudyConfig:
    """Options of `study`, beside its file: where and how to run it; what it holds stands in the file."""

    workers: int | None = option(AUTO, integer(1), "Processes that train at once, one thread each. Auto: one a core.")
    executor: str = option(
        "processes", choice(("processes", "ray")), "Of this machine, or the Ray cluster that is running."
    )
    gpus_per_step: float = option("0", gpu_share, "GPUs, or a share of one, with ray.")
    dry_run: bool = option("false", boolean, "Show the grid, what is there of it and how long the rest takes.")
    protocol: str | None = option(AUTO, choice(PROTOCOLS), "paper or released. Auto: the file's, or paper.")
    device: str | None = same_option(TrainConfig, "device")
    engine: str | None = same_option(TrainConfig, "engine")
    data_dir: Path = same_option(TrainConfig, "data_dir")
    experiment: str | None = same_option(TrainConfig, "experiment")

    def __post_init__(self) -> None:
        check_fields(self)
        if self.executor == "ray" and self.workers:
            raise StudyError("a Ray cluster has as many workers as it has cores", option="--workers")
        if self.executor != "ray" and self.gpus_per_step:
            raise StudyError("it is for --executor ray", option="--gpus-per-step")


OBJECTIVES = ("accuracy", "alpha", "both")
ANCHORS = 3


@dataclass(frozen=True)
class TuneConfig:
    """Options of `tune`: those of dense model and fine-tuning as in `prune`, and what is searched."""

    dataset: str = same_option(TrainConfig, "dataset")
    model: str = same_option(TrainConfig, "model")
    recipe: str | None = same_option(TrainConfig, "recipe")
    protocol: str = same_option(TrainConfig, "protocol")
    seeds: tuple[int, ...] = option("0,1,2", several(integer(0)), "Of the dense models that every trial prunes.")
    ratio: tuple[float, ...] = option("10", _ratios, "Parameters before / after; several as 5,10 are searched too.")
    objective: str = option(
        "accuracy", choice(OBJECTIVES), "On validation images: accuracy, alpha (least distortion), or both."
    )
    epsilon_range: tuple[float, float] = option(
        "1e-8,1e2", positive_range, "Ends of the range of epsilon, searched on a log scale."
    )
    tune_schedule: bool = option("false", boolean, "Search ramp and distillation too, with anchors of both schedules.")
    n_trials: int = option(
        "20", integer(1), "Trials in all, the three anchors of each ratio, or six of both schedules, included."
    )
    timeout: float | None = option(
        AUTO, within(0, math.inf), "Seconds after which no trial starts but an anchor. Auto: none."
    )
    confirm_seeds: int = option(
        "0", integer(0), "Dense models that the search never saw, to compare winner and anchors on."
    )
    study_name: str | None = option(
        AUTO, nonempty_text, "Of the search, to go on with it. Auto: made from the options."
    )
    epochs: int | None = same_option(TrainConfig, "epochs")
    batch_size: int | None = same_option(TrainConfig, "batch_size")
    learning_rate: float | None = same_option(TrainConfig, "learning_rate")
    momentum: float | None = same_option(TrainConfig, "momentum")
    weight_decay: float | None = same_option(TrainConfig, "weight_decay")
    validation_fraction: float = same_option(TrainConfig, "validation_fraction")
    gradient_objective: str | None = same_option(PruneConfig, "gradient_objective")
    gradient_batches: int | None = same_option(PruneConfig, "gradient_batches")
    gradient_mode: str | None = same_option(PruneConfig, "gradient_mode")
    fine_tune_epochs: int | None = same_option(PruneConfig, "fine_tune_epochs")
    fine_tune_learning_rate: float | None = same_option(PruneConfig, "fine_tune_learning_rate")
    prune_output_layer: bool = same_option(PruneConfig, "prune_output_layer")
    scope: str | None = same_option(PruneConfig, "scope")
    schedule: str = same_option(PruneConfig, "schedule")
    ramp: float = same_option(PruneConfig, "ramp")
    ramp_steps: int = same_option(PruneConfig, "ramp_steps")
    regrow: bool = same_option(PruneConfig, "regrow")
    distill: float = same_option(PruneConfig, "distill")
    temperature: float = same_option(PruneConfig, "temperature")
    device: str | None = same_option(TrainConfig, "device")
    engine: str | None = same_option(TrainConfig, "engine")
    data_dir: Path = same_option(TrainConfig, "data_dir")
    image_size: int | None = same_option(TrainConfig, "image_size")
    experiment: str | None = same_option(TrainConfig, "experiment")

    def __post_init__(self) -> None:
        check_fields(self)
        of_a_ratio = ANCHORS * (2 if self.tune_schedule else 1)
        anchors = of_a_ratio * len(self.ratio)
        if self.n_trials < anchors:
            raise StudyError(
                f"{self.n_trials} is below {anchors}: each ratio has {of_a_ratio} anchors, which come first",
                option="--n-trials",
            )
        if self.tune_schedule and self.schedule != ONE_SHOT:
            raise StudyError(f"{self.schedule}: the search sets it with --tune-schedule", option="--schedule")
        if self.tune_schedule and not self.ramp:
            raise StudyError("0 is one shot: with --tune-schedule it is the ramp of gradual anchors", option="--ramp")
        if self.confirm_seeds == 1:
            raise StudyError("1: a paired comparison takes 2 or more", option="--confirm-seeds")

    def pruning(self, seed: int) -> PruneConfig:
        """The options of `prune` with a seed."""
        shared = {item.name for item in fields(self)} & {item.name for item in fields(PruneConfig)}
        return PruneConfig(pruner="up", seed=seed, **{name: getattr(self, name) for name in shared})


def checked(name: str, value: Any) -> Any:
    """The value of an option of `prune`, given as text or as it is.

    Raises
    ------
    StudyError
        Where it is not what the option takes.
    """
    return checked_value(next(item for item in fields(PruneConfig) if item.name == name), value)
