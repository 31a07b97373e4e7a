"""The options of every command: their names, defaults, checks and help.

Click's options are made from these dataclass fields, and the parameters in MLproject are tested against them. A field
that is None stands for `auto`: its value is worked out from the other options and the data.
"""

import math
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from analysis.common.errors import StudyError
from analysis.runs import schema
from analysis.runs.schema import text
from pruning_study.data.corruption_names import CORRUPTIONS, SEVERITIES
from pruning_study.options.options import (
    AUTO,
    assignments,
    boolean,
    check_fields,
    checked_value,
    choice,
    class_fractions,
    gpu_share,
    integer,
    nonempty_text,
    option,
    option_name,
    path,
    positive_range,
    same_option,
    seeds,
    several,
    steps_or_share,
    theta_and_gamma,
    valid_name,
    within,
)
from pruning_study.options.protocols import PROTOCOLS
from pruning_study.pruning import pruners
from pruning_study.pruning.pruners import PRUNERS, SCOPES
from pruning_study.training.mitigation import constraint_names
from pruning_study.training.recipes import DECAYS, RECIPES

ONE_SHOT = "one-shot"
CUBIC = "cubic"
SCHEDULES = (ONE_SHOT, CUBIC)
STARTS = ("dense", schema.INITIALIZATION)
WEIGHT_TREATMENTS = (schema.FINETUNE, schema.REWIND)
OBJECTIVES = ("accuracy", "alpha", "both")
NUMBER_FORMATS = tuple(name for name in schema.BITS if name != schema.FLOAT32)
# Reference trials of a search: undecayed pruning with lambda as epsilon, as magnitude pruning, and as gradient pruning
ANCHORS = ("lambda", "MP", "GP")

_ratios = several(within(1, math.inf, low_too=True))

# The option that says how strong a mitigation is, by mitigation
STRENGTHS = {
    schema.CLASS_OFFSETS: schema.OFFSET_SHRINKAGE,
    schema.CLASS_WEIGHTS: schema.CLASS_WEIGHT_POWER,
    schema.CONSTRAINT: schema.CONSTRAINT_STEP,
}
# Options that weigh images in the loss of fine-tuning
_WEIGHING = (schema.CLASS_WEIGHTS, schema.CONSTRAINT, schema.PERFORMANCE_WEIGHTED)


