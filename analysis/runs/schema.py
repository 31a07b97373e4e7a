"""Define the names of tags, params, metrics and artifacts of a run, and each param's role in a study.

A param that is an option has the option's name.
"""

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

# Tags
KIND = "kind"
NETWORK = "network"  # tag of dense and pruned runs; its value is dense, control or pruned
CONFIG_HASH = "config_hash"
SCHEMA = "schema"  # of each run with a config hash
SCHEMA_VERSION = "0.3"
DENSE_RUN_ID = "dense_run_id"
PARENT_RUN_ID = "parent_run_id"
FOUND_RUN_ID = "found_run_id"
PRUNED_RUN_IDS = "pruned_run_ids"
CONTROL_RUN_ID = "control_run_id"  # of a pruned or quantized run and of its job: the run of its control
QUANTIZED_RUN_IDS = "quantized_run_ids"
COMPRESSED_RUN_ID = "compressed_run_id"
TUNING_RUN_ID = "tuning_run_id"
# Of dense, pruned and quantized runs, for the analysis: the settings as JSON, sorted by name, which runs of one cell
# share; the names of the classes as a JSON list, in the order of their labels, unless it is longer than a tag may be;
# and the call that makes the run
CELL = "cell"
CLASS_NAMES = "class_names"
COMMAND = "command"
STUDY_NAME = "study"  # name of the study or search that made a run, and of its own run
ANCHOR = "anchor"
STATE = "state"
MINIMIZE = "minimize"  # of a search of chains
# Of pruned and quantized runs and their jobs: the class that lost most since the dense network. Of a trial of
# `compress`: the class whose loss has the largest bound
WORST_CLASS = "worst_class"
OUTCOME = "outcome"  # a phrase that says which classes are worse than in the dense network
ENGINE = "engine"
DEVICE = "device"
ARITHMETIC = "arithmetic"
HOST = "host"
LOCK = "lock"
ERROR = "error"
CORRUPTED = "corruptions"  # digest of the corrupted test images that the run was measured on
NORMALIZATION_MEAN = "normalization_mean"
NORMALIZATION_STD = "normalization_std"

# The tags that the analysis reads
TAGS = (
    *(KIND, DENSE_RUN_ID, CONTROL_RUN_ID, CELL, CLASS_NAMES, COMMAND, STUDY_NAME),
    *(ARITHMETIC, NORMALIZATION_MEAN, NORMALIZATION_STD, CONFIG_HASH, SCHEMA),
)

# The value of the param `pruner` of a control, which is fine-tuned without pruning.
CONTROL = "none"
# Pruners whose default of the param `scope` is `layer`; the default of the others is `global`
BY_LAYER = (
    *("l1-unstructured", "random-unstructured", "l1-structured", "l2-structured", "linf-structured"),
    *("random-structured", "fairgrape", "chip", "l1-filter"),
)
# Pruners that choose weights so as to harm no group of images
MITIGATING_PRUNERS = ("fairgrape",)
# The value of the param `start` for a network pruned during training from its initial weights.
INITIALIZATION = "initialization"
# Values of the param `weight_treatment`: after pruning, the remaining weights keep their values (finetune) or are reset
# to earlier ones (rewind).
FINETUNE = "finetune"
REWIND = "rewind"

# Values of the tag `kind`; only DENSE, PRUNED and QUANTIZED runs are analysed. A COMPRESSED run stores the final
# network, ready to deploy. A TUNING run is a search by `tune` or `compress`, and its TRIAL runs are nested in it.
DENSE = "dense"
PRUNED = "pruned"
QUANTIZED = "quantized"
KINDS = (DENSE, PRUNED, QUANTIZED)
COMPRESSED = "compressed"
JOB = "job"
STUDY = "study"
TUNING = "tuning"
TRIAL = "trial"
REPORT = "report"

# Values of the tag `arithmetic` of a trained run, which identifies the order of additions and the rounding. With the
# native engine, a training gives the same bits on every machine; torch gives no such guarantee.
NATIVE_ARITHMETIC, TORCH_ARITHMETIC = "2", "torch"

