import functools
import math
from collections import OrderedDict
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from analysis.common.errors import StudyError
from pruning_study.data.examples import Examples, generator, shuffled
from pruning_study.models import checkpoints
from pruning_study.pruning.masks import exact_k
from pruning_study.pruning.schedules import Ramp
from pruning_study.training import loop
from pruning_study.training.callbacks import Factors, MaskChanges
from pruning_study.training.engines import TORCH
from pruning_study.training.evaluation import loss_and_accuracy
from pruning_study.training.loop import fit, fit_steps, ignore
from pruning_study.training.recipes import Hyperparameters, Phase
from pruning_study.training.setup import TrainingSetup


def examples(count, seed):
    random = torch.Generator().manual_seed(seed)
    images = torch.randn(count, 1, 6, 6, generator=random)
    return Examples(images, (images.mean((1, 2, 3)) > 0).long() + (images[:, 0, 0, 0] > 1).long())


TRAIN, VALIDATION, OTHER = examples(70, 0), examples(30, 1), examples(30, 2)


def network(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3))


def phases(*pairs, batch_size=16, momentum=0.9, weight_decay=0.0, augmentation="none"):
    return Hyperparameters(tuple(Phase(*pair) for pair in pairs), batch_size, momentum, weight_decay, augmentation)


def run(model, plan, seed=0, train=TRAIN, saved=None, on_epoch=ignore, **settings):
    training = TrainingSetup(train, VALIDATION, plan, seed=seed, stream="dense", black=torch.zeros(1), **settings)
    return fit(model, training, saved=saved, on_epoch=on_epoch)


def test_is_sgd_with_nesterov_momentum_and_weight_decay_written_out():
    """Against the update of Sutskever et al. 2013 as torch documents it, by hand, in the same batch order."""
    plan = phases((1, 0.05), weight_decay=0.01)
    model, reference = network(), network()
    run(model, plan)
    velocity = [torch.zeros_like(p) for p in reference.parameters()]
    reference.train()
    for images, labels in map(TRAIN.batch, shuffled(TRAIN, 16, generator(0, "dense"))):
        grads = torch.autograd.grad(F.cross_entropy(reference(images), labels), list(reference.parameters()))
        with torch.no_grad():
            for p, g, v in zip(reference.parameters(), grads, velocity, strict=True):
                g = g + 0.01 * p
                v.mul_(0.9).add_(g)
                p.sub_(0.05 * (g + 0.9 * v))
    for given, wanted in zip(model.state_dict().values(), reference.state_dict().values(), strict=True):
        torch.testing.assert_close(given, wanted, rtol=1e-4, atol=1e-6)


def test_same_seed_same_weights_and_another_seed_others():
    plan = phases((3, 0.05), augmentation="flip-crop")
    weights = []
    for seed in (4, 4, 5):
        model = network()
        run(model, plan, seed=seed)
        weights.append(nn.utils.parameters_to_vector(model.parameters()))
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_a_new_optimiser_starts_each_phase():
    """Two phases at one rate differ from one long phase: the momentum starts again from 0."""
    plans = (phases((2, 0.05), (2, 0.05)), phases((4, 0.05)), phases((2, 0.05), (2, 0.05), momentum=0.0))
    losses = []
    for plan in (*plans, phases((4, 0.05), momentum=0.0)):
        epochs = []
        run(network(), plan, on_epoch=lambda epoch, metrics, epochs=epochs: epochs.append(metrics["train_loss"]))
        losses.append(epochs)
    assert losses[0][:2] == losses[1][:2]
    assert losses[0][2:] != losses[1][2:]
    assert losses[2] == losses[3]


def rates_of(plan, train=TRAIN, **settings):
    """The learning rate of every step of a training."""
    rates = []

    class Engine(type(TORCH)):
        def train_epoch(self, model, steps):
            rates.extend(steps.optimizer.learning_rates(len(steps.batches)))
            return super().train_epoch(model, steps)

    run(network(), plan, train=train, engine=Engine(), **settings)
    return rates


