"""The names of tags, params, metrics and artifacts of a run, and what each param means for a study.

A param that is an option has the option's name, and its role stands in the option's record. The other names are spelled
in no other module.
"""

import math
import re
from collections.abc import Sequence
from typing import NamedTuple

from analysis.runs.options.record import ParamRole
from analysis.runs.options.registry import PRUNERS
from analysis.runs.options.table import OPTIONS
from analysis.runs.options.values import text

# Tags
KIND = "kind"
NETWORK = "network"  # of a dense or pruned run: dense, control or pruned
CONFIG_HASH = "config_hash"
DENSE_RUN_ID = "dense_run_id"
PARENT_RUN_ID = "parent_run_id"
FOUND_RUN_ID = "found_run_id"
PRUNED_RUN_IDS = "pruned_run_ids"
CONTROL_RUN_ID = "control_run_id"  # of a pruned run and of its job: the run that `largest_cost` is beyond
QUANTIZED_RUN_IDS = "quantized_run_ids"
COMPRESSED_RUN_ID = "compressed_run_id"
TUNING_RUN_ID = "tuning_run_id"
STUDY_NAME = "study_name"
ANCHOR = "anchor"
STATE = "state"
MINIMIZE = "minimize"  # of a search of chains
ENGINE = "engine"
DEVICE = "device"
ARITHMETIC = "arithmetic"
HOST = "host"
LOCK = "lock"
CREATION_ID = "creation_id"  # no two runs have the same: it finds a run whose store lost the answer
ERROR = "error"
CORRUPTED = "corruptions"  # digest of the corrupted test images that the run was measured on
NORMALIZATION_MEAN = "normalization_mean"
NORMALIZATION_STD = "normalization_std"

# The value of the param `pruner` of a control, which is fine-tuned without pruning.
CONTROL = "none"
# Pruners whose own value of the param `scope` is `layer`; that of the others is `global`
BY_LAYER = tuple(name for name, record in PRUNERS.items() if record.scope == "layer")
# Pruners that choose the weights so that no group of images is harmed.
MITIGATING_PRUNERS = tuple(name for name, record in PRUNERS.items() if record.spares_groups)
# The value of the param `start` of a network that is pruned while it is trained from its initial weights.
INITIALIZATION = "initialization"
# Values of the param `weight_treatment`: what becomes of the weights that a level of iterative pruning keeps.
FINETUNE = "finetune"
REWIND = "rewind"

# Values of the tag `kind`; only DENSE, PRUNED and QUANTIZED runs are data. A COMPRESSED run has a network as it ships.
DENSE = "dense"
PRUNED = "pruned"
QUANTIZED = "quantized"
COMPRESSED = "compressed"
JOB = "job"
STUDY = "study"
TUNING = "tuning"
TRIAL = "trial"
REPORT = "report"

# Values of the tag `arithmetic` of a trained run: in which order numbers are added, and how they are rounded. By the
# native engine's, a training is the same to the last bit on every machine; torch promises nothing. Runs of the native
# engine that have no such tag are of an earlier arithmetic, which depended on the machine.
NATIVE_ARITHMETIC, TORCH_ARITHMETIC = "2", "torch"

# Params: all that are no options, and options that code beside the table names
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

# Values of the param `number_format`, and the bits of a weight
FLOAT32, FLOAT16, DYNAMIC_INT8, FIXED_INT8 = "float32", "float16", "dynamic-int8", "fixed-int8"
BITS = {FLOAT32: 32, FLOAT16: 16, DYNAMIC_INT8: 8, FIXED_INT8: 8}
# Value of the param `channel_groups` where torch-pruning says which channels go together
TORCH_PRUNING = "torch-pruning"
# Value of the param `precision`: in which numbers a network is trained, if not in float32
BF16 = "bf16"