# Params: all that are not options, and the options whose names are used outside the table of options
DATASET = "dataset"
DATASET_DIGEST = "dataset_digest"
IMAGE_SHAPE = "image_shape"
MODEL = "model"
MODEL_DIGEST = "model_digest"
WEIGHTS_DIGEST = "weights_digest"
RECIPE = "recipe"
PROTOCOL = "protocol"
SEED = "seed"
EPOCHS = "epochs"
PHASES = "phases"
LEARNING_RATE = "learning_rate"
BATCH_SIZE = "batch_size"
MOMENTUM = "momentum"
OPTIMIZER = "optimizer"
WEIGHT_DECAY = "weight_decay"
DECAY = "decay"
KEPT_EPOCH = "kept_epoch"
AVERAGE_EPOCHS = "average_epochs"
AUGMENTATION = "augmentation"
VALIDATION_FRACTION = "validation_fraction"
TEST_FRACTION = "test_fraction"
PRUNER = "pruner"
PRUNER_DIGEST = "pruner_digest"
RATIO = "ratio"
EPSILON = "epsilon"
FINE_TUNE_EPOCHS = "fine_tune_epochs"
FINE_TUNE_PHASES = "fine_tune_phases"
FINE_TUNE_LEARNING_RATE = "fine_tune_learning_rate"
FINE_TUNE_DECAY = "fine_tune_decay"
PRUNE_OUTPUT_LAYER = "prune_output_layer"
KEEP_LAYERS = "keep_layers"
CHANNEL_GROUPS = "channel_groups"
SCOPE = "scope"
ITERATION = "iteration"
SCHEDULE = "schedule"
RAMP = "ramp"
START = "start"
DISTILL = "distill"
CLASS_OFFSETS = "class_offsets"
SPARSITY = "sparsity"
KEEP = "keep"
WEIGHT_TREATMENT = "weight_treatment"
REWIND_STEP = "rewind_step"
RATIO_PRUNABLE = "ratio_prunable"
PRECISION = "precision"
NUMBER_FORMAT = "number_format"
WEIGHT_BITS = "weight_bits"
QUANTIZATION = "quantization"

# Values of the param `number_format`, and their bits per weight
FLOAT32, FLOAT16, DYNAMIC_INT8, FIXED_INT8 = "float32", "float16", "dynamic-int8", "fixed-int8"
BITS = {FLOAT32: 32, FLOAT16: 16, DYNAMIC_INT8: 8, FIXED_INT8: 8}
# Value of the param `precision` for a network trained in bfloat16
BF16 = "bf16"


@dataclass(frozen=True)
class ParamRole:
    """The role of a param in a study.

    Parameters
    ----------
    role : {"setting", "seed", "consequence"}
        Settings distinguish cells. Seeds distinguish the networks of one cell. Consequences follow from other params.
    absent : str, optional
        Value that a run without the param has: the option's default, or `none` where the option has no effect. It is
        the papers' value, so labels leave it out.
    default : str, optional
        The option's default, if `absent` is not given.
    auto : bool
        Whether the option's default is derived from other options or the data, so that `absent` is not the default.
    detail_of : str, optional
        The param that this one is a detail of, as `ramp` is of `schedule`.
    value : {"text", "integer", "float", "floats", "boolean"}
        Type of the param's value; `floats` are joined by commas. Two spellings of one value, such as `.1` and `0.1`,
        are the same setting.
    concerns : {"network", "mitigation", "pruner", "pruning"}
        `network`: the param matters whether or not a network is pruned, as the epochs do. `mitigation`: it spares
        classes, whether or not a network is pruned, as class offsets do. `pruner`: it belongs to some pruners only, as
        epsilon does. `pruning`: it belongs to pruning by any pruner, as the schedule does. A pruned network and its
        control must agree in the params of `network`. A control with the same mitigation is used if there is one;
        otherwise the control has no mitigation.
    """

    role: Literal["setting", "seed", "consequence"] = "setting"
    absent: str | None = None
    default: str | None = None
    auto: bool = False
    detail_of: str | None = None
    concerns: Literal["network", "mitigation", "pruner", "pruning"] = "network"
    value: Literal["text", "integer", "float", "floats", "boolean"] = "text"


