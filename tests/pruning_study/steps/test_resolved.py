from dataclasses import replace

import pytest

from analysis.common.errors import StudyError, option_name
from pruning_study.options.config import PruneConfig
from pruning_study.steps.plan import Settings, dense_training, recipe
from pruning_study.steps.plan import training_params as params_of_training
from pruning_study.steps.timing import check_average, check_decay, check_fine_tuning, pruning_times
from pruning_study.training.regularizers import REGULARIZERS

PAPERS_EPSILON = 5e-4


def resolved(**options):
    """Return the options, the training of the dense network, and its fine-tuning."""
    config = PruneConfig(**options)
    return config, dense_training(config), settings(config).hyperparameters


def settings(config):
    """Return the resolved options of pruning."""
    return Settings.of(config, dense_training(config))


def gradient(config):
    own = settings(config)
    return own.gradient_objective, own.gradient_batches, own.gradient_mode


def training_params(config, described):
    return params_of_training(config, dense_training(config), described)


@pytest.mark.parametrize(
    ("model", "name", "phases", "weight_decay"),
    [
        ("lenet5", "lenet5", "30x0.01", 0.0),
        ("resnet20", "resnet-cifar", "10x0.01 20x0.1 10x0.01 10x0.001 10x0.0001", 5e-4),
        ("wrn16-4", "wide-resnet", "77x0.1 77x0.02 51x0.004", 5e-4),
    ],
)
def test_the_recipe_is_the_models_own(model, name, phases, weight_decay):
    config, training, _ = resolved(model=model)
    assert (recipe(config), str(training)) == (name, phases)
    assert training.weight_decay == weight_decay


@pytest.mark.parametrize(
    ("options", "value"),
    [
        ({"model": "lenet5"}, PAPERS_EPSILON),
        ({"model": "lenet5", "weight_decay": "0.01"}, 0.01),
        ({"model": "resnet20"}, 5e-4),
        ({"model": "resnet20", "weight_decay": "0.002"}, 0.002),
        ({"model": "resnet20", "epsilon": "0"}, 0.0),
        ({"model": "resnet20", "protocol": "released", "weight_decay": "0.002"}, PAPERS_EPSILON),
        ({"model": "lenet5", "protocol": "released", "epsilon": "0.5"}, 0.5),
    ],
)
def test_epsilon_is_the_weight_decay_or_the_papers_value(options, value):
    assert settings(PruneConfig(pruner="up", **options)).epsilon == value


@pytest.mark.parametrize("options", [{}, {"model": "resnet20", "protocol": "released"}, {"weight_decay": "0"}])
def test_a_regulariser_without_weight_decay_is_refused(options):
    resolved(**options, regularizer="l2")
    with pytest.raises(StudyError, match=r"^elastic .* weight decay, which is 0") as caught:
        resolved(**options, regularizer="elastic")
    assert caught.value.option == "regularizer"


def test_fine_tuning_has_the_regulariser_of_the_training():
    config, training, tuning = resolved(regularizer="l1", weight_decay="1e-4", pruner="up")
    assert training.regularizer == tuning.regularizer == REGULARIZERS["l1"]
    assert training_params(config, {})["regularizer"] == "l1"
    assert settings(config).epsilon == 1e-4


@pytest.mark.parametrize(
    ("options", "training_phases", "tuning_phases", "momentum"),
    [
        ({}, "30x0.001", "15x0.001", 0.9),
        ({"learning_rate": "0.002", "fine_tune_learning_rate": "0.0005"}, "30x0.002", "15x0.0005", 0.9),
        ({"recipe": "prune-responsibly"}, "30x0.001", "30x0.001", 0.9),  # whose SGD has no momentum
        ({"recipe": "prune-responsibly", "momentum": "0"}, "30x0.001", "30x0.001", 0.0),
        (
            {"model": "resnet20"},
            "10x0.001 20x0.01 10x0.001 10x0.0001 10x1e-05",
            "10x0.001 5x0.0001 5x1e-05 5x1e-06",
            0.9,
        ),
    ],
)
def test_adam_has_rates_of_its_own_and_fine_tunes_too(options, training_phases, tuning_phases, momentum):
    config, training, tuning = resolved(**options, optimizer="adam")
    assert (str(training), str(tuning)) == (training_phases, tuning_phases)
    assert training.momentum == tuning.momentum == momentum
    assert training.optimizer == tuning.optimizer == "adam"
    assert training_params(config, {})["optimizer"] == "adam"


