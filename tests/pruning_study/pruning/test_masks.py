from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import nn, tensor

from analysis.common.errors import StudyError
from pruning_study import models
from pruning_study.pruning.budget import (
    Budget,
    channel_counts,
    kept_after,
    layer_counts,
    nearest_filters,
    prunable,
)
from pruning_study.pruning.masks import exact_k, signed_quantile
from tests.error_lines import refused


def lenet5():
    return models.build("lenet5", num_classes=10, in_channels=1, image_size=(28, 28))


class TestExactK:
    def test_keeps_the_largest_over_all_layers_together(self):
        masks = exact_k([tensor([1.0, 5.0]), tensor([[4.0], [2.0]])], k=2)
        assert [mask.tolist() for mask in masks] == [[False, True], [[True], [False]]]

    def test_ties_go_to_the_lower_index(self):
        assert exact_k([tensor([1.0, 1.0, 1.0])], k=2)[0].tolist() == [True, True, False]

    def test_ties_across_layers_and_beside_larger_scores(self):
        masks = exact_k([tensor([0.0, 3.0]), tensor([3.0, 7.0, 3.0])], k=3)
        assert [mask.tolist() for mask in masks] == [[False, True], [True, True, False]]

    def test_all_and_none(self):
        assert exact_k([tensor([1.0, 2.0])], k=2)[0].tolist() == [True, True]
        assert exact_k([tensor([1.0, 2.0])], k=0)[0].tolist() == [False, False]

    @pytest.mark.parametrize("k", [1, 37, 999])
    def test_agrees_with_a_stable_sort(self, k):
        scores = torch.randint(0, 50, (1000,), generator=torch.Generator().manual_seed(k)).float()
        expected = np.zeros(1000, dtype=bool)
        expected[np.argsort(-scores.numpy(), kind="stable")[:k]] = True
        assert exact_k([scores], k)[0].tolist() == expected.tolist()

    @pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
    def test_scores_that_are_not_finite_are_an_error(self, bad):
        with pytest.raises(StudyError, match="1 of 3 pruning scores are NaN or infinite"):
            exact_k([tensor([1.0, bad, 2.0])], k=1)


class TestSignedQuantile:
    def test_prunes_below_the_quantile_of_the_signed_scores(self):
        # Sorted -4, -1, 1, 2, 3: the quantile at 1 - 2/5 = .6 is 1.4; |s| < 1.4 holds for -1 and 1 alone.
        mask = signed_quantile([tensor([-4.0, -1.0, 1.0, 2.0, 3.0])], k=2)[0]
        assert mask.tolist() == [True, False, False, True, True]

    def test_prunes_nothing_where_tau_is_not_above_0(self):
        assert signed_quantile([tensor([-4.0, -3.0, -2.0, 5.0])], k=2)[0].all()

    def test_is_exact_where_all_scores_are_positive(self):
        scores = torch.arange(1.0, 101.0)
        assert signed_quantile([scores], k=10)[0].tolist() == exact_k([scores], k=10)[0].tolist()


class TestPrunable:
    def test_weights_of_convolutions_and_linear_layers_but_the_last(self):
        assert prunable(lenet5()) == ["conv1.weight", "conv2.weight", "fc1.weight", "fc2.weight"]

    def test_the_output_layer_where_asked(self):
        assert prunable(lenet5(), output_layer=True)[-1] == "fc3.weight"

    def test_never_batchnorm(self):
        model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 2))
        assert prunable(model) == ["0.weight"]

    def test_a_shared_weight_once_and_never_that_of_the_output_layer(self):
        model = nn.Sequential(*(nn.Linear(4, 4) for _ in range(4)))
        model[1].weight = model[0].weight
        model[2].weight = model[3].weight
        assert prunable(model) == ["0.weight"]
        assert Budget.exact(model, prunable(model)).total == 2 * 16 + 4 * 4

    def test_no_weight_that_a_parametrisation_computes(self):
        model = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(4, 4)), nn.Linear(4, 4), nn.Linear(4, 2))
        assert prunable(model) == ["1.weight"]

    def test_a_single_layer_has_nothing_to_prune(self):
        with pytest.raises(StudyError, match="nothing to prune"):
            prunable(nn.Sequential(nn.Linear(4, 2)))


