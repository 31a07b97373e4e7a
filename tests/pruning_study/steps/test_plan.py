from dataclasses import FrozenInstanceError

import pytest
from torch import nn

from analysis.common.errors import StudyError
from pruning_study.models.lenet import lenet5
from pruning_study.options.config import PruneConfig
from pruning_study.steps.identity import config_hash
from tests.error_lines import refused
from tests.plans import planned


@pytest.fixture
def setting(tiny_npz):
    return planned(PruneConfig(dataset=str(tiny_npz), ratio="2"))


def test_lenet5_has_the_parameters_of_the_paper(setting):
    """60,074 in all; those of the output layer, 84 x 10 weights and 10 biases, and of 4 other layers' biases stay."""
    assert setting.plan.budget.total == 60_074
    assert setting.plan.budget.prunable == 60_074 - (84 * 10 + 10) - (6 + 16 + 120 + 84)


def with_auxiliary_head(num_classes, in_channels, image_size):
    model = lenet5(num_classes, in_channels, image_size)
    model.auxiliary = nn.Linear(84, num_classes)
    return model


def test_weights_that_the_forward_pass_never_uses_are_neither_pruned_nor_counted(tiny_npz, caplog):
    """They were pruned first, and the layers that are used had a lower ratio than was said."""
    used = planned(PruneConfig(dataset=str(tiny_npz), ratio="2"))
    setting = planned(PruneConfig(dataset=str(tiny_npz), ratio="2", model=f"{__name__}:with_auxiliary_head"))
    assert (setting.plan.budget, setting.plan.prunable) == (used.plan.budget, used.plan.prunable)
    assert [line for line in caplog.messages if "uses" in line] == [
        "the forward pass never uses auxiliary, with 850 parameters: these are not pruned, and the ratio does not "
        "count them"
    ]


@pytest.mark.parametrize(("ratio", "kept"), [(2.0, 28_961), (10.0, 4_931), (50.0, 125)])
def test_the_number_kept_is_the_total_over_the_ratio_less_what_is_not_prunable(setting, ratio, kept):
    assert setting.kept_numbers(ratio) == (kept,)
    assert kept == round(60_074 / ratio) - (60_074 - 58_998)


def test_names_of_runs_differ_in_the_fifteen_characters_that_mlflow_shows(tiny_npz):
    settings = [
        planned(PruneConfig(dataset=str(tiny_npz), ratio="2,10", pruner=pruner, seed=seed, schedule=schedule))
        for pruner in ("mp", "up")
        for seed in (0, 1)
        for schedule in ("one-shot", "cubic")
    ]
    names = [setting.plan.pruned_name(ratio)[:15] for setting in settings for ratio in (2.0, 10.0)]
    assert names[:4] == ["2x s0 mp lenet5", "10x s0 mp lenet", "2x s0 mp cubic ", "10x s0 mp cubic"]
    jobs = [setting.plan.job_name[:15] for setting in settings]
    assert (len(set(names)), len(set(jobs))) == (16, 8)


def test_from_a_pruned_model_a_ramp_starts_at_what_is_left(tiny_npz):
    config = PruneConfig(dataset=str(tiny_npz), ratio="10", schedule="cubic", fine_tune_epochs=4)
    numbers = planned(config).kept_numbers(10.0, remaining=10_000)
    assert (numbers[0], numbers[-1]) == (10_000, 4_931)
    assert sorted(numbers, reverse=True) == list(numbers)


def test_a_ratio_that_keeps_more_than_is_left_names_both_numbers(setting):
    with refused("ratio", r"28,961 .* 1,000"):
        setting.kept_numbers(2.0, remaining=1_000)


