"""Options that change nothing are named, and no run under its defaults is warned of anything."""

import pytest

from analysis.common.errors import option_name
from pruning_study.options.config import CompressConfig, IterateConfig, PruneConfig, TrainConfig, TuneConfig
from pruning_study.options.idle_options import idle_options
from pruning_study.options.record import records
from pruning_study.pruning.pruners import PRUNERS


@pytest.mark.parametrize("pruner", PRUNERS)
def test_defaults_and_options_that_do_something_are_not_named(pruner):
    typed = {name: record.default_text for name, record in records(PruneConfig).items()}
    assert idle_options(PruneConfig(**{**typed, "pruner": pruner})) == []
    assert idle_options(TrainConfig(epochs=3, learning_rate=0.1)) == []
    assert idle_options(PruneConfig(pruner="up", epsilon=1, gradient_batches=2, schedule="cubic", ramp=0.2)) == []
    assert idle_options(PruneConfig(distill=0.5, scope="layer", fine_tune_learning_rate=0.1)) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("precision", "bf16"), ("optimizer", "adam"), ("batch_size", 3), ("momentum", 0.5)),
        *(("decay", "linear"), ("kept_epoch", "best"), ("average_epochs", 2)),
    ],
)
def test_an_option_of_a_training_by_which_nothing_is_trained(name, value):
    given = {"weights": "a.safetensors", name: value}
    (line,) = idle_options(TrainConfig(**given))
    assert line == f"{option_name(name)} has no effect with --weights: the network is not trained"
    (line,) = idle_options(PruneConfig(**given, fine_tune_epochs=0))
    assert line.endswith("the network is not trained, and --fine-tune-epochs is 0")
    assert idle_options(PruneConfig(**given)) == []


@pytest.mark.parametrize(
    ("training", "fine_tuning"),
    [
        ({"decay": "linear"}, {"fine_tune_decay": "cosine"}),
        ({"average_epochs": 2}, {"fine_tune_average_epochs": 0}),
    ],
)
def test_an_option_of_the_training_that_fine_tuning_does_not_follow(training, fine_tuning):
    (name,), (own,) = map(option_name, training), map(option_name, fine_tuning)
    (line,) = idle_options(PruneConfig(**training, **fine_tuning, weights="a.safetensors"))
    assert line == f"{name} has no effect with --weights: the network is not trained, and fine-tuning follows {own}"
    assert idle_options(PruneConfig(**training, **fine_tuning)) == []


def test_a_penalty_counts_in_the_gradient_of_given_weights():
    # Momentum scales decoupled decay. Adam's default momentum is not that of the recipe.
    decoupled = {"regularizer": "decoupled", "weight_decay": 0.1}
    adam = {"recipe": "prune-responsibly", "optimizer": "adam"}
    for own in ({"recipe": "lottery", "regularizer": "l1"}, decoupled | {"momentum": 0.5}, decoupled | adam):
        assert idle_options(TrainConfig(weights="a.safetensors", **own)) == []
        assert idle_options(PruneConfig(weights="a.safetensors", fine_tune_epochs=0, **own)) == []


def test_batches_count_in_the_scores_of_given_weights():
    given = {"weights": "a.safetensors", "fine_tune_epochs": 0, "batch_size": 3}
    assert idle_options(PruneConfig(**given, pruner="gp", gradient_batches=2)) == []


def test_compress_is_compared_with_its_own_defaults():
    assert idle_options(CompressConfig(fine_tune_epochs=0)) == []
    assert idle_options(CompressConfig(decay="linear")) == []
    (line,) = idle_options(CompressConfig(fine_tune_epochs=0, fine_tune_decay="linear"))
    assert line == "--fine-tune-decay has no effect with --fine-tune-epochs 0"
    (line,) = idle_options(CompressConfig(weights="a.safetensors", decay="linear"))
    assert line.endswith("fine-tuning follows --fine-tune-decay")


@pytest.mark.parametrize(
    ("options", "named", "reason"),
    [
        ({"pruner": "mp", "epsilon": 0.1}, ["epsilon"], "with --pruner mp"),
        ({"pruner": "gp", "epsilon": 0.1, "gradient_mode": "train"}, ["epsilon"], "with --pruner gp"),
        ({"pruner": "mp", "gradient_mode": "train"}, ["gradient_mode"], "which needs no gradient"),
        ({"ramp": 0.2}, ["ramp"], "without --schedule cubic"),
        ({"schedule": "cubic", "ramp": 0, "ramp_steps": 2}, ["ramp_steps"], "with --ramp 0"),
        ({"quantization": "after-training"}, ["quantization"], "with --weight-bits 32, which quantizes no weight"),
        ({"class_weight_power": 3}, ["class_weight_power"], "without --class-weights"),
        ({"pruner": "none", "scope": "layer"}, ["scope"], "which prunes nothing"),
        ({"pruner": "none", "schedule": "cubic", "ramp": 0.1}, ["ramp", "schedule"], "which prunes nothing"),
        ({"pruner": "none", "schedule": "rigl"}, ["schedule"], "which prunes nothing"),
        ({"count_zeros": True}, ["count_zeros"], "without --weights"),
        (
            {"fine_tune_epochs": 0, "fine_tune_learning_rate": 0.1},
            ["fine_tune_learning_rate"],
            "with --fine-tune-epochs 0",
        ),
        ({"weights": "a.safetensors", "epochs": 3, "learning_rate": 1}, ["epochs", "learning_rate"], "not trained"),
    ],
)
def test_what_does_nothing_is_named_with_the_reason(options, named, reason):
    found = idle_options(PruneConfig(**options))
    assert sorted(line.split()[0] for line in found) == [option_name(name) for name in named]
    assert all("has no effect" in line and reason in line for line in found)


def test_a_search_prunes_by_epsilon():
    assert idle_options(TuneConfig(ramp=0.2)) == ["--ramp has no effect without --schedule cubic"]
    assert idle_options(TuneConfig(gradient_batches=2)) == []


def test_iterations_use_given_weights_and_the_options_of_the_training():
    own = {"count_zeros": True, "class_names": "names.txt", "epochs": 3}
    assert idle_options(IterateConfig(**own, weights="a.safetensors")) == []
    assert idle_options(IterateConfig(**own)) == [
        f"{name} has no effect without --weights" for name in ("--count-zeros", "--class-names")
    ]


def test_the_command_warns_and_goes_on(run_command, store_uri, tiny_npz):
    options = ("--dataset", tiny_npz, "--epochs", 1, "--fine-tune-epochs", 0)
    result = run_command("prune", *options, "--epsilon", 0.1, "--seed", "0,1")
    assert result.exit_code == 0
    assert result.stderr.count("Warning: --epsilon has no effect with --pruner mp") == 1
    assert "Warning" not in run_command("prune", *options).output


def test_quantize_warns_of_what_has_no_effect_on_its_network(run_command, store_uri, tmp_path):
    names, missing = tmp_path / "names.txt", tmp_path / "missing.safetensors"
    result = run_command("quantize", "0" * 32, "--class-names", names)
    assert "Warning: --class-names has no effect without --weights" in result.stderr
    result = run_command("quantize", "--weights", missing, "--epochs", 3)
    assert "Warning: --epochs has no effect with --weights: the network is not trained" in result.stderr


def test_compress_does_not_warn_of_an_option_that_nobody_gave(run_command, store_uri, tmp_path):
    given = ("--weights", tmp_path / "missing.safetensors", "--fine-tune-epochs", 0)
    assert "Warning" not in run_command("compress", *given).stderr
    assert "Warning: --batch-size has no effect" in run_command("compress", *given, "--batch-size", 3).stderr