@dataclass(frozen=True)
class TrainConfig:
    """Options of `train`. Every value may be given as text, as on the command line.

    Raises
    ------
    StudyError
        If an option does not take its value.
    """

    dataset: str = option(
        "fashion-mnist-mini",
        nonempty_text,
        "Data set: a name such as mnist or cifar10, an .npz file, or a folder of images.",
    )
    model: str = option(
        "lenet5",
        nonempty_text,
        "Network: lenet5, resnet20, resnet32, resnet44, resnet56, resnet110, wrn16-4, wrn22-8, wrn28-10 (wide "
        "ResNets), alexnet, vgg11, resnet18 (torchvision's, adapted to images of 28 to 32 pixels), torchvision:NAME "
        "(as it is, most networks for --image-size 224), timm:NAME, or package.module:factory for a function of your "
        "own that makes one. It is called with num_classes and in_channels, and with image_size=(height, width) if it "
        "has a parameter of that name.",
    )
    weights: Path | None = option(
        AUTO,
        path,
        "File of weights (.safetensors) of the network, trained on these classes, to use in place of training. Auto: "
        "train the network.",
    )
    recipe: str | None = option(
        AUTO,
        choice(RECIPES),
        f"Set of training hyperparameters: {', '.join(RECIPES)}. Auto: resnet-cifar for resnet18 to resnet110, "
        "wide-resnet for wide ResNets, else lenet5.",
    )
    protocol: str = option(
        "paper",
        choice(PROTOCOLS),
        "Do as the text of the paper by Good et al. (2022) says (paper), or as its released code does (released).",
    )
    seed: int = option(
        "0",
        integer(0),
        "Seed of the initial weights, the order of batches, the validation split and random pruning. Several seeds, "
        "written 0-4 or 0,2,5, are one network after the other, each with a job of its own.",
        typed=seeds,
    )
    epochs: int | None = option(AUTO, integer(1), "Epochs of training before pruning. Auto: the recipe's number.")
    batch_size: int | None = option(AUTO, integer(1), "Images in a batch. Auto: the recipe's number.")
    learning_rate: float | None = option(
        AUTO,
        within(0, math.inf),
        "Learning rate of the first phase of training; later phases change in proportion. Auto: the recipe's value.",
    )
    momentum: float | None = option(
        AUTO,
        within(0, 1, low_too=True),
        "Nesterov momentum of the optimizer, from 0 to below 1. Auto: the recipe's value.",
    )
    weight_decay: float | None = option(
        AUTO, within(0, math.inf, low_too=True), "Weight decay (L2 penalty) of the optimizer. Auto: the recipe's value."
    )
    decay: str = option(
        "none",
        choice(DECAYS),
        "How the learning rate falls from step to step, to 0 at the end of each phase: not at all (none), along a "
        "cosine, or in a line (linear).",
    )
    kept_epoch: str | None = option(
        AUTO,
        choice(("best", "last")),
        "Keep the network of the epoch with the lowest validation loss (best), or of the last one. Auto: the last "
        "where the learning rate decays to 0, else the best.",
    )
    average_epochs: int = option(
        "0",
        integer(0),
        "Keep the mean of the weights after each of the last so many epochs, in place of the network of one epoch; the "
        "statistics of BatchNorm are made again. 0: no mean.",
    )
    validation_fraction: float = option(
        "0.1",
        within(0, 1),
        "Share of the training images that is held out to choose the best epoch, between 0 and 1. A folder with images "
        "in val needs none.",
    )
    test_fraction: float | None = option(
        AUTO,
        within(0, 1),
        "Share of each class's images that is held out for testing, for a folder that holds only classes and no train "
        "and test. All seeds test on the same images. Auto: 0.2.",
    )
    class_fractions: tuple[str, ...] | None = option(
        AUTO,
        class_fractions,
        "Share of the training images of a class that is kept, to train on unbalanced classes. Several are written "
        "5=0.2,8=0.5, by the names of classes, which have no comma. Each seed leaves out other images. Validation and "
        "test images stay. Auto: all images are kept.",
    )
    device: str | None = option(
        AUTO, choice(("cpu", "cuda")), "Device to train on: cpu or cuda. Auto: cuda if there is a GPU, else cpu."
    )
    engine: str | None = option(
        AUTO,
        choice(("torch", "native")),
        "Training back end: torch (PyTorch) or native (C++ that is compiled for this CPU). Auto: native if it can "
        "train the network, else torch.",
    )
    precision: str = option(
        schema.FLOAT32,
        choice(schema.PRECISIONS),
        "Numbers that layers compute with in training: float32, or bf16 (bfloat16; the engine native has it for "
        "residual networks, on CPUs that multiply such numbers). Weights, loss, evaluation and the gradient for scores "
        "are float32 with both.",
    )
    data_dir: Path = option(
        AUTO,
        path,
        "Folder of the data sets. Auto: the environment variable PRUNING_STUDY_DATA, else the folder data.",
    )
    image_size: int | None = option(
        AUTO, integer(1), "Height and width in pixels that all images are resized to. Auto: keep their size."
    )
    max_data_gib: float = option(
        "16",
        within(0, math.inf),
        "Most memory, in GiB, that the images and labels of a data set may take. A larger data set is refused before "
        "it is read.",
    )
    experiment: str | None = option(
        AUTO,
        nonempty_text,
        "MLflow experiment that holds the runs. Auto: MLflow's current experiment.",
    )
    force: bool = option("false", boolean, "Make the runs anew, even if finished runs with these options exist.")
    log_model: bool = option(
        "false",
        boolean,
        "Also log the network as an MLflow model in the format ONNX (needs the extra onnx). prune logs the network of "
        "each ratio.",
    )

    def __post_init__(self) -> None:
        check_fields(self)
        self._check_average(self.average_epochs, self.decay)

    def _check_average(self, epochs: int, decay: str, phase: str = "") -> None:
        """Raise a StudyError if the mean of some epochs is kept, and other options speak against it."""
        option = f"--{phase}average-epochs"
        if epochs == 1:
            raise StudyError("1 is one epoch and no mean: give 2 or more, or --kept-epoch last", option=option)
        if epochs and decay != "none":
            raise StudyError(
                f"{epochs} epochs are averaged at a constant learning rate, and {decay} lets it fall to 0: give 0, or "
                f"--{phase}decay none",
                option=option,
            )
        if epochs and self.kept_epoch == "best":
            raise StudyError(f"best keeps one epoch, and {option} the mean of {epochs}", option="--kept-epoch")


