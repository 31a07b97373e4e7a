"""The options of every command: names, defaults, checks and help stand here and nowhere else.

A field's check turns what was typed into the value, and raises ValueError with what it takes. The click
options and the parameters in MLproject are made from these fields or held against them. None stands for
`auto`: worked out from the other options and the data.
"""

import math
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from analysis.runs.errors import StudyError, did_you_mean
from pruning_study.pruning.scores import PRUNERS
from pruning_study.training.recipes import RECIPES

AUTO = "auto"
LARGEST = 2**31 - 1
PROTOCOLS = ("paper", "released")
ONE_SHOT = "one-shot"
CUBIC = "cubic"
SCHEDULES = (ONE_SHOT, CUBIC)
Check = Callable[[str], Any]


def _text(value: str) -> str:
    if not value.strip():
        raise ValueError("is empty")
    return value


def _path(value: str) -> Path:
    try:
        return Path(_text(value)).expanduser()
    except RuntimeError as error:
        raise ValueError(f"{value!r}: {error}") from None


def _integer(minimum: int) -> Check:
    def check(value: str) -> int:
        try:
            number = int(value)
        except ValueError:
            raise ValueError(f"{value!r} is not a whole number") from None
        if number < minimum:
            raise ValueError(f"{value} is below {minimum}")
        if number > LARGEST:
            raise ValueError(f"{value} is above {LARGEST}")
        return number

    return check


def _number(value: str) -> float:
    try:
        number = float(value)
    except ValueError:
        raise ValueError(f"{value!r} is not a number") from None
    if not math.isfinite(number):
        raise ValueError(f"{value} is not a finite number")
    return number


def _within(low: float, high: float, *, low_too: bool = False, high_too: bool = False) -> Check:
    def check(value: str) -> float:
        number = _number(value)
        if not (low < number < high or (low_too and number == low) or (high_too and number == high)):
            bounds = f"at least {low:g}" if low_too else f"above {low:g}"
            if high < math.inf:
                bounds += f" and at most {high:g}" if high_too else f" and below {high:g}"
            raise ValueError(f"{value} should be {bounds}")
        return number

    return check


def _choice(names: Iterable[str]) -> Check:
    def check(value: str) -> str:
        if value in names:
            return value
        raise ValueError(f"{value!r}: {did_you_mean(value, names)}")

    return check


def _boolean(value: str) -> bool:
    try:
        return {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}[value.lower()]
    except KeyError:
        raise ValueError(f"{value!r} is neither true nor false") from None


def _several(check: Check) -> Check:
    """Values between commas, no two the same."""

    def checked(value: str) -> tuple[Any, ...]:
        values = tuple(check(item.strip()) for item in value.split(","))
        if twice := [item for item in values if values.count(item) > 1]:
            raise ValueError(f"{value}: {twice[0]:.12g} stands there twice")
        return values

    return checked


_ratios = _several(_within(1, math.inf, low_too=True))


def _gpus(value: str) -> float:
    number = _within(0, math.inf, low_too=True)(value)
    if number > 1 and number % 1:
        raise ValueError(f"{value} should be a share below 1, or whole")
    return number


def _range(value: str) -> tuple[float, float]:
    ends = tuple(_within(0, math.inf)(item.strip()) for item in value.split(","))
    if len(ends) != 2 or ends[0] >= ends[1]:
        raise ValueError(f"{value!r}: it takes two numbers, the smaller one first, as 1e-8,1e2")
    return ends[0], ends[1]


def _data_dir() -> str:
    return os.environ.get("PRUNING_STUDY_DATA") or "data"


def _option(default: Any, check: Check, help: str) -> Any:
    """A field whose default is text, as typed; `auto` stands for None."""
    auto = default == AUTO
    return field(default=None if auto else check(default), metadata={"check": check, "auto": auto, "help": help})


