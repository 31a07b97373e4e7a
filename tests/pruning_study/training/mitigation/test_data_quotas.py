"""Quotas of training images by the dense network's recall (Vysogorets, Ahuja and Kempe 2025, Algorithm 1)."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from analysis.common.errors import StudyError
from analysis.runs import schema
from pruning_study.options.config import PruneConfig
from pruning_study.steps.pruned import fine_tuning_indices
from pruning_study.training.mitigation import data_quotas
from tests.error_lines import refused
from tests.plans import planned
from tests.stored_runs import runs


def shares(sizes, recall, density):
    return data_quotas.densities(np.array(sizes), np.array(recall), density).tolist()


class TestDensities:
    @pytest.mark.parametrize(
        ("sizes", "recall", "density", "expected"),
        [
            # Shares .1 z and .3 z of 100 images each: 80 are kept with z = 2.
            ([100, 100], [0.9, 0.7], 0.4, [0.2, 0.6]),
            # 300 * .1 z + 100 * .2 z = 100 with z = 2: a share does not depend on the size of its class.
            ([300, 100], [0.9, 0.8], 0.25, [0.2, 0.4]),
            # 150 of 300: 1.2, .15 and .15 at first, the 20 images too many as .1 and .1.
            ([100, 100, 100], [0.2, 0.9, 0.9], 0.5, [1.0, 0.25, 0.25]),
            # 80 %: 1.35, .9 and .15 at first; of the 35 images too many the second class is due 30 and has room for 10.
            # The third takes 5, and then 20.
            ([100, 100, 100], [0.1, 0.4, 0.9], 0.8, [1.0, 1.0, 0.4]),
        ],
        ids=["by what is wrong", "several sizes", "handed on", "handed on again"],
    )
    def test_are_those_worked_by_hand(self, sizes, recall, density, expected):
        assert shares(sizes, recall, density) == pytest.approx(expected)

    @pytest.mark.parametrize("recall", [[0.5, 0.5, 0.5], [0.9, 0.2, 0.0]])
    def test_of_density_1_keep_all(self, recall):
        assert shares([10, 20, 30], recall, 1.0) == pytest.approx([1.0, 1.0, 1.0])

    def test_are_0_where_nothing_is_wrong(self):
        assert shares([10, 10], [1.0, 0.9], 0.2) == pytest.approx([0.0, 0.4])
        assert shares([10, 10], [1.0, 1.0], 0.2) == [0.0, 0.0]

    @pytest.mark.parametrize("density", [0.1, 0.3, 0.5, 0.8])
    def test_keep_the_density_of_all_images(self, density):
        random = np.random.default_rng(0)
        for _ in range(20):
            sizes, recall = random.integers(10, 1000, 12), random.uniform(0.3, 0.99, 12)
            of_classes = data_quotas.densities(sizes, recall, density)
            assert (sizes * of_classes).sum() == pytest.approx(density * sizes.sum())
            assert of_classes.max() <= 1
            free = of_classes < 1
            assert np.ptp((of_classes / (1 - recall))[free]) == pytest.approx(0, abs=1e-9)


@pytest.fixture(scope="module")
def setting(tiny, tmp_path_factory):
    """36 training images of each of ten classes."""
    path = tmp_path_factory.mktemp("data") / "tiny.npz"
    np.savez(path, **tiny)
    return planned(PruneConfig(dataset=str(path), engine="torch", data_quotas="recall", schedule="cubic"))


RECALL = np.array([0.6, *[0.9] * 8, 0.8])  # errors of .4, eight times .1, and .2


class TestImagesOfFineTuning:
    def test_are_the_quotas_of_images_in_the_normalization_of_all(self, setting, monkeypatch):
        """At density .35, 126 images are shared as 4 : 1 (eight times) : 2, 9 images to a part."""
        indices = chosen(setting, monkeypatch, 0.35)
        assert np.bincount(setting.context.data.train_labels[indices]).tolist() == [36, *[9] * 8, 18]
        assert set(indices) < set(setting.context.train_indices)
        images = setting.context.images.training(indices)
        assert (len(images), len(setting.context.train)) == (126, 360)
        pixels = torch.from_numpy(setting.context.data.train_images[indices])
        assert torch.allclose(images.batch(torch.arange(126))[0], setting.context.normalization(pixels))

    def test_are_half_of_the_images_and_the_same_again(self, setting):
        first, again = (fine_tuning_indices(*setting, RECALL) for _ in range(2))
        assert first.tolist() == again.tolist()

    def test_are_others_for_another_seed(self, setting):
        other = planned(replace(setting.plan.options, seed=1), setting.context.data)
        first, second = (set(fine_tuning_indices(*each, RECALL)) for each in (setting, other))
        assert first != second

    def test_prunes_at_the_batches_of_fewer_images(self, setting):
        """360 images have three batches of 128, and 126 have one: an epoch ends a ramp step."""
        whole, thinned = setting.plan.at(10.0, {}), setting.plan.at(10.0, {}, images=126)
        assert list(whole.kept_numbers)[:3] == [0, 3, 6]
        assert list(thinned.kept_numbers)[:3] == [0, 1, 2]
        assert list(thinned.kept_numbers.values()) == list(whole.kept_numbers.values())

    def test_are_all_without_quotas(self, setting):
        without = setting.at(data_quotas="none").at_ratio(10.0)
        assert fine_tuning_indices(*without, RECALL) is setting.context.train_indices

    @pytest.mark.attack
    def test_a_class_that_the_dense_network_gets_all_right__is_an_error_of_one_line(self, setting):
        with pytest.raises(StudyError) as error:
            fine_tuning_indices(*setting, np.array([0.5, 1.0, *[0.5] * 8]))
        assert str(error.value) == (
            "the quota of class 'Trouser' is 0 training images, because the dense network gets 100.00% of the "
            "class's validation images right: hold out more images (--validation-fraction)"
        )
        assert error.value.option == "data_quotas"

    @pytest.mark.attack
    @pytest.mark.parametrize(
        ("has_own_images", "remedy"),
        [
            (False, ": the given network was probably trained on them, so give val_images or a folder val of images "),
            (True, ": give more validation images"),
        ],
    )
    def test_a_class_that_given_weights_get_all_right__has_probably_been_learned(
        self, setting, monkeypatch, has_own_images, remedy
    ):
        if has_own_images:
            own = replace(setting.context.data, validation_indices=setting.context.validation_indices)
            monkeypatch.setattr(setting.context, "data", own)
        with pytest.raises(StudyError) as error:
            fine_tuning_indices(*setting, np.array([0.5, 1.0, *[0.5] * 8]), is_given=True)
        assert f"the class's validation images right{remedy}" in str(error.value)


def chosen(setting, monkeypatch, density):
    monkeypatch.setitem(schema.FIXED, "data_density", density)
    return fine_tuning_indices(*setting, RECALL)


@pytest.mark.attack
@pytest.mark.parametrize(
    ("options", "option", "message"),
    [
        ({"start": "initialization"}, "--data-quotas", "it applies only with --start dense"),
        ({"performance_weighted": "0.5,1"}, "--data-quotas", "--performance-weighted weights images"),
    ],
)
def test_quotas_with_an_option_that_they_exclude__are_an_error_of_one_line(options, option, message):
    with refused(option, message):
        PruneConfig(data_quotas="recall", **options)


@pytest.mark.parametrize(
    "engine",
    [pytest.param("torch", marks=pytest.mark.slow), pytest.param("native", marks=pytest.mark.compiler)],
)
def test_a_pruned_run_and_its_control(run_command, tiny_npz, store_uri, engine):
    """They are runs of their own, and the option without effect is not part of what tells runs apart."""
    quick = ("--dataset", tiny_npz, "--epochs", 12, "--fine-tune-epochs", 2, "--batch-size", 16)
    quick += (
        "--engine",
        engine,
        "--validation-fraction",
        0.5,
        "--seed",
        2,
    )  # of whose 20 images no class has all right
    quotas = ("--data-quotas", "recall")
    for options in (("mp",), ("mp", *quotas), ("none", *quotas)):
        result = run_command("prune", *quick, "--control", "none", "--pruner", *options)
        assert result.exit_code == 0, result.output
    found = {run.info.run_name: run.data.params for run in runs("pruned")}
    assert {name: (params.get("data_quotas"), params.get("data_density")) for name, params in found.items()} == {
        "10x s2 mp lenet5 tiny": (None, None),
        "10x s2 mp data quotas lenet5 tiny": ("recall", "0.5"),
        "1x s2 none data quotas lenet5 tiny": ("recall", "0.5"),
    }
    assert len(runs("dense")) == 1


@pytest.mark.attack
@pytest.mark.parametrize(
    ("options", "error"),
    [
        (("--fine-tune-epochs", 0), "0 epochs leave no fine-tuning, which thinning by data quotas needs"),
    ],
)
def test_quotas_of_nothing__are_an_error_of_one_line_before_any_run(run_command, tiny_npz, store_uri, options, error):
    result = run_command("prune", "--dataset", tiny_npz, "--data-quotas", "recall", *options)
    assert result.exit_code == 2
    assert error in result.output
    assert not runs()
