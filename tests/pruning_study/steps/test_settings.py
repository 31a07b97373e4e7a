import sys
from dataclasses import FrozenInstanceError

import numpy as np
import pytest
from mlflow.entities import Param, Run, RunData, RunInfo, RunTag

from analysis.common.errors import StudyError
from pruning_study.data.examples import Normalization
from pruning_study.models import checkpoints
from pruning_study.options.config import IterateConfig, PruneConfig, TrainConfig
from pruning_study.steps.identity import config_hash
from pruning_study.steps.settings import PruneSetting, TrainSetting, following
from pruning_study.tracking.connect import connect
from tests.error_lines import error_line
from tests.stored_runs import runs


@pytest.fixture
def setting(tiny_npz):
    return PruneSetting(PruneConfig(dataset=str(tiny_npz), ratio="2"))


def test_lenet5_has_the_parameters_of_the_paper(setting):
    """60,074 in all; those of the output layer, 84 x 10 weights and 10 biases, and of 4 other layers' biases stay."""
    assert setting.budget.total == 60_074
    assert setting.budget.prunable == 60_074 - (84 * 10 + 10) - (6 + 16 + 120 + 84)


@pytest.mark.parametrize(("ratio", "kept"), [(2.0, 28_961), (10.0, 4_931), (50.0, 125)])
def test_the_number_kept_is_the_total_over_the_ratio_less_what_is_not_prunable(setting, ratio, kept):
    assert setting.kept_numbers(ratio) == (kept,)
    assert kept == round(60_074 / ratio) - (60_074 - 58_998)


def test_names_of_runs_differ_in_the_fifteen_characters_that_mlflow_shows(tiny_npz):
    settings = [
        PruneSetting(PruneConfig(dataset=str(tiny_npz), ratio="2,10", pruner=pruner, seed=seed, schedule=schedule))
        for pruner in ("mp", "up")
        for seed in (0, 1)
        for schedule in ("one-shot", "cubic")
    ]
    names = [setting.pruned_name(ratio)[:15] for setting in settings for ratio in (2.0, 10.0)]
    assert names[:4] == ["2x s0 mp lenet5", "10x s0 mp lenet", "2x s0 mp cubic ", "10x s0 mp cubic"]
    jobs = [setting.job_name[:15] for setting in settings]
    assert (len(set(names)), len(set(jobs))) == (16, 8)


def test_from_a_pruned_model_a_ramp_starts_at_what_is_left(tiny_npz):
    config = PruneConfig(dataset=str(tiny_npz), ratio="10", schedule="cubic", fine_tune_epochs=4)
    numbers = PruneSetting(config).kept_numbers(10.0, remaining=10_000)
    assert (numbers[0], numbers[-1]) == (10_000, 4_931)
    assert sorted(numbers, reverse=True) == list(numbers)


def test_a_ratio_that_keeps_more_than_is_left_names_both_numbers(setting):
    with pytest.raises(StudyError, match=r"28,961 .* 1,000") as error:
        setting.kept_numbers(2.0, remaining=1_000)
    assert error.value.option == "ratio"


@pytest.mark.parametrize(
    ("options", "said"), [({"ratio": "4"}, "0.764"), ({"sparsity": "0.7"}, "0.7"), ({"sparsity": "0.5"}, "0.5")]
)
def test_a_layer_that_would_keep_no_channel_is_named_with_the_largest_sparsity(tiny_npz, options, said):
    with pytest.raises(StudyError) as error:
        PruneSetting(PruneConfig(dataset=str(tiny_npz), pruner="l1-structured", **options))
    assert str(error.value).endswith(
        f"sparsity {said} leaves no input channel of conv1.weight, which has 1: every layer prunes the same share, so "
        "take a sparsity below 0.5, or leave layers out by --keep-layers"
    )
    assert error.value.option == next(iter(options))
    PruneSetting(PruneConfig(dataset=str(tiny_npz), pruner="l1-structured", sparsity="0.49"))


def test_the_control_keeps_all_that_is_left(tiny_npz):
    control = PruneSetting(PruneConfig(dataset=str(tiny_npz), pruner="none"))
    assert control.kept_numbers(1.0) == (58_998,)
    assert control.kept_numbers(1.0, remaining=77) == (77,)


