"""Iterative pruning: the levels of a chain, how many weights each has, and what each starts from."""

import copy
import logging
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from mlflow import MlflowClient
from torch import nn
from torch.nn.utils import prune

from analysis import pull_runs
from analysis.common.errors import StudyError
from analysis.report import published
from pruning_study.data.examples import generator, number_of_batches, shuffled
from pruning_study.models import checkpoints
from pruning_study.options.config import IterateConfig
from pruning_study.steps import dense, iterated, runs
from pruning_study.steps.followed import following
from pruning_study.steps.identity import hashed_params
from pruning_study.tracking.connect import connect
from pruning_study.training import loop
from pruning_study.training.recipes import Phase
from tests.error_lines import refused
from tests.plans import planned
from tests.stored_runs import artifact

SMALL = {"epochs": 1, "engine": "torch", "iterations": 4}
SPARSITIES = ["0.2", "0.36001", "0.48802"]
REWINDING = {"weight_treatment": "rewind", "rewind_step": 5, "recipe": "lenet5", "epochs": 2}


@pytest.fixture
def store(store_uri):
    return connect()


def chain_in(store, data):
    """Return a function that makes or finds a chain, and returns its setting and its runs, the dense one first."""

    def make(**options):
        setting = planned(IterateConfig(dataset=str(data), **{**SMALL, **options})).in_job(store)
        root = dense.train(*setting.dense)
        return setting, [root, *iterated.levels(*setting, root)]

    return make


@pytest.fixture
def chain(store, tiny_npz):
    return chain_in(store, tiny_npz)


@pytest.fixture
def shared_chain(shared_store):
    """Make chains whose dense network the tests share."""
    return chain_in(*shared_store)


def pruned_by_torch(model, masks, names, pruner):
    """Return the masks after torch has pruned a fifth of what the masks leave of a model."""
    model = copy.deepcopy(model).to(memory_format=torch.contiguous_format)
    modules = [model.get_submodule(name.removesuffix(".weight")) for name in names]
    for name, module in zip(names, modules, strict=True):
        if masks:
            prune.custom_from_mask(module, "weight", masks[name])
    match pruner:
        case "global-unstructured":
            prune.global_unstructured([(module, "weight") for module in modules], prune.L1Unstructured, amount=0.2)
        case "l1-unstructured":
            for module in modules:
                prune.l1_unstructured(module, "weight", amount=0.2)
        case "l1-structured":
            for module in modules:
                prune.ln_structured(module, "weight", amount=0.2, n=1, dim=1)
    return {name: module.weight_mask.bool() for name, module in zip(names, modules, strict=True)}


@pytest.mark.parametrize("pruner", ["global-unstructured", "l1-unstructured", "l1-structured"])
def test_masks_are_those_of_torch_pruning_again_and_again(shared_chain, pruner):
    setting, made = shared_chain(pruner=pruner, weight_treatment="rewind", iterations=3)
    for parent, level in pairwise(made):
        expected = pruned_by_torch(parent.model, parent.masks, setting.plan.prunable, pruner)
        assert all(torch.equal(level.masks[name], mask) for name, mask in expected.items())
        assert all((level.masks[name] <= parent.masks.get(name, level.masks[name] | True)).all() for name in expected)
        for name, mask in level.masks.items():
            assert not level.model.get_parameter(name)[~mask].any()


def test_params_of_each_level_are_known_beforehand(shared_chain, shared_store):
    """LeNet5 has 58,998 prunable weights of 60,074 parameters; a fifth of them is 11,799.6, and of the rest 9,439.6."""
    _, made = shared_chain(pruner="mp")
    levels = [shared_store[0].get(run.run_id).data for run in made]
    assert [level.tags["kind"] for level in levels] == ["dense", *["pruned"] * 3]
    assert [level.tags.get("parent_run_id") for level in levels] == [None, *(run.run_id for run in made[:-1])]
    assert {level.tags["dense_run_id"] for level in levels[1:]} == {made[0].run_id}
    params = [level.params for level in levels[1:]]
    assert [each["iteration"] for each in params] == ["1", "2", "3"]
    assert {(each["keep"], each["weight_treatment"]) for each in params} == {("0.8", "finetune")}
    kept = [58_998 - 11_800, 58_998 - 11_800 - 9_440, 58_998 - 11_800 - 9_440 - 7_552]
    assert [float(each["ratio"]) for each in params] == pytest.approx([60_074 / (1_076 + left) for left in kept])
    assert [float(each["ratio_prunable"]) for each in params] == pytest.approx([58_998 / left for left in kept])
    assert [each["sparsity"] for each in params] == SPARSITIES
    assert [run.metrics["realized_ratio"] for run in made[1:]] == pytest.approx(
        [60_074 / (1_076 + left) for left in kept]
    )
    assert {(each["epochs"], each["fine_tune_epochs"], each["momentum"]) for each in params} == {("1", "1", "0.0")}


