"""Layers that are not pruned (`--keep-layers`)."""

import pytest

from analysis.common.errors import StudyError
from pruning_study.options.config import PruneConfig
from pruning_study.pruning import budget
from tests.error_lines import refused
from tests.plans import planned


def setting(tiny_npz, keep=None, **options):
    return planned(PruneConfig(dataset=str(tiny_npz), keep_layers=keep, **options))


@pytest.mark.parametrize("keep", [("conv*",), ("conv1.weight", "conv2"), ("conv?.weight",)])
def test_layers_that_fit_are_not_prunable(tiny_npz, keep):
    assert {*setting(tiny_npz, keep).plan.prunable} == {*setting(tiny_npz).plan.prunable} - {
        "conv1.weight",
        "conv2.weight",
    }


def test_the_last_layer_may_be_named(tiny_npz):
    names = {*setting(tiny_npz, prune_output_layer=True).plan.prunable}
    (last,) = names - {*setting(tiny_npz).plan.prunable}
    assert setting(tiny_npz, (last,)).plan.prunable == setting(tiny_npz).plan.prunable
    assert {*setting(tiny_npz, (last,), prune_output_layer=True).plan.prunable} == names - {last}


def test_kept_layers_are_in_params_and_hash_only_where_used(tiny_npz):
    settings = [setting(tiny_npz, keep, ratio="1.1") for keep in (None, ("conv*", "fc1"))]
    plain, kept = (each.plan.params for each in settings)
    assert kept == {**plain, "keep_layers": "conv*,fc1"}


@pytest.mark.parametrize("keep", [("head.*",), ("conv1", "head.*")])
def test_a_pattern_that_fits_no_layer_is_refused_with_the_names(tiny_npz, keep):
    with refused("keep_layers", r"'head\.\*' fits none of conv1.weight, "):
        setting(tiny_npz, keep)


def test_one_layer_has_to_be_left(tiny_npz):
    with pytest.raises(StudyError, match=r"all of conv1.weight, .* are kept"):
        setting(tiny_npz, ("*",))


@pytest.mark.parametrize("pruner", ["l1-filter", "l2-structured"])
def test_filters_and_channels_of_kept_layers_stay(tiny_npz, pruner):
    found = setting(tiny_npz, ("conv1",), pruner=pruner, ratio="1.2")
    assert "conv1.weight" not in found.plan.prunable
    assert "conv1.weight" in budget.prunable(found.context.model)
    if pruner == "l1-filter":
        assert "conv1.weight" not in found.plan.filters.numbers


def test_a_layer_that_loses_all_its_weights_is_named(tiny_npz, run_command, store_uri, caplog):
    """At ratio 50, LeNet5 keeps 125 of 58,998 weights, and so round(.11) of the 54 in its first layer."""
    options = ("--dataset", tiny_npz, "--epochs", 1, "--fine-tune-epochs", 1, "--control", "none")
    run_command("prune", *options, "--pruner", "l1-unstructured", "--ratio", 50)
    (said,) = [message for message in caplog.messages if "is left" in message]
    assert said.endswith("no weight of conv1 is left; --keep-layers exempts layers from pruning")
    run_command("prune", *options, "--pruner", "l1-unstructured", "--ratio", 50, "--keep-layers", "conv1")
    assert sum("is left" in message for message in caplog.messages) == 1