class TestBudget:
    # LeNet5: 60,074 parameters, 54 + 864 + 48,000 + 10,080 = 58,998 prunable weights, 6 + 16 + 120 + 84 = 226
    # biases beside them, and 850 in the output layer.
    exact = Budget(total=60_074, prunable=58_998)
    released = Budget(total=60_074, prunable=58_998, counted=59_224)

    def test_counts(self):
        model = lenet5()
        assert Budget.exact(model, prunable(model)) == self.exact
        assert Budget.counting_biases(model, prunable(model)) == self.released

    @pytest.mark.parametrize(("ratio", "kept"), [(1, 58_998), (2, 28_961), (10, 4_931), (50, 125)])
    def test_kept(self, ratio, kept):
        assert self.exact.kept_weights(ratio) == kept

    @pytest.mark.parametrize(("ratio", "kept"), [(1, 58_998), (50, 350)])
    def test_kept_where_biases_are_counted(self, ratio, kept):
        assert self.released.kept_weights(ratio) == kept

    @pytest.mark.parametrize(("sparsity", "kept"), [(0.0, 58_998), (0.5, 29_499), (0.9, 5_900), (0.99, 590)])
    def test_a_sparsity_is_a_ratio_and_back(self, sparsity, kept):
        for budget in (self.exact, self.released):
            assert budget.kept_weights(budget.ratio_of(sparsity)) == kept
            assert budget.sparsity_of(kept) == sparsity
        assert self.exact.ratio_of(sparsity) == 60_074 / (kept + 1_076)

    def test_every_number_of_weights_has_a_sparsity_that_keeps_it(self):
        budget = Budget(total=120, prunable=97)
        for kept in range(1, 98):
            share = budget.sparsity_of(kept)
            assert budget.kept_weights(budget.ratio_of(share)) == kept
            assert share == round(share, 2)

    def test_a_sparsity_that_keeps_nothing_is_an_error(self):
        with refused("sparsity", r"0\.999999 would keep none of the 58,998 prunable weights"):
            self.exact.ratio_of(0.999999)

    def test_a_ratio_that_cannot_be_attained_names_the_largest(self):
        """60,074 / 1,076.5 is 55.805: with 55.80 half a weight is left, which is rounded to one."""
        for ratio in (100, 55.81):
            with refused("ratio", rf"{ratio} .* largest attainable ratio is 55\.8$"):
                self.exact.kept_weights(ratio)
        assert self.exact.kept_weights(55.8) == 1

    def test_the_largest_ratio_where_biases_are_counted_can_be_attained(self):
        largest = self.released.largest_ratio()
        assert self.released.kept_weights(largest) == 1
        with pytest.raises(StudyError, match=f"{largest}"):
            self.released.kept_weights(largest + 0.01)

    def test_the_two_agree_for_resnets_whose_convolutions_have_no_biases(self):
        model = models.build("resnet20", num_classes=10, in_channels=3, image_size=(32, 32))
        exact, released = (of(model, prunable(model)) for of in (Budget.exact, Budget.counting_biases))
        assert released.counted == exact.prunable
        for ratio in (2, 4, 10, 20, 50):
            assert exact.kept_weights(ratio) == pytest.approx(released.kept_weights(ratio), abs=1)


