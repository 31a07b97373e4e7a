import copy
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

from pruning_study.data.examples import Examples, generator, shuffled
from pruning_study.options.config import PruneConfig
from pruning_study.pruning.budget import Budget
from pruning_study.pruning.masks import exact_k
from pruning_study.pruning.schedules import Ramp, at_batches, cubic, while_training
from pruning_study.steps import pruned as steps
from pruning_study.steps import selection
from pruning_study.steps.runs import DenseRun, LoadedRun
from pruning_study.training.callbacks import MaskChanges
from pruning_study.training.engines import TORCH
from pruning_study.training.evaluation import predict
from pruning_study.training.loop import fit, ignore
from pruning_study.training.recipes import Hyperparameters, Phase
from pruning_study.training.setup import TrainingSetup
from tests.plans import planned

BLACK = torch.zeros(1)


def examples(count, seed):
    random = torch.Generator().manual_seed(seed)
    images = torch.randn(count, 1, 6, 6, generator=random)
    return Examples(images, (images.mean((1, 2, 3)) > 0).long())


TRAIN, VALIDATION = examples(64, 0), examples(32, 1)


class TestCubic:
    @pytest.mark.parametrize(
        ("total", "final", "ramp", "steps", "kept"),
        [
            (1000, 360, 4, 1, (1000, 630, 440, 370, 360)),  # 1 - (1 - e/4)^3 is 0, 37/64, 7/8, 63/64, 1
            (800, 0, 1, 2, (800, 100, 0)),  # 1 - (1 - e)^3 at e = 0, 1/2, 1
            (1000, 0, 1.5, 1, (1000, 37, 0)),  # e / 1.5 is 0, 2/3, then 1: 1000 - 1000 (1 - 1/27)
            (1000, 100, 0, 4, (100,)),
        ],
        ids=["four epochs", "two steps an epoch", "an end between two steps is the next", "no ramp is one-shot"],
    )
    def test_by_hand(self, total, final, ramp, steps, kept):
        assert cubic(total, final, ramp=ramp, steps=steps) == kept

    def test_a_share_of_the_epochs_does_not_end_late_for_its_last_digit(self):
        """0.1 * 3 is 0.30000000000000004."""
        assert len(cubic(10, 1, ramp=0.1 * 3, steps=10)) == 4


class TestWhileTraining:
    def test_the_law_by_hand(self):
        """s = .8 - .8 (1 - p)^3 at p = 0, 1/4, 1/2, 3/4, 1: 0, 37/80, .7, 63/80, .8."""
        numbers = while_training(8000, 1600, begin=100, end=500, frequency=100)
        assert numbers == {100: 8000, 200: 4300, 300: 2400, 400: 1700, 500: 1600}

    def test_the_last_pruning_is_at_the_end_whatever_the_frequency(self):
        assert list(while_training(100, 10, begin=0, end=25, frequency=10)) == [0, 10, 20, 25]
        assert while_training(100, 10, begin=7, end=7, frequency=10) == {7: 10}


def test_steps_of_a_ramp_at_batches_that_do_not_divide_an_epoch():
    assert at_batches((9, 8, 7, 6, 5), steps=3, batches=4) == {0: 9, 1: 8, 2: 7, 4: 6, 5: 5}


def network(weights=(4.0, -3.0, 2.0, 1.0)):
    model = nn.Linear(4, 1, bias=False)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([weights]))
    return model


def largest(model, theta, kept, among):
    masks = exact_k([tensor.abs() for tensor in theta.values()], kept, [*among.values()] if among else None)
    return dict(zip(theta, masks, strict=True))


def at_random(model, theta, kept, among):
    """Other weights at each step, whatever their values."""
    random = torch.Generator().manual_seed(kept)
    scores = [torch.rand(tensor.shape, generator=random) for tensor in theta.values()]
    masks = exact_k(scores, kept, [*among.values()] if among else None)
    return dict(zip(theta, masks, strict=True))


def bits(*values):
    return {"weight": torch.tensor([values], dtype=torch.bool)}