def test_normalisation_is_that_of_the_training_split(setting):
    pixels = setting.data.train_images[setting.train_indices] / 255
    (mean,), (std,) = setting.normalization
    assert (mean, std) == pytest.approx((pixels.mean(), pixels.std()))
    assert float(setting.train.images.mean()) == pytest.approx(0, abs=1e-5)


def test_normalised_in_another_way_it_is_another_setting(setting):
    _ = setting.train
    other = setting.normalized_as(Normalization([0.0], [1.0]))
    assert float(other.train.images.max()) == 1.0
    assert float(setting.train.images.mean()) == pytest.approx(0, abs=1e-5)
    assert other.model is setting.model
    assert other.normalized_as(Normalization([0.0], [1.0])) is other
    assert setting.normalized_as(setting.normalization) is setting
    assert setting.normalized_as(Normalization([0.0], [1.0])).train is other.train


def test_images_stay_in_memory_in_the_two_normalisations_that_were_used_last(setting):
    first, second, third = (setting.normalized_as(Normalization([mean], [1.0])) for mean in (0.0, 0.1, 0.2))
    images = first.images, second.images
    assert (first.images, second.images) == images
    _ = third.images
    assert second.images is images[1]
    assert first.images is not images[0]


def test_given_weights_may_name_their_normalisation(tiny_npz, tmp_path):
    weights = tmp_path / "w.safetensors"
    model = TrainSetting(TrainConfig(dataset=str(tiny_npz))).model
    checkpoints.save(weights, model.state_dict(), {"mean": "[0.5]", "std": "[0.25]"})
    setting = TrainSetting(TrainConfig(dataset=str(tiny_npz), weights=weights))
    assert setting.normalization == Normalization([0.5], [0.25])
    assert len(setting.params["weights_digest"]) == 32


def test_at_another_point_data_and_model_are_shared(setting):
    other = setting.at(epsilon=0.5, distill=0.25)
    assert (other.pruning.epsilon, other.config.distill) == (0.5, 0.25)
    assert (setting.pruning.epsilon, setting.config.distill) == (5e-4, 0.0)
    assert other.data is setting.data
    assert other.model is setting.model
    assert other.train is setting.train


def test_a_plan_says_what_a_pruned_run_will_be(tiny_npz):
    config = PruneConfig(dataset=str(tiny_npz), ratio="10", schedule="cubic", fine_tune_epochs=4)
    plan = PruneSetting(config).plan(10.0, {"seed": "7"}, "parent", iteration=2, remaining=10_000)
    assert (plan.ratio, plan.steps, plan.kept_numbers[0]) == (10.0, {}, 10_000)
    assert list(plan.kept_numbers.values())[-1] == 4_931
    assert plan.params["iteration"] == "2"
    assert plan.name == "10x s7 mp cubic iteration 2 lenet5 tiny"
    assert plan.hash == config_hash("pruned", plan.params, "parent")
    with pytest.raises(FrozenInstanceError):
        plan.ratio = 2.0


def test_a_plan_of_pruning_while_training_has_its_batches(tiny_npz):
    config = PruneConfig(dataset=str(tiny_npz), ratio="10", start="initialization", begin=3, end=9, frequency=3)
    plan = PruneSetting(config).plan(10.0, {})
    assert plan.steps == {"begin": 3, "end": 9, "frequency": 3}
    assert list(plan.kept_numbers) == [0, 3, 6, 9]
    assert (plan.kept_numbers[0], plan.kept_numbers[9]) == (58_998, 4_931)


def test_validation_is_a_stratified_tenth(setting):
    labels = setting.data.train_labels[setting.validation_indices]
    assert np.bincount(labels).tolist() == [4] * 10
    assert not set(setting.train_indices) & set(setting.validation_indices)


def test_shares_of_classes_thin_the_training_images_alone(tiny_npz, setting):
    shares = "Sandal=0.5,Bag=0.25"
    thinned = TrainSetting(TrainConfig(dataset=str(tiny_npz), class_fractions=shares))
    counts = np.bincount(thinned.data.train_labels[thinned.train_indices])
    assert counts.tolist() == [36, 36, 36, 36, 36, 18, 36, 36, 9, 36]
    assert set(thinned.train_indices) < set(setting.train_indices)
    assert thinned.validation_indices.tolist() == setting.validation_indices.tolist()
    assert len(thinned.test.labels) == len(setting.test.labels)
    assert thinned.params["class_fractions"] == "Bag=0.25,Sandal=0.5"
    assert config_hash("dense", thinned.params) != config_hash("dense", setting.params)
    assert "class_fractions" not in setting.params