# Every param of dense, pruned and quantized runs, in the order of labels: first those of training and fine-tuning, then
# those of pruning. Any other param counts as a setting that concerns every network.
PARAM_ROLES = {
    "dataset": ParamRole(default="fashion-mnist-mini"),
    "model": ParamRole(default="lenet5"),
    "recipe": ParamRole(),
    "protocol": ParamRole(default="paper"),
    "validation_fraction": ParamRole(default="0.1", value="float"),
    "class_fractions": ParamRole(absent="none", auto=True),
    "test_fraction": ParamRole(absent="none", value="float", auto=True),
    "seed": ParamRole("seed", default="0", value="integer"),
    "epochs": ParamRole(value="integer"),
    "batch_size": ParamRole(value="integer"),
    "learning_rate": ParamRole(value="float"),
    "optimizer": ParamRole(absent="sgd"),
    "momentum": ParamRole(value="float"),
    "weight_decay": ParamRole(value="float"),
    "regularizer": ParamRole(absent="l2"),
    "decay": ParamRole(absent="none"),
    "kept_epoch": ParamRole(absent="best", auto=True),
    "average_epochs": ParamRole(absent="0", value="integer"),
    "fine_tune_epochs": ParamRole(value="integer"),
    "fine_tune_learning_rate": ParamRole(value="float"),
    "fine_tune_decay": ParamRole(absent="none", auto=True),
    "fine_tune_average_epochs": ParamRole(absent="0", value="integer", auto=True),
    "schedule": ParamRole(absent="one-shot", concerns="pruning"),
    "ramp": ParamRole(default="0.5", detail_of="schedule", concerns="pruning", value="float"),
    "ramp_steps": ParamRole(default="1", detail_of="schedule", concerns="pruning", value="integer"),
    "regrow": ParamRole(detail_of="schedule", concerns="pruning", value="boolean"),
    "start": ParamRole(absent="dense", concerns="pruning"),
    "begin": ParamRole(detail_of="start", concerns="pruning", value="integer"),
    "end": ParamRole(detail_of="start", concerns="pruning", value="integer"),
    "frequency": ParamRole(detail_of="start", concerns="pruning", value="integer"),
    "distill": ParamRole(absent="0.0", value="float"),
    "temperature": ParamRole(default="2.0", detail_of="distill", value="float"),
    "weight_bits": ParamRole(absent="32", value="integer"),
    "quantization": ParamRole(default="while-training", detail_of="weight_bits"),
    "class_offsets": ParamRole(absent="none", concerns="mitigation"),
    "offset_shrinkage": ParamRole(default="1.0", detail_of="class_offsets", concerns="mitigation", value="float"),
    "class_weights": ParamRole(absent="none", concerns="mitigation"),
    "class_weight_power": ParamRole(default="1.0", detail_of="class_weights", concerns="mitigation", value="float"),
    "constraint": ParamRole(absent="none", concerns="mitigation"),
    "constraint_images": ParamRole(default="train", detail_of="constraint", concerns="mitigation"),
    "constraint_step": ParamRole(detail_of="constraint", concerns="mitigation", value="float"),
    "performance_weighted": ParamRole(absent="none", concerns="mitigation", value="floats"),
    "data_quotas": ParamRole(absent="none", concerns="mitigation"),
    "data_density": ParamRole(default="0.5", detail_of="data_quotas", concerns="mitigation", value="float"),
    "pruner": ParamRole(default="mp", concerns="pruner"),
    "ratio": ParamRole(concerns="pruning", value="float"),
    "sparsity": ParamRole("consequence", value="float"),
    "scope": ParamRole(absent="global", concerns="pruning", auto=True),
    "epsilon": ParamRole(concerns="pruner", value="float"),
    "prune_output_layer": ParamRole(default="false", concerns="pruning", value="boolean"),
    "keep_layers": ParamRole(absent="none", concerns="pruning", auto=True),
    "gradient_objective": ParamRole(concerns="pruner"),
    "gradient_batches": ParamRole(concerns="pruner", value="integer"),
    "gradient_mode": ParamRole(concerns="pruner"),
    "keep": ParamRole(absent="none", value="float"),
    "weight_treatment": ParamRole(default="finetune", detail_of="keep"),
    "rewind_step": ParamRole(absent="0", value="integer"),
    "dataset_digest": ParamRole(),
    "image_shape": ParamRole(),
    "model_digest": ParamRole(),
    "augmentation": ParamRole(),
    "pruner_digest": ParamRole(concerns="pruner"),
    "channel_groups": ParamRole(absent="own", concerns="pruner"),
    "iteration": ParamRole(absent="1", value="integer"),
    "weights_digest": ParamRole("seed"),
    "phases": ParamRole("consequence"),
    "fine_tune_phases": ParamRole("consequence"),
    "ratio_prunable": ParamRole("consequence", value="float"),
    "precision": ParamRole(absent="float32"),
    "number_format": ParamRole(absent="float32", concerns="pruning"),
}
# Value of each param in a run that lacks it
ABSENT = {name: param.absent for name, param in PARAM_ROLES.items() if param.absent is not None}
# Defaults of the params that are not derived from other options or the data. A run's hash covers the params that differ
# from them, so a new option changes no hash; a changed default needs a new version of the step (`steps.identity`).
DEFAULTS = {
    name: param.default or param.absent
    for name, param in PARAM_ROLES.items()
    if param.default or (param.absent and not param.auto)
}
# Params that are no options any more, with the value that every run logs
FIXED = {name: float(str(DEFAULTS[name])) for name in ("temperature", "offset_shrinkage", "data_density")}
# Clearer words for some params with their values.
WORDS = {
    ("class_offsets", "dense"): "class offsets",
    ("class_weights", "dense"): "class weights",
    ("data_quotas", "recall"): "data quotas",
}
# These follow from the ratio, which is already in the hash.
NEVER_HASHED = frozenset({SPARSITY, RATIO_PRUNABLE})
# UP's epsilon in the papers, which does not depend on a recipe's weight decay.
PAPERS_EPSILON = 5e-4