@dataclass(frozen=True)
class PruneConfig(TrainConfig):
    """Options of `prune`: those of the dense model, and those of pruning and fine-tuning it."""

    pruner: str = option(
        "mp",
        valid_name(pruners.check_name),
        f"Way to choose the weights that are pruned: {', '.join(PRUNERS)}, or package.module:function for a score of "
        "your own. mp prunes the smallest weights, chip whole output channels of convolutions, and those that end in "
        "-structured whole input channels.",
    )
    ratio: tuple[float, ...] = option(
        AUTO,
        _ratios,
        "Pruning ratio: parameters before / parameters after. Several ratios are written 2,4,10. Auto: 10, or 1 for "
        "the pruner none.",
    )
    sparsity: tuple[float, ...] | None = option(
        AUTO,
        several(within(0, 1, low_too=True)),
        "Share of the prunable weights that is pruned, from 0 to below 1, in place of --ratio. Several are written "
        "0.5,0.9. Auto: the share that --ratio prunes.",
    )
    scope: str | None = option(
        AUTO,
        choice(SCOPES),
        "Compare the scores of all layers (global), or prune the same share of every layer (layer). Auto: layer for "
        "l1-unstructured, random-unstructured and the pruners of whole channels (-structured, chip), else global.",
    )
    epsilon: float | None = option(
        AUTO,
        within(0, math.inf, low_too=True),
        "Weight of the squared weights in the scores of the undecayed pruners up, up-signed and up-sum. Auto: the "
        "weight decay, or 5e-4 if that is 0.",
    )
    dense_run_id: str | None = option(
        AUTO,
        nonempty_text,
        "MLflow run ID of the trained network to prune. Auto: the run with the same training options, which is made if "
        "it does not exist.",
    )
    gradient_objective: str | None = option(
        AUTO,
        choice(("regularized", "data")),
        "Loss whose gradient the scores use: with weight decay (regularized) or without (data). Auto: the protocol's, "
        "regularized for paper.",
    )
    gradient_batches: int | None = option(
        AUTO,
        integer(1),
        "Number of batches that the scores' gradient is averaged over. Auto: the protocol's, the whole training set "
        "for paper.",
    )
    gradient_mode: str | None = option(
        AUTO,
        choice(("eval", "train")),
        "Take the scores' gradient as in evaluation (eval), or with BatchNorm and image augmentation as in training "
        "(train). Auto: the protocol's, eval for paper.",
    )
    fine_tune_epochs: int | None = option(
        AUTO, integer(0), "Epochs of training after pruning; 0 leaves the network as pruned. Auto: the recipe's number."
    )
    fine_tune_learning_rate: float | None = option(
        AUTO, within(0, math.inf), "Learning rate of the first phase of fine-tuning. Auto: the recipe's value."
    )
    fine_tune_decay: str | None = option(
        AUTO, choice(DECAYS), "How the learning rate of fine-tuning falls, as --decay says. Auto: the value of --decay."
    )
    fine_tune_average_epochs: int | None = option(
        AUTO,
        integer(0),
        "Epochs of fine-tuning whose mean is kept, as --average-epochs says. Auto: the value of --average-epochs.",
    )
    prune_output_layer: bool = option("false", boolean, "Prune weights of the last layer too.")
    shrink: bool = option(
        "false",
        boolean,
        "Also remove the channels that no layer reads any more, and show the size and the speed of the smaller network "
        "(needs the extra structured).",
    )
    details: bool = option(
        "false", boolean, "Also print the slopes that are expected on new images, with their intervals."
    )
    schedule: str = option(
        ONE_SHOT,
        choice(SCHEDULES),
        "Prune all at once before fine-tuning (one-shot), or step by step while fine-tuning (cubic).",
    )
    ramp: float = option(
        "0.5",
        within(0, 1, low_too=True),
        "Share of the fine-tuning epochs over which the schedule cubic prunes, from 0 to below 1; 0 prunes at once.",
    )
    ramp_steps: int = option("1", integer(1), "Number of times in an epoch that the schedule cubic prunes.")
    regrow: bool | None = option(
        AUTO,
        boolean,
        "Let weights that were pruned step by step come back while others are still pruned. Auto: true where a network "
        "is pruned while it is trained from its initial weights, else false.",
    )
    start: str = option(
        "dense",
        choice(STARTS),
        "Prune the trained network and fine-tune it (dense), or train a new network from the same initial weights and "
        "prune it step by step meanwhile (initialization).",
    )
    begin: int | float | None = option(
        AUTO,
        steps_or_share,
        "Step of the training at which --start initialization begins to prune, or share of the training, written with "
        "a point. Auto: 0.2.",
    )
    end: int | float | None = option(
        AUTO, steps_or_share, "Step of the training, or share of it, from which on nothing more is pruned. Auto: 0.75."
    )
    frequency: int | None = option(AUTO, integer(1), "Steps of the training from one pruning to the next. Auto: 100.")
    distill: float = option(
        "0",
        within(0, 1, low_too=True, high_too=True),
        "Distillation: share of the fine-tuning loss that compares the network with the dense one instead of the "
        "labels, from 0 to 1.",
    )
    temperature: float = option("2", within(0, math.inf), "Softmax temperature for distillation (--distill).")
    data_quotas: str = option(
        "none",
        choice(("none", "recall")),
        "Fine-tune on a part of the training images, with a larger part of the classes of which the dense network gets "
        "more validation images wrong (recall).",
    )
    data_density: float = option(
        "0.5", within(0, 1, high_too=True), "Share of the training images that --data-quotas keeps."
    )
    performance_weighted: str = option(
        "none",
        theta_and_gamma,
        "Fine-tune on the corrected predictions of the dense network, with a weight for each image: THETA + "
        "(1 - THETA) (1 - p)^GAMMA, p being the probability that the dense network gives to its label. Written 0.5,1.",
    )
    constraint: str = option(
        "none",
        choice(("none", constraint_names.CEAG, constraint_names.EQUALIZED_LOSS)),
        "Fine-tune under a constraint on every class: that it loses no more recall than the accuracy loses, plus 0.01 "
        "(ceag), or that it has the mean loss (equalized-loss).",
    )
    constraint_images: str = option(
        "train",
        choice((constraint_names.TRAIN, constraint_names.VALIDATION)),
        "Images on which --constraint is measured: the last training images of each class, at each step (train), or "
        "the validation images, after each epoch (validation).",
    )
    constraint_step: float | None = option(
        AUTO,
        within(0, math.inf),
        "How much the multiplier of a class grows when its constraint is measured and broken by 1. Auto: 0.01 for "
        "ceag, 0.0001 for equalized-loss; on validation images 0.5 and 0.01.",
    )
    class_weights: str = option(
        "none",
        choice(("none", "dense")),
        "Fine-tune with a weight for each class, (1 / recall)^POWER, from the dense network's recall on validation "
        "images (dense).",
    )
    class_weight_power: float = option(
        "1",
        within(0, math.inf, low_too=True),
        "POWER of --class-weights: the larger it is, the more the classes count that the dense network recalls badly. "
        "With 0 all classes count alike.",
    )
    class_offsets: str = option(
        "none",
        choice(("none", "dense")),
        "After fine-tuning, add a number to each class's logit so that no class loses more recall than the accuracy "
        "loses, against the dense network (dense). It is fitted on validation images, and part of the network.",
    )
    offset_shrinkage: float = option(
        "1",
        within(0, math.inf, low_too=True),
        "How much noise counts for --class-offsets: with 1 a class that changed no more than chance allows is hardly "
        "moved, with 0 every change is taken for real.",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.scope:
            pruners.check_scope(self.pruner, self.scope)
        self._set_ratio()
        self._check_start()
        self._check_losses()
        if not self.starts_anew:
            self._check_average(self.fine_tuning_average_epochs, self.fine_tuning_decay, "fine-tune-")
        if self.is_gradual:
            pruners.check_gradual(self.pruner, "--start" if self.starts_anew else "--schedule")

    def _set_ratio(self) -> None:
        """Set the default ratio. With a sparsity there is none until the network is known, and the ratio is empty."""
        if self.sparsity and self.ratio:
            raise StudyError("give a ratio or a sparsity, not both", option="--sparsity")
        prunes = pruners.prunes(self.pruner)
        if self.sparsity and not prunes:
            raise StudyError(f"the pruner {self.pruner} prunes nothing: leave the sparsity out", option="--sparsity")
        if self.ratio is None:
            auto = (10.0,) if prunes else (1.0,)
            object.__setattr__(self, "ratio", () if self.sparsity else auto)
        if not prunes and self.ratio != (1.0,):
            raise StudyError(
                f"the pruner {self.pruner} prunes nothing: it takes ratio 1 and no other", option="--ratio"
            )

    def _check_start(self) -> None:
        """Raise a StudyError if an option does not belong to the start."""
        anew = ("begin", "end", "frequency")
        fine_tuning = ("ramp", "ramp_steps", "distill", *_WEIGHING, schema.DATA_QUOTAS, "weights")
        refused = fine_tuning if self.starts_anew else anew
        for item in fields(self):
            if item.name in refused and getattr(self, item.name) != item.default:
                other = "dense" if self.starts_anew else schema.INITIALIZATION
                raise StudyError(f"it belongs to --start {other}", option=option_name(item.name))

    def _check_losses(self) -> None:
        """Raise a StudyError if two options change the loss of images, each in its own way."""
        given = [option_name(name) for name in self.weighing]
        if len(given) > 1:
            raise StudyError(f"{given[0]} weighs images too: take one of them", option=given[1])
        if given and self.data_quotas != "none":
            raise StudyError(f"{given[0]} weighs images, and quotas leave some out: take one", option="--data-quotas")
        if self.distill and self.performance_weighted != "none":
            raise StudyError(
                "it learns from the dense network already: leave --distill out", option="--performance-weighted"
            )

    @property
    def weighing(self) -> list[str]:
        """The options, at most one, that weigh images in the loss of fine-tuning."""
        return [item.name for item in fields(self) if item.name in _WEIGHING and getattr(self, item.name) != "none"]

    @property
    def dual_step(self) -> float:
        """Size of a dual step under a constraint; 0 without one."""
        if self.constraint == "none":
            return 0.0
        return self.constraint_step or constraint_names.DUAL_STEPS[self.constraint, self.constraint_images]

    @property
    def fine_tuning_decay(self) -> str:
        """How the learning rate of fine-tuning falls."""
        return self.fine_tune_decay or self.decay

    @property
    def fine_tuning_average_epochs(self) -> int:
        """Number of the last epochs of fine-tuning whose mean is kept; 0 for none."""
        if self.fine_tune_epochs == 0:
            return 0
        return self.average_epochs if self.fine_tune_average_epochs is None else self.fine_tune_average_epochs

    @property
    def starts_anew(self) -> bool:
        """Whether the network is pruned while it is trained from its initial weights."""
        return self.start == schema.INITIALIZATION

    @property
    def regrows(self) -> bool:
        """Whether weights that were pruned may come back."""
        return self.starts_anew if self.regrow is None else self.regrow

    @property
    def is_gradual(self) -> bool:
        """Whether weights are pruned step by step; a ramp over none of the epochs prunes at once."""
        return (self.starts_anew or (self.schedule != ONE_SHOT and self.ramp > 0)) and pruners.prunes(self.pruner)

    @property
    def amounts(self) -> list[str]:
        """How much is pruned, in words: each ratio, or each sparsity where ratios are not known yet."""
        return [f"t={ratio:g}" for ratio in self.ratio] or [f"sparsity {share:g}" for share in self.sparsity or ()]

    @property
    def method(self) -> str:
        """The pruner, followed by the scope, schedule, distillation and mitigations that differ from the defaults."""
        own_scope = self.scope in (None, pruners.own_scope(self.pruner)) or not pruners.prunes(self.pruner)
        scope = [] if own_scope else [f"scope {self.scope}"]
        gradual = [self.start] if self.starts_anew else [self.schedule] if self.is_gradual else []
        distilled = [f"distill {self.distill:g}"] if self.distill else []
        mitigations = (*self.weighing, schema.DATA_QUOTAS, schema.CLASS_OFFSETS)
        mitigated = [words for name in mitigations for words in self._mitigated(name)]
        return " ".join([self.pruner, *scope, *gradual, *distilled, *mitigated])

    def _mitigated(self, name: str) -> list[str]:
        """Return a mitigation in words, with its details that differ from the defaults; nothing without it."""
        if getattr(self, name) == "none":
            return []
        auto = {schema.CONSTRAINT_STEP: constraint_names.DUAL_STEPS.get((self.constraint, self.constraint_images))}
        words = [schema.words(name, getattr(self, name))]
        for detail in schema.details(name):
            value = getattr(self, detail)
            if value not in (getattr(PruneConfig, detail), auto.get(detail)):
                words.append(schema.words(detail, value if isinstance(value, str) else f"{value:g}"))
        return words


@dataclass(frozen=True)
class IterateConfig(TrainConfig):
    """Options of `iterate`: those of the dense network, and those of pruning it again and again."""

    recipe: str = option(
        "prune-responsibly",
        choice(RECIPES),
        f"Set of training hyperparameters: {', '.join(RECIPES)}. Each iteration is trained as the dense network is.",
    )
    epochs: int | None = option(
        AUTO, integer(1), "Epochs of each iteration, that of the dense network included. Auto: the recipe's number."
    )
    validation_fraction: float = option(
        "0.2",
        within(0, 1),
        "Share of the training images that is held out to choose the best epoch, between 0 and 1. A folder with images "
        "in val needs none.",
    )
    pruner: str = same_option(PruneConfig, "pruner")
    iterations: int = option(
        "20", integer(2), "Number of iterations: the dense network is the first, and each of the others prunes it once."
    )
    keep: float = option(
        "0.8",
        within(0, 1),
        "Share of the weights left that an iteration keeps, between 0 and 1; pruners of channels keep this share of "
        "each layer's channels.",
    )
    weight_treatment: str = option(
        schema.FINETUNE,
        choice(WEIGHT_TREATMENTS),
        "Train the weights that are kept on from their values (finetune), or from the network's initial values or "
        "those of --rewind-step (rewind).",
    )
    rewind_step: int = option(
        "0",
        integer(0),
        "Step of the dense network's training that --weight-treatment rewind goes back to; a step is a batch. 0: the "
        "initial values.",
    )
    scope: str | None = same_option(PruneConfig, "scope")
    epsilon: float | None = same_option(PruneConfig, "epsilon")
    dense_run_id: str | None = same_option(PruneConfig, "dense_run_id")
    gradient_objective: str | None = same_option(PruneConfig, "gradient_objective")
    gradient_batches: int | None = same_option(PruneConfig, "gradient_batches")
    gradient_mode: str | None = same_option(PruneConfig, "gradient_mode")
    prune_output_layer: bool = same_option(PruneConfig, "prune_output_layer")
    shrink: bool = same_option(PruneConfig, "shrink")

    def __post_init__(self) -> None:
        super().__post_init__()
        pruners.check_gradual(self.pruner, "--pruner")
        if self.scope:
            pruners.check_scope(self.pruner, self.scope)
        if self.weights and self.rewinds:
            raise StudyError(
                "initial values of given weights are not known: leave them out, or take --weight-treatment finetune",
                option="--weights",
            )
        if self.rewind_step and not self.rewinds:
            raise StudyError("it belongs to --weight-treatment rewind", option="--rewind-step")

    @property
    def rewinds(self) -> bool:
        """Whether each iteration starts from the network's initial values, or from an early step of its training."""
        return self.weight_treatment == schema.REWIND

    @property
    def pruning(self) -> PruneConfig:
        """The options of `prune` that iterations share: those of the dense network, and how weights are chosen."""
        shared = {item.name for item in fields(self)} & {item.name for item in fields(PruneConfig)}
        return PruneConfig(ratio=(1.0,), **{name: getattr(self, name) for name in shared})

    @property
    def method(self) -> str:
        """The pruner, followed by the scope if it is not the pruner's own, and by the weight treatment."""
        step = f" {schema.REWIND_STEP} {self.rewind_step}" if self.rewind_step else ""
        return f"{self.pruning.method} {self.weight_treatment}{step}"


@dataclass(frozen=True)
class StudyConfig:
    """Options of `study` that say where and how to run it; the file says what the study holds."""

    workers: int | None = option(
        AUTO, integer(1), "Number of processes that train at once, one thread each. Auto: one for each core."
    )
    executor: str = option(
        "processes",
        choice(("processes", "ray")),
        "Train in processes of this machine (processes), or on the Ray cluster that is running (ray).",
    )
    gpus_per_step: float = option("0", gpu_share, "Number of GPUs, or share of one, for each training with Ray.")
    dry_run: bool = option(
        "false", boolean, "Only show the grid, how much of it exists, and how long the rest is expected to take."
    )
    protocol: str | None = option(
        AUTO,
        choice(PROTOCOLS),
        "Do as the paper's text says (paper), or as its released code does (released). Auto: the file's, or paper.",
    )
    device: str | None = same_option(TrainConfig, "device")
    engine: str | None = same_option(TrainConfig, "engine")
    data_dir: Path = same_option(TrainConfig, "data_dir")
    max_data_gib: float = same_option(TrainConfig, "max_data_gib")
    experiment: str | None = option(
        AUTO,
        nonempty_text,
        "MLflow experiment that holds the runs. Auto: the experiment that MLflow's environment variables name, else "
        "that of the key experiment in FILE, else an experiment with the name of the study.",
    )

    def __post_init__(self) -> None:
        check_fields(self)
        if self.executor == "ray" and self.workers:
            raise StudyError("a Ray cluster has as many workers as it has cores", option="--workers")
        if self.executor != "ray" and self.gpus_per_step:
            raise StudyError("it takes --executor ray", option="--gpus-per-step")


@dataclass(frozen=True)
class TuneConfig:
    """Options of `tune`: those of the dense model and of fine-tuning, as in `prune`, and those of the search."""

    dataset: str = same_option(TrainConfig, "dataset")
    model: str = same_option(TrainConfig, "model")
    recipe: str | None = same_option(TrainConfig, "recipe")
    protocol: str = same_option(TrainConfig, "protocol")
    seeds: tuple[int, ...] = option(
        "0,1,2", several(integer(0)), "Seeds of the dense networks that every trial prunes, written 0,1,2."
    )
    ratio: tuple[float, ...] = option(
        "10",
        _ratios,
        "Pruning ratio: parameters before / parameters after. Of several, written 5,10, the search chooses one too.",
    )
    objective: str = option(
        "accuracy",
        choice(OBJECTIVES),
        "Aim on validation images: most accuracy, least distortion between classes (alpha), or both.",
    )
    epsilon_range: tuple[float, float] = option(
        "1e-8,1e2", positive_range, "Smallest and largest epsilon that the search tries, on a logarithmic scale."
    )
    tune_schedule: bool = option(
        "false", boolean, "Search the ramp of the schedule cubic and the share of distillation too."
    )
    tune_mitigation: bool = option(
        "false",
        boolean,
        "Search how strong the mitigation is that every trial has: --offset-shrinkage of --class-offsets, "
        "--class-weight-power of --class-weights, or --constraint-step of --constraint.",
    )
    tune_decay: bool = option(
        "false", boolean, "Search how the learning rate of fine-tuning falls (--fine-tune-decay) too."
    )
    n_trials: int = option(
        "20",
        integer(1),
        "Number of trials, the reference trials (anchors) included: each ratio has three, or six with --tune-schedule.",
    )
    timeout: float | None = option(
        AUTO,
        within(0, math.inf),
        "Seconds after which no trial starts, except a reference trial. Auto: no limit.",
    )
    confirm_seeds: int = option(
        "0", integer(0), "Number of new dense networks on which the best trial is compared with the reference trials."
    )
    study_name: str | None = option(
        AUTO, nonempty_text, "Name of the search; a search of the same name is continued. Auto: made from the options."
    )
    epochs: int | None = same_option(TrainConfig, "epochs")
    batch_size: int | None = same_option(TrainConfig, "batch_size")
    learning_rate: float | None = same_option(TrainConfig, "learning_rate")
    momentum: float | None = same_option(TrainConfig, "momentum")
    weight_decay: float | None = same_option(TrainConfig, "weight_decay")
    decay: str = same_option(TrainConfig, "decay")
    kept_epoch: str | None = same_option(TrainConfig, "kept_epoch")
    average_epochs: int = same_option(TrainConfig, "average_epochs")
    validation_fraction: float = same_option(TrainConfig, "validation_fraction")
    test_fraction: float | None = same_option(TrainConfig, "test_fraction")
    gradient_objective: str | None = same_option(PruneConfig, "gradient_objective")
    gradient_batches: int | None = same_option(PruneConfig, "gradient_batches")
    gradient_mode: str | None = same_option(PruneConfig, "gradient_mode")
    fine_tune_epochs: int | None = same_option(PruneConfig, "fine_tune_epochs")
    fine_tune_learning_rate: float | None = same_option(PruneConfig, "fine_tune_learning_rate")
    fine_tune_decay: str | None = same_option(PruneConfig, "fine_tune_decay")
    fine_tune_average_epochs: int | None = same_option(PruneConfig, "fine_tune_average_epochs")
    prune_output_layer: bool = same_option(PruneConfig, "prune_output_layer")
    scope: str | None = same_option(PruneConfig, "scope")
    schedule: str = same_option(PruneConfig, "schedule")
    ramp: float = same_option(PruneConfig, "ramp")
    ramp_steps: int = same_option(PruneConfig, "ramp_steps")
    regrow: bool | None = same_option(PruneConfig, "regrow")
    distill: float = same_option(PruneConfig, "distill")
    temperature: float = same_option(PruneConfig, "temperature")
    class_offsets: str = same_option(PruneConfig, "class_offsets")
    offset_shrinkage: float = same_option(PruneConfig, "offset_shrinkage")
    class_weights: str = same_option(PruneConfig, "class_weights")
    class_weight_power: float = same_option(PruneConfig, "class_weight_power")
    constraint: str = same_option(PruneConfig, "constraint")
    constraint_images: str = same_option(PruneConfig, "constraint_images")
    constraint_step: float | None = same_option(PruneConfig, "constraint_step")
    device: str | None = same_option(TrainConfig, "device")
    engine: str | None = same_option(TrainConfig, "engine")
    precision: str = same_option(TrainConfig, "precision")
    data_dir: Path = same_option(TrainConfig, "data_dir")
    image_size: int | None = same_option(TrainConfig, "image_size")
    max_data_gib: float = same_option(TrainConfig, "max_data_gib")
    experiment: str | None = same_option(TrainConfig, "experiment")

    def __post_init__(self) -> None:
        check_fields(self)
        anchors_per_ratio = len(ANCHORS) * (2 if self.tune_schedule else 1)
        anchors = anchors_per_ratio * len(self.ratio)
        if self.n_trials < anchors:
            raise StudyError(
                f"{self.n_trials} is below {anchors}: each ratio has {anchors_per_ratio} reference trials (anchors)",
                option="--n-trials",
            )
        if self.tune_schedule and self.schedule != ONE_SHOT:
            raise StudyError(f"{self.schedule}: --tune-schedule searches the schedule", option="--schedule")
        if self.tune_schedule and not self.ramp:
            raise StudyError(
                "0 prunes at once: with --tune-schedule the gradual reference trials need a ramp", option="--ramp"
            )
        if self.confirm_seeds == 1:
            raise StudyError("1 is too few: a paired comparison takes 2 or more", option="--confirm-seeds")
        self._check_mitigation()
        if self.tune_decay:
            self._check_tuned_decay()

    def _check_mitigation(self) -> None:
        """Raise a StudyError unless there is one strength to search, and an objective that it may serve."""
        given = [option_name(name) for name in STRENGTHS if getattr(self, name) != "none"]
        if self.tune_mitigation and len(given) != 1:
            which = " and ".join(given) or "none is given"
            raise StudyError(
                f"it takes one of {', '.join(map(option_name, STRENGTHS))}: {which}", option="--tune-mitigation"
            )
        if self.tune_mitigation and self.objective == "accuracy":
            raise StudyError(
                "a mitigation costs accuracy, so that the weakest one would win: take alpha or both",
                option="--objective",
            )

    def _check_tuned_decay(self) -> None:
        """Raise a StudyError if another option sets the decay of fine-tuning, or leaves none to search."""
        if self.fine_tune_decay:
            raise StudyError(
                f"{self.fine_tune_decay}: --tune-decay searches it, leave one of them out", option="--fine-tune-decay"
            )
        if self.fine_tune_epochs == 0:
            raise StudyError("0 epochs leave --tune-decay no fine-tuning", option="--fine-tune-epochs")
        averaged = self.average_epochs if self.fine_tune_average_epochs is None else self.fine_tune_average_epochs
        if averaged:
            raise StudyError(
                f"{averaged} epochs are averaged at a constant learning rate, and --tune-decay lets it fall to 0: "
                "give 0, or leave --tune-decay out",
                option="--fine-tune-average-epochs",
            )

    @property
    def searched_strength(self) -> str:
        """The option that says how strong the mitigation is, if it is searched; else empty."""
        given = (strength for name, strength in STRENGTHS.items() if getattr(self, name) != "none")
        return next(given, "") if self.tune_mitigation else ""

    def pruning(self, seed: int) -> PruneConfig:
        """Return the options of `prune` for a seed."""
        shared = {item.name for item in fields(self)} & {item.name for item in fields(PruneConfig)}
        return PruneConfig(pruner="up", seed=seed, **{name: getattr(self, name) for name in shared})


@dataclass(frozen=True)
class ExemplarsConfig:
    """Options of `exemplars`: which runs it reads, which cell of them, and what it makes."""

    experiment: str | None = same_option(TrainConfig, "experiment")
    study: str | None = option(
        AUTO, nonempty_text, "Name of a study: read the experiment that holds its runs, in place of --experiment."
    )
    frames: Path | None = option(
        AUTO,
        path,
        "Folder that pruning-analysis export wrote, or that holds several such folders, to read in place of an "
        "experiment.",
    )
    dataset: str | None = option(
        AUTO,
        nonempty_text,
        "Data set of the cell: a name, an .npz file, or a folder of images. Auto: the one that the runs name.",
    )
    model: str | None = option(AUTO, nonempty_text, "Network of the cell. Auto: the only one of the runs.")
    pruner: str | None = option(
        AUTO,
        nonempty_text,
        "Pruner of the cell, or number format of quantized networks. Auto: the only one of the runs.",
    )
    ratio: float | None = option(
        AUTO, within(1, math.inf, low_too=True), "Pruning ratio of the cell. Auto: the only one of the runs."
    )
    sparsity: float | None = option(
        AUTO,
        within(0, 1, low_too=True),
        "Share of the prunable weights that is pruned, where the runs say it. Auto: the only one of the runs.",
    )
    setting: tuple[str, ...] | None = option(
        AUTO,
        assignments,
        "Further params of the cell, written name=value, such as schedule=cubic or number_format=fixed-int8. Auto: the "
        "only ones of the runs.",
    )
    images: int = option(
        "100", integer(2), "Number of images on the labelling sheet. It is even: half of them are exemplars."
    )
    seed: int = option("0", integer(0), "Seed of the random choice of images for the labelling sheet.")
    output: Path = option("exemplars", path, "Folder that the files are written to.")
    test_fraction: float | None = same_option(TrainConfig, "test_fraction")
    data_dir: Path = same_option(TrainConfig, "data_dir")
    image_size: int | None = same_option(TrainConfig, "image_size")
    max_data_gib: float = same_option(TrainConfig, "max_data_gib")

    def __post_init__(self) -> None:
        check_fields(self)
        named = [option_name(name) for name in ("frames", "study", "experiment") if getattr(self, name) is not None]
        if len(named) > 1:
            raise StudyError(f"it takes the place of {named[1]}: leave one of them out", option=named[0])
        if self.images % 2:
            raise StudyError(f"{self.images} is odd: half of the images are exemplars", option="--images")


@dataclass(frozen=True)
class GroupsConfig:
    """Options of `groups`: the data set, and the file that is written."""

    dataset: str = same_option(TrainConfig, "dataset")
    output: Path = option("groups.csv", path, "File that the table is written to.")
    picture: Path | None = option(
        AUTO, path, "Write a picture too, to this file, which shows the tilt of a few test images. Auto: no picture."
    )
    test_fraction: float | None = same_option(TrainConfig, "test_fraction")
    data_dir: Path = same_option(TrainConfig, "data_dir")
    image_size: int | None = same_option(TrainConfig, "image_size")
    max_data_gib: float = same_option(TrainConfig, "max_data_gib")

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True)
class RobustnessConfig:
    """Options of `robustness`."""

    corruptions: tuple[str, ...] | None = option(
        AUTO,
        several(choice(CORRUPTIONS)),
        f"Corruptions of the test images, written fog,contrast. Auto: all, which are {', '.join(CORRUPTIONS)}.",
    )
    severities: tuple[int, ...] = option(
        text(SEVERITIES),
        several(integer(1, SEVERITIES[-1])),
        "Severities of each corruption, from 1 to 5, written 1,3,5.",
    )
    images: int | None = option(
        AUTO,
        integer(1),
        "Number of test images to corrupt: each class has its share, and every run the same images. Auto: all.",
    )
    folder: Path | None = option(
        AUTO,
        path,
        "Folder with images in <class>/ of some of the classes, such as natural adversarial images, to measure in "
        "place of corrupted test images. Auto: none.",
    )
    dataset: str | None = option(
        AUTO,
        nonempty_text,
        "Measure the runs of this data set only, and read it here: a name, an .npz file, or a folder of images. Auto: "
        "the data sets that the runs name.",
    )
    model: str | None = option(
        AUTO, nonempty_text, "Import path of the runs' network, package.module:factory, if it is one of your own."
    )
    device: str | None = same_option(TrainConfig, "device")
    data_dir: Path = same_option(TrainConfig, "data_dir")
    max_data_gib: float = same_option(TrainConfig, "max_data_gib")
    experiment: str | None = same_option(TrainConfig, "experiment")
    force: bool = option("false", boolean, "Measure the networks anew, even if their counts exist.")

    def __post_init__(self) -> None:
        check_fields(self)
        for item in fields(self) if self.folder else ():
            if item.name in ("corruptions", "severities", "images") and getattr(self, item.name) != item.default:
                raise StudyError("it belongs to test images: leave it or --folder out", option=option_name(item.name))