def test_the_precision_is_a_param_and_hashed_where_it_is_not_float32(tiny_npz, setting):
    bf16 = PruneSetting(PruneConfig(dataset=str(tiny_npz), ratio="2", precision="bf16"))
    for one, precision in ((setting, "float32"), (bf16, "bf16")):
        params = one.params, one.plan(2.0, one.params).params
        assert [each["precision"] for each in params] == [precision, precision]
    before = {name: value for name, value in setting.params.items() if name != "precision"}
    assert config_hash("dense", setting.params) == config_hash("dense", before)
    assert config_hash("dense", bf16.params) != config_hash("dense", before)


@pytest.mark.parametrize(
    ("shares", "message"),
    [
        ("Sandle=0.5", "tiny has no class 'Sandle': did you mean Sandal"),
        ("5=0.5", r"tiny has no class '5': its classes are T-shirt/top, Trouser, .* and 5 more"),
        ("Bag=0.01", "0.01 leaves no training image of class 'Bag': keep a larger share"),
    ],
)
def test_shares_that_no_class_can_have_are_refused(tiny_npz, shares, message):
    with pytest.raises(StudyError, match=message) as error:
        TrainSetting(TrainConfig(dataset=str(tiny_npz), class_fractions=shares))
    assert error.value.option == "class_fractions"


def test_the_same_seed_has_the_same_initial_weights(tiny_npz):
    first, again, other = (TrainSetting(TrainConfig(dataset=str(tiny_npz), seed=seed)).model for seed in (1, 1, 2))
    assert all(bool((a == b).all()) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    assert not all(bool((a == b).all()) for a, b in zip(first.parameters(), other.parameters(), strict=True))


@pytest.fixture
def claimed(store_uri, run_command, tiny_npz, tmp_path, monkeypatch):
    """Return a function that claims a dense run with some params, and prunes it through the command line.

    It returns the command's last line, after it has checked that the command made no run and imported nothing: a
    module in the current folder leaves a file behind when it is imported.
    """
    (tmp_path / "planted.py").write_text(
        "from pathlib import Path; Path('trace').touch(); from pruning_study.models.lenet import lenet5 as net"
    )
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry not in ("", ".", str(tmp_path))])
    store = connect()

    def prune(params, *arguments, kind="dense", status="FINISHED", deleted=False):
        run_id = store.client.create_run(store.experiment_id, tags={"kind": kind}).info.run_id
        for name, value in params.items():
            store.client.log_param(run_id, name, value)
        if status != "RUNNING":
            store.client.set_terminated(run_id, status)
        if deleted:
            store.client.delete_run(run_id)
        before = len(runs(status=None))
        result = run_command("prune", "--dense-run-id", run_id, *arguments)
        assert result.exit_code == 2, result.output
        assert len(runs(status=None)) == before
        assert not (tmp_path / "trace").exists()
        line = error_line(result.output)
        assert line.startswith("error: ")
        assert line.isprintable()
        assert len(line) < 1000
        return line

    yield prune
    sys.modules.pop("planted", None)


@pytest.mark.attack
def test_a_dense_run_that_names_code_as_its_model__imports_nothing_and_says_which_option_to_type(claimed, tmp_path):
    path_before = list(sys.path)
    for name, shown in (
        ("planted:net", "planted:net"),
        ("os:system", "os:system"),
        ("planted", "package.module:factory"),
        ("planted:net\x1b[2J\nError: all is well", "package.module:factory"),
    ):
        line = claimed({"model": name, "dataset": "fashion-mnist-mini"})
        assert "--model" in line
        assert line.endswith(f"if you trust that code, type --model {shown}")
    assert sys.path == path_before


@pytest.mark.attack
def test_a_model_that_is_typed_and_is_not_that_of_the_dense_run__is_not_imported(claimed):
    line = claimed({"model": "os:system"}, "--model", "planted:net")
    assert "planted:net is not what dense run" in line


@pytest.mark.attack
def test_a_precision_that_the_dense_run_has_not__is_a_usage_error_before_any_run(claimed):
    for params in ({}, {"precision": "float32"}):  # runs of earlier versions have no such param
        line = claimed(params, "--precision", "bf16")
        assert line.startswith("error: --precision: bf16 is not what dense run")
        assert line.endswith("has: float32")


