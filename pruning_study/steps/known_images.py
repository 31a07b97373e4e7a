"""Warn if validation images decide something although a network with given weights was probably trained on them."""

from collections.abc import Mapping

from analysis.common.errors import option_name
from pruning_study.data.datasets import Dataset
from pruning_study.options.config import IterateConfig, PruneConfig
from pruning_study.steps.engine_choice import say_once
from pruning_study.steps.plan import Settings, dense_training
from pruning_study.training.mitigation import constraint_names

_DECIDED = {
    "class_offsets": "class offsets",
    "class_weights": "the weights of classes",
    "constraint_images": "the multipliers of classes",
    "data_quotas": "the quotas of classes",
    "kept_epoch": "the choice of the epoch",
}
OF_COMPRESS = {"compress": "the choice of a chain and the bounds of its losses"}


def decisions(options: PruneConfig | IterateConfig) -> dict[str, str]:
    """Map each option that lets validation images decide something to words for what they decide."""
    training = dense_training(options)
    if isinstance(options, PruneConfig):
        training = Settings.of(options, training).hyperparameters
    keeps_best = training.epochs and not (training.keeps_last_epoch or training.average_epochs)
    decided = {"kept_epoch": keeps_best and not options.protocol_record.selects_on_test}
    if isinstance(options, PruneConfig):
        on_validation = options.constraint != "none" and options.constraint_images == constraint_names.VALIDATION
        mitigations = ("class_offsets", "class_weights", "data_quotas")
        decided |= {name: getattr(options, name) != "none" for name in mitigations} | {
            "constraint_images": on_validation
        }
    return {option_name(name): what for name, what in _DECIDED.items() if decided.get(name)}


def warn(decided: Mapping[str, str], data: Dataset) -> None:
    """Warn, once, of decisions on validation images that a network with given weights probably knows.

    There is no warning if nothing is decided, or if the data set has validation images of its own.

    Parameters
    ----------
    decided : mapping of str
        What validation images decide, by option or command, as `decisions` returns it.
    data : Dataset
    """
    if decided and data.validation_indices is None:
        say_once(
            f"{', '.join(decided)}: the given network was probably trained on the validation images, because they are "
            f"taken from the data set's training images, so {' and '.join(decided.values())} may be wrong for new "
            "images: give val_images or a folder val of images that the network was not trained on. If pruning-study "
            "train made the weights with the same --seed and --validation-fraction, the images are new to the network"
        )
