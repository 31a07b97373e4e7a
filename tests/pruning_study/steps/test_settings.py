import numpy as np
import pytest

from analysis.runs.errors import StudyError
from pruning_study.config import PruneConfig, TrainConfig
from pruning_study.data.examples import Normalization
from pruning_study.models import checkpoints
from pruning_study.steps.settings import PruneSetting, TrainSetting


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


def test_from_a_pruned_model_a_ramp_starts_at_what_is_left(tiny_npz):
    config = PruneConfig(dataset=str(tiny_npz), ratio="10", schedule="cubic", fine_tune_epochs=4)
    numbers = PruneSetting(config).kept_numbers(10.0, left=10_000)
    assert (numbers[0], numbers[-1]) == (10_000, 4_931)
    assert sorted(numbers, reverse=True) == list(numbers)


def test_a_ratio_that_keeps_more_than_is_left_names_both_numbers(setting):
    with pytest.raises(StudyError, match=r"28,961 .* 1,000") as error:
        setting.kept_numbers(2.0, left=1_000)
    assert error.value.option == "--ratio"


def test_the_control_keeps_all_that_is_left(tiny_npz):
    control = PruneSetting(PruneConfig(dataset=str(tiny_npz), pruner="none"))
    assert control.kept_numbers(1.0) == (58_998,)
    assert control.kept_numbers(1.0, left=77) == (77,)


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
    assert setting.normalized_as(Normalization([0.0], [1.0])) is other


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


def test_validation_is_a_stratified_tenth(setting):
    labels = setting.data.train_labels[setting.validation_indices]
    assert np.bincount(labels).tolist() == [4] * 10
    assert not set(setting.train_indices) & set(setting.validation_indices)


def test_the_same_seed_has_the_same_initial_weights(tiny_npz):
    first, again, other = (TrainSetting(TrainConfig(dataset=str(tiny_npz), seed=seed)).model for seed in (1, 1, 2))
    assert all(bool((a == b).all()) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    assert not all(bool((a == b).all()) for a, b in zip(first.parameters(), other.parameters(), strict=True))