def test_twenty_iterations_of_the_paper_end_near_a_sparsity_of_98_6_percent(tiny_npz):
    setting = planned(IterateConfig(dataset=str(tiny_npz)))
    assert setting.plan.chain.iterations == 20
    assert setting.plan.level_sparsity(19) == pytest.approx(1 - 0.8**19, abs=5e-5)
    assert str(setting.plan.hyperparameters) == "30x0.01"


def test_each_level_ends_as_the_dense_network_does(tiny_npz):
    """It has as many epochs, whatever the recipe's fine-tuning has: 15."""
    setting = planned(IterateConfig(dataset=str(tiny_npz), recipe="lenet5", average_epochs=20))
    assert (setting.plan.hyperparameters.epochs, setting.plan.hyperparameters.average_epochs) == (30, 20)
    setting = planned(IterateConfig(dataset=str(tiny_npz), recipe="lenet5", decay="cosine"))
    assert setting.plan.hyperparameters.decay == "cosine"


@pytest.mark.parametrize("treatment", ["finetune", "rewind"])
def test_what_a_level_starts_from(shared_store, treatment):
    """A level that is trained at a rate of next to nothing ends where it starts."""
    store, data = shared_store
    root = dense.train(*planned(IterateConfig(dataset=str(data), learning_rate=0.1, **SMALL)).in_job(store).dense)
    still = IterateConfig(dataset=str(data), weight_treatment=treatment, learning_rate=1e-30, **SMALL)
    setting = planned(still)
    level = iterated.level(*setting.in_job(store), root)
    start = (setting.context.model if treatment == "rewind" else root.model).state_dict()
    assert not torch.equal(setting.context.model.conv1.weight, root.model.conv1.weight)
    for name, weight in level.model.state_dict().items():
        assert torch.equal(weight, start[name] * level.masks.get(name, torch.tensor(True)))


STEPS = 5


@pytest.fixture
def state_after_steps(tiny_npz):
    """The state of the dense network after five steps of SGD with Nesterov momentum, batch by batch."""
    setting = planned(IterateConfig(dataset=str(tiny_npz), **SMALL | REWINDING))
    model = copy.deepcopy(setting.context.model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, nesterov=True, fused=True)
    random, batches = generator(0, "dense"), []
    while len(batches) < STEPS:
        batches += shuffled(setting.context.train, 128, random)
    for batch in batches[:STEPS]:
        images, labels = setting.context.train.batch(batch)
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(images), labels).backward()
        optimizer.step()
    return model.state_dict()


@pytest.mark.slow
def test_kept_weights_of_every_level_start_from_those_of_the_step(chain, store, tiny_npz, state_after_steps):
    """Three batches are an epoch: five steps end within the second. A rate of next to nothing leaves the start."""
    setting, made = chain(**REWINDING)
    assert number_of_batches(len(setting.context.train), 128) == 3
    for iteration, level in enumerate(made[1:], start=1):
        assert store.get(level.run_id).data.params["rewind_step"] == str(STEPS)
        slow = replace(setting.plan.hyperparameters, phases=(Phase(1, 1e-30),))
        parent, saved = made[iteration - 1], tiny_npz.with_suffix(".none")
        plan = setting.plan.level(iteration, parent.dense.params, parent.config_hash)
        start, _ = iterated.train_level(
            replace(plan, hyperparameters=slow), setting.context, parent, saved, loop.ignore
        )
        masks = level.masks
        for name, weight in start.state_dict().items():
            assert torch.equal(weight, state_after_steps[name] * masks.get(name, torch.tensor(True)))


@pytest.mark.parametrize("engine", ["torch", pytest.param("native", marks=pytest.mark.compiler)])
def test_the_state_of_a_step_is_where_the_training_passes(shared_store, engine):
    """One epoch is three steps, and its weights are those of the dense network."""
    store, data = shared_store
    options = SMALL | REWINDING | {"engine": engine, "rewind_step": 3, "epochs": 1}
    setting = planned(IterateConfig(dataset=str(data), **options))
    dense_run = dense.train(*setting.in_job(store).dense)
    for name, weight in iterated.rewound(*setting).state_dict().items():
        assert torch.equal(weight, dense_run.model.state_dict()[name])