def text(value: Any) -> str:
    """Return the canonical text of a value: floats by `repr`, booleans `true` and `false`, tuples joined by commas."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, tuple):
        return ",".join(text(part) for part in value)
    return str(value)


def role(param: str) -> ParamRole:
    """Return a param's role in a study; an undeclared param is a setting."""
    return PARAM_ROLES.get(param, ParamRole())


def cell(params: Mapping[str, str]) -> str:
    """Return the tag `cell` of a run with these params: its settings, without seeds and consequences.

    Examples
    --------
    >>> cell({"seed": "3", "pruner": "mp", "epochs": "5", "sparsity": "0.9"})
    '{"epochs": "5", "pruner": "mp"}'
    """
    return json.dumps({name: value for name, value in params.items() if role(name).role == "setting"}, sort_keys=True)


def words(param: str, value: str) -> str:
    """Write a param and its value in words: `class offsets`, `constraint ceag`, `distill 0.5`."""
    name = param.replace("_", "-") if role(param).concerns == "mitigation" else param
    return WORDS.get((param, value), f"{name} {value}")


def short_name(param: str) -> str:
    """Return a param's name in labels; a mitigation's detail is shortened to its last word, such as `power`."""
    param_role = role(param)
    return param.rpartition("_")[2] if param_role.concerns == "mitigation" and param_role.detail_of else param


def mitigations() -> list[str]:
    """Return the params of mitigations, without their details, in the order of the schema."""
    return [
        name for name, param_role in PARAM_ROLES.items() if param_role.concerns == "mitigation" and param_role.absent
    ]


def details(param: str) -> list[str]:
    """Return the params that are details of a param, in the order of the schema."""
    return [name for name, param_role in PARAM_ROLES.items() if param_role.detail_of == param]


# Params of a tuning
OBJECTIVE = "objective"
SEEDS = "seeds"
RATIOS = "ratios"
EPSILON_RANGE = "epsilon_range"
RAMP_RANGE = "ramp_range"
DISTILL_RANGE = "distill_range"
ANCHORS_RAMP = "anchors_ramp"
ANCHORS_DISTILL = "anchors_distill"
STRENGTH_OF = "strength_of"
STRENGTH_RANGE = "strength_range"
ANCHORS_STRENGTH = "anchors_strength"
FINE_TUNE_DECAYS = "fine_tune_decays"
ANCHORS_FINE_TUNE_DECAY = "anchors_fine_tune_decay"

# Metrics per epoch, with the epoch as step
TRAIN_LOSS = "train_loss"
VAL_LOSS = "val_loss"
VAL_ACCURACY = "val_accuracy"