@dataclass(frozen=True)
class TrainConfig:
    """Options of `train`. Every value may be given as text, as on the command line.

    Raises
    ------
    StudyError
        Where a value is not what its option takes.
    """

    dataset: str = _option("fashion-mnist-mini", _text, "Data set: a name, an .npz file or a folder of images.")
    model: str = _option("lenet5", _text, "lenet5, resnet20|32|44|56|110, or package.module:factory.")
    weights: Path | None = _option(
        AUTO, _path, "Trained weights, .safetensors: the dense model without training. Auto: train."
    )
    recipe: str | None = _option(
        AUTO, _choice(RECIPES), f"Training schedule, {' or '.join(RECIPES)}. Auto: the model's own."
    )
    protocol: str = _option("paper", _choice(PROTOCOLS), "paper, its text; or released, what its code does instead.")
    seed: int = _option("0", _integer(0), "Of initial weights, batch order, validation split and random scores.")
    epochs: int | None = _option(AUTO, _integer(1), "Epochs of dense training. Auto: the recipe's.")
    batch_size: int | None = _option(AUTO, _integer(1), "Auto: the recipe's.")
    learning_rate: float | None = _option(AUTO, _within(0, math.inf), "Of the first phase. Auto: the recipe's.")
    momentum: float | None = _option(AUTO, _within(0, 1, low_too=True), "Nesterov's. Auto: the recipe's.")
    weight_decay: float | None = _option(AUTO, _within(0, math.inf, low_too=True), "Auto: the recipe's.")
    validation_fraction: float = _option("0.1", _within(0, 1), "Share of the training data held out to choose epochs.")
    device: str | None = _option(AUTO, _choice(("cpu", "cuda")), "cpu or cuda. Auto: cuda where there is one.")
    engine: str | None = _option(
        AUTO, _choice(("torch", "native")), "torch, or native, compiled here. Auto: native where it can be."
    )
    data_dir: Path = _option(AUTO, _path, "Folder of the data sets. Auto: $PRUNING_STUDY_DATA, or data.")
    image_size: int | None = _option(AUTO, _integer(1), "Resize images to this height and width. Auto: as they are.")
    experiment: str | None = _option(AUTO, _text, "MLflow experiment. Auto: the current one.")
    force: bool = _option("false", _boolean, "Train anew what is there already.")

    def __post_init__(self) -> None:
        _check(self)


