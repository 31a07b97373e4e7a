"""Find the prunable weights, and the number of them to keep at a pruning ratio."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase as _fits
from typing import TYPE_CHECKING

from analysis.common.errors import StudyError
from analysis.common.printable import shortened

if TYPE_CHECKING:
    from torch import nn

# Bisection steps for the share of kept filters. After so many, no share between the two bounds gives other numbers of
# filters.
_BISECTIONS = 40


def prunable(
    model: nn.Module, *, output_layer: bool = False, keep: Sequence[str] = (), unused: Collection[str] = ()
) -> list[str]:
    """Return the state-dict names of the weights that may be pruned.

    These are the weights of convolutions and linear layers, in the model's order; never biases, BatchNorm, or weights
    computed by a parametrisation. The output layer is the last of these layers that the model defines and uses.

    Parameters
    ----------
    model : nn.Module
    output_layer : bool
        Whether the output layer's weights may be pruned too.
    keep : sequence of str
        Layers not to prune: names of layers or of their weights, or patterns in which `*` matches any string.
    unused : collection of str
        State-dict names of parameters that the forward pass never uses.

    Returns
    -------
    list of str

    Raises
    ------
    StudyError
        If no weight may be pruned, or if a pattern in `keep` matches no weight.

    Examples
    --------
    >>> from torch import nn
    >>> model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Linear(3, 2))
    >>> prunable(model)
    ['0.weight']
    >>> prunable(model, output_layer=True)
    ['0.weight', '2.weight']
    >>> prunable(model, output_layer=True, keep=["2"])
    ['0.weight']
    """
    layers = [(f"{name}.weight", module) for name, module in _layers(model) if f"{name}.weight" not in unused]
    parameters = dict(model.named_parameters())  # a weight that layers share is listed once
    output = layers[-1][1].weight if layers else None
    names = [name for name, module in layers if name in parameters and (output_layer or module.weight is not output)]
    if not names:
        raise StudyError(
            f"{type(model).__name__} has no convolution or linear layer before its output layer: nothing to prune"
        )
    kept = _kept([name for name, _ in layers if name in parameters], keep)
    if kept >= {*names}:
        raise StudyError(f"all of {', '.join(names)} are kept: nothing is left to prune", option="keep_layers")
    return [name for name in names if name not in kept]


def _kept(names: Sequence[str], patterns: Sequence[str]) -> set[str]:
    """Return the weights whose name or layer name matches a pattern; raise a StudyError if a pattern matches none."""
    kept: set[str] = set()
    for pattern in patterns:
        fitting = [name for name in names if _fits(name, pattern) or _fits(name.removesuffix(".weight"), pattern)]
        if not fitting:
            raise StudyError(f"{shortened(pattern)} fits none of {', '.join(names)}", option="keep_layers")
        kept |= {*fitting}
    return kept


def output_layer(model: nn.Module) -> tuple[str, nn.Module]:
    """Return the name and the module of the convolution or linear layer that a model defines last."""
    return _layers(model)[-1]


def _layers(model: nn.Module) -> list[tuple[str, nn.Module]]:
    from torch import nn

    kinds = (nn.modules.conv._ConvNd, nn.Linear)
    return [(name, module) for name, module in model.named_modules() if isinstance(module, kinds)]


def layer_counts(sizes: Sequence[int], kept_weights: int) -> list[int]:
    """Return the number of weights to keep in each layer if every layer keeps the same share.

    A layer of n weights keeps round(n * kept_weights / all weights), half to even, which may be 0 for a small layer at
    a high ratio.

    Parameters
    ----------
    sizes : sequence of int
        Number of prunable weights in each layer.
    kept_weights : int
        Number of prunable weights to keep in all layers together.

    Returns
    -------
    list of int, as long as `sizes`

    Examples
    --------
    >>> layer_counts([8, 32, 60], kept_weights=25)
    [2, 8, 15]
    """
    total = sum(sizes)
    return [round(size * kept_weights / total) for size in sizes]


def channel_counts(shapes: Sequence[Sequence[int]], kept_weights: int) -> list[int]:
    """Return the number of weights to keep in each layer if every layer keeps the same share of its input channels.

    If a share s of all weights is pruned, a layer with c input channels keeps round(c * (1 - s)) of them, half to even,
    each with all its weights. At a high sparsity, a layer with few channels may keep none.

    Parameters
    ----------
    shapes : sequence of shapes
        Shape of each layer's weights, with the input channels along axis 1.
    kept_weights : int
        Number of prunable weights to keep in all layers together.

    Returns
    -------
    list of int, as long as `shapes`

    Examples
    --------
    One layer has 4 channels with 2 weights each, the other 12 channels with 5 weights each. Both keep a quarter:

    >>> channel_counts([(2, 4), (5, 12)], kept_weights=17)
    [2, 15]
    """
    total = sum(map(math.prod, shapes))
    share = _share_left(Budget(total, total).sparsity_of(kept_weights))
    return [round(shape[1] * share) * _channel_size(shape) for shape in shapes]


def check_channels(shapes: Mapping[str, Sequence[int]], kept_weights: int, option: str) -> None:
    """Check that each layer keeps at least one input channel if all keep the same share of their channels.

    Parameters
    ----------
    shapes, kept_weights : as in `channel_counts`, with shapes by state-dict name
    option : str
        Option that sets the amount of pruning, for the error.

    Raises
    ------
    StudyError
        If a layer keeps none. The message names the layer with the fewest channels, and the sparsity below which it
        keeps one.
    """
    if all(channel_counts(list(shapes.values()), kept_weights)):
        return
    total = sum(map(math.prod, shapes.values()))
    fewest = min(shapes, key=lambda name: shapes[name][1])
    channels = shapes[fewest][1]
    raise StudyError(
        f"sparsity {Budget(total, total).sparsity_of(kept_weights):.3g} leaves no input channel of {fewest}, which has "
        f"{channels:,}: every layer prunes the same share, so use a sparsity below {1 - 0.5 / channels:.4g}, or "
        "exempt layers with --keep-layers",
        option=option,
    )


def check_layers(shapes: Mapping[str, Sequence[int]], kept_weights: int, option: str) -> None:
    """Check that some layer keeps a weight if all keep the same share of their weights.

    Parameters
    ----------
    shapes, kept_weights, option : as in `check_channels`

    Raises
    ------
    StudyError
        If no layer keeps a weight. The message names the sparsity below which the largest layer keeps one.

    Examples
    --------
    Each layer would keep a third of a weight:

    >>> check_layers({"a": (2, 5), "b": (5, 2), "c": (2, 5)}, kept_weights=1, option="ratio")
    Traceback (most recent call last):
    analysis.common.errors.StudyError: sparsity 0.97 leaves no weight in any layer: every layer prunes ...
    """
    sizes = [math.prod(shape) for shape in shapes.values()]
    if not any(layer_counts(sizes, kept_weights)):
        total = sum(sizes)
        raise StudyError(
            f"sparsity {Budget(total, total).sparsity_of(kept_weights):.9g} leaves no weight in any layer: every layer "
            f"prunes the same share, so use a sparsity below {1 - 0.5 / max(sizes):.9g}",
            option=option,
        )


def kept_after(
    shapes: Mapping[str, Sequence[int]], *, keep: float, prunings: int, unit: str, scope: str
) -> int | tuple[int, ...]:
    """Return the number of weights left after repeatedly pruning the same share of the remaining weights.

    Each pruning removes round(n * (1 - keep)) of the n units left, half to even, as `torch.nn.utils.prune` does.

    Parameters
    ----------
    shapes : mapping of state-dict names to shapes
        Shapes of the prunable weights, with the input channels along axis 1.
    keep : float, above 0, at most 1
    prunings : int, >= 0
    unit : {"weight", "channel"}
        Whether single weights or whole input channels are pruned. The result counts weights in both cases.
    scope : {"global", "layer"}
        Whether weights are pruned over all layers together or in each layer separately. Channels require `layer`.

    Returns
    -------
    int with scope `global`, else a tuple of int, one per layer

    Raises
    ------
    StudyError
        If the unit is `channel` and the scope `global`, if a layer has nothing left, or if fewer weights are left in
        total than there are layers.

    Examples
    --------
    10 weights become 8 and then 6, because a fifth of 8 is 1.6, which rounds to 2. 3 channels become 2 and stay 2,
    because a fifth of 2 rounds to 0.

    >>> kept_after({"a": (2, 5)}, keep=0.8, prunings=2, unit="weight", scope="global")
    6
    >>> kept_after({"a": (2, 5), "b": (4, 3)}, keep=0.8, prunings=2, unit="channel", scope="layer")
    (6, 8)
    """
    check_scope(unit, scope)
    if scope == "global":
        everything = {"the network": sum(map(math.prod, shapes.values()))}
        (weights,) = _prune_repeatedly(everything, keep, prunings, "weight", least=len(shapes))
        return weights
    if unit == "weight":
        return _prune_repeatedly({name: math.prod(shape) for name, shape in shapes.items()}, keep, prunings, "weight")
    channels = _prune_repeatedly({name: shape[1] for name, shape in shapes.items()}, keep, prunings, "input channel")
    return tuple(weights * _channel_size(shape) for weights, shape in zip(channels, shapes.values(), strict=True))


def filter_numbers(numbers: Mapping[str, int], shares: Mapping[str, float], share: float) -> dict[str, int]:
    """Return the number of filters to keep in each convolution: its share of them, rounded down, but at least one.

    Parameters
    ----------
    numbers : mapping of state-dict names to int
        Number of filters in each convolution.
    shares : mapping of state-dict names to float
        Share of its filters that a convolution keeps if `share` is 1.
    share : float, 0 to 1
        Factor by which all `shares` are multiplied.

    Examples
    --------
    >>> filter_numbers({"a": 16, "b": 32}, {"a": 1.0, "b": 0.5}, share=0.6)  # 0.6 of 16 and 0.3 of 32 are 9.6
    {'a': 9, 'b': 9}
    >>> filter_numbers({"a": 6}, {"a": 1.0}, share=0.1)
    {'a': 1}
    """
    share += 1e-9  # a product just below an integer, because of rounding, is not rounded down
    return {name: max(1, int(number * shares[name] * share)) for name, number in numbers.items()}


def nearest_filters(
    numbers: Mapping[str, int],
    shares: Mapping[str, float],
    count_parameters: Callable[[dict[str, int]], int],
    wanted: int,
) -> dict[str, int]:
    """Find the numbers of filters that come nearest to a ratio, by bisection of the share to keep.

    If one filter in each convolution still leaves more parameters than `wanted`, return one for each.

    Parameters
    ----------
    numbers, shares : as in `filter_numbers`
    count_parameters : callable
        Returns the number of parameters left, which must increase with the number of filters of each convolution.
    wanted : int
        Target number of parameters. The result is nearest in ratio, but not always nearest in number of parameters.

    Examples
    --------
    Each of ten filters has 10 parameters: 6 filters leave 60 parameters and 5 leave 50. The wanted ratio, at
    54 parameters, is nearer to the ratio at 50 than to the ratio at 60.

    >>> nearest_filters({"a": 10}, {"a": 1.0}, lambda numbers: 10 * numbers["a"], wanted=54)
    {'a': 5}
    """
    low, high = 0.0, 1.0
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        if count_parameters(filter_numbers(numbers, shares, middle)) > wanted:
            high = middle
        else:
            low = middle
    both = [filter_numbers(numbers, shares, share) for share in (low, high)]
    return min(both, key=lambda filters: abs(1 / count_parameters(filters) - 1 / wanted))


def check_scope(unit: str, scope: str) -> None:
    """Check that a unit's scores can be compared over a scope, which must be `layer` for channels and filters.

    Raises
    ------
    StudyError
        If the scope is `global` and the unit is `channel` or `filter`.
    """
    if unit != "weight" and scope == "global":
        units = {"channel": "input channels", "filter": "output channels"}[unit]
        raise StudyError(
            f"{units} are compared within their layer: use layer, or omit the option",
            option="scope",
        )


def _prune_repeatedly(
    numbers: Mapping[str, int], keep: float, prunings: int, what: str, least: int = 1
) -> tuple[int, ...]:
    """Return the numbers left after repeated pruning; raise a StudyError if one falls below `least`."""
    share = _share_left(keep)
    remaining = tuple(numbers.values())
    for iteration in range(1, prunings + 1):
        remaining = tuple(number - round(share * number) for number in remaining)
        if min(remaining) < least:
            first = next(name for name, number in zip(numbers, remaining, strict=True) if number < least)
            too_few = f"no {what}" if least == 1 else f"fewer than {least:,} {what}s, one for each layer,"
            fewer = f", or use at most {iteration} iterations" if iteration > 1 else ""
            raise StudyError(
                f"{keep:g} leaves {too_few} of the {numbers[first]:,} in {first} at iteration {iteration}: keep a "
                f"larger share{fewer}",
                option="keep",
            )
    return remaining


def _share_left(share: float) -> float:
    """Return 1 - share. With floats, 1 - 0.9 is slightly below 0.1, which would round some halves the other way."""
    return round(1 - share, 12)


def _channel_size(shape: Sequence[int]) -> int:
    """Return the number of weights of an input channel."""
    return math.prod(shape) // shape[1]


@dataclass(frozen=True)
class Budget:
    """Numbers of parameters and prunable weights of a model, to convert between ratio, sparsity and kept weights.

    Parameters
    ----------
    total : int
        Number of parameters.
    prunable : int
        Number of prunable weights.
    counted : int, optional
        Number of prunable weights plus biases of their layers, if biases are counted as prunable. Biases are never
        pruned, even if they are counted.

    Examples
    --------
    >>> Budget(total=1000, prunable=900).kept_weights(ratio=4)
    150
    >>> Budget(total=1000, prunable=900, counted=925).kept_weights(ratio=4)  # 900 * (250 - 75) / 925
    170
    """

    total: int
    prunable: int
    counted: int | None = None

    @classmethod
    def exact(cls, model: nn.Module, names: Sequence[str], unused: Collection[str] = ()) -> Budget:
        """Make the budget of a model, with a ratio defined as parameters before / parameters after.

        Parameters
        ----------
        model : nn.Module
        names : sequence of str
            State-dict names of the prunable weights.
        unused : collection of str
            State-dict names of parameters that the forward pass never uses, which are not counted.

        Returns
        -------
        Budget
        """
        sizes = {name: parameter.numel() for name, parameter in model.named_parameters() if name not in unused}
        return cls(sum(sizes.values()), sum(sizes[name] for name in names))

    @classmethod
    def counting_biases(cls, model: nn.Module, names: Sequence[str], unused: Collection[str] = ()) -> Budget:
        """Make the budget of a model with biases counted as prunable, as in the released code of Good et al. (2022).

        Parameters
        ----------
        model, names, unused : as in `exact`

        Returns
        -------
        Budget
        """
        parameters = dict(model.named_parameters())
        exact = cls.exact(model, names, unused)
        biases = (name.removesuffix("weight") + "bias" for name in names)
        counted = exact.prunable + sum(parameters[name].numel() for name in biases if name in parameters)
        return cls(exact.total, exact.prunable, counted)

    def kept_weights(self, ratio: float) -> int:
        """Return the number of prunable weights to keep at a pruning ratio.

        It is round(total / ratio) - (total - prunable). If biases are counted, the share of the counted parameters to
        keep, (total / ratio - (total - counted)) / counted, is applied to the weights alone.

        Parameters
        ----------
        ratio : float, >= 1
            Parameters before / parameters after.

        Returns
        -------
        int, >= 1

        Raises
        ------
        StudyError
            If fewer than one weight would be kept; the message names the largest attainable ratio.
        """
        if self.counted is None:
            k = round(self.total / ratio) - (self.total - self.prunable)
        else:
            k = round((self.total / ratio - (self.total - self.counted)) / self.counted * self.prunable)
        if k < 1:
            raise StudyError(
                f"{ratio:g} would keep no prunable weight: the largest attainable ratio is {self.largest_ratio()}",
                option="ratio",
            )
        return k

    def check_filters(self, ratio: float, fewest: int, option: str) -> None:
        """Check that a ratio can be reached if every convolution keeps at least one filter.

        Parameters
        ----------
        ratio : float
        fewest : int
            Number of parameters left with one filter in each convolution.
        option : str
            Option to name in the error: `ratio`, or `sparsity` if the ratio was computed from a sparsity.

        Raises
        ------
        StudyError
            If the ratio cannot be reached. The message gives the largest possible value of the option, rounded down.

        Examples
        --------
        >>> Budget(total=1000, prunable=900).check_filters(ratio=4, fewest=300, option="ratio")
        Traceback (most recent call last):
        analysis.common.errors.StudyError: 4 is above 3.33, the largest ratio that leaves a channel in every layer: ...
        """
        if fewest <= round(self.total / ratio):
            return
        if option == "sparsity":
            value, largest = (self.total - self.total / ratio) / self._weights, self.largest_sparsity_with(fewest)
        else:
            value, largest = ratio, self.largest_ratio_with(fewest)
        above = f"{value:.4g} is above {largest:g}, the largest {'sparsity' if option == 'sparsity' else 'ratio'}"
        auto = " (auto is 10)" if option == "ratio" else ""
        raise StudyError(f"{above} that leaves a channel in every layer: take a smaller one{auto}", option=option)

    @property
    def _weights(self) -> int:
        """Denominator of a sparsity: prunable weights, with the biases if these are counted."""
        return self.counted or self.prunable

    def largest_ratio_with(self, fewest: int) -> float:
        """Return the largest ratio that leaves `fewest` parameters, rounded down to two decimals.

        Examples
        --------
        >>> Budget(total=1000, prunable=900).largest_ratio_with(fewest=300)
        3.33
        """
        return self.total * 100 // fewest / 100

    def largest_sparsity_with(self, fewest: int) -> float:
        """Return the largest sparsity that leaves `fewest` parameters, rounded down to four decimals.

        Examples
        --------
        >>> Budget(total=1000, prunable=900).largest_sparsity_with(fewest=300)  # 700 of 900
        0.7777
        """
        return (self.total - fewest) * 10_000 // self._weights / 10_000

    def ratio_of(self, sparsity: float) -> float:
        """Return the ratio that keeps round(prunable * (1 - sparsity)) of the prunable weights.

        Parameters
        ----------
        sparsity : float, 0 to below 1
            Share of the prunable weights that is pruned.

        Raises
        ------
        StudyError
            If fewer than one weight would be kept.

        Examples
        --------
        >>> Budget(total=1000, prunable=900).ratio_of(sparsity=0.5)  # 450 of 900, and 100 other parameters, are kept
        1.8181818181818181
        """
        k = round(self.prunable * (1 - sparsity))
        if k < 1:
            raise StudyError(
                f"{sparsity:g} would keep none of the {self.prunable:,} prunable weights", option="sparsity"
            )
        counted = self._weights
        return self.total / (self.total - counted + k * counted / self.prunable)

    def sparsity_of(self, kept_weights: int) -> float:
        """Return the sparsity that keeps `kept_weights` of the prunable weights, with the fewest possible decimals.

        Parameters
        ----------
        kept_weights : int

        Examples
        --------
        >>> Budget(total=1000, prunable=899).sparsity_of(kept_weights=90)  # 809 / 899 is 0.89989
        0.9
        """
        pruned = 1 - kept_weights / self.prunable
        rounded = (round(pruned, digits) for digits in range(17))
        return next((share for share in rounded if round(self.prunable * (1 - share)) == kept_weights), pruned)

    def largest_ratio(self) -> float:
        """Return the largest ratio that keeps at least one weight, rounded down to two decimals."""
        counted = self._weights
        # The parameters that are left if half a weight is kept, times 2 * `prunable`. A ratio is accepted if it leaves
        # more, because more than half a weight is rounded to one.
        smallest = 2 * (self.total - counted) * self.prunable + counted
        return (200 * self.total * self.prunable - 1) // smallest / 100
