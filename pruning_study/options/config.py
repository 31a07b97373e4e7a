"""The options of each command as a frozen dataclass, with checks for conflicting options.

The fields are made from the records of the options table. None stands for `auto`: the value is derived from the other
options and the data.
"""

import os
import shlex
from dataclasses import fields
from pathlib import Path
from typing import Any

from analysis.common.errors import StudyError, option_name
from analysis.runs import schema
from analysis.runs.names import SGD, SPARSE_SCHEDULES, WHILE_TRAINING
from pruning_study.options.commands import STRENGTHS, command, of_command, sections
from pruning_study.options.protocols import PROTOCOLS, Protocol
from pruning_study.options.record import checked_value
from pruning_study.options.table import (
    CompressionOptions,
    DataOptions,
    ExemplarsOptions,
    ExportOptions,
    FineTuningOptions,
    GroupsOptions,
    IterationOptions,
    MachineOptions,
    NumberFormatOptions,
    PruningOptions,
    ReadingOptions,
    RobustnessOptions,
    SearchOptions,
    StudyOptions,
    TrainingOptions,
    VerifyOptions,
)
from pruning_study.pruning import pruners
from pruning_study.pruning.pruners import Pruner
from pruning_study.training.mitigation import constraint_names

ONE_SHOT = "one-shot"
CUBIC = "cubic"
MAGNITUDE = "mp"
# Reference trials of a search. In the trial `lambda`, epsilon of undecayed pruning has its default, usually the weight
# decay; `MP` and `GP` have the epsilons with which undecayed pruning becomes magnitude pruning and gradient pruning.
ANCHORS = ("lambda", "MP", "GP")
# Largest number of chains that a search begins with. Two keep all channels, one with and one without quantization to
# integers. If channels can be removed, two more remove half of the channels, with and without this quantization.
FIRST_CHAINS = 4
# Options that weight images in the loss of fine-tuning
_WEIGHING = ("performance_weighted", "constraint", "class_weights")


def default_data_dir() -> str:
    return os.environ.get("PRUNING_STUDY_DATA") or "data"


# Options of a call that change no run, or say only where and how to make it
_OF_CALL = {"max_data_gib", "shrink", "control", "details"} | set(sections()["Machine and runs"])
_ALWAYS_TYPED = {schema.DATASET, schema.MODEL, schema.SEED}


def typed(name: str, config: Any, **own: Any) -> str:
    """Return the call of a command that makes a run.

    Parameters
    ----------
    name : str
    config : TrainConfig
    own : values
        Options in which the run differs from the config; they are always typed.

    Examples
    --------
    >>> typed("train", TrainConfig(epochs=5, seed=3))
    'pruning-study train --dataset fashion-mnist-mini --model lenet5 --epochs 5 --seed 3'
    """
    words = ["pruning-study", name]
    for option, record in sorted(of_command(name).items(), key=lambda item: item[0] == schema.SEED):
        value = own.get(option, getattr(config, option))
        is_default = value == (Path(default_data_dir()) if option == "data_dir" else record.value)
        if option not in _OF_CALL and value is not None and (not is_default or option in {*own, *_ALWAYS_TYPED}):
            text = schema.text(value)
            text = text.removesuffix(".0") if isinstance(value, float) else text
            words += [option_name(option), shlex.quote(text)]
    return " ".join(words)


def check_fields(config: Any) -> None:
    """Check every option of a command, and replace the given values by the checked ones.

    Raises
    ------
    StudyError
        If a value is invalid for its option.
    """
    for item in fields(config):
        value = getattr(config, item.name)
        if value is not item.default:  # a default is checked already
            object.__setattr__(config, item.name, checked_value(item, value))
    if config.data_dir is None:
        object.__setattr__(config, "data_dir", Path(default_data_dir()))


def _check_engine(config: Any) -> None:
    """Raise a StudyError if the native engine is to train with an optimizer or a precision that it does not support."""
    if config.engine != "native":
        return
    if config.precision == schema.BF16:
        raise StudyError("native trains in float32 only: use torch, or --precision float32", option="engine")
    if config.optimizer != SGD:
        raise StudyError(
            f"native does not train with {config.optimizer}: use torch, or --optimizer {SGD}",
            option="engine",
        )


