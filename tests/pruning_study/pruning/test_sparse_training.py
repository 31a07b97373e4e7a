"""SET and RigL: how many weights layers keep, one exchange by hand, and what stays the same."""

import math

import pytest
import torch
from torch import nn

from analysis.common.errors import StudyError
from pruning_study.options.config import PruneConfig, TuneConfig
from pruning_study.pruning.sparse_training import (
    Exchange,
    equal_numbers,
    exchanged,
    exchanges,
    layer_numbers,
    random_masks,
    share_at,
)
from pruning_study.steps.plan import Settings, dense_training
from pruning_study.steps.timing import pruning_times
from tests.error_lines import refused


def settings(config):
    """Return the resolved options of pruning."""
    return Settings.of(config, dense_training(config))


def test_layers_keep_weights_in_proportion_to_the_sum_of_their_dimensions():
    # LeNet5's: sums 6+1+5+5, 16+6+5+5, 120+400, 84+120 = 17, 32, 520, 204; of 773 in all.
    shapes = [torch.Size(shape) for shape in ([6, 1, 5, 5], [16, 6, 5, 5], [120, 400], [84, 120])]
    assert layer_numbers(shapes, 773) == [17, 32, 520, 204]
    assert layer_numbers(shapes, 1546) == [34, 64, 1040, 408]


def test_a_layer_that_would_keep_more_than_it_has_keeps_all_and_the_others_share_the_rest():
    # Ten times 17 is above the 150 weights of the first layer. The other 7,580 are dealt out as 32, 520 and 204 of 756.
    shapes = [torch.Size(shape) for shape in ([6, 1, 5, 5], [16, 6, 5, 5], [120, 400], [84, 120])]
    numbers = layer_numbers(shapes, 7730)
    assert numbers[0] == 150
    assert sum(numbers) == 7730
    assert numbers[1:] == [pytest.approx(7580 * part / 756, abs=1) for part in (32, 520, 204)]
    assert layer_numbers(shapes, 60630) == [150, 2400, 48000, 10080]


def test_equal_numbers_are_the_same_share_of_each_layer():
    assert equal_numbers([torch.Size([10, 10]), torch.Size([20, 10])], 30) == [10, 20]
    assert sum(equal_numbers([torch.Size([3]), torch.Size([3]), torch.Size([3])], 4)) == 4


def test_random_masks_keep_so_many_of_each_layer():
    theta = {"a": torch.zeros(50), "b": torch.zeros(4, 5)}
    masks = random_masks(theta, [10, 20], torch.Generator().manual_seed(0))
    assert [int(mask.sum()) for mask in masks.values()] == [10, 20]
    again = random_masks(theta, [10, 20], torch.Generator().manual_seed(0))
    other = random_masks(theta, [10, 20], torch.Generator().manual_seed(1))
    assert torch.equal(masks["a"], again["a"])
    assert not torch.equal(masks["a"], other["a"])


@pytest.fixture
def model():
    """Two layers of one output. Kept weights are those that are not 0."""
    made = nn.ModuleDict({name: nn.Linear(6, 1, bias=False) for name in ("first", "second")})
    with torch.no_grad():
        made["first"].weight.copy_(torch.tensor([[0.5, -0.1, 0.4, 0.2, 0, 0]]))
        made["second"].weight.copy_(torch.tensor([[0, 0, 1.0, 2.0, 3.0, 0]]))
    return made


def masks_of(model):
    return {f"{name}.weight": model[name].weight.detach() != 0 for name in model}