# A param that is neither here nor an option is a setting of every network.
_OTHER_PARAMS = {
    **dict.fromkeys((DATASET_DIGEST, IMAGE_SHAPE, MODEL_DIGEST, AUGMENTATION), ParamRole()),
    PRUNER_DIGEST: ParamRole(concerns="pruner"),
    CHANNEL_GROUPS: ParamRole(concerns="pruner", legacy_default="own"),
    ITERATION: ParamRole(legacy_default="1", value="integer"),
    WEIGHTS_DIGEST: ParamRole("seed"),
    **dict.fromkeys((PHASES, FINE_TUNE_PHASES), ParamRole("consequence")),
    RATIO_PRUNABLE: ParamRole("consequence", value="float"),
}
# In this order labels name the settings of a cell: first those of training and fine-tuning, then those of pruning.
_OPTIONS = sorted(OPTIONS, key=lambda record: record.heading == "Pruning")
_LAST = (PRECISION, NUMBER_FORMAT)
PARAM_ROLES = {
    **{record.name: record.param for record in _OPTIONS if record.param and record.name not in _LAST},
    **_OTHER_PARAMS,
    **{record.name: record.param for record in _OPTIONS if record.param and record.name in _LAST},
}
# What every pruned run did before the param existed, by param.
FORMERLY = {name: param.legacy_default for name, param in PARAM_ROLES.items() if param.legacy_default is not None}
# Words for params and values that have better ones than their own.
WORDS = {
    ("class_offsets", "dense"): "class offsets",
    ("class_weights", "dense"): "class weights",
    ("data_quotas", "recall"): "data quotas",
}
# These two were in every hash from the day that they existed. Any other param with a former value is in the hash only
# where it differs from that value.
ALWAYS_HASHED = frozenset({SCHEDULE, DISTILL})
# They follow from the ratio, which is in the hash already.
NEVER_HASHED = frozenset({SPARSITY, RATIO_PRUNABLE})
# UP's epsilon in the papers, whatever weight decay a recipe has.
PAPERS_EPSILON = 5e-4


def role(param: str) -> ParamRole:
    """Return a param's role in a study; a param that the schema does not know is a setting."""
    return PARAM_ROLES.get(param, ParamRole())


def words(param: str, value: str) -> str:
    """Return a param and its value in words: `class offsets`, `constraint ceag`, `distill 0.5`."""
    name = param.replace("_", "-") if role(param).concerns == "mitigation" else param
    return WORDS.get((param, value), f"{name} {value}")


def short_name(param: str) -> str:
    """Return a param's name in labels: of a mitigation's detail the last word, such as `power`, else its name."""
    param_role = role(param)
    return param.rpartition("_")[2] if param_role.concerns == "mitigation" and param_role.detail_of else param


def mitigations() -> list[str]:
    """Return the params that spare classes, without their details, in the order of the schema."""
    return [
        name
        for name, param_role in PARAM_ROLES.items()
        if param_role.concerns == "mitigation" and param_role.legacy_default
    ]