@command("train")
class TrainConfig(DataOptions, ReadingOptions, TrainingOptions, NumberFormatOptions, MachineOptions):
    """Options of `train`. Every value may be given as a string, as on the command line.

    Raises
    ------
    StudyError
        If a value is invalid for its option, or if options conflict.
    """

    def __post_init__(self) -> None:
        check_fields(self)
        _check_engine(self)
        self._check_average(self.average_epochs, self.decay)

    @property
    def protocol_record(self) -> Protocol:
        """The protocol that the option `protocol` names, which holds defaults of other options."""
        return PROTOCOLS[self.protocol]

    def _check_average(self, epochs: int, decay: str, prefix: str = "") -> None:
        """Raise a StudyError if averaging the last epochs conflicts with other options."""
        option = f"{prefix}average_epochs"
        if epochs == 1:
            raise StudyError(
                "the mean of 1 epoch is the epoch itself: give 2 or more, or --kept-epoch last", option=option
            )
        if epochs and decay != "none":
            raise StudyError(
                f"{epochs} epochs are averaged at a constant learning rate, but {decay} decays the rate to 0: give 0, "
                f"or {option_name(prefix)}decay none",
                option=option,
            )
        if epochs and self.kept_epoch == "best":
            raise StudyError(
                f"best keeps one epoch, but {option_name(option)} keeps the mean of {epochs}: leave one option out",
                option="kept_epoch",
            )