class TestRamp:
    def ramp(self, *, regrow):
        return Ramp({0: 4, 1: 3, 2: 2}, largest, regrow)

    def test_without_regrowth_a_pruned_weight_is_not_chosen_again(self):
        model, withheld = network(), {"weight": torch.zeros(1, 4)}
        ramp = self.ramp(regrow=False)
        masks = ramp.follow(model, bits(1, 1, 1, 1), withheld, 1)
        assert masks["weight"].tolist() == [[True, True, True, False]]
        assert model.weight.tolist() == [[4, -3, 2, 0]]
        with torch.no_grad():  # the others become smaller than the one that is gone was
            model.weight.copy_(torch.tensor([[0.5, -0.25, 0.75, 0]]))
        masks = ramp.follow(model, masks, withheld, 2)
        assert masks["weight"].tolist() == [[True, False, True, False]]
        assert model.weight.tolist() == [[0.5, 0, 0.75, 0]]
        assert not withheld["weight"].any()

    def test_without_regrowth_masks_shrink_whatever_the_scores(self):
        model, masks = nn.Linear(40, 1), {"weight": torch.ones(1, 40, dtype=torch.bool)}
        ramp = Ramp({0: 40, 1: 30, 2: 20, 3: 10}, at_random, False)
        for step in (1, 2, 3):
            before, masks = masks, ramp.follow(model, masks, {"weight": torch.zeros(1, 40)}, step)
            assert not (masks["weight"] & ~before["weight"]).any()
        assert int(masks["weight"].sum()) == 10

    def test_with_regrowth_it_competes_with_the_value_that_it_had(self):
        model, withheld = network(), {"weight": torch.zeros(1, 4)}
        ramp = self.ramp(regrow=True)
        masks = ramp.follow(model, bits(1, 1, 1, 1), withheld, 1)
        assert withheld["weight"].tolist() == [[0, 0, 0, 1]]
        with torch.no_grad():
            model.weight.copy_(torch.tensor([[0.5, -0.25, 0.75, 0]]))
        masks = ramp.follow(model, masks, withheld, 2)
        assert masks["weight"].tolist() == [[False, False, True, True]]
        assert model.weight.tolist() == [[0, 0, 0.75, 1]]
        assert withheld["weight"].tolist() == [[0.5, -0.25, 0, 0]]


def small_network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 2))


ALL = {"0.weight": torch.ones(4, 1, 3, 3, dtype=torch.bool)}


def run(model, *, ramp=None, epochs=4, engine=TORCH, saved=None, on_epoch=ignore):
    plan = Hyperparameters((Phase(epochs, 0.05),), 16, 0.9, 0.0, "none")
    training = TrainingSetup(
        TRAIN, VALIDATION, plan, 0, "test", BLACK, engine, ALL, [MaskChanges(ramp)] if ramp else []
    )
    return fit(model, training, saved=saved, on_epoch=on_epoch)


class Watched:
    """An engine that remembers the masks of every part of an epoch."""

    def __init__(self):
        self.seen = []

    def train_epoch(self, model, steps):
        self.seen.append((len(steps.batches), {name: int(mask.sum()) for name, mask in steps.masks.items()}))
        loss = TORCH.train_epoch(model, steps)
        for name, mask in steps.masks.items():
            assert not model.get_parameter(name)[~mask].any()
            assert not steps.optimizer.velocity[name][~mask].any()
        return loss

    def __getattr__(self, name):
        return getattr(TORCH, name)


class TestFit:
    @pytest.mark.parametrize("regrow", [False, True])
    def test_every_part_of_an_epoch_has_the_masks_of_its_step(self, regrow):
        """Four batches an epoch; pruned weights and their momentum are 0 after each part."""
        engine = Watched()
        fitted = run(small_network(), ramp=Ramp({0: 36, 2: 20, 4: 12, 6: 9}, largest, regrow), engine=engine)
        assert [count for count, _ in engine.seen] == [2, 2, 2, 2, 4, 4]
        assert [kept["0.weight"] for _, kept in engine.seen] == [36, 20, 12, 9, 9, 9]
        assert int(fitted.masks["0.weight"].sum()) == 9

    def test_parts_that_do_not_divide_an_epoch(self):
        engine = Watched()
        run(small_network(), ramp=Ramp({0: 36, 1: 9}, largest, False), engine=engine, epochs=2)
        assert [count for count, _ in engine.seen] == [1, 3, 4]

    def test_the_epoch_kept_ends_with_the_last_masks(self):
        """Nothing of the convolution is left in the last two epochs: those before are better, and do not count."""
        model, losses = small_network(), []
        ramp = Ramp({0: 36, 24: 0}, largest, False)
        fitted = run(model, ramp=ramp, epochs=8, on_epoch=lambda epoch, metrics: losses.append(metrics["val_loss"]))
        assert min(losses[:6]) < min(losses[6:])
        assert fitted.best_epoch == 7 + losses[6:].index(min(losses[6:]))
        assert not model[0].weight.any()

    def test_a_ramp_that_never_prunes_changes_nothing(self):
        weights = []
        for ramp in (None, Ramp({0: 36, 2: 36, 4: 36}, largest, True)):
            model = small_network()
            run(model, ramp=ramp)
            weights.append(nn.utils.parameters_to_vector(model.parameters()))
        assert torch.equal(*weights)