def details(param: str) -> list[str]:
    """Return the params that mean nothing without a value of this one, in the order of the schema."""
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
# Of a pruned run whose control `prune` found or made: the loss of recall beyond the control and beyond the accuracy, on
# test images, of the class for which it is largest on validation images. The tag names the class.
LARGEST_COST = "largest_cost"
LARGEST_COST_CLASS = "largest_cost_class"
# Of a dense run: norms of the gradient of the objective at the trained weights, and of its two parts. The objective is
# the data loss over the training images plus the regulariser's penalty. The norms are over the weights of convolutions
# and linear layers but for the output layer, which are those that pruners prune by default.
GRADIENT_NORM = "gradient_norm"
DATA_GRADIENT_NORM = "data_gradient_norm"
PENALTY_GRADIENT_NORM = "penalty_gradient_norm"
GRADIENT_NORMS = (GRADIENT_NORM, DATA_GRADIENT_NORM, PENALTY_GRADIENT_NORM)
# Of a run that was pruned at once by a pruner with a gradient: share of its kept weights that magnitude pruning keeps
# too, from the same network and as many of them
MP_OVERLAP = "mp_overlap"
BEST_EPOCH = "best_epoch"
DURATION = "duration_seconds"
IMAGES_PER_SECOND = "images_per_second"
# Of a quantised run: the size of the model's file, and the time that it takes in milliseconds, median and interval, of
# single images and of batches
MODEL_BYTES = "model_bytes"
LATENCY = "latency_ms/"
LATENCIES = tuple(f"{LATENCY}{images}{end}" for images in ("one", "batch") for end in ("", "_low", "_high"))
# Of a pruned network as it is, and without the channels that no layer reads: `unshrunk/parameters`, `shrunk/parameters`
# and so on. Each `latency_ms` has `latency_ms_low` and `latency_ms_high`. `shrunk/zeroed_channels` are those of
# `unshrunk/zeroed_channels` that are left.
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
        As it is logged. A name that ends in `/` is that of a metric of each class, which follows it.
    kinds : tuple of str
        The kinds of run that have it. A metric of the whole network is a column of the frame of pruned runs, where
        quantised ones are too, or of that of dense runs; what becomes of those of each class, `frames` says.
    largest : float
        A value above this, or below 0, is left out as impossible.
    needed : bool
        Whether it is a share without which a run is left out, as it is with an impossible value; else the value alone
        is left out.
    mean_in_cells : bool
        Whether `cells.csv` has the mean over the runs of each cell, where runs have it.
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


_KINDS = (DENSE, PRUNED, QUANTIZED)
# In the order of the frames' columns. Reading, checks, frames, exports and the tables of cells follow these records.
METRICS = (
    Metric(TEST_ACCURACY, _KINDS, largest=1, needed=True),
    Metric(RECALL, _KINDS, largest=1, needed=True),
    Metric(SUPPORT, _KINDS),
    Metric(BOTH_RIGHT, (PRUNED, QUANTIZED), largest=1),
    Metric(REALIZED_RATIO, (PRUNED, QUANTIZED), mean_in_cells=True),
    *(Metric(name, (QUANTIZED,)) for name in (MODEL_BYTES, *LATENCIES)),
    Metric(MP_OVERLAP, (PRUNED,), largest=1),
    *(Metric(name, (DENSE,)) for name in GRADIENT_NORMS),
)

# Metrics of a study, with the number of runs done as step
RUNS_FOUND = "runs_found"
RUNS_MADE = "runs_made"
RUNS_FAILED = "runs_failed"
RUNS_LEFT = "runs_left"

# Metrics of a trial on validation images: VAL_ACCURACY and VAL_DISTORTION with the seed's place as step, and over all
# seeds the mean accuracy and the pooled distortion
VAL_DISTORTION = "val_distortion"
TRIAL_ACCURACY = "objective/accuracy"
TRIAL_DISTORTION = "objective/distortion"

# Artifacts
CHECKPOINT = "checkpoint.safetensors"
GRADIENT = "gradient.safetensors"
MASK = "mask.safetensors"
PREDICTIONS = "predictions.npz"
VAL_PREDICTIONS = "val_predictions.npz"
VALIDATION_COUNTS = "validation_counts.csv"  # in exports alone
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


def metric_names(classes: Sequence[str]) -> list[str]:
    """Return the class names as they stand behind `recall/`, `support/` and `both_right/`.

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
    """Return a param's value as `text` would write it: `1e-1` is `0.1`, `True` is `true`; any other text stays."""
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
    """Return a finite number; None for any other text."""
    try:
        number = float(written)
    except ValueError:
        return None
    return number if math.isfinite(number) and "_" not in written else None


def _metric_name(name: str) -> str:
    # MLflow also refuses names that a file system would read as another path.
    allowed = re.sub(r"[^/\w.\- :]", "_", name[: _LONGEST_METRIC_NAME - 20])
    parts = ["_" * max(len(part), 1) if part in ("", ".", "..") else part for part in allowed.split("/")]
    return "/".join(parts)