@dataclass(frozen=True)
class QuantizeConfig:
    """Options of `quantize`: which number formats, and which network if no run is named."""

    number_format: tuple[str, ...] = option(
        ",".join(NUMBER_FORMATS),
        several(choice(NUMBER_FORMATS)),
        f"Number formats of the weights, each a run of its own: {', '.join(NUMBER_FORMATS)}. dynamic-int8 has integer "
        "weights, and finds the range of the activations for each batch of images. fixed-int8 also fixes these ranges, "
        "by 100 training images.",
    )
    all: bool = option("false", boolean, "Quantise every dense network of the experiment.")
    dataset: str = same_option(TrainConfig, "dataset")
    model: str = same_option(TrainConfig, "model")
    weights: Path | None = same_option(TrainConfig, "weights")
    recipe: str | None = same_option(TrainConfig, "recipe")
    seed: int = same_option(TrainConfig, "seed")
    epochs: int | None = same_option(TrainConfig, "epochs")
    device: str | None = same_option(TrainConfig, "device")
    engine: str | None = same_option(TrainConfig, "engine")
    data_dir: Path = same_option(TrainConfig, "data_dir")
    image_size: int | None = same_option(TrainConfig, "image_size")
    max_data_gib: float = same_option(TrainConfig, "max_data_gib")
    experiment: str | None = same_option(TrainConfig, "experiment")
    force: bool = same_option(TrainConfig, "force")

    def __post_init__(self) -> None:
        check_fields(self)

    @property
    def training(self) -> TrainConfig:
        """The options of `train` that make the network."""
        return _training(self)


