"""The names of all tags, params, metrics and artifacts of a run, and what each param means for a study.

No other module spells these names.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

# Tags
KIND = "kind"
CONFIG_HASH = "config_hash"
DENSE_RUN_ID = "dense_run_id"
PARENT_RUN_ID = "parent_run_id"
FOUND_RUN_ID = "found_run_id"
PRUNED_RUN_IDS = "pruned_run_ids"
QUANTIZED_RUN_IDS = "quantized_run_ids"
TUNING_RUN_ID = "tuning_run_id"
STUDY_NAME = "study_name"
ANCHOR = "anchor"
STATE = "state"
ENGINE = "engine"
DEVICE = "device"
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
BY_LAYER = (
    *("l1-unstructured", "random-unstructured", "fairgrape"),
    *("l1-structured", "l2-structured", "linf-structured", "random-structured", "chip"),
)
# Pruners that choose the weights so that no group of images is harmed.
MITIGATING_PRUNERS = ("fairgrape",)
# The value of the param `start` of a network that is pruned while it is trained from its initial weights.
INITIALIZATION = "initialization"
# Values of the param `weight_treatment`: what becomes of the weights that a level of iterative pruning keeps.
FINETUNE = "finetune"
REWIND = "rewind"

# Values of the tag `kind`; only DENSE, PRUNED and QUANTIZED runs are data.
DENSE = "dense"
PRUNED = "pruned"
QUANTIZED = "quantized"
JOB = "job"
STUDY = "study"
TUNING = "tuning"
TRIAL = "trial"
REPORT = "report"

# Params
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
WEIGHT_DECAY = "weight_decay"
AUGMENTATION = "augmentation"
VALIDATION_FRACTION = "validation_fraction"
TEST_FRACTION = "test_fraction"
CLASS_FRACTIONS = "class_fractions"
PRUNER = "pruner"
PRUNER_DIGEST = "pruner_digest"
RATIO = "ratio"
EPSILON = "epsilon"
GRADIENT_OBJECTIVE = "gradient_objective"
GRADIENT_BATCHES = "gradient_batches"
GRADIENT_MODE = "gradient_mode"
FINE_TUNE_EPOCHS = "fine_tune_epochs"
FINE_TUNE_PHASES = "fine_tune_phases"
FINE_TUNE_LEARNING_RATE = "fine_tune_learning_rate"
DECAY = "decay"
FINE_TUNE_DECAY = "fine_tune_decay"
KEPT_EPOCH = "kept_epoch"
AVERAGE_EPOCHS = "average_epochs"
FINE_TUNE_AVERAGE_EPOCHS = "fine_tune_average_epochs"
PRUNE_OUTPUT_LAYER = "prune_output_layer"
SCOPE = "scope"
ITERATION = "iteration"
SCHEDULE = "schedule"
RAMP = "ramp"
RAMP_STEPS = "ramp_steps"
REGROW = "regrow"
START = "start"
BEGIN = "begin"
END = "end"
FREQUENCY = "frequency"
DISTILL = "distill"
TEMPERATURE = "temperature"
CLASS_OFFSETS = "class_offsets"
OFFSET_SHRINKAGE = "offset_shrinkage"
CLASS_WEIGHTS = "class_weights"
CLASS_WEIGHT_POWER = "class_weight_power"
CONSTRAINT = "constraint"
CONSTRAINT_IMAGES = "constraint_images"
CONSTRAINT_STEP = "constraint_step"
PERFORMANCE_WEIGHTED = "performance_weighted"
DATA_QUOTAS = "data_quotas"
DATA_DENSITY = "data_density"
SPARSITY = "sparsity"
KEEP = "keep"
WEIGHT_TREATMENT = "weight_treatment"
REWIND_STEP = "rewind_step"
RATIO_PRUNABLE = "ratio_prunable"
PRECISION = "precision"
NUMBER_FORMAT = "number_format"

# Values of the param `number_format`, and the bits of a weight
FLOAT32, FLOAT16, DYNAMIC_INT8, FIXED_INT8 = "float32", "float16", "dynamic-int8", "fixed-int8"
BITS = {FLOAT32: 32, FLOAT16: 16, DYNAMIC_INT8: 8, FIXED_INT8: 8}
# Values of the param `precision`: in which numbers a network is trained
BF16 = "bf16"
PRECISIONS = (FLOAT32, BF16)


@dataclass(frozen=True)
class ParamRole:
    """What a param means for a study.

    Parameters
    ----------
    role : {"setting", "seed", "consequence"}
        A setting tells cells apart. A seed tells the networks of one cell apart. A consequence follows from other
        params.
    formerly : str, optional
        What every pruned run did before the param existed, and what the papers do. A pruned run that lacks the param
        has this value.
    detail_of : str, optional
        The param that this one is a detail of, as `ramp` is of `schedule`.
    value : {"text", "integer", "float", "floats", "boolean"}
        What the param's text says; `floats` are joined by commas. Two spellings of one value, such as `.1` and `0.1`,
        are the same setting.
    concerns : {"network", "mitigation", "pruner", "pruning"}
        `network`: the param matters whether or not a network is pruned, as the epochs do. `mitigation`: it spares
        classes, whether or not a network is pruned, as class offsets do. `pruner`: it belongs to some pruners only, as
        epsilon does. `pruning`: it belongs to pruning by any pruner, as the schedule does. A pruned network and its
        control have to agree in the params of `network`. The control has the same mitigation if there is such a one,
        and else none.
    """

    role: Literal["setting", "seed", "consequence"] = "setting"
    formerly: str | None = None
    detail_of: str | None = None
    concerns: Literal["network", "mitigation", "pruner", "pruning"] = "network"
    value: Literal["text", "integer", "float", "floats", "boolean"] = "text"


# A param that is not here is a setting of every network.
PARAM_ROLES = {
    **dict.fromkeys((DATASET, DATASET_DIGEST, IMAGE_SHAPE, MODEL, MODEL_DIGEST), ParamRole()),
    **dict.fromkeys((RECIPE, PROTOCOL, AUGMENTATION), ParamRole()),
    **dict.fromkeys((EPOCHS, BATCH_SIZE, FINE_TUNE_EPOCHS), ParamRole(value="integer")),
    **dict.fromkeys((VALIDATION_FRACTION, LEARNING_RATE, MOMENTUM), ParamRole(value="float")),
    **dict.fromkeys((WEIGHT_DECAY, FINE_TUNE_LEARNING_RATE), ParamRole(value="float")),
    **dict.fromkeys((DECAY, FINE_TUNE_DECAY), ParamRole(formerly="none")),
    KEPT_EPOCH: ParamRole(formerly="none"),
    **dict.fromkeys((AVERAGE_EPOCHS, FINE_TUNE_AVERAGE_EPOCHS), ParamRole(formerly="0", value="integer")),
    TEST_FRACTION: ParamRole(formerly="none", value="float"),
    CLASS_FRACTIONS: ParamRole(formerly="none"),
    **dict.fromkeys((PRUNER, PRUNER_DIGEST), ParamRole(concerns="pruner")),
    EPSILON: ParamRole(concerns="pruner", value="float"),
    GRADIENT_BATCHES: ParamRole(concerns="pruner", value="integer"),
    **dict.fromkeys((GRADIENT_OBJECTIVE, GRADIENT_MODE), ParamRole(concerns="pruner")),
    RATIO: ParamRole(concerns="pruning", value="float"),
    PRUNE_OUTPUT_LAYER: ParamRole(concerns="pruning", value="boolean"),
    SCHEDULE: ParamRole(formerly="one-shot", concerns="pruning"),
    RAMP: ParamRole(detail_of=SCHEDULE, concerns="pruning", value="float"),
    RAMP_STEPS: ParamRole(detail_of=SCHEDULE, concerns="pruning", value="integer"),
    REGROW: ParamRole(detail_of=SCHEDULE, concerns="pruning", value="boolean"),
    START: ParamRole(formerly="dense", concerns="pruning"),
    **dict.fromkeys((BEGIN, END, FREQUENCY), ParamRole(detail_of=START, concerns="pruning", value="integer")),
    DISTILL: ParamRole(formerly="0.0", value="float"),
    TEMPERATURE: ParamRole(detail_of=DISTILL, value="float"),
    **dict.fromkeys((CLASS_OFFSETS, CLASS_WEIGHTS, CONSTRAINT), ParamRole(formerly="none", concerns="mitigation")),
    OFFSET_SHRINKAGE: ParamRole(detail_of=CLASS_OFFSETS, concerns="mitigation", value="float"),
    CLASS_WEIGHT_POWER: ParamRole(detail_of=CLASS_WEIGHTS, concerns="mitigation", value="float"),
    CONSTRAINT_IMAGES: ParamRole(detail_of=CONSTRAINT, concerns="mitigation"),
    CONSTRAINT_STEP: ParamRole(detail_of=CONSTRAINT, concerns="mitigation", value="float"),
    PERFORMANCE_WEIGHTED: ParamRole(formerly="none", concerns="mitigation", value="floats"),
    DATA_QUOTAS: ParamRole(formerly="none", concerns="mitigation"),
    DATA_DENSITY: ParamRole(detail_of=DATA_QUOTAS, concerns="mitigation", value="float"),
    SCOPE: ParamRole(formerly="global", concerns="pruning"),
    ITERATION: ParamRole(formerly="1", value="integer"),
    # The control of iterative pruning is trained again as often and from the same weights: it agrees in these too.
    KEEP: ParamRole(formerly="none", value="float"),
    WEIGHT_TREATMENT: ParamRole(detail_of=KEEP),
    REWIND_STEP: ParamRole(formerly="0", value="integer"),
    PRECISION: ParamRole(formerly=FLOAT32),
    NUMBER_FORMAT: ParamRole(formerly=FLOAT32, concerns="pruning"),
    SEED: ParamRole("seed", value="integer"),
    WEIGHTS_DIGEST: ParamRole("seed"),
    **dict.fromkeys((PHASES, FINE_TUNE_PHASES), ParamRole("consequence")),
    **dict.fromkeys((SPARSITY, RATIO_PRUNABLE), ParamRole("consequence", value="float")),
}
# What every pruned run did before the param existed, by param.
FORMERLY = {name: param.formerly for name, param in PARAM_ROLES.items() if param.formerly is not None}
# Words for params and values that have better ones than their own.
WORDS = {
    (CLASS_OFFSETS, "dense"): "class offsets",
    (CLASS_WEIGHTS, "dense"): "class weights",
    (DATA_QUOTAS, "recall"): "data quotas",
}
# These two were in every hash from the day that they existed. Any other param with a former value is in the hash only
# where it differs from that value.
ALWAYS_HASHED = frozenset({SCHEDULE, DISTILL})
# They follow from the ratio, which is in the hash already.
NEVER_HASHED = frozenset({SPARSITY, RATIO_PRUNABLE})
# UP's epsilon in the papers, whatever weight decay a recipe has.
PAPERS_EPSILON = 5e-4


def role(param: str) -> ParamRole:
    """Return what a param means for a study; a param that the schema does not know is a setting."""
    return PARAM_ROLES.get(param, ParamRole())


def words(param: str, value: str) -> str:
    """Return a param and its value in words: `class offsets`, `constraint ceag`, `distill 0.5`."""
    name = param.replace("_", "-") if role(param).concerns == "mitigation" else param
    return WORDS.get((param, value), f"{name} {value}")


def short_name(param: str) -> str:
    """Return what labels call a param: of a mitigation's detail the last word, such as `power`, else its name."""
    declared = role(param)
    return param.rpartition("_")[2] if declared.concerns == "mitigation" and declared.detail_of else param