def test_the_precision_of_a_pruned_run_is_that_of_its_dense_run():
    info = RunInfo("ab", "0", "user", "FINISHED", 0, 1, "active")
    for params, precision in (([], "float32"), ([Param("precision", "bf16")], "bf16")):
        dense = Run(info, RunData(params=params, tags=[RunTag("kind", "dense")]))
        assert following(PruneConfig(), dense).precision == precision


@pytest.mark.parametrize(
    ("params", "decay", "average_epochs"),
    [({}, "none", 0), ({"decay": "cosine"}, "cosine", 0), ({"decay": "none", "average_epochs": "7"}, "none", 7)],
    ids=["earlier", "decay", "average"],
)
def test_the_end_of_training_is_that_of_the_dense_run(params, decay, average_epochs):
    info = RunInfo("ab", "0", "user", "FINISHED", 0, 1, "active")
    dense = Run(info, RunData(params=[Param(*pair) for pair in params.items()], tags=[RunTag("kind", "dense")]))
    taken = following(PruneConfig(), dense)
    assert (taken.decay, taken.average_epochs) == (decay, average_epochs)
    with pytest.raises(StudyError, match=f"linear is not what dense run ab has: {decay}") as error:
        following(PruneConfig(decay="linear", fine_tune_average_epochs=0), dense)
    assert error.value.option == "decay"


def test_iterations_of_given_weights_may_end_as_the_options_say():
    info = RunInfo("ab", "0", "user", "FINISHED", 0, 1, "active")
    given = RunData(params=[Param("weights_digest", "0")], tags=[RunTag("kind", "dense")])
    assert following(IterateConfig(decay="linear"), Run(info, given)).decay == "linear"


@pytest.mark.attack
@pytest.mark.parametrize(
    ("run", "message"),
    [
        ({"status": "FAILED"}, "is not a finished dense run (kind dense, FAILED)"),
        ({"status": "KILLED"}, "is not a finished dense run (kind dense, KILLED)"),
        ({"status": "RUNNING"}, "is not a finished dense run (kind dense, RUNNING)"),
        ({"deleted": True}, "is deleted: mlflow runs restore --run-id"),
        ({"kind": "report"}, "is not a finished dense run (kind report, FINISHED)"),
        ({"kind": "x" * 4000}, "is not a finished dense run (kind xxx"),
        ({"kind": "dense\x1b[2J"}, "is not a finished dense run (kind dense"),
    ],
    ids=["failed", "killed", "running", "deleted", "a report", "a long kind", "a kind with escapes"],
)
def test_a_dense_run_id_of_a_run_that_is_no_finished_dense_run__is_a_usage_error(claimed, run, message):
    assert message in claimed({}, **run)


@pytest.mark.attack
def test_a_dense_run_whose_params_are_no_values_of_options__is_a_usage_error_before_any_run(claimed):
    for params, message in (
        ({"seed": "abc"}, "its param seed: 'abc' is not a whole number"),
        ({"seed": "-1"}, "its param seed: -1 is below 0"),
        ({"weight_decay": "nan"}, "its param weight_decay: nan is not a finite number"),
        ({"epochs": "9" * 5000}, "its param epochs"),
        ({"recipe": "os:system"}, "its param recipe: 'os:system'"),
        ({"protocol": "\x1b[2J"}, "its param protocol"),
        ({"validation_fraction": "2"}, "its param validation_fraction"),
        ({"model": " "}, "its param model: is empty"),
    ):
        assert message in claimed(params)


@pytest.mark.attack
def test_a_dense_run_that_names_a_path_as_its_data_set__does_not_make_prune_read_it(claimed, tiny_npz):
    for path in (str(tiny_npz), "./tiny.npz", "../x", "/etc", "~/x", "x/", "..", "."):
        assert "names the path" in claimed({"dataset": path})


@pytest.mark.attack
def test_a_dense_run_with_an_absurd_image_shape__is_a_usage_error(claimed):
    for shape in ("1x1000000000x1000000000", "1x-1x-1", "1x28", "28", "x", "1xaxa", "0x28x28", f"1x{'9' * 5000}x1"):
        assert "names the image shape" in claimed({"image_shape": shape})