@dataclass(frozen=True)
class PruneConfig(TrainConfig):
    """Options of `prune`: those of the dense model, and what is done to it."""

    pruner: str = _option("mp", _choice(PRUNERS), f"Method: {', '.join(PRUNERS)}.")
    ratio: tuple[float, ...] = _option(
        AUTO, _ratios, "Parameters before / after; several as 2,4,10. Auto: 10, and 1 for the pruner none."
    )
    epsilon: float | None = _option(
        AUTO,
        _within(0, math.inf, low_too=True),
        "Weight of UP's undecay term. Auto: the weight decay, or 5e-4 where 0.",
    )
    dense_run_id: str | None = _option(AUTO, _text, "Dense run to start from. Auto: found by its options, or made.")
    gradient_objective: str | None = _option(
        AUTO, _choice(("regularized", "data")), "regularized, with weight decay, or data, without. Auto: regularized."
    )
    gradient_batches: int | None = _option(
        AUTO, _integer(1), "Batches that the gradient is averaged over. Auto: the whole training set."
    )
    gradient_mode: str | None = _option(
        AUTO,
        _choice(("eval", "train")),
        "eval, BatchNorm's running statistics, or train, the batch's, and augmented. Auto: eval.",
    )
    fine_tune_epochs: int | None = _option(AUTO, _integer(0), "Epochs after pruning; 0: as pruned. Auto: the recipe's.")
    fine_tune_learning_rate: float | None = _option(
        AUTO, _within(0, math.inf), "Of fine-tuning's first phase. Auto: the recipe's."
    )
    prune_output_layer: bool = _option("false", _boolean, "Prune the output layer's weights too.")
    schedule: str = _option("one-shot", _choice(SCHEDULES), "one-shot, or cubic: gradually, while fine-tuning.")
    ramp: float = _option(
        "0.5", _within(0, 1, low_too=True), "Share of the fine-tuning over which cubic prunes; 0: at once."
    )
    ramp_steps: int = _option("1", _integer(1), "How often in an epoch cubic prunes.")
    regrow: bool = _option(
        "false", _boolean, "May a weight that cubic pruned come back while it prunes? Or --no-regrow."
    )
    distill: float = _option(
        "0",
        _within(0, 1, low_too=True, high_too=True),
        "Weight of the dense network's soft predictions beside the labels while fine-tuning, 0 to 1.",
    )
    temperature: float = _option("2", _within(0, math.inf), "That logits are divided by, with --distill.")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.ratio is None:
            object.__setattr__(self, "ratio", (1.0,) if self.pruner == "none" else (10.0,))
        if self.pruner == "none" and self.ratio != (1.0,):
            raise StudyError("the pruner none prunes nothing: it takes ratio 1 and no other", option="--ratio")

    @property
    def is_gradual(self) -> bool:
        """Whether there is a ramp; over none of the epochs it is one shot, and `none` prunes nothing."""
        return self.schedule != ONE_SHOT and self.ramp > 0 and self.pruner != "none"

    @property
    def method(self) -> str:
        """The pruner, and how it is gone about where that is not one shot by the labels."""
        gradual = [self.schedule] if self.is_gradual else []
        distilled = [f"distill {self.distill:g}"] if self.distill else []
        return " ".join([self.pruner, *gradual, *distilled])


def _as_in(config: type, name: str) -> Any:
    """An option that another command has too."""
    item = next(item for item in fields(config) if item.name == name)
    return field(default=item.default, metadata=item.metadata)


@dataclass(frozen=True)
class StudyConfig:
    """Options of `study`, beside its file: where and how to run it; what it holds stands in the file."""

    workers: int | None = _option(AUTO, _integer(1), "Processes that train at once, one thread each. Auto: one a core.")
    executor: str = _option(
        "processes", _choice(("processes", "ray")), "Of this machine, or the Ray cluster that is running."
    )
    gpus_per_step: float = _option("0", _gpus, "GPUs, or a share of one, with ray.")
    dry_run: bool = _option("false", _boolean, "Show the grid, what is there of it and how long the rest takes.")
    protocol: str | None = _option(AUTO, _choice(PROTOCOLS), "paper or released. Auto: the file's, or paper.")
    device: str | None = _as_in(TrainConfig, "device")
    engine: str | None = _as_in(TrainConfig, "engine")
    data_dir: Path = _as_in(TrainConfig, "data_dir")
    experiment: str | None = _as_in(TrainConfig, "experiment")

    def __post_init__(self) -> None:
        _check(self)
        if self.executor == "ray" and self.workers:
            raise StudyError("a Ray cluster has as many workers as it has cores", option="--workers")
        if self.executor != "ray" and self.gpus_per_step:
            raise StudyError("it is for --executor ray", option="--gpus-per-step")


OBJECTIVES = ("accuracy", "alpha", "both")
ANCHORS = 3