@command("prune")
class PruneConfig(TrainConfig, PruningOptions, FineTuningOptions):
    """Options of `prune`: those of the dense model, and those of pruning and fine-tuning it."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.scope:
            pruners.check_scope(self.pruner, self.scope)
        self._set_ratio()
        self._follow_schedule()
        self._check_start()
        self._check_losses()
        if not self.starts_anew:
            averaged = self.average_epochs if self.fine_tune_average_epochs is None else self.fine_tune_average_epochs
            averaged = averaged if self.fine_tune_epochs != 0 else 0
            self._check_average(averaged, self.fine_tune_decay or self.decay, "fine_tune_")
        if self.is_gradual:
            pruners.check_gradual(self.pruner, "start" if self.starts_anew else "schedule")

    def _set_ratio(self) -> None:
        """Set the default ratio. With a sparsity the ratio is empty, because it depends on the network."""
        if self.sparsity and self.ratio:
            raise StudyError("give a ratio or a sparsity, not both", option="sparsity")
        prunes = pruners.prunes(self.pruner)
        if self.sparsity and not prunes:
            raise StudyError(f"the pruner {self.pruner} prunes nothing: leave the sparsity out", option="sparsity")
        if self.ratio is None:
            auto = (10.0,) if prunes else (1.0,)
            object.__setattr__(self, "ratio", () if self.sparsity else auto)
        if not prunes and self.ratio != (1.0,):
            raise StudyError(f"the pruner {self.pruner} prunes nothing: its ratio must be 1", option="ratio")

    def _follow_schedule(self) -> None:
        """Set the start that a schedule implies."""
        if not self.is_sparse_from_start:
            return
        object.__setattr__(self, "start", schema.INITIALIZATION)
        if self.pruner != MAGNITUDE:
            raise StudyError(
                f"--schedule {self.schedule} drops the smallest weights, as {MAGNITUDE} does: use {MAGNITUDE}",
                option="pruner",
            )

    def _check_start(self) -> None:
        """Raise a StudyError if an option has no effect with this `--start`."""
        anew = ("begin", "end", "frequency")
        fine_tuning = ("ramp", "ramp_steps", "distill", *_WEIGHING, "data_quotas", "weight_bits", "weights")
        refused = fine_tuning if self.starts_anew else anew
        for item in fields(self):
            if item.name in refused and getattr(self, item.name) != item.default:
                other = "dense" if self.starts_anew else schema.INITIALIZATION
                raise StudyError(f"it applies only with --start {other}", option=item.name)

    def _check_losses(self) -> None:
        """Raise a StudyError if two options change the loss of images in conflicting ways."""
        weighing = self.weighing
        first = option_name(weighing[0]) if weighing else ""
        if len(weighing) > 1:
            raise StudyError(f"{first} weights images too: use only one of the two", option=weighing[1])
        if weighing and self.data_quotas != "none":
            raise StudyError(
                f"{first} weights images, but quotas leave some images out: use only one of the two",
                option="data_quotas",
            )
        if self.distill and self.performance_weighted != "none":
            raise StudyError(
                "it already learns from the dense network: leave --distill out", option="performance_weighted"
            )

    @property
    def weighing(self) -> list[str]:
        """The options, at most one, that weight images in the loss of fine-tuning."""
        return [name for name in _WEIGHING if getattr(self, name) != "none"]

    @property
    def pruner_record(self) -> Pruner:
        """The pruner that the protocol uses for the option `pruner`; raises a StudyError as `pruners.pruner` does."""
        return self.protocol_record.pruner(self.pruner)

    @property
    def starts_anew(self) -> bool:
        """Whether the network is pruned while it is trained from its initial weights."""
        return self.start == schema.INITIALIZATION

    @property
    def is_sparse_from_start(self) -> bool:
        """Whether the network is sparse from its initial weights on, and its masks change while it is trained."""
        return self.schedule in SPARSE_SCHEDULES and pruners.prunes(self.pruner)

    @property
    def is_gradual(self) -> bool:
        """Whether weights are pruned step by step; a ramp of 0 prunes at once."""
        return (self.starts_anew or (self.schedule != ONE_SHOT and self.ramp > 0)) and pruners.prunes(self.pruner)

    @property
    def quantizes(self) -> bool:
        """Whether the weights of the final network have fewer bits than float32."""
        return self.weight_bits < 32

    @property
    def quantizes_while_training(self) -> bool:
        """Whether fine-tuning computes with the quantized weights."""
        return self.quantizes and self.quantization == WHILE_TRAINING

    @property
    def amounts(self) -> list[str]:
        """How much is pruned, in words: each ratio, or each sparsity if ratios are not known yet."""
        return [f"ratio {ratio:g}" for ratio in self.ratio] or [f"sparsity {share:g}" for share in self.sparsity or ()]

    @property
    def method(self) -> str:
        """The pruner, followed by what differs from the defaults: scope, schedule, distillation, bits, mitigations."""
        own_scope = self.scope in (None, pruners.own_scope(self.pruner)) or not pruners.prunes(self.pruner)
        scope = [] if own_scope else [f"scope {self.scope}"]
        is_anew = self.starts_anew and not self.is_sparse_from_start
        gradual = [self.start] if is_anew else [self.schedule] if self.is_gradual else []
        distilled = [f"distill {self.distill:g}"] if self.distill else []
        quantized = [f"{self.weight_bits} bits {self.quantization}"] if self.quantizes else []
        mitigations = (*self.weighing, "data_quotas", "class_offsets")
        mitigated = [words for name in mitigations for words in self._mitigated(name)]
        return " ".join([self.pruner, *scope, *gradual, *distilled, *quantized, *mitigated])

    def _mitigated(self, name: str) -> list[str]:
        """Return a mitigation in words, with its details that differ from the defaults; empty if it is off."""
        if getattr(self, name) == "none":
            return []
        auto = {"constraint_step": constraint_names.DUAL_STEPS.get((self.constraint, self.constraint_images))}
        words = [schema.words(name, getattr(self, name))]
        for detail in schema.details(name):
            value = getattr(self, detail)
            if value not in (getattr(PruneConfig, detail), auto.get(detail)):
                words.append(schema.words(detail, value if isinstance(value, str) else f"{value:g}"))
        return words


@command("iterate")
class IterateConfig(TrainConfig, PruningOptions, IterationOptions):
    """Options of `iterate`: those of the dense network, and those of pruning it repeatedly."""

    def __post_init__(self) -> None:
        super().__post_init__()
        pruners.check_gradual(self.pruner, "pruner")
        if self.scope:
            pruners.check_scope(self.pruner, self.scope)
        if self.weights and self.rewinds:
            raise StudyError(
                "the values from which given weights were trained are unknown: leave the weights out, or use "
                "--weight-treatment finetune",
                option="weights",
            )
        if self.rewind_step and not self.rewinds:
            raise StudyError("it applies only with --weight-treatment rewind", option="rewind_step")

    @property
    def rewinds(self) -> bool:
        """Whether each iteration sets the network's weights back to initial or early values."""
        return self.weight_treatment == schema.REWIND

    @property
    def pruning(self) -> PruneConfig:
        """The options that `iterate` and `prune` share: those of the dense network, and how weights are chosen."""
        shared = {item.name for item in fields(self)} & {item.name for item in fields(PruneConfig)}
        return PruneConfig(ratio=(1.0,), **{name: getattr(self, name) for name in shared})

    @property
    def method(self) -> str:
        """The pruner, the scope if it is not the pruner's default, the weight treatment, and the step to rewind to."""
        step = f" {schema.REWIND_STEP} {self.rewind_step}" if self.rewind_step else ""
        return f"{self.pruning.method} {self.weight_treatment}{step}"