def test_given_weights_were_trained_elsewhere_and_only_their_fine_tuning_has_an_optimizer(tmp_path):
    config, *_ = resolved(weights=tmp_path / "w.safetensors", optimizer="adam")
    assert "optimizer" not in training_params(config, {"weights_digest": "ab"})
    assert settings(config).params["optimizer"] == "adam"


@pytest.mark.parametrize("epochs", ["0", "15"])
def test_the_fine_tuning_is_quantized_and_the_training_is_not(epochs):
    options = {"quantization": "after-training", "fine_tune_epochs": epochs}
    _, training, tuning = resolved(weight_bits="4", **options)
    assert (training.quantization, tuning.quantization) == (None, (4, False))
    assert resolved(**options)[2].quantization is None


def test_the_released_protocol_does_as_its_code():
    config, training, _ = resolved(model="resnet20", protocol="released", pruner="up")
    assert training.weight_decay == 0.0
    assert (config.pruner_record.name, gradient(config)) == ("up-signed", ("data", 1, "train"))


def test_options_win_over_the_protocol():
    options = {"gradient_objective": "regularized", "gradient_batches": "3", "gradient_mode": "eval"}
    config, training, _ = resolved(protocol="released", weight_decay="0.1", **options)
    assert training.weight_decay == 0.1
    assert gradient(config) == ("regularized", 3, "eval")


def test_params_hold_what_can_change_the_dense_model():
    config, _, _ = resolved(seed="7", epochs="3")
    params = training_params(config, {"dataset": "d"})
    assert params == {
        "dataset": "d",
        "model": "lenet5",
        "recipe": "lenet5",
        "protocol": "paper",
        "seed": "7",
        "weight_decay": "0.0",
        "regularizer": "l2",
        "validation_fraction": "0.1",
        "precision": "float32",
        "batch_size": "128",
        "momentum": "0.9",
        "optimizer": "sgd",
        "augmentation": "none",
        "epochs": "3",
        "learning_rate": "0.01",
        "decay": "none",
        "kept_epoch": "best",
        "average_epochs": "0",
        "phases": "3x0.01",
    }


def test_given_weights_have_no_params_of_training():
    config, _, _ = resolved()
    params = training_params(config, {"weights_digest": "abc"})
    assert params["weights_digest"] == "abc"
    assert not {"epochs", "learning_rate", "phases", "batch_size"} & params.keys()


@pytest.mark.parametrize(
    ("options", "there", "missing"),
    [
        ({"pruner": "mp"}, {"scope": "global", "gradient_objective": "none"}, {"epsilon", "ramp"}),
        ({"pruner": "up"}, {"epsilon": "0.0005", "gradient_batches": "all", "gradient_mode": "eval"}, {"ramp"}),
        ({"pruner": "gp"}, {"gradient_objective": "regularized"}, {"epsilon"}),
        ({"scope": "layer"}, {"scope": "layer"}, set()),
        ({"schedule": "cubic"}, {"schedule": "cubic", "ramp": "0.5", "ramp_steps": "1", "regrow": "false"}, set()),
        ({"schedule": "cubic", "ramp": "0"}, {"schedule": "one-shot"}, {"ramp", "ramp_steps", "regrow"}),
        ({"distill": "0.5"}, {"distill": "0.5", "temperature": "2.0"}, set()),
        ({"distill": "0"}, {"distill": "0.0", "performance_weighted": "none"}, {"temperature"}),
        ({"performance_weighted": ".5, 1"}, {"performance_weighted": "0.5,1.0"}, {"temperature"}),
        ({"class_weights": "dense"}, {"class_weights": "dense", "class_weight_power": "1.0"}, set()),
        ({"class_weight_power": "2"}, {"class_weights": "none"}, {"class_weight_power"}),
        ({"fine_tune_epochs": "0"}, {"fine_tune_epochs": "0"}, {"fine_tune_phases", "fine_tune_learning_rate"}),
        ({"quantization": "after-training"}, {"weight_bits": "32"}, {"quantization"}),
        ({"weight_bits": "4"}, {"weight_bits": "4", "quantization": "while-training"}, set()),
    ],
)
def test_params_hold_what_can_change_the_pruned_model(options, there, missing):
    config, *_ = resolved(**options)
    params = settings(config).params
    assert params.items() >= there.items()
    assert not missing & params.keys()