def test_a_learning_rate_decays_from_step_to_step_to_0_at_the_end_of_each_phase():
    # 70 images are five batches of 16: two epochs of ten steps, then one of five.
    linear = replace(phases((2, 0.1), (1, 0.05)), decay="linear")
    assert rates_of(linear) == pytest.approx(
        [0.1 * (10 - step) / 10 for step in range(10)] + [0.05, 0.04, 0.03, 0.02, 0.01]
    )
    cosine = rates_of(replace(linear, decay="cosine"))
    assert cosine == pytest.approx(
        [0.05 * (1 + math.cos(math.pi * step / 10)) for step in range(10)]
        + [0.025 * (1 + math.cos(math.pi * step / 5)) for step in range(5)]
    )
    assert rates_of(replace(linear, decay="none")) == [0.1] * 10 + [0.05] * 5


def test_a_ramp_that_parts_an_epoch_leaves_the_rates_of_its_steps():
    masks = {"4.weight": torch.ones(3, 64, dtype=torch.bool)}
    ramp = Ramp({0: 192, 3: 100, 7: 50}, at_random, regrow=False)
    linear = replace(phases((2, 0.1)), decay="linear")
    assert rates_of(linear, masks=masks, callbacks=[MaskChanges(ramp)]) == pytest.approx(
        [0.1 - 0.01 * step for step in range(10)]
    )


def test_a_decay_is_the_same_steps_with_other_rates():
    """Two phases of one step each, at the rates that a line gives: a new phase changes nothing without momentum."""
    train = examples(16, 3)  # one batch an epoch
    by_hand = phases((1, 0.1), (1, 0.05), momentum=0.0, batch_size=16)
    decayed = replace(phases((2, 0.1), momentum=0.0, batch_size=16), decay="linear")
    models = network(), network()
    for model, plan in zip(models, (by_hand, decayed), strict=True):
        run(model, replace(plan, keeps_last_epoch=True), train=train)
    for one, other in zip(*(model.parameters() for model in models), strict=True):
        assert torch.equal(one, other)


def test_the_last_epoch_is_kept_where_it_is_asked_for():
    plan = phases((4, 0.05))
    assert run(network(), replace(plan, keeps_last_epoch=True)).best_epoch == 4


def parameters_of_epochs(plan, **settings):
    """Train, and return the model, what `fit` returns, and the parameters after each epoch."""
    model, after = network(), []

    def on_epoch(epoch, metrics):
        after.append({name: values.detach().clone() for name, values in model.named_parameters()})

    return model, run(model, plan, on_epoch=on_epoch, **settings), after


def test_the_mean_of_the_weights_after_the_last_two_epochs_is_kept():
    plan = phases((2, 0.05), (2, 0.02))
    _, _, plain = parameters_of_epochs(plan)
    model, fitted, after = parameters_of_epochs(replace(plan, average_epochs=2))
    torch.testing.assert_close(after, plain, rtol=0, atol=0)  # the training itself is the same
    wanted = {name: (after[2][name] + after[3][name]) / 2 for name in after[0]}
    torch.testing.assert_close(dict(model.named_parameters()), wanted, rtol=1e-6, atol=1e-8)
    assert fitted.best_epoch == 4