def test_step_0_is_the_initial_network_and_the_runs_of_before_the_option_are_found(shared_chain):
    setting, made = shared_chain(weight_treatment="rewind", iterations=3)
    for name, weight in iterated.rewound(*setting).state_dict().items():
        assert torch.equal(weight, setting.context.model.state_dict()[name])
    params = setting.plan.level(1).params
    assert params["rewind_step"] == "0"
    assert "rewind_step" not in hashed_params(params)
    _, again = shared_chain(weight_treatment="rewind", iterations=3, rewind_step=0)
    assert [run.run_id for run in again] == [run.run_id for run in made]


@pytest.mark.slow
def test_each_step_has_levels_of_its_own_and_one_dense_network(chain):
    _, at_5 = chain(**REWINDING | {"iterations": 2})
    _, at_4 = chain(**REWINDING | {"iterations": 2, "rewind_step": 4})
    _, at_0 = chain(**REWINDING | {"iterations": 2, "rewind_step": 0})
    _, again = chain(**REWINDING | {"iterations": 2, "dense_run_id": at_5[0].run_id})
    assert {chain[0].run_id for chain in (at_5, at_4, at_0)} == {at_5[0].run_id}
    assert len({chain[1].run_id for chain in (at_5, at_4, at_0)}) == 3
    assert again[1].run_id == at_5[1].run_id


def test_the_control_goes_back_to_the_step_too(shared_chain):
    setting, made = shared_chain(**REWINDING | {"iterations": 3}, pruner="none")
    assert all(mask.all() for run in made[1:] for mask in run.masks.values())
    assert setting.plan.level(2, {}).params["ratio_prunable"] == "1.0"


class Normalised(nn.Sequential):
    def __init__(self, classes):
        super().__init__(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.MaxPool2d(13), nn.Flatten(), nn.Linear(12, classes))


def normalised(num_classes, in_channels):
    return Normalised(num_classes)


@pytest.mark.parametrize(("treatment", "epochs"), [("finetune", [1, 2, 3]), ("rewind", [1, 1, 1])])
def test_rewinding_puts_buffers_back_too(shared_chain, treatment, epochs):
    setting, made = shared_chain(model=f"{__name__}:normalised", weight_treatment=treatment, iterations=3)
    batches = len(setting.context.train_indices) // 32
    assert [int(run.model[1].num_batches_tracked) for run in made] == [batches * count for count in epochs]


@pytest.mark.parametrize("treatment", ["finetune", "rewind"])
def test_the_control_is_trained_as_often_and_never_pruned(shared_chain, shared_store, treatment):
    _, made = shared_chain(pruner="none", weight_treatment=treatment, iterations=3)
    for iteration, run in enumerate(made[1:], start=1):
        params = shared_store[0].get(run.run_id).data.params
        assert (params["iteration"], params["ratio"], params["sparsity"]) == (str(iteration), "1.0", "0.0")
        assert all(mask.all() for mask in run.masks.values())
    weights = [run.model.conv1.weight for run in made]
    assert not any(torch.equal(one, other) for one, other in pairwise(weights))


@pytest.mark.parametrize("pruner", ["up", "up-signed", "rp", "linf-structured", "random-structured"])
def test_every_kind_of_pruner_removes_more_at_each_level(shared_chain, pruner):
    _, made = shared_chain(pruner=pruner, iterations=3)
    once, twice = (sum(int(mask.sum()) for mask in run.masks.values()) for run in made[1:])
    assert twice < once < 58_998 * 0.81 or (pruner == "up-signed" and twice <= once)
    assert all((made[2].masks[name] <= mask).all() for name, mask in made[1].masks.items())


def test_levels_are_found_again_and_a_longer_chain_goes_on_from_them(shared_chain):
    own = {"keep": 0.75}  # no other test makes these levels
    _, made = shared_chain(iterations=2, **own)
    _, longer = shared_chain(iterations=3, **own)
    assert [run.is_reused for run in longer] == [True, True, False]
    assert [run.run_id for run in longer[:2]] == [run.run_id for run in made]


@pytest.mark.slow
@pytest.mark.attack
@pytest.mark.parametrize("fault", ["deleted", "damaged"])
def test_a_level_that_is_gone_or_damaged__is_made_again_and_the_same(chain, store, caplog, fault):
    _, made = chain(iterations=3)
    first = store.get(made[1].run_id)
    if fault == "deleted":
        MlflowClient().delete_run(first.info.run_id)
    else:
        artifact(first, "checkpoint.safetensors").write_bytes(b"\0")
    with caplog.at_level(logging.WARNING):
        _, again = chain(iterations=3)
    assert [run.is_reused for run in again] == [True, False, True]
    assert [f"pruned run {first.info.run_id} cannot be used" in caplog.text] == [fault != "deleted"]
    for name, weight in made[1].model.state_dict().items():
        assert torch.equal(again[1].model.state_dict()[name], weight)