@pytest.mark.parametrize(
    "options",
    [
        {"schedule": "cubic"},
        {"distill": "0.5"},
        {"performance_weighted": "0,1"},
        {"class_weights": "dense"},
        {"weight_bits": "4"},
    ],
)
def test_without_fine_tuning_there_is_no_part_of_it(options):
    with pytest.raises(StudyError, match="fine-tuning") as error:
        resolved(fine_tune_epochs="0", **options)
    assert error.value.option == "fine_tune_epochs"


@pytest.mark.parametrize(
    ("options", "images", "option", "advice"),
    [
        ({"ramp_steps": "5"}, 4 * 128, "--ramp-steps", "the number of batches of an epoch"),
        ({"fine_tune_epochs": "8", "ramp": "0.99"}, 5400, "--ramp", "give at most 0.875, or more --ramp-steps"),
        ({"fine_tune_epochs": "1", "ramp": "0.5"}, 5400, "--ramp", "give more --ramp-steps"),
    ],
)
def test_a_ramp_ends_before_fine_tuning_does(options, images, option, advice):
    config, _, tuning = resolved(schedule="cubic", **options)
    with pytest.raises(StudyError, match=f"{advice}$") as error:
        check_fine_tuning(config, tuning, {}, images)
    assert option_name(error.value.option) == option


def test_a_ramp_that_fits_is_no_error():
    config, _, tuning = resolved(schedule="cubic", ramp_steps="4")
    check_fine_tuning(config, tuning, {}, 4 * 128)


FROM_INITIALIZATION = {"start": "initialization", "epochs": "10", "batch_size": "100"}


@pytest.mark.parametrize(
    ("options", "steps"),
    [
        ({}, (100, 375, 100)),
        ({"begin": "0", "end": "0.5", "frequency": "7"}, (0, 250, 7)),
        ({"begin": "120", "end": "120"}, (120, 120, 100)),
        ({"begin": "0.0", "end": "499"}, (0, 499, 100)),
    ],
)
def test_steps_are_counted_or_shares_of_the_training(options, steps):
    """Ten epochs of fifty batches."""
    config, _, tuning = resolved(**FROM_INITIALIZATION, **options)
    found = pruning_times(config, tuning, 5000)
    assert tuple(found.values()) == steps
    params = replace(settings(config), times=found).params
    assert params.items() >= {"start": "initialization", "schedule": "cubic", "regrow": "true"}.items()
    assert (params["begin"], params["end"], params["frequency"]) == tuple(map(str, steps))
    assert not [name for name in params if name.startswith(("fine_tune", "ramp"))]


@pytest.mark.parametrize(
    ("options", "option"),
    [({"begin": "200", "end": "100"}, "--end"), ({"end": "500"}, "--end"), ({"begin": "0.9"}, "--end")],
)
def test_steps_outside_the_training_are_refused(options, option):
    config, _, tuning = resolved(**FROM_INITIALIZATION, **options)
    with pytest.raises(StudyError) as error:
        pruning_times(config, tuning, 5000)
    assert option_name(error.value.option) == option