# Metrics, final
TEST_ACCURACY = "test_accuracy"
TEST_LOSS = "test_loss"
RECALL = "recall/"
SUPPORT = "support/"
BOTH_RIGHT = "both_right/"
REALIZED_RATIO = "realized_ratio"
ALPHA = "alpha"
VAL_ALPHA = "val_alpha"
RAW_SLOPE = "raw_slope"
VAL_RAW_SLOPE = "val_raw_slope"
LARGEST_EXCESS = "largest_excess"
LARGEST_EXCESS_FLOOR = "largest_excess_floor"
# For a pruned or quantized run, since the dense network: the loss of WORST_CLASS, and upper bounds with 95 % confidence
# of the losses of all classes (the largest bound) and of the accuracy
WORST_CLASS_LOSS = "worst_class_loss"
WORST_CLASS_LOSS_UPPER = "worst_class_loss_upper"
ACCURACY_LOSS_UPPER = "accuracy_loss_upper"
# For a dense run: norms of the gradient of the objective at the trained weights, and of its two parts. The objective is
# the data loss over the training images plus the regulariser's penalty. The norms are over the weights that pruners
# prune by default: those of convolutions and linear layers except the output layer.
GRADIENT_NORM = "gradient_norm"
DATA_GRADIENT_NORM = "data_gradient_norm"
PENALTY_GRADIENT_NORM = "penalty_gradient_norm"
GRADIENT_NORMS = (GRADIENT_NORM, DATA_GRADIENT_NORM, PENALTY_GRADIENT_NORM)
# For a run pruned one-shot by a gradient-based pruner: share of its kept weights that magnitude pruning of the same
# network to the same ratio also keeps
MP_OVERLAP = "mp_overlap"
BEST_EPOCH = "best_epoch"
DURATION = "duration_seconds"
IMAGES_PER_SECOND = "images_per_second"
# For a quantized run: the size of the model's file, and the latency in milliseconds (median and interval) of single
# images and of batches
MODEL_BYTES = "model_bytes"
LATENCY = "latency_ms/"
LATENCIES = tuple(f"{LATENCY}{images}{end}" for images in ("one", "batch") for end in ("", "_low", "_high"))
# For a pruned network, with and without the channels that no layer reads: `unshrunk/parameters`, `shrunk/parameters`
# and so on. Each `latency_ms` has `latency_ms_low` and `latency_ms_high`. `shrunk/zeroed_channels` counts the zeroed
# channels that shrinking could not remove.
UNSHRUNK = "unshrunk/"
SHRUNK = "shrunk/"
PARAMETERS = "parameters"
MACS = "macs"
LATENCY_MS = "latency_ms"
ZEROED_CHANNELS = "zeroed_channels"


class Metric(NamedTuple):
    """A final metric that the analysis reads.

    Attributes
    ----------
    name : str
        As it is logged. A name that ends in `/` is the prefix of a metric with a value for each class; the name of the
        class follows it.
    kinds : tuple of str
        Kinds of run that have it. A metric of the whole network becomes a column of the frame of pruned and quantized
        runs, or of the frame of dense runs. The columns of per-class metrics are defined in `frames`.
    largest : float
        Values above this, or below 0, are impossible and left out.
    needed : bool
        Whether a run is left out if it lacks the metric or has an impossible value. Otherwise only the value is left
        out.
    mean_in_cells : bool
        Whether `cells.csv` has its mean over the runs of each cell.
    """

    name: str
    kinds: tuple[str, ...]
    largest: float = math.inf
    needed: bool = False
    mean_in_cells: bool = False

    @property
    def by_class(self) -> bool:
        """Whether each class has a value."""
        return self.name.endswith("/")


# In the order of the frames' columns. These records say which metrics are read, checked, put into frames, exported and
# averaged in cells.
METRICS = (
    Metric(TEST_ACCURACY, KINDS, largest=1, needed=True),
    Metric(RECALL, KINDS, largest=1, needed=True),
    Metric(SUPPORT, KINDS),
    Metric(BOTH_RIGHT, (PRUNED, QUANTIZED), largest=1),
    Metric(REALIZED_RATIO, (PRUNED, QUANTIZED), mean_in_cells=True),
    *(Metric(name, (QUANTIZED,)) for name in (MODEL_BYTES, *LATENCIES)),
    Metric(MP_OVERLAP, (PRUNED,), largest=1),
    *(Metric(name, (DENSE,)) for name in GRADIENT_NORMS),
)

# Metrics of a study; their step is the number of runs done
RUNS_FOUND = "runs_found"
RUNS_MADE = "runs_made"
RUNS_FAILED = "runs_failed"
RUNS_LEFT = "runs_left"