def killed_in_the_second_epoch(monkeypatch):
    """Interrupt the training of a level after its second epoch has been saved."""
    fit = iterated.fit

    def until_killed(model, training, *, saved, on_epoch):
        def epoch(number, metrics):
            on_epoch(number, metrics)
            if number == 3:
                raise KeyboardInterrupt

        return fit(model, training, saved=saved, on_epoch=epoch)

    monkeypatch.setattr(iterated, "fit", until_killed)


@pytest.mark.parametrize("step", [0, 5])
@pytest.mark.parametrize(
    "engine",
    [pytest.param("torch", marks=pytest.mark.slow), pytest.param("native", marks=pytest.mark.compiler)],
)
def test_a_chain_that_is_killed_within_a_level_goes_on_with_the_same_result(
    chain, store, monkeypatch, caplog, engine, step
):
    options = {"iterations": 3, "epochs": 4, "engine": engine, "weight_treatment": "rewind", "rewind_step": step}
    monkeypatch.setattr(loop, "SAVE_SECONDS", 0)
    with monkeypatch.context() as patch:
        killed_in_the_second_epoch(patch)
        with pytest.raises(KeyboardInterrupt):
            chain(**options)
    with caplog.at_level(logging.INFO):
        setting, resumed = chain(**options)
    saved = store.saved_training(resumed[1].config_hash)
    assert resumed[0].is_reused
    assert "the training continues after epoch 2" in caplog.text
    assert not saved.exists()
    _, whole = chain(**options, force=True)
    assert setting.context.engine.name == engine
    for one, other in zip(resumed, whole, strict=True):
        assert one.run_id != other.run_id
        for name, weight in one.model.state_dict().items():
            assert torch.equal(other.model.state_dict()[name], weight)


@pytest.mark.slow
def test_levels_of_a_named_dense_run_start_from_that_one(chain, store, tiny_npz):
    _, (first, *_) = chain(iterations=2)
    _, (second, *_) = chain(iterations=2, force=True)
    config = IterateConfig(dataset=str(tiny_npz), dense_run_id=first.run_id, engine="torch", iterations=2)
    setting = planned(following(config, store.get(first.run_id)))
    assert setting.plan.hyperparameters.epochs == 1  # as the dense run
    (level,) = iterated.levels(*setting.in_job(store), runs.load(store, store.get(first.run_id), *setting.dense))
    assert store.get(level.run_id).data.tags["parent_run_id"] == first.run_id != second.run_id


@pytest.mark.slow
def test_a_chain_starts_again_from_a_dense_network_that_is_trained_again(chain):
    setting, (first, *_) = chain(iterations=3)
    plan, context = setting.dense
    second = dense.train(replace(plan, force=True), context)
    for are_found in (False, True):
        _, again = chain(iterations=3)
        assert [run.is_reused for run in again] == [True, are_found, are_found]
        assert {run.dense.run_id for run in again} == {second.run_id} != {first.run_id}


@pytest.mark.slow
def test_a_deleted_level_of_a_named_dense_run_is_made_again_and_the_later_ones_are_found(chain, store):
    _, made = chain()
    MlflowClient().delete_run(made[1].run_id)
    named = {"dense_run_id": made[0].run_id, "iterations": 4}
    _, again = chain(**named)
    assert [run.is_reused for run in again] == [True, False, True, True]
    _, (other, *_) = chain(iterations=2, force=True)
    _, levels = chain(**named | {"dense_run_id": other.run_id, "iterations": 3})
    assert [run.is_reused for run in levels] == [True, True, False]


@pytest.mark.slow
def test_levels_of_a_deleted_dense_run_are_made_again_with_it_and_a_pull_has_them(chain, store):
    _, first = chain(iterations=3)
    MlflowClient().delete_run(first[0].run_id)
    _, again = chain(iterations=3)
    assert [run.is_reused for run in again] == [False, False, False]
    assert {store.get(run.run_id).data.tags["dense_run_id"] for run in again[1:]} == {again[0].run_id}
    pulled = pull_runs()
    assert set(pulled["run_id"]) == {run.run_id for run in again[1:]}