def trained_by_reference(model, ramp, epochs):
    """Weights after training with full weights behind the masks, by autograd's own means."""
    order = generator(0, "test")
    theta = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    velocity = {name: torch.zeros_like(value) for name, value in theta.items()}
    mask, batch = torch.ones(4, 1, 3, 3, dtype=torch.bool), 0
    for _ in range(epochs):
        for indices in shuffled(TRAIN, 16, order):
            if batch in ramp.kept_numbers:
                mask = exact_k([theta["0.weight"].abs()], ramp.kept_numbers[batch])[0]
                if batch == ramp.last:
                    theta["0.weight"][~mask] = 0
                    velocity["0.weight"][~mask] = 0
            used = {name: value.clone().requires_grad_() for name, value in theta.items()}
            used["0.weight"] = (theta["0.weight"] * mask).requires_grad_()
            images, labels = TRAIN.batch(indices)
            loss = nn.functional.cross_entropy(torch.func.functional_call(model, used, images), labels)
            for (name, value), gradient in zip(
                theta.items(), torch.autograd.grad(loss, [used[name] for name in theta]), strict=True
            ):
                if name == "0.weight" and batch >= ramp.last:
                    gradient = gradient * mask
                gradient = gradient + 0.01 * value
                velocity[name].mul_(0.9).add_(gradient)
                value.sub_(0.05 * (gradient + 0.9 * velocity[name]))
            batch += 1
    return theta


def test_pruned_weights_that_are_trained_are_those_of_full_weights_behind_masks():
    """Four batches an epoch; masks change in the first two epochs, and weights come back."""
    ramp = Ramp({0: 36, 1: 20, 2: 12, 4: 12, 6: 9}, largest, regrow=True, trains_pruned=True)
    model, copied, seen = small_network(), small_network(), []
    plan = Hyperparameters((Phase(3, 0.05),), 16, 0.9, 0.01, "none")
    watched = replace(ramp, choose=lambda *given: seen.append(largest(*given)) or seen[-1])
    fitted = fit(model, TrainingSetup(TRAIN, VALIDATION, plan, 0, "test", BLACK, TORCH, ALL, [MaskChanges(watched)]))
    assert fitted.best_epoch == 3 or fitted.best_epoch == 2
    expected = trained_by_reference(copied, ramp, fitted.best_epoch)
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.detach(), expected[name], rtol=1e-4, atol=1e-6)
    assert any((after["0.weight"] & ~before["0.weight"]).any() for before, after in pairwise(seen))
    assert int(fitted.masks["0.weight"].sum()) == 9


class KilledError(Exception):
    pass


@pytest.mark.parametrize("regrow", [False, True, "trained"])
@pytest.mark.parametrize("last", [1, 2, 3])
def test_a_killed_ramp_goes_on_to_the_same_result(tmp_path, monkeypatch, regrow, last):
    monkeypatch.setattr("pruning_study.training.loop.SAVE_SECONDS", 0)

    def outcome(**arguments):
        model = small_network()
        ramp = Ramp({0: 36, 2: 30, 4: 20, 6: 12, 8: 9}, at_random, bool(regrow), trains_pruned=regrow == "trained")
        fitted = run(model, ramp=ramp, **arguments)
        return nn.utils.parameters_to_vector(model.parameters()), fitted.masks["0.weight"], fitted.best_epoch

    def on_epoch(epoch, metrics):
        if epoch > last:
            raise KilledError

    saved = tmp_path / "training.safetensors"
    with pytest.raises(KilledError):
        outcome(saved=saved, on_epoch=on_epoch)
    whole, again = outcome(), outcome(saved=saved)
    assert torch.equal(again[0], whole[0])
    assert torch.equal(again[1], whole[1])
    assert again[2] == whole[2]


@pytest.fixture(scope="module")
def network_and_setting(tiny, tmp_path_factory):
    """A trained LeNet5, and the setting that prunes it."""
    path = tmp_path_factory.mktemp("data") / "tiny.npz"
    np.savez(path, **tiny)
    setting = planned(PruneConfig(dataset=str(path), ratio=20.0, batch_size=32, fine_tune_epochs=2, engine="torch"))
    model = copy.deepcopy(setting.context.model)
    plan = replace(setting.dense[0].hyperparameters, phases=(Phase(2, 0.05),))
    fit(
        model,
        TrainingSetup(setting.context.train, setting.context.validation, plan, seed=0, stream="dense", black=BLACK),
    )
    predictions, _ = predict(model, setting.context.test)
    dense = LoadedRun(
        **{"run_id": "0", "config_hash": "0", "is_reused": False, "metrics": {}, "masks": {}, "iteration": 0},
        model=model,
        normalization=setting.context.normalization,
        gradient=TORCH.gradient(model, setting.context.train),
        dense=DenseRun("0", setting.params, predictions, predictions),
    )
    return dense, setting


