"""Run short reference trainings, and check that their digests are those that this version gives on every machine."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from analysis.common.errors import StudyError
from analysis.runs import schema
from pruning_study.commands import train_and_prune
from pruning_study.options.config import PruneConfig
from pruning_study.steps.text_tables import text_table
from pruning_study.tracking.reach import temporary_store
from pruning_study.training.evaluation import Predictions

_LENET5: dict[str, Any] = {"model": "lenet5", "pruner": "up", "ratio": (10.0,), "epochs": 3, "fine_tune_epochs": 2}


@dataclass(frozen=True)
class Digests:
    """SHA-256 digests of a pruned network.

    Parameters
    ----------
    weights, masks : str
        Digests of the run's files, as `sha256sum` prints them.
    predictions : str
        Digest of the arrays of predictions for the test images. The bytes of their file depend on the version of zlib,
        which compresses it.
    """

    weights: str
    masks: str
    predictions: str


# The options of each training; all other options have their defaults. PUBLISHED has the digests that each training
# gives on every machine.
TRAININGS: dict[str, dict[str, Any]] = {
    "lenet5 up": _LENET5,
    "lenet5 gradual": _LENET5
    | {"decay": "cosine", "schedule": "cubic", "fine_tune_epochs": 4}
    | {"fine_tune_decay": "none", "fine_tune_average_epochs": 2},
    "resnet20 4 bits": {"model": "resnet20", "pruner": "mp", "ratio": (4.0,), "weight_bits": 4}
    | {"epochs": 1, "fine_tune_epochs": 2, "fine_tune_average_epochs": 2},
}
PUBLISHED = {
    "lenet5 up": Digests(
        weights="a4c473eaa9aa86d085768343123dd8ca94ff5397a67d21d226f7c8bdb70aebc5",
        masks="c428376634593388682f989b6cd408b580dced465bc47767d43419a81806d7ff",
        predictions="97212b1a71dc33e9695a689270c92fa96847ecf861f215c3325a3ea22128a20a",
    ),
    "lenet5 gradual": Digests(
        weights="9f92429d3d148ec16e572e0887194c03c807a23b915210b2be479b3dfa8ba3ec",
        masks="5b2bb9feadc857bd3150a99a7c026fa1fff363efa7bbbbc560f2c0b6a6c2491a",
        predictions="280546060f37cee9657068af19957e4fdce42931dbe870a69bc7cea5c25e7027",
    ),
    "resnet20 4 bits": Digests(
        weights="7cd05e4c1a425b8c37cc0e6abb63e86935e39e950a900050c580f6a54bf4d2da",
        masks="ff9b6f8b201b1b7a0a8846267be2544b4b1d7f6e5a273d9eb1a41d2b273a53a8",
        predictions="2da39d5f75afc3fa41665fe417d392ff3bae7fe0eca2f10e3b226fde1988699b",
    ),
}


def reference_lines() -> Iterator[str]:
    """Run each reference training in a temporary store, and yield a table of the digests.

    Raises
    ------
    StudyError
        If the native engine cannot train here, or if a digest differs.
    """
    different, rows = [], []
    for name in TRAININGS:
        trained = train(name)
        is_published = trained == PUBLISHED[name]
        different += [] if is_published else [name]
        parts = [digest[:16] for digest in (trained.weights, trained.masks, trained.predictions)]
        rows.append([name, *parts, "as published" if is_published else "different"])
    yield text_table(["training", "weights", "masks", "predictions", ""], rows)
    if different:
        raise StudyError(
            f"{', '.join(different)}: the network trained here differs from the published one; please report this "
            "machine's processor and compiler"
        )


def train(name: str) -> Digests:
    """Run one of the reference trainings in a temporary store.

    Parameters
    ----------
    name : str
        A name in `TRAININGS`.

    Raises
    ------
    StudyError
        If the native engine cannot train here.
    """
    with temporary_store():
        return digests(PruneConfig(**TRAININGS[name], engine="native"))


def digests(config: PruneConfig) -> Digests:
    """Make a pruned run in the current store, and return its digests.

    Parameters
    ----------
    config : PruneConfig

    Raises
    ------
    StudyError
        If the native engine cannot train here.
    """
    (result,) = train_and_prune.each_pruned([config], {})
    (run,) = result.pruned.values()
    if result.context.engine.arithmetic != schema.NATIVE_ARITHMETIC:
        raise StudyError("the native engine cannot train on this machine, and PyTorch's results differ by machine")
    files = {}
    for artifact in (schema.CHECKPOINT, schema.MASK):
        with result.context.store.artifact(run.run_id, artifact) as path:
            files[artifact] = hashlib.sha256(path.read_bytes()).hexdigest()
    with result.context.store.artifact(run.run_id, schema.PREDICTIONS) as path:
        predictions = digest_of_predictions(Predictions.load(path))
    return Digests(files[schema.CHECKPOINT], files[schema.MASK], predictions)


def digest_of_predictions(predictions: Predictions) -> str:
    """Return the SHA-256 of the arrays of predictions, little-endian, in the order of the fields of `Predictions`."""
    arrays: Mapping[str, Any] = vars(predictions)
    parts = [array.astype(array.dtype.newbyteorder("<")).tobytes() for array in arrays.values()]
    return hashlib.sha256(b"".join(parts)).hexdigest()