@pytest.mark.parametrize(
    ("options", "once", "often"),
    [
        (
            {"pruner": "l1-structured"},
            "pruned once more by l1-structured (0.8 of the weights left are kept), then trained from these weights",
            "pruned 3 times by l1-structured (0.8 of the weights left are kept), each time then trained from these "
            "weights",
        ),
        (
            {"pruner": "none", "weight_treatment": "rewind"},
            "trained once more from the initial weights",
            "trained 3 times from the initial weights",
        ),
        (
            {"pruner": "none", "weight_treatment": "rewind", "rewind_step": 20},
            "trained once more from the weights of step 20",
            "trained 3 times from the weights of step 20",
        ),
    ],
)
def test_notes_say_what_was_done(tiny_npz, options, once, often):
    setting = planned(IterateConfig(dataset=str(tiny_npz), **options))
    assert setting.plan.note("abc") == f"Run abc, {once}"
    assert setting.plan.note("abc", 3) == f"Run abc, {often}"


def test_initial_values_of_given_weights_are_not_known(chain, store, tiny_npz):
    weights = tiny_npz.with_suffix(".safetensors")
    setting = planned(IterateConfig(dataset=str(tiny_npz), **SMALL))
    checkpoints.save(weights, setting.context.model.state_dict())
    with refused("weights", "are unknown"):
        IterateConfig(weights=weights, weight_treatment="rewind")
    _, (root, level) = chain(weights=weights, iterations=2)
    assert level.iteration == 1
    rewinding = IterateConfig(dataset=str(tiny_npz), dense_run_id=root.run_id, weight_treatment="rewind")
    with refused("weight_treatment", "not known"):
        following(rewinding, store.get(root.run_id))


@pytest.mark.attack
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"keep": 0.1, "iterations": 20},
            "fewer than 4 weights, one for each layer, of the .* in the network at iteration 5: .* 5 iterations$",
        ),
        ({"keep": 0.3, "pruner": "l1-unstructured"}, "no weight of the 54 in conv1.weight at iteration 4:"),
        ({"keep": 0.3, "pruner": "l2-structured"}, "of the 1 in conv1.weight at iteration 1: keep a larger share$"),
    ],
)
def test_a_chain_that_leaves_no_weight__is_an_error_before_any_run(tiny_npz, options, message):
    with refused("keep", message):
        planned(IterateConfig(dataset=str(tiny_npz), **options))


@pytest.mark.attack
def test_a_step_beyond_the_training__is_an_error_before_any_run(tiny_npz):
    """Two epochs of three batches are six steps."""
    planned(IterateConfig(dataset=str(tiny_npz), **REWINDING | {"rewind_step": 6}))
    with pytest.raises(
        StudyError, match=r"step 7 is beyond the training .*: give at most 6, the number of its steps$"
    ) as error:
        planned(IterateConfig(dataset=str(tiny_npz), **REWINDING | {"rewind_step": 7}))
    assert error.value.option == "rewind_step"
    with pytest.raises(StudyError, match="applies only with --weight-treatment rewind"):
        IterateConfig(rewind_step=1)


@pytest.mark.parametrize("level", [1, 10, 20])
@pytest.mark.parametrize("output_layer", [False, True])
def test_the_ratio_over_the_weights_pruned_over_is_that_of_table_12(tiny_npz, level, output_layer):
    """It is 1 / .8^L. Each level rounds by half a weight at most: together that is less than .5 / (1 - .8) = 2.5."""
    config = IterateConfig(dataset=str(tiny_npz), iterations=21, keep=0.8, prune_output_layer=output_layer)
    setting = planned(config)
    ratio = float(setting.plan.level(level, {}).params["ratio_prunable"])
    assert setting.plan.budget.prunable == 58_998 + output_layer * 840
    assert abs(setting.plan.budget.prunable / ratio - setting.plan.budget.prunable * 0.8**level) <= 2.5
    assert ratio == pytest.approx(float(published.table(12)["Pruning ratio"][level]), rel=0.002)


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("iterations", 1, "below 2"),
        ("keep", 1, "below 1"),
        ("keep", 0, "above 0"),
        ("weight_treatment", "rewound", "rewind"),
        ("scope", "global", "within their layer"),
    ],
)
def test_options_are_checked(option, value, message):
    with pytest.raises(StudyError, match=message):
        IterateConfig(pruner="l1-structured", **{option: value})


def test_params_hold_no_surprise_for_the_hash(tiny_npz):
    """What follows from others is not hashed; each of the others makes another run."""
    setting = planned(IterateConfig(dataset=str(tiny_npz), weight_treatment="rewind"))
    params = setting.plan.level(2).params
    assert params.keys() - hashed_params(params).keys() >= {"sparsity", "ratio_prunable"}
    assert {"keep", "weight_treatment", "iteration", "ratio"} <= hashed_params(params).keys()