# Metrics of a trial of `tune` on validation images: VAL_ACCURACY and VAL_DISTORTION with the seed's index as step. The
# last step, like TRIAL_ACCURACY and TRIAL_DISTORTION, is the mean accuracy and the pooled distortion over all seeds.
VAL_DISTORTION = "val_distortion"
TRIAL_ACCURACY = "objective/accuracy"
TRIAL_DISTORTION = "objective/distortion"
# Metrics of a trial of `compress`: the quantity to minimise (TRIAL_COST), MODEL_BYTES and MACS; on validation
# images the mean VAL_ACCURACY over all seeds, and the losses of accuracy and of WORST_CLASS since the dense network,
# with upper bounds
TRIAL_COST = "objective/cost"
VAL_ACCURACY_LOSS = "val_accuracy_loss"
VAL_ACCURACY_LOSS_UPPER = "val_accuracy_loss_upper"
VAL_CLASS_LOSS = "val_class_loss"
VAL_CLASS_LOSS_UPPER = "val_class_loss_upper"

# Artifacts
CHECKPOINT = "checkpoint.safetensors"
GRADIENT = "gradient.safetensors"
MASK = "mask.safetensors"
PREDICTIONS = "predictions.npz"
VAL_PREDICTIONS = "val_predictions.npz"
VALIDATION_COUNTS = "validation_counts.csv"  # only in exports
PER_CLASS = "per_class.csv"
CONFUSION = "confusion.csv"
CONFUSION_CHANGE = "confusion_change.csv"
CONFUSION_PICTURE = "confusion.png"
FLIPPED_PICTURE = "flipped.png"
RECALL_PICTURE = "recall_balance.png"
ONNX_MODEL = "model.onnx"
COMPRESSED_MODEL = "compressed.onnx"
MODEL_CARD = "model_card.md"
FRONT_PICTURE = "front.png"
CLASSES_PICTURE = "classes.png"
CLASS_LOSSES = "class_losses.csv"
OFFSETS = "class_offsets.csv"
WEIGHTS = "class_weights.csv"
MULTIPLIERS = "multipliers.csv"
CORRUPTIONS = "corruptions.csv"
CLASS_CHARACTERISTICS = "class_characteristics.csv"
SUMMARY = "summary.csv"
SUMMARY_TABLE = "summary.json"
SUMMARY_PICTURE = "summary.png"
STUDY_RUNS = "runs.csv"
STUDY_FILE = "study.yaml"
PRIMARY = "primary.json"
TUNING_SUMMARY = "tuning.json"
TRIALS = "trials.csv"
FINALISTS = "finalists.csv"
CHAINS = "chains.json"
COMPARISONS = "comparisons.csv"

# Arrays in PREDICTIONS and VAL_PREDICTIONS
LABEL = "label"
PREDICTED = "predicted"
TOP5 = "top5"
CONFIDENCE = "confidence"

_LONGEST_METRIC_NAME = 250 - len(BOTH_RIGHT)


def study_name(file: Path) -> str:
    """Return the name of a study whose file gives none: of its folder if the file is STUDY_FILE, else the stem."""
    return file.parent.resolve().name if file.name == STUDY_FILE else file.stem


def metric_names(classes: Sequence[str]) -> list[str]:
    """Convert class names to suffixes of the metrics `recall/`, `support/` and `both_right/`.

    A character that MLflow refuses in a metric name becomes `_`. If two names become equal, the later one gets its
    index appended.

    Parameters
    ----------
    classes : sequence of str, in the order of the labels

    Returns
    -------
    list of str, as long as `classes`, all different
    """
    names: list[str] = []
    for index, true_name in enumerate(classes):
        name = _metric_name(true_name)
        while name in names:
            name = f"{name}_{index}"
        names.append(name)
    return names


def canonical(param: str, value: str) -> str:
    """Normalise a param's value: `1e-1` becomes `0.1`, `True` becomes `true`; other text is unchanged."""
    token = value.strip()
    match role(param).value:
        case "boolean" if token.lower() in ("true", "false"):
            return token.lower()
        case "floats":
            numbers = [_number(part) for part in token.split(",")]
            return value if None in numbers else text(tuple(numbers))
        case "integer" | "float" as kind:
            number = _number(token)
            if number is None:
                return value
            if kind == "float":
                return text(number)
            return text(int(number)) if number.is_integer() else value
    return value


def _number(written: str) -> float | None:
    """Parse a finite number; return None for any other text."""
    try:
        number = float(written)
    except ValueError:
        return None
    return number if math.isfinite(number) and "_" not in written else None


def _metric_name(name: str) -> str:
    # MLflow also refuses names that a file system would resolve to another path.
    allowed = re.sub(r"[^/\w.\- :]", "_", name[: _LONGEST_METRIC_NAME - 20])
    parts = ["_" * max(len(part), 1) if part in ("", ".", "..") else part for part in allowed.split("/")]
    return "/".join(parts)