@dataclass(frozen=True)
class ExportConfig:
    """Options of `export`: the format, and where the data of the run are."""

    format: str = option("onnx", choice(("onnx",)), "File format: onnx.")
    output: Path | None = option(AUTO, path, "File to write the network to. Auto: none, only the MLflow model.")
    shrink: bool = option(
        "false",
        boolean,
        "Write the network to --output without the channels that no layer reads, and log no MLflow model of it (needs "
        "the extra structured).",
    )
    dataset: str = same_option(TrainConfig, "dataset")
    model: str = same_option(TrainConfig, "model")
    data_dir: Path = same_option(TrainConfig, "data_dir")
    image_size: int | None = same_option(TrainConfig, "image_size")
    max_data_gib: float = same_option(TrainConfig, "max_data_gib")
    experiment: str | None = same_option(TrainConfig, "experiment")

    def __post_init__(self) -> None:
        check_fields(self)
        if self.shrink and self.output is None:
            raise StudyError("the smaller network is written to a file: name it (--output)", option="--shrink")

    @property
    def training(self) -> TrainConfig:
        """The options of `train` that say where the data of the run are."""
        return _training(self)


def _training(config: Any) -> TrainConfig:
    """Return the options of `train` that another command has too, the others with their defaults."""
    names = {item.name for item in fields(TrainConfig)} & {item.name for item in fields(config)}
    return TrainConfig(**{name: getattr(config, name) for name in names})


def checked(name: str, value: Any, config: type[TrainConfig] = PruneConfig) -> Any:
    """Return the checked value of an option of `prune` or another command, given as text or as it is.

    Raises
    ------
    StudyError
        If the option does not take the value.
    """
    return checked_value(next(item for item in fields(config) if item.name == name), value)