@command("study")
class StudyConfig(StudyOptions, ReadingOptions, MachineOptions):
    """Options of `study`: where and how to make its runs, which the study's file defines."""

    def __post_init__(self) -> None:
        check_fields(self)
        if self.executor == "ray" and self.workers:
            raise StudyError("a Ray cluster has one worker per core: leave this option out", option="workers")
        if self.executor != "ray" and self.gpus_per_step:
            raise StudyError("it needs --executor ray", option="gpus_per_step")


@command("verify")
class VerifyConfig(VerifyOptions, StudyOptions, ReadingOptions):
    """Options of `verify`: which networks of a study to train again, and where and how to train them."""

    def __post_init__(self) -> None:
        check_fields(self)


@command("tune")
class TuneConfig(
    DataOptions,
    ReadingOptions,
    TrainingOptions,
    NumberFormatOptions,
    MachineOptions,
    PruningOptions,
    FineTuningOptions,
    SearchOptions,
):
    """Options of `tune`: those of the dense model and of fine-tuning, as in `prune`, and those of the search."""

    def __post_init__(self) -> None:
        check_fields(self)
        _check_engine(self)
        anchors_per_ratio = len(ANCHORS) * (2 if self.tune_schedule else 1)
        anchors = anchors_per_ratio * len(self.ratio)
        if self.n_trials < anchors:
            raise StudyError(
                f"{self.n_trials} is below {anchors}: each ratio needs {anchors_per_ratio} reference trials (anchors)",
                option="n_trials",
            )
        if PROTOCOLS[self.protocol].selects_on_test:
            raise StudyError(
                f"{self.protocol} keeps the epoch with the lowest test loss, which a search must not see, and prunes "
                "less with some values of epsilon than with others: use paper",
                option="protocol",
            )
        if self.schedule in SPARSE_SCHEDULES:
            raise StudyError(
                f"{self.schedule} trains from initial weights, but a search prunes the dense network: use one-shot or "
                "cubic",
                option="schedule",
            )
        if self.tune_schedule and self.schedule != ONE_SHOT:
            raise StudyError(
                f"{self.schedule}: --tune-schedule searches the schedule, so leave this option out", option="schedule"
            )
        if self.tune_schedule and not self.ramp:
            raise StudyError(
                "0 prunes at once, but the gradual reference trials of --tune-schedule need a ramp: give more than 0",
                option="ramp",
            )
        if self.confirm_seeds == 1:
            raise StudyError("1 is too few: a paired comparison needs 2 or more", option="confirm_seeds")
        self._check_mitigation()
        if self.tune_decay:
            self._check_tuned_decay()

    def _check_mitigation(self) -> None:
        """Raise a StudyError if a strength is searched for accuracy, or without exactly one mitigation."""
        strengths = [option_name(name) for name in STRENGTHS if getattr(self, name) != "none"]
        if self.tune_mitigation and len(strengths) != 1:
            which = " and ".join(strengths) or "none"
            raise StudyError(
                f"it needs exactly one of {', '.join(map(option_name, STRENGTHS))}, but got {which}",
                option="tune_mitigation",
            )
        if self.tune_mitigation and self.objective == "accuracy":
            raise StudyError(
                "a mitigation costs accuracy, so the lowest strength would win: use alpha, or the value both",
                option="objective",
            )

    def _check_tuned_decay(self) -> None:
        """Raise a StudyError if another option conflicts with a search of the decay of fine-tuning."""
        if self.fine_tune_decay:
            raise StudyError(
                f"{self.fine_tune_decay}: --tune-decay searches the decay, so leave one of the options out",
                option="fine_tune_decay",
            )
        if self.fine_tune_epochs == 0:
            raise StudyError(
                "without fine-tuning, --tune-decay has no decay to search: give 1 or more", option="fine_tune_epochs"
            )
        averaged = self.average_epochs if self.fine_tune_average_epochs is None else self.fine_tune_average_epochs
        if averaged:
            raise StudyError(
                f"{averaged} epochs are averaged at a constant learning rate, but --tune-decay decays the rate to 0: "
                "give 0, or leave --tune-decay out",
                option="fine_tune_average_epochs",
            )

    @property
    def searched_strength(self) -> str:
        """The option for the strength of the mitigation, if the strength is searched; else empty."""
        strengths = (strength for name, strength in STRENGTHS.items() if getattr(self, name) != "none")
        return next(strengths, "") if self.tune_mitigation else ""

    def pruning(self, seed: int) -> PruneConfig:
        """Return the options of `prune` for undecayed pruning with a seed."""
        shared = {item.name for item in fields(self)} & {item.name for item in fields(PruneConfig)}
        return PruneConfig(pruner="up", seed=seed, **{name: getattr(self, name) for name in shared})