def test_the_mean_of_epochs_has_batchnorms_statistics_of_the_training_images():
    """The mean over the batches of one more epoch, in a new order, of the batches' means and unbiased variances."""
    model, _, after = parameters_of_epochs(replace(phases((3, 0.05)), average_epochs=2))
    random = generator(0, "dense")
    *_, batches = [shuffled(TRAIN, 16, random) for _ in range(4)]
    kernel, bias = ((after[1][name] + after[2][name]) / 2 for name in ("0.weight", "0.bias"))
    maps = [F.conv2d(TRAIN.images[batch], kernel, bias).transpose(0, 1).flatten(1) for batch in batches]
    means = torch.stack([values.mean(1) for values in maps]).mean(0)
    variances = torch.stack([values.var(1) for values in maps]).mean(0)
    torch.testing.assert_close(model[1].running_mean, means, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(model[1].running_var, variances, rtol=1e-4, atol=1e-6)
    assert model[1].momentum == 0.1  # as it was


class PartlyFrozen(nn.Module):
    """A network whose first BatchNorm stays in eval mode, and whose last one is not used."""

    def __init__(self):
        super().__init__()
        self.frozen, self.trained, self.unused = (nn.BatchNorm2d(1) for _ in range(3))
        self.head = nn.Linear(36, 3)
        for layer in (self.frozen, self.trained, self.unused):
            layer.running_mean.fill_(0.5)
            layer.running_var.fill_(4)
            layer.num_batches_tracked.fill_(7)

    def train(self, mode=True):
        super().train(mode)
        self.frozen.eval()
        return self

    def forward(self, images):
        return self.head(self.trained(self.frozen(images)).flatten(1))


def test_the_mean_of_epochs_keeps_the_statistics_of_batchnorm_that_no_batch_changes():
    model = PartlyFrozen()
    run(model, replace(phases((2, 0.05)), average_epochs=1))
    for layer in (model.frozen, model.unused):
        assert [value.item() for value in layer.buffers()] == [0.5, 4, 7]
    assert model.trained.num_batches_tracked == 5  # batches of an epoch
    # The layer `frozen`, hardly trained, gives (x - 0.5) / 2 for a pixel x, and pixels have mean 0 and variance 1.
    assert model.trained.running_mean.item() == pytest.approx(-0.25, abs=0.05)
    assert model.trained.running_var.item() == pytest.approx(0.25, abs=0.05)
    assert {layer.momentum for layer in (model.frozen, model.trained, model.unused)} == {0.1}


def test_the_mean_of_epochs_stays_within_the_last_masks():
    """The third of four epochs of five batches is the first that ends with the last masks."""
    full = {"4.weight": torch.ones(3, 64, dtype=torch.bool)}
    ramp = Ramp({0: 192, 3: 100, 12: 50}, at_random, regrow=False)
    plan = replace(phases((4, 0.05)), average_epochs=2)
    model, fitted, after = parameters_of_epochs(plan, masks=full, callbacks=[MaskChanges(ramp)])
    mask = fitted.masks["4.weight"]
    assert (int(mask.sum()), after[1]["4.weight"].count_nonzero()) == (50, 100)
    assert not model[4].weight[~mask].any()
    torch.testing.assert_close(model[4].weight.detach(), (after[2]["4.weight"] + after[3]["4.weight"]) / 2)


def test_the_first_steps_are_the_same_whatever_is_averaged():
    models = network(), network()
    for model, epochs in zip(models, (0, 2), strict=True):
        plan = replace(phases((3, 0.05)), average_epochs=epochs)
        fit_steps(model, TrainingSetup(TRAIN, VALIDATION, plan, seed=0, stream="dense", black=torch.zeros(1)), 7)
    torch.testing.assert_close(*(dict(model.state_dict()) for model in models), rtol=0, atol=0)


def test_keeps_the_epoch_with_the_lowest_validation_loss():
    seen = []
    model = network()
    fitted = run(model, phases((12, 0.3)), on_epoch=lambda epoch, metrics: seen.append(metrics["val_loss"]))
    assert len(seen) == 12
    assert fitted.best_epoch == seen.index(min(seen)) + 1
    assert fitted.best_epoch < 12
    assert loss_and_accuracy(model, VALIDATION)[0] == pytest.approx(min(seen), rel=1e-6)


def test_released_selection_is_by_the_other_loss_within_the_last_phase():
    states, plan = [], phases((6, 0.3), (4, 0.1))
    model = network()

    def on_epoch(epoch, metrics):
        states.append(loss_and_accuracy(model, OTHER)[0])

    fitted = run(model, plan, released_selection=OTHER, on_epoch=on_epoch)
    assert fitted.best_epoch == 7 + states[6:].index(min(states[6:]))
    assert loss_and_accuracy(model, OTHER)[0] == pytest.approx(min(states[6:]), rel=1e-6)


def test_the_weights_before_training_do_not_compete():
    model = network()
    run(model, phases((20, 0.05)))
    trained = loss_and_accuracy(model, VALIDATION)[0]
    fitted = run(model, phases((1, 1.0)))
    assert fitted.best_epoch == 1
    assert loss_and_accuracy(model, VALIDATION)[0] > trained


def test_no_epochs_mask_the_model_and_do_nothing_else():
    model, mask = network(), torch.tensor([True, False, True]).repeat(4, 1, 3, 1)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    fitted = run(model, phases(), masks={"0.weight": mask})
    after = model.state_dict()
    assert torch.equal(after.pop("0.weight"), before.pop("0.weight") * mask)
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    assert fitted.best_epoch == 0
    assert math.isnan(fitted.images_per_second)
    assert torch.equal(fitted.masks["0.weight"], mask)


@pytest.mark.parametrize("weight_decay", [0.0, 0.05])
def test_masked_weights_stay_exactly_0_with_momentum(weight_decay):
    model = network()
    masks = {
        "0.weight": torch.rand(4, 1, 3, 3, generator=torch.Generator().manual_seed(0)) > 0.5,
        "4.weight": torch.rand(3, 64, generator=torch.Generator().manual_seed(1)) > 0.8,
    }
    run(model, phases((3, 0.1), (2, 0.01), weight_decay=weight_decay), masks=masks)
    for name, mask in masks.items():
        weight = model.get_parameter(name)
        assert (weight[~mask] == 0).all()
        assert (weight[mask] != 0).all()


def test_augmentation_changes_the_training_and_not_the_evaluation():
    plain, augmented = [], []
    for augmentation, seen in (("none", plain), ("flip-crop", augmented)):
        model = network()
        run(model, phases((2, 0.05), augmentation=augmentation), on_epoch=lambda e, m, seen=seen: seen.append(m))
    assert plain[0]["train_loss"] != augmented[0]["train_loss"]


def test_reported_training_loss_is_the_mean_over_the_images():
    """At a learning rate next to 0 the model stays the same, so the mean loss is that of the whole set at once."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(36, 3))
    seen = []
    run(model, phases((1, 1e-30)), on_epoch=lambda epoch, metrics: seen.append(metrics))
    assert seen[0]["train_loss"] == pytest.approx(loss_and_accuracy(model, TRAIN)[0], rel=1e-5)


def test_dropout_is_seeded_and_leaves_the_global_generator_alone():
    weights = []
    for seed in (4, 4, 5):
        model = network()
        model.insert(3, nn.Dropout(0.5))
        torch.manual_seed(seed * 7)
        expected = torch.rand(1)
        torch.manual_seed(seed * 7)
        run(model, phases((2, 0.05)), seed=seed)
        assert torch.rand(1) == expected
        weights.append(nn.utils.parameters_to_vector(model.parameters()))
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_a_masked_weight_that_the_loss_does_not_reach_is_left_alone():
    model = network()
    model.unused = nn.Linear(4, 4)
    model.forward = lambda images: nn.Sequential.forward(model[:5], images)
    run(model, phases((1, 0.05)), masks={"unused.weight": torch.eye(4).bool()})
    assert (model.unused.weight[~torch.eye(4).bool()] == 0).all()


def test_a_model_that_fails_in_training_gives_one_line():
    model = nn.Sequential(nn.Flatten(), nn.Linear(36, 4), nn.BatchNorm1d(4), nn.Linear(4, 3))
    with pytest.raises(StudyError, match=r"Sequential .*batches of 1: Expected more than 1 value"):
        run(model, phases((1, 0.05), batch_size=1))


def test_divergence_gives_one_line():
    with pytest.raises(StudyError, match=r"diverged in epoch 1: .* nan") as error:
        run(nn.Sequential(nn.Flatten(), nn.Linear(36, 3)), phases((2, 1e38)))
    assert "\n" not in str(error.value)


def test_a_last_batch_of_one_image_does_not_trouble_batchnorm():
    model = nn.Sequential(nn.Flatten(), nn.Linear(36, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 3))
    train = Examples(TRAIN.images[:33], TRAIN.labels[:33])
    fitted = run(model, phases((1, 0.1)), train=train)
    assert math.isfinite(fitted.images_per_second)


class KilledError(Exception):
    pass


def dropout_network(seed=0):
    model = network(seed)
    model.insert(3, nn.Dropout(0.3))
    return model


class Recorded:
    """A rule whose factors are 1 + the number of images of a label that steps saw wrong, times a tenth."""

    each_step = True

    def __init__(self):
        self.calls = []

    def initial_state(self):
        return {"wrong": torch.zeros(3), "epochs": torch.zeros((), dtype=torch.int64)}

    def factors(self, state, labels):
        self.calls.append(("factors", len(labels)))
        return 1 + state["wrong"][labels] / 10

    def after_step(self, state, labels, loss, right):
        self.calls.append(("after_step", len(labels)))
        state["wrong"].index_add_(0, labels, (~right).float())

    def after_epoch(self, state, model, engine, validation):
        self.calls.append(("after_epoch", len(validation)))
        state["epochs"] += 1


class RecordedAnEpoch(Recorded):
    each_step = False

    def after_epoch(self, state, model, engine, validation):
        super().after_epoch(state, model, engine, validation)
        wrong = engine.logits(model, validation.images).argmax(1) != validation.labels
        state["wrong"].index_add_(0, validation.labels, wrong.float())


def test_a_rule_of_each_step_is_asked_and_told_of_every_batch():
    rule = Recorded()
    run(network(), phases((2, 0.05)), callbacks=[Factors(rule)])
    steps = [(call, size) for size in (16, 16, 16, 16, 6) for call in ("factors", "after_step")]
    assert rule.calls == [*steps, ("after_epoch", 30)] * 2


def test_a_rule_of_epochs_is_asked_once_an_epoch_for_all_images():
    rule = RecordedAnEpoch()
    run(network(), phases((2, 0.05)), callbacks=[Factors(rule)])
    assert rule.calls == [("factors", 70), ("after_epoch", 30)] * 2


@pytest.mark.parametrize("each_step", [False, True])
def test_factors_of_1_are_plain_training_but_for_rounding(each_step):
    class Ones(Recorded):
        def factors(self, state, labels):
            return torch.ones(len(labels))

    rule = Ones()
    rule.each_step = each_step
    weights, plan = [], phases((2, 0.05), augmentation="flip-crop")
    for callbacks in ([], [Factors(rule)]):
        model = network()
        run(model, plan, callbacks=callbacks, masks=MASKS)
        weights.append(model.state_dict())
    torch.testing.assert_close(*weights, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("rule", [Recorded, RecordedAnEpoch])
@pytest.mark.parametrize("last", [1, 4])
def test_a_killed_training_goes_on_with_the_state_of_its_rule(tmp_path, monkeypatch, rule, last):
    monkeypatch.setattr(loop, "SAVE_SECONDS", 0)
    saved, results = tmp_path / "training.safetensors", []

    def trained(saved=None, kill_after=math.inf):
        def on_epoch(epoch, metrics):
            seen.append(metrics)
            if epoch > kill_after:
                raise KilledError

        model, seen = dropout_network(), []
        run(model, LONG, masks=MASKS, saved=saved, on_epoch=on_epoch, callbacks=[Factors(rule())])
        return nn.utils.parameters_to_vector(model.parameters()), seen

    with pytest.raises(KilledError):
        trained(saved, last)
    results = trained(saved), trained()
    assert torch.equal(results[0][0], results[1][0])
    assert results[0][1] == results[1][1]
    plain = dropout_network()
    run(plain, LONG, masks=MASKS)
    assert not torch.equal(results[0][0], nn.utils.parameters_to_vector(plain.parameters()))


LONG = phases((3, 0.05), (4, 0.02), weight_decay=0.01, augmentation="flip-crop")
MASKS = {"0.weight": torch.rand(4, 1, 3, 3, generator=torch.Generator().manual_seed(0)) > 0.5}


def killed_after(last, saved, plan):
    """A training that is saved at every epoch, and killed."""

    def on_epoch(epoch, metrics):
        if epoch > last:
            raise KilledError

    with pytest.raises(KilledError):
        run(dropout_network(), plan, masks=MASKS, saved=saved, on_epoch=on_epoch)


def outcome(saved=None, plan=LONG):
    model, seen = dropout_network(), []
    fitted = run(model, plan, masks=MASKS, saved=saved, on_epoch=lambda epoch, metrics: seen.append((epoch, metrics)))
    return torch.cat([values.flatten() for values in model.state_dict().values()]), fitted.best_epoch, seen


@functools.cache
def undisturbed(plan=LONG):
    """Return the outcome of a training that nothing kills."""
    return outcome(plan=plan)


@pytest.mark.parametrize("last", [1, 3, 5, 6])
@pytest.mark.parametrize(
    "end",
    [{}, {"decay": "cosine"}, {"average_epochs": 3}, {"optimizer": "adam"}],
    ids=["plain", "decay", "average", "adam"],
)
def test_a_killed_training_goes_on_to_the_same_result(tmp_path, monkeypatch, caplog, last, end):
    plan = replace(LONG, **end)
    weights, best_epoch, seen = undisturbed(plan)
    monkeypatch.setattr(loop, "SAVE_SECONDS", 0)
    saved = tmp_path / "new" / "training.safetensors"
    killed_after(last, saved, plan)
    with caplog.at_level("INFO"):
        again = outcome(saved, plan)
    assert f"continues after epoch {last}" in caplog.text
    assert torch.equal(again[0], weights)
    assert again[1:] == (best_epoch, seen)


def at_random(model, theta, kept, among):
    """Keep weights by random numbers that are drawn for one layer after the other, as the pruner rp does."""
    random = torch.Generator().manual_seed(0)
    scores = [torch.rand(weights.shape, generator=random) for weights in theta.values()]
    return dict(zip(theta, exact_k(scores, kept, [among[name] for name in theta]), strict=True))


def test_a_killed_gradual_pruning_goes_on_with_its_layers_in_their_order(tmp_path, monkeypatch):
    """The file has its tensors in the order of the alphabet, and the model has not."""
    monkeypatch.setattr(loop, "SAVE_SECONDS", 0)

    def pruned(saved=None, kill_after=math.inf):
        def on_epoch(epoch, metrics):
            if epoch > kill_after:
                raise KilledError

        names = "stem", "norm", "relu", "flat", "head"
        model = nn.Sequential(OrderedDict(zip(names, network(), strict=True)))
        masks = {name: torch.ones_like(model.get_parameter(name)).bool() for name in ("stem.weight", "head.weight")}
        ramp = Ramp({0: 228, 12: 100, 22: 50}, at_random, regrow=False)
        return run(model, LONG, masks=masks, callbacks=[MaskChanges(ramp)], saved=saved, on_epoch=on_epoch).masks

    saved = tmp_path / "training.safetensors"
    with pytest.raises(KilledError):
        pruned(saved, 3)
    torch.testing.assert_close(pruned(saved), pruned(), rtol=0, atol=0)


def test_a_short_training_is_not_saved(tmp_path):
    outcome(tmp_path / "training.safetensors")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("fault", ["truncated", "no numbers", "another engine", "other threads", "other weights"])
def test_a_saved_training_that_cannot_be_used_starts_anew(tmp_path, monkeypatch, caplog, fault):
    monkeypatch.setattr(loop, "SAVE_SECONDS", 0)
    saved = tmp_path / "training.safetensors"
    killed_after(4, saved, LONG)
    if fault == "truncated":
        saved.write_bytes(saved.read_bytes()[:1000])
    elif fault == "no numbers":
        tensors, metadata = checkpoints.load(saved)
        checkpoints.save(saved, tensors, metadata | {"progress": "{"})
    elif fault == "another engine":
        monkeypatch.setattr(TORCH, "name", "other")
    elif fault == "other threads":
        monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    else:
        monkeypatch.setitem(MASKS, "0.weight", ~MASKS["0.weight"])
    weights, _, seen = outcome(saved)
    assert "the training starts anew" in caplog.text
    expected, *_ = outcome() if fault == "other weights" else undisturbed()
    assert torch.equal(weights, expected)
    assert len(seen) == 7


def test_a_training_that_cannot_be_saved_goes_on(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(loop, "SAVE_SECONDS", 0)
    (tmp_path / "file").touch()
    assert torch.equal(outcome(tmp_path / "file" / "training.safetensors")[0], undisturbed()[0])
    assert "could not be saved" in caplog.text