def test_one_exchange_of_rigl_by_hand(model):
    # At the first of four batches the share is .3 (1 + cos(pi / 4)) / 2 = .256: one of four, and one of three weights.
    gradient = {
        "first.weight": torch.tensor([[9.0, -2.0, 9.0, 9.0, 1.0, -3.0]]),
        "second.weight": torch.tensor([[0.1, 0.2, 0.3, 9.0, 9.0, -0.25]]),
    }
    exchange = Exchange(
        "rigl", exchanges(7, begin=0, end=4, frequency=1), lambda _: torch.Generator(), lambda *_: gradient
    )
    assert share_at("rigl", 1, 4) == pytest.approx(0.15 * (1 + math.sqrt(0.5)))
    new = exchange.follow(model, masks_of(model), {}, 1)
    # -.1 goes, and the sixth has the largest gradient of those not kept. 1.0 goes, and comes back with its value.
    assert new["first.weight"].tolist() == [[True, False, True, True, False, True]]
    assert new["second.weight"].tolist() == [[False, False, True, True, True, False]]
    assert model["first"].weight.tolist() == [pytest.approx([0.5, 0, 0.4, 0.2, 0, 0])]
    assert model["second"].weight.tolist() == [[0, 0, 1, 2, 3, 0]]


def test_rigl_exchanges_nothing_at_its_end(model):
    before = masks_of(model)
    gradient = {name: 9.0 - mask.float() for name, mask in before.items()}
    exchange = Exchange("rigl", {0: 7, 4: 7}, lambda _: torch.Generator(), lambda *_: gradient)
    assert {name: mask.tolist() for name, mask in exchange.follow(model, before, {}, 4).items()} == {
        name: mask.tolist() for name, mask in before.items()
    }


def test_set_drops_the_smallest_and_grows_random_ones_without_a_gradient(model):
    def seeded(batch):
        return torch.Generator().manual_seed(batch)

    def no_gradient(*_):
        raise AssertionError("SET needs no gradient")

    grown = set()
    for batch in range(1, 40):
        mask = torch.tensor([[True, True, True, True, False, False]])
        exchange = Exchange("set", {0: 4, 100: 4}, seeded, no_gradient)
        new = exchange.follow(model, {"first.weight": mask}, {}, batch)["first.weight"][0]
        assert new.sum() == 4
        assert new[[0, 2, 3]].all()  # .3 of four is one: the smallest, -.1
        grown |= set(new[[1, 4, 5]].nonzero().flatten().tolist())
    assert grown == {0, 1, 2}  # every place is taken at some batch, that of the dropped weight too


def test_no_more_weights_are_exchanged_than_there_are_others():
    mask = torch.tensor([True] * 9 + [False])
    new = exchanged(mask, torch.arange(1.0, 11), 0.3, lambda others, number: others if number == 1 else None)
    assert new.sum() == 10  # one is dropped, and the growth of this test takes all that are not kept


def test_exchanges_keep_as_many_weights_from_the_first_batch_to_the_last():
    assert exchanges(9, begin=10, end=35, frequency=10) == {0: 9, 20: 9, 30: 9, 35: 9}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pruner": "up", "schedule": "set"}, ("pruner", "--schedule set drops the smallest weights, as mp does")),
        ({"schedule": "rigl", "distill": 0.5}, ("distill", "it applies only with --start dense")),
    ],
)
def test_schedules_that_are_sparse_from_the_start_take_the_smallest_weights_and_no_fine_tuning(options, message):
    with pytest.raises(StudyError) as raised:
        PruneConfig(**options)
    assert (raised.value.option, str(raised.value).partition(":")[0]) == message


def test_the_schedule_implies_the_start_and_names_the_method():
    config = PruneConfig(schedule="rigl")
    assert (config.start, config.method, settings(config).schedule) == ("initialization", "mp rigl", "rigl")
    control = PruneConfig(pruner="none", schedule="rigl")  # which the schedule does not concern
    assert (control.start, settings(control).schedule) == ("dense", "one-shot")
    assert settings(PruneConfig(start="initialization")).schedule == "cubic"


def test_a_search_prunes_the_dense_network():
    with pytest.raises(StudyError, match="set trains from initial weights"):
        TuneConfig(schedule="set")


@pytest.mark.parametrize("options", [{"frequency": 1000}, {"begin": 0, "end": 0}, {"begin": 0.7}])
def test_a_schedule_that_would_exchange_nothing_is_refused(options):
    """Three epochs of 43 steps: exchanges end at step 97, and 90 and 100 are the next one."""
    config = PruneConfig(schedule="rigl", epochs=3, **options)
    with refused("frequency", "leaves no exchange of weights"):
        pruning_times(config, settings(config).hyperparameters, 5500)