class TestLayerCounts:
    def test_every_layer_keeps_the_same_share(self):
        """LeNet5 at ratio 10 keeps 4,931 of 58,998 weights: 4.51, 72.2, 4,011.8 and 842.5 of its layers'."""
        assert layer_counts([54, 864, 48_000, 10_080], 4_931) == [5, 72, 4_012, 842]

    def test_halves_are_rounded_to_even(self):
        """A tenth of each layer: 0.5, 1.5 and 8 weights."""
        assert layer_counts([5, 15, 80], 10) == [0, 2, 8]

    @pytest.mark.parametrize("kept", [0, 100])
    def test_nothing_and_everything(self, kept):
        assert layer_counts([5, 15, 80], kept) == [size * kept // 100 for size in (5, 15, 80)]


class TestChannelCounts:
    def test_channels_and_not_weights_are_rounded(self):
        """At sparsity 0.7 of 6, 16 and 400 channels 1.8, 4.8 and 120 are kept: 2, 5 and 120."""
        shapes = [(16, 6, 3, 3), (400, 16, 3, 3), (120, 400)]
        kept = round((864 + 57_600 + 48_000) * 0.3)
        assert channel_counts(shapes, kept) == [2 * 144, 5 * 3600, 120 * 120]

    def test_a_half_of_an_odd_number_of_weights_is_a_half(self):
        """Half of 21 weights are 10, of 3 channels 1.5, which is rounded to 2."""
        assert channel_counts([(7, 3)], kept_weights=10) == [14]

    def test_halves_are_rounded_to_even(self):
        """A tenth of 15 and of 35 channels are 1.5 and 3.5, although 1 - 0.9 is below a tenth."""
        assert channel_counts([(2, 15), (1, 35)], kept_weights=6) == [4, 4]
        assert channel_counts([(1, 15), (1, 25)], kept_weights=4) == [2, 2]


class TestKeptAfter:
    shapes: ClassVar = {"conv": (6, 3, 3, 3), "linear": (10, 96)}

    def after(self, prunings, unit="weight", scope="layer", keep=0.8):
        return kept_after(self.shapes, keep=keep, prunings=prunings, unit=unit, scope=scope)

    def test_over_all_layers(self):
        """1,122 less 224.4, then 898 less 179.6, then 718 less 143.6."""
        assert [self.after(prunings, scope="global") for prunings in range(4)] == [1122, 898, 718, 574]

    def test_weights_of_each_layer(self):
        """162 less 32.4, then 130 less 26; 960 less 192, then 768 less 153.6."""
        assert [self.after(prunings) for prunings in range(3)] == [(162, 960), (130, 768), (104, 614)]

    def test_channels_of_each_layer(self):
        """3 channels of 54 weights less 0.6, then 2 less 0.4; 96 of 10 less 19.2, then 77 less 15.4."""
        assert [self.after(n, "channel") for n in range(3)] == [(162, 960), (108, 770), (108, 620)]

    def test_nineteen_prunings_leave_a_seventieth(self):
        assert kept_after({"all": (1000, 1000)}, keep=0.8, prunings=19, unit="weight", scope="global") == 14_411

    def test_a_half_is_rounded_as_the_share_is_written(self):
        """A tenth of 15 is 1.5, and 2 are pruned; 1 - 0.9 in floating point is a little less than a tenth."""
        assert kept_after({"all": (1, 15)}, keep=0.9, prunings=1, unit="weight", scope="global") == 13

    def test_a_layer_that_loses_every_channel_is_an_error_that_names_it(self):
        with refused("keep", r"0\.1 leaves no input channel of the 3 in conv at iteration 1:"):
            self.after(1, "channel", keep=0.1)

    def test_the_first_iteration_that_leaves_nothing_is_named(self):
        """A pruning by .7 makes 3 of 10 weights, 1 of 3 and 0 of 1; 100 become 30, 9 and 3."""
        shapes = {"small": (2, 5), "large": (10, 10)}
        with pytest.raises(StudyError, match=r"no weight of the 10 in small at iteration 3: .* at most 3 iterations$"):
            kept_after(shapes, keep=0.3, prunings=19, unit="weight", scope="layer")
        with pytest.raises(StudyError, match=r"of the 100 in the network at iteration 5: .* at most 5 iterations$"):
            kept_after({"large": (10, 10)}, keep=0.3, prunings=19, unit="weight", scope="global")

    def test_channels_are_not_counted_over_all_layers(self):
        with pytest.raises(StudyError, match="channels are compared within their layer"):
            self.after(1, "channel", "global")


class TestNearestFilters:
    """Two convolutions of 8 and 4 filters, each of 10 parameters, beside 20 others."""

    numbers, shares = {"a": 8, "b": 4}, {"a": 1.0, "b": 1.0}

    @staticmethod
    def left(numbers):
        return 20 + 10 * sum(numbers.values())

    def nearest(self, wanted, shares=None):
        return nearest_filters(self.numbers, shares or self.shares, self.left, wanted)

    def test_the_same_share_of_every_layer(self):
        assert self.nearest(wanted=80) == {"a": 4, "b": 2}
        assert self.nearest(wanted=140) == self.numbers

    @pytest.mark.parametrize(("wanted", "left"), [(81, 80), (84, 80), (85, 90), (90, 90), (98, 90), (100, 110)])
    def test_bisection_hits_the_nearest_ratio(self, wanted, left):
        """4 and 2 filters leave 80, 5 and 2 leave 90, 6 and 3 leave 110; their ratios meet at 84.7 and at 99."""
        assert self.left(self.nearest(wanted)) == left

    def test_a_layer_keeps_at_least_one(self):
        assert self.nearest(wanted=40) == {"a": 1, "b": 1}
        assert self.nearest(wanted=50) == {"a": 2, "b": 1}

    def test_shares_stay_in_proportion(self):
        """With a half of the second layer for all of the first: 6 and 1 of 8 and 4 are 3/4 and 3/8."""
        assert self.nearest(wanted=90, shares={"a": 1.0, "b": 0.5}) == {"a": 6, "b": 1}

    def test_a_ratio_that_leaves_no_filter_names_the_largest(self):
        """One of each leaves 40 of 140 parameters: 100 of 120 weights are pruned, or of 125 that biases are among."""
        exact, biases = Budget(140, 120), Budget(140, 120, counted=125)
        with refused("ratio", r"^3\.6 is above 3\.5, the largest ratio that leaves a channel"):
            exact.check_filters(3.6, 40, "ratio")
        for budget, largest in ((exact, 0.8333), (biases, 0.8)):
            with refused("sparsity", rf"^0\.9 is above {largest}, the largest sparsity"):
                budget.check_filters(budget.ratio_of(0.9), 40, "sparsity")
            budget.check_filters(budget.ratio_of(0.8), 40, "sparsity")
            budget.check_filters(3.5, 40, "ratio")