@pytest.mark.parametrize(
    ("options", "said"), [({"ratio": "4"}, "0.764"), ({"sparsity": "0.7"}, "0.7"), ({"sparsity": "0.5"}, "0.5")]
)
def test_a_layer_that_would_keep_no_channel_is_named_with_the_largest_sparsity(tiny_npz, options, said):
    with pytest.raises(StudyError) as error:
        planned(PruneConfig(dataset=str(tiny_npz), pruner="l1-structured", **options))
    assert str(error.value).endswith(
        f"sparsity {said} leaves no input channel of conv1.weight, which has 1: every layer prunes the same share, so "
        "use a sparsity below 0.5, or exempt layers with --keep-layers"
    )
    assert error.value.option == next(iter(options))
    planned(PruneConfig(dataset=str(tiny_npz), pruner="l1-structured", sparsity="0.49"))


def test_a_ratio_at_which_no_layer_keeps_a_weight_is_refused(tiny_npz):
    """No layer of ResNet-20 has half of its prunable weights, so none keeps the single weight that is left."""
    options = {"dataset": str(tiny_npz), "model": "resnet20", "pruner": "l1-unstructured"}
    largest = planned(PruneConfig(**options)).plan.budget.largest_ratio()
    with refused("ratio", r"sparsity .* leaves no weight in any layer: .* use a sparsity below 0\.999986437$"):
        planned(PruneConfig(**options, ratio=str(largest)))
    planned(PruneConfig(**options, ratio=str(largest), scope="global"))


def test_the_control_keeps_all_that_is_left(tiny_npz):
    control = planned(PruneConfig(dataset=str(tiny_npz), pruner="none"))
    assert control.kept_numbers(1.0) == (58_998,)
    assert control.kept_numbers(1.0, remaining=77) == (77,)


def test_a_plan_says_what_a_pruned_run_will_be(tiny_npz):
    config = PruneConfig(dataset=str(tiny_npz), ratio="10", schedule="cubic", fine_tune_epochs=4)
    plan = planned(config).plan.at(10.0, {"seed": "7"}, "parent", iteration=2, remaining=10_000)
    assert (plan.ratio, plan.pruning.times, plan.kept_numbers[0]) == (10.0, {}, 10_000)
    assert list(plan.kept_numbers.values())[-1] == 4_931
    assert plan.params["iteration"] == "2"
    assert plan.name == "10x s7 mp cubic iteration 2 lenet5 tiny"
    assert plan.hash == config_hash("pruned", plan.params, "parent")
    with pytest.raises(FrozenInstanceError):
        plan.ratio = 2.0


def test_a_plan_is_pure_data_that_follows_from_options_and_shapes(tiny_npz):
    config = PruneConfig(dataset=str(tiny_npz), ratio="10", pruner="up", schedule="cubic")
    plan = planned(config).plan
    assert planned(config).plan == plan
    assert planned(config).plan.at(10.0) == plan.at(10.0) != plan.at(5.0)


def test_a_plan_of_pruning_while_training_has_its_batches(tiny_npz):
    config = PruneConfig(dataset=str(tiny_npz), ratio="10", start="initialization", begin=3, end=9, frequency=3)
    plan = planned(config).plan.at(10.0, {})
    assert plan.pruning.times == {"begin": 3, "end": 9, "frequency": 3}
    assert list(plan.kept_numbers) == [0, 3, 6, 9]
    assert (plan.kept_numbers[0], plan.kept_numbers[9]) == (58_998, 4_931)


def test_the_precision_is_a_param_and_hashed_where_it_is_not_float32(tiny_npz, setting):
    bf16 = planned(PruneConfig(dataset=str(tiny_npz), ratio="2", precision="bf16"))
    for one, precision in ((setting, "float32"), (bf16, "bf16")):
        params = one.params, one.plan.at(2.0, one.params).params
        assert [each["precision"] for each in params] == [precision, precision]
    before = {name: value for name, value in setting.params.items() if name != "precision"}
    assert config_hash("dense", setting.params) == config_hash("dense", before)
    assert config_hash("dense", bf16.params) != config_hash("dense", before)
