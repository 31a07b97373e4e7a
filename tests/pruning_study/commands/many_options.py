"""A program that prunes with many options, on images in a folder that it is given, and prints the digests."""

import sys
from pathlib import Path

import numpy as np
import pytest

from pruning_study.commands import verify
from pruning_study.options.config import PruneConfig
from pruning_study.tracking.reach import temporary_store
from tests.samples import first_images
from tests.stored_runs import leave_pictures_blank

COMMON = {"epochs": 3, "fine_tune_epochs": 2, "batch_size": 64, "ratio": "4", "validation_fraction": 0.4}
OPTIONS = {
    "up": {"pruner": "up"},
    "released": {"pruner": "up", "protocol": "released"},
    "batches in train mode": {"pruner": "gp", "gradient_batches": 2, "gradient_mode": "train"},
    "elastic": {"pruner": "up", "regularizer": "elastic", "weight_decay": 0.001},
    "random": {"pruner": "rp"},
    "cubic": {"schedule": "cubic", "decay": "cosine", "fine_tune_epochs": 4},
    "averaged": {"average_epochs": 2},
    "set": {"schedule": "set", "frequency": 3},
    "rigl": {"schedule": "rigl", "frequency": 3},
    "channels by l1": {"pruner": "l1-structured", "ratio": "1.6"},
    "channels by l2": {"pruner": "l2-structured", "ratio": "1.6"},
    "distilled": {"distill": 0.5},
    "gaps of accuracy": {"constraint": "ceag"},
    "equal losses": {"constraint": "equalized-loss"},
    "equal losses, validation": {
        "constraint": "equalized-loss",
        "constraint_images": "validation",
    },
    "weighted by performance": {"performance_weighted": "0.2,0.7"},
    "class weights": {"class_weights": "dense"},
    "data quotas": {"data_quotas": "recall", "epochs": 10},
    "shares of classes": {"pruner": "fairgrape"},
    "class offsets": {"class_offsets": "dense"},
    "bits": {"weight_bits": 3},
    "residual": {"model": "resnet20", "epochs": 1, "fine_tune_epochs": 1, "pruner": "up", "average_epochs": 0},
}


def main(folder: Path) -> None:
    data = folder / "data.npz"
    np.savez(data, **first_images(train=100))
    with pytest.MonkeyPatch.context() as patch, temporary_store():
        leave_pictures_blank(patch)
        for name, options in OPTIONS.items():
            config = PruneConfig(**{**COMMON, "dataset": str(data), "engine": "native", **options})
            print(f"{name}: {verify.digests(config)}", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