def test_a_training_of_one_batch_leaves_no_room():
    config, _, tuning = resolved(**{**FROM_INITIALIZATION, "epochs": "1"})
    with pytest.raises(StudyError, match="more epochs") as error:
        pruning_times(config, tuning, 100)
    assert error.value.option == "epochs"


def test_a_network_that_is_not_pruned_has_no_steps():
    for options in ({"pruner": "none", **FROM_INITIALIZATION}, {"schedule": "cubic"}):
        config, _, tuning = resolved(**options)
        assert pruning_times(config, tuning, 5000) == {}


def test_fine_tuning_decays_as_training_does_unless_it_is_told_otherwise():
    _, training, tuning = resolved(decay="cosine")
    assert (training.decay, tuning.decay) == ("cosine", "cosine")
    _, training, tuning = resolved(decay="cosine", fine_tune_decay="none")
    assert (training.decay, tuning.decay) == ("cosine", "none")


@pytest.mark.parametrize(
    ("options", "keeps_last"),
    [
        ({}, False),
        ({"decay": "linear"}, True),
        ({"decay": "linear", "kept_epoch": "best"}, False),
        ({"kept_epoch": "last"}, True),
    ],
)
def test_a_decay_to_0_keeps_the_last_epoch(options, keeps_last):
    config, training, _ = resolved(**options)
    assert training.keeps_last_epoch == keeps_last
    assert training_params(config, {})["kept_epoch"] == ("last" if keeps_last else "best")


def test_a_decay_needs_two_steps_in_every_phase():
    _, training, _ = resolved(decay="cosine", epochs="1")
    check_decay(training, 256, "decay")
    with pytest.raises(StudyError, match="only one") as caught:
        check_decay(training, 128, "decay")
    assert caught.value.option == "decay"


@pytest.mark.parametrize(
    ("options", "dense", "fine_tuned"),
    [
        ({"average_epochs": "7"}, 7, 7),
        ({"average_epochs": "7", "fine_tune_average_epochs": "0"}, 7, 0),
        ({"fine_tune_average_epochs": "3"}, 0, 3),
        ({"average_epochs": "7", "fine_tune_epochs": "0"}, 7, 0),
    ],
)
def test_as_many_epochs_of_fine_tuning_are_averaged_as_of_training_unless_it_is_said_otherwise(
    options, dense, fine_tuned
):
    config, training, tuning = resolved(**options)
    assert (training.average_epochs, tuning.average_epochs) == (dense, fine_tuned)
    assert training_params(config, {})["average_epochs"] == str(dense)
    if config.fine_tune_epochs != 0:
        assert settings(config).params["fine_tune_average_epochs"] == str(fine_tuned)


def test_no_more_epochs_are_averaged_than_there_are():
    _, training, _ = resolved(average_epochs="30")
    check_average(training, "average_epochs")
    _, training, _ = resolved(average_epochs="31")
    with pytest.raises(StudyError, match=r"31 is above 30") as caught:
        check_average(training, "average_epochs")
    assert caught.value.option == "average_epochs"


def test_only_epochs_with_the_last_masks_are_averaged():
    """Of 15 epochs, a ramp over half of them ends within the eighth: from it on all eight end with the last masks.

    With one step an epoch, the ramp ends where the ninth epoch begins. Pruning while training ends at .75 of 30 epochs,
    within the 23rd.
    """
    for options, most in (
        ({"schedule": "cubic", "ramp_steps": "2"}, 8),
        ({"schedule": "cubic"}, 7),
        ({"start": "initialization"}, 8),
        ({"start": "initialization", "end": "0.5"}, 15),
        ({"start": "initialization", "pruner": "none"}, 30),
    ):
        for averaged in (most, most + 1):
            config, _, tuning = resolved(**options, average_epochs=averaged)
            times = pruning_times(config, tuning, 54_000)
            if averaged == most:
                check_fine_tuning(config, tuning, times, 54_000)
                continue
            with pytest.raises(StudyError, match=f"{averaged} is above {most}"):
                check_fine_tuning(config, tuning, times, 54_000)