@command("compress")
class CompressConfig(
    DataOptions,
    ReadingOptions,
    TrainingOptions,
    MachineOptions,
    PruningOptions,
    FineTuningOptions,
    SearchOptions,
    CompressionOptions,
):
    """Options of `compress`: those of the dense network, and those of the search."""

    def __post_init__(self) -> None:
        check_fields(self)
        if self.n_trials < FIRST_CHAINS:
            raise StudyError(
                f"{self.n_trials} is below {FIRST_CHAINS}, the number of chains that a search may begin with",
                option="n_trials",
            )
        if self.confirm_seeds == 1:
            raise StudyError(
                "1 is too few: 2 or more are needed to show how much networks differ", option="confirm_seeds"
            )
        if self.confirm_seeds and self.weights:
            raise StudyError(
                "it trains new networks, but how the given weights were trained is unknown: leave it or --weights out",
                option="confirm_seeds",
            )

    @property
    def pruning(self) -> PruneConfig:
        """The options of `prune` that make the control: the network is fine-tuned without pruning.

        Fine-tuning averages no epochs, even if the training of a named dense run does.
        """
        shared = {item.name for item in fields(self)} & {item.name for item in fields(PruneConfig)}
        own = {name: getattr(self, name) for name in shared}
        return PruneConfig(pruner="none", ratio=(1.0,), fine_tune_average_epochs=0, **own)


@command("exemplars")
class ExemplarsConfig(ExemplarsOptions, ReadingOptions, MachineOptions):
    """Options of `exemplars`: the runs to read, the cell, and the output."""

    def __post_init__(self) -> None:
        check_fields(self)
        named = [name for name in ("frames", "study", "experiment") if getattr(self, name) is not None]
        if len(named) > 1:
            raise StudyError(f"it takes the place of {option_name(named[1])}: leave one of them out", option=named[0])
        if self.images % 2:
            raise StudyError(
                f"{self.images} is odd, but half of the images are exemplars: give an even number", option="images"
            )


@command("groups")
class GroupsConfig(DataOptions, ReadingOptions, GroupsOptions):
    """Options of `groups`: the data set, and the file that is written."""

    def __post_init__(self) -> None:
        check_fields(self)


@command("robustness")
class RobustnessConfig(RobustnessOptions, ReadingOptions, MachineOptions):
    """Options of `robustness`."""

    def __post_init__(self) -> None:
        check_fields(self)
        for item in fields(self) if self.folder else ():
            if item.name in ("corruptions", "severities", "images") and getattr(self, item.name) != item.default:
                raise StudyError("it applies to test images only: leave it or --folder out", option=item.name)


@command("quantize")
class QuantizeConfig(DataOptions, ReadingOptions, TrainingOptions, NumberFormatOptions, MachineOptions):
    """Options of `quantize`: the number formats, and the network that is trained if no run is named."""

    def __post_init__(self) -> None:
        check_fields(self)

    @property
    def training(self) -> TrainConfig:
        """The options of `train` that make the network."""
        return _training(self)


@command("export")
class ExportConfig(DataOptions, ReadingOptions, MachineOptions, ExportOptions):
    """Options of `export`: the output, and the location of the run's data."""

    def __post_init__(self) -> None:
        check_fields(self)
        if self.shrink and self.output is None:
            raise StudyError("the smaller network is written to a file: name it (--output)", option="shrink")

    @property
    def training(self) -> TrainConfig:
        """The options of `train` that give the location of the run's data."""
        return _training(self)


def _training(config: Any) -> TrainConfig:
    """Return options of `train`, with the values of another command's config; options that it lacks have defaults."""
    names = {item.name for item in fields(TrainConfig)} & {item.name for item in fields(config)}
    return TrainConfig(**{name: getattr(config, name) for name in names})


def checked(name: str, value: Any, config: type[TrainConfig] = PruneConfig) -> Any:
    """Return the checked value of an option of `prune` or another command, given as text or as a value.

    Raises
    ------
    StudyError
        If the value is invalid for the option.
    """
    return checked_value(next(item for item in fields(config) if item.name == name), value)
