"""The options of each command as a frozen dataclass, with checks for conflicting options.

A command has the options of the groups that it inherits. None stands for `auto`: the value is derived from the other
options and the data.
"""

import os
import shlex
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

from analysis.common.errors import StudyError, option_name
from analysis.runs import schema
from analysis.runs.names import SGD, SPARSE_SCHEDULES, WHILE_TRAINING
from pruning_study.options import table
from pruning_study.options.protocols import PROTOCOLS, Protocol
from pruning_study.options.record import Option, command, records
from pruning_study.pruning import pruners
from pruning_study.pruning.pruners import Pruner

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
T = TypeVar("T")


def default_data_dir() -> str:
    return os.environ.get("PRUNING_STUDY_DATA") or "data"


# Options of a call that change no run, or say only where and how to make it
_OF_CALL = {"shrink", "control"} | {record.name for record in table.OPTIONS if record.heading == "Machine and runs"}
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
    for name, record in records(config).items():
        if (value := getattr(config, name)) is not record.value:  # a default is checked already
            object.__setattr__(config, name, record.checked(value))
    if config.data_dir is None:
        object.__setattr__(config, "data_dir", Path(default_data_dir()))


def _refuse(*rules: tuple[object, str, str]) -> None:
    """Raise a StudyError for the first rule that is broken: whether it is, the option at fault, and the message."""
    for is_broken, option, message in rules:
        if is_broken:
            raise StudyError(message, option=option)


def _shared(config: Any, cls: type[T], **own: Any) -> T:
    """Return the options of another command, with the values of a config for the options that both have."""
    common = records(config).keys() & records(cls).keys() - own.keys()
    return cls(**{name: getattr(config, name) for name in common}, **own)


class _Options:
    """The options of a command that needs no further checks."""

    def __post_init__(self) -> None:
        check_fields(self)


class _DenseOptions(
    table.DatasetOptions,
    table.ModelOptions,
    table.NetworkOptions,
    table.SplitOptions,
    table.FolderOptions,
    table.TrainingOptions,
    table.DeviceOptions,
    table.EngineOptions,
    table.ExperimentOptions,
):
    """Options of every command that trains networks."""


@command()
class TrainConfig(_DenseOptions, table.SeedOptions, table.ForceOptions):
    """Options of `train`. Every value may be given as a string, as on the command line.

    Raises
    ------
    StudyError
        If a value is invalid for its option, or if options conflict.
    """

    def __post_init__(self) -> None:
        check_fields(self)
        native = self.engine == "native"
        _refuse(
            (
                native and self.precision == schema.BF16,
                "engine",
                "native trains in float32 only: use torch, or --precision float32",
            ),
            (
                native and self.optimizer != SGD,
                "engine",
                f"native does not train with {self.optimizer}: use torch, or --optimizer {SGD}",
            ),
        )
        self._check_average(self.average_epochs, self.decay)

    @property
    def protocol_record(self) -> Protocol:
        """The protocol that the option `protocol` names, which holds defaults of other options."""
        return PROTOCOLS[self.protocol]

    def _check_average(self, epochs: int, decay: str, prefix: str = "") -> None:
        """Raise a StudyError if averaging the last epochs conflicts with other options."""
        option = f"{prefix}average_epochs"
        _refuse(
            (epochs == 1, option, "the mean of 1 epoch is the epoch itself: give 2 or more, or --kept-epoch last"),
            (
                epochs and decay != "none",
                option,
                f"{epochs} epochs are averaged at a constant learning rate, but {decay} decays the rate to 0: give 0, "
                f"or {option_name(prefix)}decay none",
            ),
            (
                epochs and self.kept_epoch == "best",
                "kept_epoch",
                f"best keeps one epoch, but {option_name(option)} keeps the mean of {epochs}: leave one option out",
            ),
        )


