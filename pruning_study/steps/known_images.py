"""Warn if validation images decide something although a network with given weights was probably trained on them."""

import logging
from collections.abc import Mapping
from functools import cache

from analysis.common.errors import option_name
from pruning_study.data.datasets import Dataset
from pruning_study.options.config import IterateConfig, PruneConfig
from pruning_study.steps import resolved
from pruning_study.training.mitigation import constraint_names

log = logging.getLogger(__name__)

OF_COMPRESS = {"compress": "the choice of a chain and the bounds of its losses"}


def decisions(options: PruneConfig | IterateConfig) -> dict[str, str]:
    """Map each option that lets validation images decide something to words for what they decide."""
    decided, training = {}, resolved.dense_training(options)
    if isinstance(options, PruneConfig):
        training = resolved.fine_tuning(options)
        is_constrained = options.constraint != "none" and options.constraint_images == constraint_names.VALIDATION
        decided = {
            "class_offsets": "class offsets" if options.class_offsets != "none" else "",
            "class_weights": "the weights of classes" if options.class_weights != "none" else "",
            "constraint_images": "the multipliers of classes" if is_constrained else "",
            "data_quotas": "the quotas of classes" if options.data_quotas != "none" else "",
        }
    keeps_best = training.epochs and not (training.keeps_last_epoch or training.average_epochs)
    if keeps_best and not options.protocol_record.selects_on_test:
        decided["kept_epoch"] = "the choice of the epoch"
    return {option_name(name): what for name, what in decided.items() if what}


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
        _warn_once(
            f"{', '.join(decided)}: the given network was probably trained on the validation images, because they are "
            f"taken from the data set's training images, so {' and '.join(decided.values())} may be wrong for new "
            "images: give val_images or a folder val of images that the network was not trained on. If pruning-study "
            "train made the weights with the same --seed and --validation-fraction, the images are new to the network"
        )


@cache
def _warn_once(line: str) -> None:
    log.warning("%s", line)