def setting_with(setting, **options):
    return planned(replace(setting.plan.options, **options), setting.context.data)


def pruned(dense, setting):
    model, fitted = steps.prune_and_fit(steps.plan_for(*setting.at_ratio(20.0), dense), setting.context, dense)
    return model.state_dict(), fitted.masks


PRUNERS = ["mp", "gp", "up", "rp", "up-signed", "up-sum"]


class TestPruning:
    @pytest.mark.parametrize("pruner", PRUNERS)
    def test_ramp_0_is_one_shot_exactly(self, network_and_setting, pruner):
        dense, setting = network_and_setting
        one_shot = pruned(dense, setting_with(setting, pruner=pruner))
        ramp_0 = setting_with(setting, pruner=pruner, schedule="cubic", ramp=0.0, ramp_steps=3)
        for given, wanted in zip(pruned(dense, ramp_0), one_shot, strict=True):
            torch.testing.assert_close(given, wanted, rtol=0, atol=0)
        plans = ramp_0.plan.at(20.0, {}), setting_with(setting, pruner=pruner).plan.at(20.0, {})
        assert plans[0].kept_numbers == plans[1].kept_numbers
        assert (plans[0].name, plans[0].params, plans[0].hash) == (plans[1].name, plans[1].params, plans[1].hash)

    @pytest.mark.parametrize("pruner", PRUNERS)
    def test_the_last_mask_is_exact_and_its_own(self, network_and_setting, pruner):
        dense, setting = network_and_setting
        gradual = setting_with(setting, pruner=pruner, schedule="cubic")
        weights, masks = pruned(dense, gradual)
        kept = sum(int(mask.sum()) for mask in masks.values())
        assert kept == gradual.kept_numbers(20.0)[-1] or (
            pruner == "up-signed" and kept > gradual.kept_numbers(20.0)[-1]
        )
        assert all((weights[name][~mask] == 0).all() for name, mask in masks.items())
        at_once = setting_with(setting, pruner=pruner)
        one_shot = steps.pruning_masks(steps.plan_for(*at_once.at_ratio(20.0), dense), at_once.context, dense)
        differ = any(not torch.equal(masks[name], one_shot[name]) for name in masks)
        assert differ == (pruner != "rp")

    def test_gradients_are_taken_where_the_weights_are(self, network_and_setting):
        """The masks of a step, made again from the weights and the gradient there."""
        dense, setting = network_and_setting
        setting = setting_with(setting, pruner="gp", schedule="cubic")
        seen = []

        def choose(model, theta, kept, among):
            masks = selection.select(*setting, model, theta, kept, among)
            seen.append((copy.deepcopy(model), kept, masks))
            return masks

        numbers = setting.kept_numbers(20.0)
        training = TrainingSetup(
            *(setting.context.train, setting.context.validation, setting.plan.hyperparameters),
            **{"seed": 0, "stream": "fine-tuning", "black": BLACK},
            masks=steps.pruning_masks(steps.plan_for(*setting.at_ratio(20.0), dense), setting.context, dense),
            callbacks=[MaskChanges(Ramp(setting.plan.at(20.0).kept_numbers, choose, False))],
        )
        fit(copy.deepcopy(dense.model), training)
        assert [kept for _, kept, _ in seen] == list(numbers[1:])
        model, kept, masks = seen[-1]
        gradient = TORCH.gradient(model, setting.context.train)
        scores = [(model.get_parameter(name) * gradient[name]).detach().abs() for name in setting.plan.prunable]
        for mask, wanted in zip(masks.values(), exact_k(scores, kept), strict=True):
            assert torch.equal(mask, wanted)


def test_released_protocol_keeps_its_own_number(tiny_npz):
    setting = planned(PruneConfig(dataset=tiny_npz, ratio=20.0, protocol="released", schedule="cubic", pruner="mp"))
    numbers = setting.kept_numbers(20.0)
    released = Budget.counting_biases(setting.context.model, setting.plan.prunable)
    assert (numbers[0], numbers[-1]) == (released.prunable, released.kept_weights(20.0))
