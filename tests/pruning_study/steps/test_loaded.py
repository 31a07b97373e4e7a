import numpy as np
import pytest

from pruning_study.data.examples import Normalization
from pruning_study.models import checkpoints
from pruning_study.options.config import PruneConfig, TrainConfig
from pruning_study.steps.identity import config_hash
from tests.error_lines import refused
from tests.plans import planned


@pytest.fixture
def setting(tiny_npz):
    return planned(PruneConfig(dataset=str(tiny_npz), ratio="2"))


def test_given_weights_may_name_their_normalisation(tiny_npz, tmp_path):
    weights = tmp_path / "w.safetensors"
    model = planned(TrainConfig(dataset=str(tiny_npz))).context.model
    checkpoints.save(weights, model.state_dict(), {"mean": "[0.5]", "std": "[0.25]"})
    setting = planned(TrainConfig(dataset=str(tiny_npz), weights=weights))
    assert setting.context.normalization == Normalization([0.5], [0.25])
    assert len(setting.params["weights_digest"]) == 32


def test_validation_is_a_stratified_tenth(setting):
    labels = setting.context.data.train_labels[setting.context.validation_indices]
    assert np.bincount(labels).tolist() == [4] * 10
    assert not set(setting.context.train_indices) & set(setting.context.validation_indices)


def test_shares_of_classes_thin_the_training_images_alone(tiny_npz, setting):
    shares = "Sandal=0.5,Bag=0.25"
    thinned = planned(TrainConfig(dataset=str(tiny_npz), class_fractions=shares))
    counts = np.bincount(thinned.context.data.train_labels[thinned.context.train_indices])
    assert counts.tolist() == [36, 36, 36, 36, 36, 18, 36, 36, 9, 36]
    assert set(thinned.context.train_indices) < set(setting.context.train_indices)
    assert thinned.context.validation_indices.tolist() == setting.context.validation_indices.tolist()
    assert len(thinned.context.test.labels) == len(setting.context.test.labels)
    assert thinned.params["class_fractions"] == "Bag=0.25,Sandal=0.5"
    assert config_hash("dense", thinned.params) != config_hash("dense", setting.params)
    assert "class_fractions" not in setting.params


@pytest.mark.parametrize(
    ("shares", "message"),
    [
        ("Sandle=0.5", "tiny has no class 'Sandle': did you mean Sandal"),
        ("5=0.5", r"tiny has no class '5': its classes are T-shirt/top, Trouser, .* and 5 more"),
        ("Bag=0.01", "0.01 leaves no training image of class 'Bag': keep a larger share"),
    ],
)
def test_shares_that_no_class_can_have_are_refused(tiny_npz, shares, message):
    with refused("class_fractions", message):
        planned(TrainConfig(dataset=str(tiny_npz), class_fractions=shares))


def test_the_same_seed_has_the_same_initial_weights(tiny_npz):
    first, again, other = (planned(TrainConfig(dataset=str(tiny_npz), seed=seed)).context.model for seed in (1, 1, 2))
    assert all(bool((a == b).all()) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    assert not all(bool((a == b).all()) for a, b in zip(first.parameters(), other.parameters(), strict=True))
