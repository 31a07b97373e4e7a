"""The name of every tag, param, metric and artifact of a run; nobody else spells them."""

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
TUNING_RUN_ID = "tuning_run_id"
STUDY_NAME = "study_name"
ANCHOR = "anchor"
STATE = "state"
ENGINE = "engine"
DEVICE = "device"
HOST = "host"
LOCK = "lock"
ERROR = "error"
NORMALIZATION_MEAN = "normalization_mean"
NORMALIZATION_STD = "normalization_std"

# Values of the tag `kind`; only DENSE, PRUNED and later QUANTIZED runs are data.
DENSE = "dense"
PRUNED = "pruned"
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
PRUNE_OUTPUT_LAYER = "prune_output_layer"
SCOPE = "scope"
ITERATION = "iteration"
SCHEDULE = "schedule"
RAMP = "ramp"
RAMP_STEPS = "ramp_steps"
REGROW = "regrow"
DISTILL = "distill"
TEMPERATURE = "temperature"


@dataclass(frozen=True)
class ParamRole:
    """What a param means for a study.

    Parameters
    ----------
    role : {"setting", "seed", "consequence"}
        A setting tells cells apart. A seed tells the networks of one cell apart. A consequence follows from other
        params.
    formerly : str, optional
        What every run did before the param existed, which is the value of runs that lack it.
    """

    role: Literal["setting", "seed", "consequence"]
    formerly: str | None = None


PARAM_ROLES = {
    **dict.fromkeys((DATASET, DATASET_DIGEST, IMAGE_SHAPE, MODEL, MODEL_DIGEST), ParamRole("setting")),
    **dict.fromkeys((RECIPE, PROTOCOL, VALIDATION_FRACTION), ParamRole("setting")),
    **dict.fromkeys((EPOCHS, LEARNING_RATE, BATCH_SIZE, MOMENTUM, WEIGHT_DECAY), ParamRole("setting")),
    **dict.fromkeys((PRUNER, PRUNER_DIGEST, RATIO, EPSILON, PRUNE_OUTPUT_LAYER), ParamRole("setting")),
    **dict.fromkeys((GRADIENT_OBJECTIVE, GRADIENT_BATCHES, GRADIENT_MODE), ParamRole("setting")),
    **dict.fromkeys((FINE_TUNE_EPOCHS, FINE_TUNE_LEARNING_RATE), ParamRole("setting")),
    **dict.fromkeys((RAMP, RAMP_STEPS, REGROW, TEMPERATURE), ParamRole("setting")),
    SCHEDULE: ParamRole("setting", formerly="one-shot"),
    DISTILL: ParamRole("setting", formerly="0.0"),
    SCOPE: ParamRole("setting", formerly="global"),
    ITERATION: ParamRole("setting", formerly="1"),
    **dict.fromkeys((SEED, WEIGHTS_DIGEST), ParamRole("seed")),
    **dict.fromkeys((AUGMENTATION, PHASES, FINE_TUNE_PHASES), ParamRole("consequence")),
}
# These two were in every hash from the day that they existed; a later param is in the hash where it differs from
# what was always done.
ALWAYS_HASHED = frozenset({SCHEDULE, DISTILL})

# Of a pruned run by the papers' protocol, and of one made before there was another.
PAPERS = {SCHEDULE: "one-shot", DISTILL: "0.0"}
# Their weight decay, whatever a recipe has.
PAPERS_EPSILON = 5e-4

# Params of a tuning
OBJECTIVE = "objective"
SEEDS = "seeds"
RATIOS = "ratios"
EPSILON_RANGE = "epsilon_range"
RAMP_RANGE = "ramp_range"
DISTILL_RANGE = "distill_range"
ANCHORS_RAMP = "anchors_ramp"
ANCHORS_DISTILL = "anchors_distill"

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
BEST_EPOCH = "best_epoch"
DURATION = "duration_seconds"
IMAGES_PER_SECOND = "images_per_second"

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
PER_CLASS = "per_class.csv"
CONFUSION = "confusion.csv"
CONFUSION_PICTURE = "confusion.png"
RECALL_PICTURE = "recall_balance.png"
SUMMARY = "summary.csv"
STUDY_RUNS = "runs.csv"
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
    """Class names as they stand behind `recall/`, `support/` and `both_right/`.

    A character that MLflow refuses in a metric name becomes `_`; a name that is taken already gets the
    class's index appended.

    Parameters
    ----------
    classes : sequence of str, in the order of the labels

    Returns
    -------
    list of str, as long as `classes`, without doubles
    """
    names: list[str] = []
    for index, true_name in enumerate(classes):
        name = _metric_name(true_name)
        while name in names:
            name = f"{name}_{index}"
        names.append(name)
    return names


def _metric_name(name: str) -> str:
    # MLflow also refuses names that a file system would read as another path.
    allowed = re.sub(r"[^/\w.\- :]", "_", name[: _LONGEST_METRIC_NAME - 20])
    parts = ["_" * max(len(part), 1) if part in ("", ".", "..") else part for part in allowed.split("/")]
    return "/".join(parts)


def text(value: Any) -> str:
    """Canonical text of a value: floats by `repr`, booleans `true` and `false`, several joined by commas."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, tuple):
        return ",".join(text(part) for part in value)
    return str(value)