@command()
class PruneConfig(
    TrainConfig,
    table.PrunerOptions,
    table.RatioOptions,
    table.ScopeOptions,
    table.DenseRunOptions,
    table.FineTuningOptions,
    table.GradualOptions,
    table.PruneOptions,
):
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
        prunes = pruners.prunes(self.pruner)
        _refuse(
            (self.sparsity and self.ratio, "sparsity", "give a ratio or a sparsity, not both"),
            (
                self.sparsity and not prunes,
                "sparsity",
                f"the pruner {self.pruner} prunes nothing: leave the sparsity out",
            ),
        )
        if self.ratio is None:
            auto = (10.0,) if prunes else (1.0,)
            object.__setattr__(self, "ratio", () if self.sparsity else auto)
        nothing = f"the pruner {self.pruner} prunes nothing: its ratio must be 1"
        _refuse((not prunes and self.ratio != (1.0,), "ratio", nothing))

    def _follow_schedule(self) -> None:
        """Set the start that a schedule implies."""
        if self.is_sparse_from_start:
            object.__setattr__(self, "start", schema.INITIALIZATION)
            message = f"--schedule {self.schedule} drops the smallest weights, as {MAGNITUDE} does: use {MAGNITUDE}"
            _refuse((self.pruner != MAGNITUDE, "pruner", message))

    def _check_start(self) -> None:
        """Raise a StudyError if an option has no effect with this `--start`."""
        anew = ("begin", "end", "frequency")
        fine_tuning = ("ramp", "ramp_steps", "distill", *_WEIGHING, "data_quotas", "weight_bits", "weights")
        other, refused = ("dense", fine_tuning) if self.starts_anew else (schema.INITIALIZATION, anew)
        given = {item.name for item in fields(self) if getattr(self, item.name) != item.default}
        _refuse(*((name in given, name, f"it applies only with --start {other}") for name in refused))

    def _check_losses(self) -> None:
        """Raise a StudyError if two options change the loss of images in conflicting ways."""
        first, *more = [*self.weighing, ""]
        weighs = f"{option_name(first)} weights images"
        _refuse(
            (len(more) > 1, more[0] if more else "", f"{weighs} too: use only one of the two"),
            (
                first and self.data_quotas != "none",
                "data_quotas",
                f"{weighs}, but quotas leave some images out: use only one of the two",
            ),
            (
                self.distill and self.performance_weighted != "none",
                "performance_weighted",
                "it already learns from the dense network: leave --distill out",
            ),
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
        words = [schema.words(name, getattr(self, name))]
        for detail in schema.details(name):
            if (value := getattr(self, detail, None)) not in (None, getattr(PruneConfig, detail, None)):
                words.append(schema.words(detail, value if isinstance(value, str) else f"{value:g}"))
        return words


@command(recipe="prune-responsibly", validation_fraction="0.2")
class IterateConfig(
    TrainConfig, table.PrunerOptions, table.ScopeOptions, table.DenseRunOptions, table.IterationOptions
):
    """Options of `iterate`: those of the dense network, and those of pruning it repeatedly."""

    def __post_init__(self) -> None:
        super().__post_init__()
        pruners.check_gradual(self.pruner, "pruner")
        if self.scope:
            pruners.check_scope(self.pruner, self.scope)
        _refuse(
            (
                self.weights and self.rewinds,
                "weights",
                "the values from which given weights were trained are unknown: leave the weights out, or use "
                "--weight-treatment finetune",
            ),
            (
                self.rewind_step and not self.rewinds,
                "rewind_step",
                "it applies only with --weight-treatment rewind",
            ),
        )

    @property
    def rewinds(self) -> bool:
        """Whether each iteration sets the network's weights back to initial or early values."""
        return self.weight_treatment == schema.REWIND

    @property
    def pruning(self) -> PruneConfig:
        """The options that `iterate` and `prune` share: those of the dense network, and how weights are chosen."""
        return _shared(self, PruneConfig, ratio=(1.0,))

    @property
    def method(self) -> str:
        """The pruner, the scope if it is not the pruner's default, the weight treatment, and the step to rewind to."""
        step = f" {schema.REWIND_STEP} {self.rewind_step}" if self.rewind_step else ""
        return f"{self.pruning.method} {self.weight_treatment}{step}"


@command()
class StudyConfig(
    _Options,
    table.StudyOptions,
    table.WorkerOptions,
    table.FolderOptions,
    table.DeviceOptions,
    table.EngineOptions,
    table.ExperimentOptions,
):
    """Options of `study`: where and how to make its runs, which the study's file defines."""


@command()
class VerifyConfig(_Options, table.VerifyOptions, table.WorkerOptions, table.FolderOptions):
    """Options of `verify`: which networks of a study to train again, and where and how to train them."""


@command(ratio="10")
class TuneConfig(
    _DenseOptions,
    table.RatioOptions,
    table.ScopeOptions,
    table.FineTuningOptions,
    table.GradualOptions,
    table.TuneOptions,
    table.SearchOptions,
):
    """Options of `tune`: those of the dense model and of fine-tuning, as in `prune`, and those of the search."""

    def __post_init__(self) -> None:
        check_fields(self)
        anchors = len(ANCHORS) * len(self.ratio)
        _refuse(
            (
                self.n_trials < anchors,
                "n_trials",
                f"{self.n_trials} is below {anchors}: each ratio needs {len(ANCHORS)} reference trials (anchors)",
            ),
            (
                self.schedule in SPARSE_SCHEDULES,
                "schedule",
                f"{self.schedule} trains from initial weights, but a search prunes the dense network: use one-shot or "
                "cubic",
            ),
            *_rules_of_searches(self, "a paired comparison needs 2 or more"),
        )
        self.pruning(self.seeds[0])

    def pruning(self, seed: int) -> PruneConfig:
        """Return the options of `prune` for undecayed pruning with a seed."""
        return _shared(self, PruneConfig, pruner="up", seed=seed)


@command(n_trials="40", fine_tune_decay="cosine")
class CompressConfig(
    _DenseOptions,
    table.SeedOptions,
    table.DenseRunOptions,
    table.FineTuningOptions,
    table.SearchOptions,
    table.CompressionOptions,
):
    """Options of `compress`: those of the dense network, and those of the search."""

    def __post_init__(self) -> None:
        check_fields(self)
        _refuse(
            (
                self.n_trials < FIRST_CHAINS,
                "n_trials",
                f"{self.n_trials} is below {FIRST_CHAINS}, the number of chains that a search may begin with",
            ),
            *_rules_of_searches(self, "2 or more are needed to show how much networks differ"),
        )
        _ = self.pruning

    @property
    def pruning(self) -> PruneConfig:
        """The options of `prune` that make the control: the network is fine-tuned without pruning.

        Fine-tuning averages no epochs, even if the training of a named dense run does.
        """
        return _shared(self, PruneConfig, pruner="none", ratio=(1.0,), fine_tune_average_epochs=0)


def _rules_of_searches(config: Any, why_two: str) -> list[tuple[object, str, str]]:
    """Return the rules on options of both searches."""
    return [
        (
            PROTOCOLS[config.protocol].selects_on_test,
            "protocol",
            f"{config.protocol} keeps the epoch with the lowest test loss, which a search must not see, and prunes "
            "less with some values of epsilon than with others: use paper",
        ),
        (config.confirm_seeds == 1, "confirm_seeds", f"1 is too few: {why_two}"),
        (
            config.confirm_seeds and config.weights,
            "confirm_seeds",
            "it trains new networks, but how the given weights were trained is unknown: leave it or --weights out",
        ),
    ]


@command()
class ExemplarsConfig(
    table.ExemplarsOptions,
    table.DatasetOptions,
    table.SplitOptions,
    table.FolderOptions,
    table.ExperimentOptions,
):
    """Options of `exemplars`: the runs to read, the cell, and the output."""

    def __post_init__(self) -> None:
        check_fields(self)
        first, *more = [*(name for name in ("frames", "study", "experiment") if getattr(self, name) is not None), ""]
        _refuse(
            (
                len(more) > 1,
                first,
                f"it takes the place of {option_name(''.join(more[:1]))}: leave one of them out",
            ),
            (
                self.images % 2,
                "images",
                f"{self.images} is odd, but half of the images are exemplars: give an even number",
            ),
        )


@command()
class GroupsConfig(_Options, table.DatasetOptions, table.SplitOptions, table.FolderOptions, table.GroupsOptions):
    """Options of `groups`: the data set, and the file that is written."""


@command()
class RobustnessConfig(
    table.RobustnessOptions, table.FolderOptions, table.DeviceOptions, table.ExperimentOptions, table.ForceOptions
):
    """Options of `robustness`."""

    def __post_init__(self) -> None:
        check_fields(self)
        message = "it applies to test images only: leave it or --folder out"
        given = {item.name for item in fields(self) if self.folder and getattr(self, item.name) != item.default}
        _refuse(*((name in given, name, message) for name in ("corruptions", "severities", "images")))


@command()
class QuantizeConfig(TrainConfig, table.QuantizeOptions):
    """Options of `quantize`: the number formats, and the network that is trained if no run is named."""

    @property
    def training(self) -> TrainConfig:
        """The options of `train` that make the network."""
        return _shared(self, TrainConfig)


@command()
class ExportConfig(
    table.DatasetOptions, table.ModelOptions, table.FolderOptions, table.ExperimentOptions, table.ExportOptions
):
    """Options of `export`: the output, and the location of the run's data."""

    def __post_init__(self) -> None:
        check_fields(self)
        message = "the smaller network is written to a file: name it (--output)"
        _refuse((self.shrink and self.output is None, "shrink", message))

    @property
    def training(self) -> TrainConfig:
        """The options of `train` that give the location of the run's data."""
        return _shared(self, TrainConfig)


def of_command(name: str) -> dict[str, Option]:
    """Return the records of a command's options by name, in the order of the table."""
    own = records(globals()[f"{name.capitalize()}Config"])
    return {record.name: own[record.name] for record in table.OPTIONS if record.name in own}


def checked(name: str, value: Any, config: type[TrainConfig] = PruneConfig) -> Any:
    """Return the checked value of an option of `prune` or another command, given as text or as a value.

    Raises
    ------
    StudyError
        If the value is invalid for the option.
    """
    return records(config)[name].checked(value)
