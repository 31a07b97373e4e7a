"""Masks of a LeNet5 with 54, 864, 48,000 and 10,080 prunable weights, of 60,074 parameters."""

import copy
import hashlib
import importlib
import re
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from analysis.common.errors import StudyError
from pruning_study.data.examples import Examples
from pruning_study.options.config import PruneConfig
from pruning_study.pruning import schedules
from pruning_study.pruning.pruners import PRUNERS
from pruning_study.steps import selection
from tests.error_lines import refused
from tests.plans import planned
from tests.stored_runs import runs

# Ratio 10 keeps 6,007 - 1,076 = 4,931 of 58,998: 4.51, 72.2, 4,011.8 and 842.5 of the layers' weights.
SHARES = [5, 72, 4012, 842]
SCORED = [name for name, record in PRUNERS.items() if record.prunes and record.unit == "weight"]
OF_CHANNELS = [name for name, record in PRUNERS.items() if record.unit == "channel"]


@pytest.fixture(scope="module")
def setting(tiny, tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "tiny.npz"
    np.savez(path, **tiny)
    return planned(PruneConfig(dataset=str(path), engine="torch", fine_tune_epochs=4))


def changed(setting, **options):
    return planned(replace(setting.plan.options, **options), setting.context.data)


def select(setting, kept=None, among=None):
    theta = {name: setting.context.model.get_parameter(name).detach() for name in setting.plan.prunable}
    return selection.select(*setting, setting.context.model, theta, kept or setting.kept_numbers(10.0)[-1], among)


def test_random_scores_of_a_network_in_bfloat16_are_those_of_float32(setting):
    """In bfloat16 a random number has 256 values, and of equal scores those of the first layers were kept."""
    random, single = changed(setting, pruner="rp"), setting.context.model
    masks = [
        selection.select(
            *random,
            single,
            {name: single.get_parameter(name).detach().to(dtype) for name in random.plan.prunable},
            4931,
        )
        for dtype in (torch.float32, torch.bfloat16)
    ]
    assert counts(masks[0]) == counts(masks[1])
    assert all((first == masks[1][name]).all() for name, first in masks[0].items())


def select_filters(setting, ratio):
    theta = {name: setting.context.model.get_parameter(name).detach() for name in setting.plan.prunable}
    return selection.select_filters(setting.plan.at(ratio), setting.context, setting.context.model, theta)


def of_class(train, label):
    return Examples(*train.batch((train.labels == label).nonzero().flatten()))


def counts(masks):
    return [int(mask.sum()) for mask in masks.values()]


@pytest.mark.parametrize("pruner", SCORED)
def test_scope_layer_keeps_the_same_share_of_every_layer(setting, pruner):
    kept = counts(select(changed(setting, pruner=pruner, scope="layer")))
    if pruner == "up-signed":  # which may keep more, and here does in every layer
        assert all(count >= share for count, share in zip(kept, SHARES, strict=True))
        assert sum(kept) > sum(SHARES)
    else:
        assert kept == SHARES


@pytest.mark.parametrize("pruner", SCORED)
def test_scope_layer_is_each_layer_by_itself(setting, pruner):
    """The masks of a layer are those that the pruner chooses with no other layer beside it."""
    setting = changed(setting, pruner=pruner, scope="layer", ratio=10.0)
    masks = select(setting)
    record = setting.plan.pruner
    arguments = {
        "epsilon": setting.plan.epsilon,
        "generator": selection.generator(setting.plan.options.seed, "random pruning"),
    }
    gradient = setting.context.engine.gradient(setting.context.model, setting.context.train)
    labels = range(10) if "class_grads" in record.needs else [0]
    of_classes = [
        setting.context.engine.gradient(setting.context.model, of_class(setting.context.train, label))
        for label in labels
    ]
    for (name, mask), share in zip(masks.items(), SHARES, strict=True):
        theta = setting.context.model.get_parameter(name).detach()
        # The recipe has no weight decay.
        given = {"theta": theta, "grad": gradient[name], "penalty_grad": theta, **arguments}
        given["class_grads"] = torch.stack([gradient[name] for gradient in of_classes])
        score = record.score(**{key: given[key] for key in ("theta", *record.needs)})
        assert torch.equal(mask, record.choose([score], share, None)[0])


# The penalty of a weight decay w. Of decoupled decay with momentum .9 it is a tenth of that of l2.
PENALTIES = {
    "l2": lambda weights, w: w / 2 * weights.square().sum(),
    "l1": lambda weights, w: w * weights.abs().sum(),
    "elastic": lambda weights, w: w / 4 * weights.square().sum() + w / 2 * weights.abs().sum(),
    "decoupled": lambda weights, w: 0.1 * w / 2 * weights.square().sum(),
}


@pytest.mark.parametrize("regularizer", PENALTIES)
@pytest.mark.parametrize(("pruner", "epsilon"), [("gp", 0.0), ("up", 0.01)])
def test_scores_are_of_the_loss_with_its_penalty_in_autograd(setting, regularizer, pruner, epsilon):
    """With a weight decay of .02 and half of it as epsilon, undecayed pruning deducts half of the penalty."""
    given = {"pruner": pruner, "regularizer": regularizer, "weight_decay": 0.02}
    setting = changed(setting, **given, **({"epsilon": epsilon} if epsilon else {}))
    model = copy.deepcopy(setting.context.model).eval()
    weights = [model.get_parameter(name) for name in setting.plan.prunable]
    loss = nn.functional.cross_entropy(model(setting.context.train.images), setting.context.train.labels)
    loss = loss + sum(PENALTIES[regularizer](weight, 0.02 - epsilon) for weight in weights)
    of_loss = torch.autograd.grad(loss, weights)
    score = torch.cat([(weight * slope).abs().flatten() for weight, slope in zip(weights, of_loss, strict=True)])
    mask = torch.cat([mask.flatten() for mask in select(setting).values()])
    assert mask.sum() == 4931
    assert score[mask].min() >= score[~mask].max() * (1 - 1e-3)


def test_scope_global_is_the_default_and_another_mask(setting):
    default, whole, layers = (select(changed(setting, scope=scope)) for scope in ("auto", "global", "layer"))
    assert all(torch.equal(default[name], mask) for name, mask in whole.items())
    assert sum(counts(whole)) == 4931
    assert counts(whole) != counts(layers)


@pytest.mark.parametrize("regrow", [False, True])
@pytest.mark.parametrize("pruner", SCORED)
def test_scope_layer_at_every_step_of_a_ramp(setting, pruner, regrow):
    """Half of the weights, then 4,931 of them; without regrowth the second step chooses among those of the first."""
    setting = changed(setting, pruner=pruner, scope="layer")
    model = copy.deepcopy(setting.context.model)
    ramp = schedules.Ramp({0: 58_998, 1: 29_499, 2: 4_931}, lambda *given: selection.select(*setting, *given), regrow)
    first = {name: torch.ones_like(model.get_parameter(name), dtype=torch.bool) for name in setting.plan.prunable}
    withheld = {name: torch.zeros(mask.shape) for name, mask in first.items()}
    half = ramp.follow(model, first, withheld, 1)
    last = ramp.follow(model, half, withheld, 2)
    if pruner != "up-signed":
        assert counts(half) == [27, 432, 24_000, 5_040]
        assert counts(last) == SHARES
    assert sum(counts(half)) >= 29_499
    assert sum(counts(last)) >= 4_931
    assert regrow or not any((last[name] & ~half[name]).any() for name in half)


@pytest.mark.parametrize("regrow", [False, True])
@pytest.mark.parametrize("pruner", OF_CHANNELS)
def test_every_layer_keeps_the_same_share_of_its_channels(setting, pruner, regrow):
    """Of 1, 6, 400 and 120 channels 0.8 are 1, 5, 320 and 96, and 0.6 are 1, 4, 240 and 72."""
    setting = changed(setting, pruner=pruner, ratio=1.25)
    model = copy.deepcopy(setting.context.model)
    kept = {0: 58_998, 1: round(0.8 * 58_998), 2: round(0.6 * 58_998)}
    ramp = schedules.Ramp(kept, lambda *given: selection.select(*setting, *given), regrow)
    masks = {name: torch.ones_like(model.get_parameter(name), dtype=torch.bool) for name in setting.plan.prunable}
    withheld = {name: torch.zeros(mask.shape) for name, mask in masks.items()}
    for step, channels in ((1, [1, 5, 320, 96]), (2, [1, 4, 240, 72])):
        masks = ramp.follow(model, masks, withheld, step)
        whole = [mask.transpose(0, 1).flatten(1) for mask in masks.values()]
        assert [int(mask.all(1).sum()) for mask in whole] == [int(mask.any(1).sum()) for mask in whole] == channels


def test_input_channels_of_the_output_layer_are_pruned_where_asked(setting):
    masks = select(changed(setting, pruner="l2-structured", ratio=1.25, prune_output_layer=True), 29_919)
    assert [int(mask.transpose(0, 1).flatten(1).any(1).sum()) for mask in masks.values()] == [0, 3, 200, 60, 42]


@pytest.mark.compiler
@pytest.mark.parametrize("pruner", OF_CHANNELS)
def test_both_engines_give_the_same_channels(setting, pruner):
    masks, wanted = (
        select(changed(setting, pruner=pruner, ratio=1.25, engine=name), 30_000) for name in ("native", "torch")
    )
    assert all(torch.equal(masks[name], mask) for name, mask in wanted.items())


@pytest.mark.compiler
@pytest.mark.parametrize(
    ("pruner", "scope"),
    [
        (name, scope)
        for name in SCORED
        for scope in ("global", "layer")
        if scope == "layer" or not PRUNERS[name].ordinal
    ],
)
def test_both_engines_give_the_same_masks(setting, pruner, scope):
    masks, wanted = (select(changed(setting, pruner=pruner, scope=scope, engine=name)) for name in ("native", "torch"))
    assert all(torch.equal(masks[name], mask) for name, mask in wanted.items())


def test_none_keeps_every_weight(setting):
    setting = changed(setting, pruner="none", scope="layer", ratio="auto")
    assert counts(select(setting, 58_998)) == [54, 864, 48_000, 10_080]
    assert setting.plan.scope == "global"  # --scope says nothing about it, so that it is the same run


@pytest.fixture
def own(tmp_path, monkeypatch):
    source = """
        import torch
        def score(theta, grad, epsilon):
            return epsilon * theta ** 2 + (theta * grad).abs()
        def in_place(theta):
            return theta.abs_()
        def drawn(theta, generator):
            return torch.rand(theta.shape, generator=generator)
        def raising(theta):
            raise ValueError("no such thing\\nat all")
        def flat(theta):
            return theta.abs().flatten()
        def number(theta):
            return 0.5
        def complex(theta):
            return theta + 1j
        def undefined(theta):
            return theta / 0
    """
    (tmp_path / "my_scores.py").write_text(textwrap.dedent(source))
    monkeypatch.delitem(sys.modules, "my_scores", raising=False)
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.usefixtures("own")
class TestOwnPruner:
    @pytest.mark.parametrize("scope", ["global", "layer"])
    @pytest.mark.parametrize(("name", "same"), [("score", "up-sum"), ("in_place", "mp"), ("drawn", "rp")])
    def test_gives_the_masks_of_a_built_in_pruner_with_the_same_score(self, setting, name, same, scope):
        before = copy.deepcopy(setting.context.model.state_dict())
        masks = select(changed(setting, pruner=f"my_scores:{name}", scope=scope))
        wanted = select(changed(setting, pruner=same, scope=scope))
        assert all(torch.equal(masks[name], mask) for name, mask in wanted.items())
        assert all(torch.equal(setting.context.model.state_dict()[name], weight) for name, weight in before.items())

    @pytest.mark.parametrize(
        ("name", "message"),
        [
            ("raising", r"my_scores:raising on conv1\.weight fails: ValueError: no such thing$"),
            ("flat", r"\(54,\): .* \(6, 1, 3, 3\)"),
            ("number", r"returns float: .* \(6, 1, 3, 3\)"),
            ("complex", r"returns torch\.complex64 .* real"),
        ],
    )
    def test_that_returns_no_score_is_one_line(self, setting, name, message):
        with refused("pruner", message):
            select(changed(setting, pruner=f"my_scores:{name}"))

    def test_whose_scores_are_not_finite_is_one_line(self, setting):
        with pytest.raises(StudyError, match=r"of 58,998 pruning scores are NaN or infinite"):
            select(changed(setting, pruner="my_scores:undefined"))


PAGE = Path(__file__).parents[3] / "docs" / "how-to" / "choose-a-pruner.md"


@pytest.mark.slow
def test_the_pages_pruner_is_found_logged_and_made_anew_once_edited(run_command, tiny_npz, store_uri, monkeypatch):
    section = PAGE.read_text().split("\n## A pruner of your own\n")[1].split("\n## ")[0]
    score = re.search(r"```python\n(.*?)```", section, re.DOTALL)[1]
    command = re.search(r"```console\npruning-study (.*?)\n```", section)[1].split()
    source = Path("my_package/my_scores.py")
    source.parent.mkdir()
    monkeypatch.setattr(sys, "path", list(sys.path))

    def made():
        monkeypatch.delitem(sys.modules, "my_package.my_scores", raising=False)
        importlib.invalidate_caches()
        quick = ("--dataset", tiny_npz, "--epochs", 1, "--fine-tune-epochs", 1, "--batch-size", 32)
        result = run_command(*command, *quick)
        assert result.exit_code == 0, result.output
        pruned = [run.data.params for run in runs("pruned") if run.data.params["pruner"] != "none"]
        return {params["pruner_digest"]: params["pruner"] for params in pruned}

    source.write_text(score, encoding="utf-8")
    first = hashlib.sha256(score.encode()).hexdigest()[:32]
    assert made() == made() == {first: "my_package.my_scores:score"}
    assert len(runs("pruned")) == 2  # with the control
    source.write_text(score.replace("grad.abs()", "grad.square()"), encoding="utf-8")
    assert len(made()) == 2
    assert len(runs("pruned")) == 3
    (dense,) = runs("dense")
    assert "pruner_digest" not in dense.data.params


def test_a_score_that_draws_by_itself_is_the_same_each_time(setting, tmp_path, monkeypatch):
    (tmp_path / "drawing.py").write_text("import torch\ndef score(theta):\n    return torch.rand_like(theta)\n")
    monkeypatch.syspath_prepend(tmp_path)
    drawing = changed(setting, pruner="drawing:score")
    torch.manual_seed(0)
    first = select(drawing)
    before = torch.get_rng_state()
    second = select(drawing)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert torch.equal(torch.get_rng_state(), before)


class TestFilters:
    def test_masks_of_chip_leave_the_ratio_and_what_goes_with_a_channel(self, setting):
        """The convolutions keep 2 of 6 and 6 of 16 filters: 29,268 of 60,074 parameters are a ratio of 2.05.

        A seventh filter of the second has 3,019 parameters, and leaves a ratio of 1.86.
        """
        setting = changed(setting, pruner="chip", ratio=2.0)
        masks = select_filters(setting, 2.0)
        assert masks["conv1.bias"].sum() == 2
        assert masks["conv2.bias"].sum() == 6
        assert torch.equal(masks["conv1.weight"].flatten(1).all(1), masks["conv1.bias"])
        assert torch.equal(masks["conv2.weight"].any(0).flatten(1).any(1), masks["conv1.bias"])
        assert torch.equal(masks["fc1.weight"][0].view(16, 25).all(1), masks["conv2.bias"])
        assert masks["fc2.weight"].all()
        left = 60_074 - sum(int((~mask).sum()) for mask in masks.values())
        assert left == 2 * 10 + 6 * (2 * 9 + 1) + 6 * 25 * 120 + 120 + 10_164 + 850 == 29_268

    def test_the_least_independent_channels_go(self, setting):
        """A filter of zeros with a bias below 0 has a dead channel, and one that repeats another is worth little."""
        setting = changed(setting, pruner="chip", ratio=1.2)
        model = copy.deepcopy(setting.context.model)
        with torch.no_grad():
            model.conv2.weight[5], model.conv2.bias[5] = 0, -1
            model.conv2.weight[9], model.conv2.bias[9] = model.conv2.weight[2], model.conv2.bias[2]
        theta = {name: model.get_parameter(name).detach() for name in setting.plan.prunable}
        masks = selection.select_filters(setting.plan.at(1.2), setting.context, model, theta)
        gone = (~masks["conv2.bias"]).nonzero().flatten().tolist()
        assert 5 in gone

    def test_the_filters_of_the_smallest_norm_go(self, setting):
        """Filter i of six has nine weights of size i + 1, all below 0 in every other filter, so that 4 and 5 are kept.

        Of the second convolution, filter j of sixteen has 6 x 9 weights of size 16 - j, so that 0 to 5 are kept.
        """
        setting = changed(setting, pruner="l1-filter", ratio=2.0)
        model = copy.deepcopy(setting.context.model)
        sizes = torch.arange(1.0, 17) * torch.tensor([1.0, -1.0]).repeat(8)
        with torch.no_grad():
            model.conv1.weight.copy_(sizes[:6].view(6, 1, 1, 1).expand(6, 1, 3, 3))
            model.conv2.weight.copy_(sizes.flip(0).view(16, 1, 1, 1).expand(16, 6, 3, 3))
        theta = {name: model.get_parameter(name).detach() for name in setting.plan.prunable}
        masks = selection.select_filters(setting.plan.at(2.0), setting.context, model, theta)
        assert masks["conv1.bias"].tolist() == [False] * 4 + [True] * 2
        assert masks["conv2.bias"].tolist() == [True] * 6 + [False] * 10
        assert torch.equal(masks["conv2.weight"].any(0).flatten(1).any(1), masks["conv1.bias"])
        assert torch.equal(masks["fc1.weight"][0].view(16, 25).all(1), masks["conv2.bias"])

    def test_masks_are_the_same_again(self, setting):
        setting = changed(setting, pruner="chip", ratio=2.0)
        first, second = (select_filters(setting, 2.0) for _ in range(2))
        assert all(torch.equal(mask, second[name]) for name, mask in first.items())

    def test_the_logged_sparsity_is_that_of_the_masks(self, setting):
        """One of 6 and 2 of 16 filters leave 9 + 18 + 6,000 + 10,080 of 58,998 weights: .72699 are pruned."""
        setting = changed(setting, pruner="chip", ratio=3.33)
        masks = select_filters(setting, 3.33)
        left = [int(masks[name].sum()) for name in setting.plan.prunable]
        assert left == [9, 18, 6_000, 10_080]
        logged = float(setting.plan.at(3.33, {}).params["sparsity"])
        assert round(logged, 5) == 0.72699
        assert round(58_998 * (1 - logged)) == sum(left) == setting.kept_numbers(3.33)[-1]

    @pytest.mark.attack
    @pytest.mark.parametrize("value", [float("nan"), float("inf")])
    def test_feature_maps_that_are_not_finite__are_an_error_of_one_line(self, setting, value):
        setting = changed(setting, pruner="chip", ratio=2.0)
        model = copy.deepcopy(setting.context.model)
        with torch.no_grad():
            model.conv1.bias[3] = value
        theta = {name: model.get_parameter(name).detach() for name in setting.plan.prunable}
        with pytest.raises(StudyError, match=r"pruning scores are NaN or infinite: the network has diverged") as error:
            selection.select_filters(setting.plan.at(2.0), setting.context, model, theta)
        assert "\n" not in str(error.value)

    def test_a_ratio_that_leaves_no_channel_is_an_error_before_training(self, setting):
        with pytest.raises(StudyError, match=r"10 is above 4\.24, the largest ratio that leaves a channel"):
            changed(setting, pruner="chip", ratio=10.0)