def mitigations() -> list[str]:
    """Return the params that spare classes, without their details, in the order of the schema."""
    return [name for name, declared in PARAM_ROLES.items() if declared.concerns == "mitigation" and declared.formerly]


def details(param: str) -> list[str]:
    """Return the params that mean nothing without a value of this one, in the order of the schema."""
    return [name for name, declared in PARAM_ROLES.items() if declared.detail_of == param]


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
BEST_EPOCH = "best_epoch"
DURATION = "duration_seconds"
IMAGES_PER_SECOND = "images_per_second"
MODEL_BYTES = "model_bytes"
# Medians and their intervals, in milliseconds: `latency_ms/one`, `one_low`, `one_high` of single images, and `batch`,
# `batch_low`, `batch_high` of batches
LATENCY = "latency_ms/"
# Of a pruned network as it is, and without the channels that no layer reads: `unshrunk/parameters`, `shrunk/parameters`
# and so on. Each `latency_ms` has `latency_ms_low` and `latency_ms_high`. `shrunk/zeroed_channels` are those of
# `unshrunk/zeroed_channels` that are left.
UNSHRUNK = "unshrunk/"
SHRUNK = "shrunk/"
PARAMETERS = "parameters"
MACS = "macs"
LATENCY_MS = "latency_ms"
ZEROED_CHANNELS = "zeroed_channels"

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
    stripped = value.strip()
    match role(param).value:
        case "boolean" if stripped.lower() in ("true", "false"):
            return stripped.lower()
        case "floats":
            numbers = [_number(part) for part in stripped.split(",")]
            return value if None in numbers else text(tuple(numbers))
        case "integer" | "float" as kind:
            number = _number(stripped)
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


def text(value: Any) -> str:
    """Return the canonical text of a value: floats by `repr`, booleans `true` and `false`, tuples joined by commas."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, tuple):
        return ",".join(text(part) for part in value)
    return str(value)