@dataclass(frozen=True)
class TuneConfig:
    """Options of `tune`: those of dense model and fine-tuning as in `prune`, and what is searched."""

    dataset: str = _as_in(TrainConfig, "dataset")
    model: str = _as_in(TrainConfig, "model")
    recipe: str | None = _as_in(TrainConfig, "recipe")
    protocol: str = _as_in(TrainConfig, "protocol")
    seeds: tuple[int, ...] = _option("0,1,2", _several(_integer(0)), "Of the dense models that every trial prunes.")
    ratio: tuple[float, ...] = _option("10", _ratios, "Parameters before / after; several as 5,10 are searched too.")
    objective: str = _option(
        "accuracy", _choice(OBJECTIVES), "On validation images: accuracy, alpha (least distortion), or both."
    )
    epsilon_range: tuple[float, float] = _option(
        "1e-8,1e2", _range, "Ends of the range of epsilon, searched on a log scale."
    )
    tune_schedule: bool = _option(
        "false", _boolean, "Search ramp and distillation too, with anchors of both schedules."
    )
    n_trials: int = _option(
        "20", _integer(1), "Trials in all, the three anchors of each ratio, or six of both schedules, included."
    )
    timeout: float | None = _option(
        AUTO, _within(0, math.inf), "Seconds after which no trial starts but an anchor. Auto: none."
    )
    confirm_seeds: int = _option(
        "0", _integer(0), "Dense models that the search never saw, to compare winner and anchors on."
    )
    study_name: str | None = _option(AUTO, _text, "Of the search, to go on with it. Auto: made from the options.")
    epochs: int | None = _as_in(TrainConfig, "epochs")
    batch_size: int | None = _as_in(TrainConfig, "batch_size")
    learning_rate: float | None = _as_in(TrainConfig, "learning_rate")
    momentum: float | None = _as_in(TrainConfig, "momentum")
    weight_decay: float | None = _as_in(TrainConfig, "weight_decay")
    validation_fraction: float = _as_in(TrainConfig, "validation_fraction")
    gradient_objective: str | None = _as_in(PruneConfig, "gradient_objective")
    gradient_batches: int | None = _as_in(PruneConfig, "gradient_batches")
    gradient_mode: str | None = _as_in(PruneConfig, "gradient_mode")
    fine_tune_epochs: int | None = _as_in(PruneConfig, "fine_tune_epochs")
    fine_tune_learning_rate: float | None = _as_in(PruneConfig, "fine_tune_learning_rate")
    prune_output_layer: bool = _as_in(PruneConfig, "prune_output_layer")
    schedule: str = _as_in(PruneConfig, "schedule")
    ramp: float = _as_in(PruneConfig, "ramp")
    ramp_steps: int = _as_in(PruneConfig, "ramp_steps")
    regrow: bool = _as_in(PruneConfig, "regrow")
    distill: float = _as_in(PruneConfig, "distill")
    temperature: float = _as_in(PruneConfig, "temperature")
    device: str | None = _as_in(TrainConfig, "device")
    engine: str | None = _as_in(TrainConfig, "engine")
    data_dir: Path = _as_in(TrainConfig, "data_dir")
    image_size: int | None = _as_in(TrainConfig, "image_size")
    experiment: str | None = _as_in(TrainConfig, "experiment")

    def __post_init__(self) -> None:
        _check(self)
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
    return _value(next(item for item in fields(PruneConfig) if item.name == name), value)


def option_name(name: str) -> str:
    """A field's name as an option: `batch_size` is `--batch-size`."""
    return "--" + name.replace("_", "-")


def default_text(item: Any) -> str:
    """A field's default, as typed on the command line or in MLproject."""
    return AUTO if item.default is None else text(item.default)


def text(value: Any) -> str:
    """Canonical text of a value: floats by `repr`, booleans `true` and `false`, several joined by commas."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, tuple):
        return ",".join(text(part) for part in value)
    return str(value)


def _check(config: Any) -> None:
    for item in fields(config):
        object.__setattr__(config, item.name, _value(item, getattr(config, item.name)))
    if config.data_dir is None:
        object.__setattr__(config, "data_dir", Path(_data_dir()))


def _value(item: Any, value: Any) -> Any:
    if value is None or (value == AUTO and item.metadata["auto"]):
        return None if item.metadata["auto"] else item.default
    try:
        return item.metadata["check"](text(value))
    except ValueError as error:
        raise StudyError(str(error), option=option_name(item.name)) from None
