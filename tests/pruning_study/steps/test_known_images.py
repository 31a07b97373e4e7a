"""Validation images that a network with given weights probably knows must not decide anything without a warning."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from pruning_study import models
from pruning_study.data import datasets
from pruning_study.options.config import IterateConfig, PruneConfig
from pruning_study.steps import known_images
from tests.stored_runs import runs


@pytest.fixture(autouse=True)
def nothing_said():
    known_images._warn_once.cache_clear()


@pytest.fixture
def weights(tmp_path):
    torch.manual_seed(7)
    model = models.build("lenet5", num_classes=10, in_channels=1, image_size=(28, 28))
    save_file(model.state_dict(), tmp_path / "mine.safetensors")
    return tmp_path / "mine.safetensors"


def said(caplog):
    return [record.getMessage() for record in caplog.records if record.name == known_images.__name__]


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({}, []),
        ({"class_offsets": "dense"}, ["--class-offsets"]),
        ({"class_weights": "dense"}, ["--class-weights"]),
        ({"data_quotas": "recall"}, ["--data-quotas"]),
        ({"constraint": "ceag"}, []),
        ({"constraint": "ceag", "constraint_images": "validation"}, ["--constraint-images"]),
        ({"constraint_images": "validation"}, []),
        ({"kept_epoch": "best", "class_offsets": "dense"}, ["--class-offsets", "--kept-epoch"]),
        ({"kept_epoch": "best", "fine_tune_epochs": 0}, []),
    ],
)
def test_what_validation_images_decide(options, names):
    assert list(known_images.decisions(PruneConfig(**{"kept_epoch": "last"} | options))) == names


@pytest.mark.parametrize("config", [PruneConfig, IterateConfig])
@pytest.mark.parametrize(
    ("options", "keeps_best"),
    [
        ({}, True),
        ({"kept_epoch": "last"}, False),
        ({"decay": "cosine"}, False),
        ({"decay": "cosine", "kept_epoch": "best"}, True),
        ({"average_epochs": 2}, False),
        ({"protocol": "released"}, False),  # which keeps the epoch with the lowest test loss
    ],
)
def test_an_epoch_is_chosen_by_validation_images_unless_the_last_is_kept_or_some_are_averaged(
    config, options, keeps_best
):
    assert known_images.decisions(config(**options)) == (
        {"--kept-epoch": "the choice of the epoch"} if keeps_best else {}
    )


def test_the_decay_of_fine_tuning_says_which_epoch_is_kept():
    assert not known_images.decisions(PruneConfig(fine_tune_decay="cosine"))
    assert list(known_images.decisions(PruneConfig(decay="cosine", fine_tune_decay="none"))) == ["--kept-epoch"]


def test_one_line_says_what_may_be_wrong_unless_the_data_have_validation_images(tiny_npz, tmp_path, caplog):
    data = datasets.load(str(tiny_npz), data_dir=tmp_path)
    known_images.warn({}, data)
    known_images.warn({"--class-offsets": "class offsets"}, replace(data, validation_indices=np.arange(10)))
    assert not said(caplog)
    for _ in range(2):
        known_images.warn({"--class-offsets": "class offsets"}, data)
    (line,) = said(caplog)
    assert line.startswith("--class-offsets: the given network was probably trained on the validation images")
    assert "so class offsets may be wrong for new images: give val_images or a folder val" in line


@pytest.mark.onnx
@pytest.mark.structured
def test_commands_warn_of_given_weights_alone(run_command, tiny_npz, store_uri, weights, caplog):
    """Four validation images a class are too few for each of the commands, so nothing is trained."""
    offsets = ("prune", "--dataset", tiny_npz, "--class-offsets", "dense")
    compress = ("compress", "--dataset", tiny_npz, "--max-class-loss", 1)
    for command in (offsets, compress):
        assert run_command(*command).exit_code
        assert not said(caplog)
    for command in (offsets, compress):
        assert run_command(*command, "--weights", weights).exit_code
    assert [line.partition(":")[0] for line in said(caplog)] == ["--class-offsets, --kept-epoch", "compress"]


def test_a_study_and_a_run_of_given_weights_are_warned_of_too(
    run_command, tiny_npz, store_uri, weights, tmp_path, caplog
):
    study = tmp_path / "given.yaml"
    study.write_text(
        f"{{dataset: [{tiny_npz}], pruner: [mp], data_quotas: [recall], ratio: [2, 4], seed: [0, 1], "
        f"weights: {weights}}}"
    )
    shown = run_command("study", study, "--dry-run")
    assert shown.exit_code == 0, shown.output
    assert run_command("train", "--dataset", tiny_npz, "--weights", weights).exit_code == 0
    (dense,) = runs("dense")
    offsets = ("--dataset", tiny_npz, "--class-offsets", "dense")
    assert run_command("prune", *offsets, "--dense-run-id", dense.info.run_id).exit_code
    assert [line.partition(":")[0] for line in said(caplog)] == [
        "--data-quotas, --kept-epoch",
        "--class-offsets, --kept-epoch",
    ]
