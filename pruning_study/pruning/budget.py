"""Which weights may be pruned, and how many are kept at a ratio."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from torch import nn

from analysis.runs.errors import StudyError

LAYERS = (nn.modules.conv._ConvNd, nn.Linear)


def prunable(model: nn.Module, *, output_layer: bool = False) -> list[str]:
    """State-dict names of the weights that may be pruned.

    Weights of convolutions and linear layers, in the model's order; never biases, never BatchNorm, and none
    that a parametrisation computes. The output layer is the last one defined.

    Parameters
    ----------
    model : nn.Module
    output_layer : bool
        Whether the output layer's weights may be pruned too.

    Raises
    ------
    StudyError
        Where nothing is left to prune.
    """
    layers = [(f"{name}.weight", module) for name, module in model.named_modules() if isinstance(module, LAYERS)]
    parameters = dict(model.named_parameters())  # a weight that layers share stands there once
    output = layers[-1][1].weight if layers else None
    names = [name for name, module in layers if name in parameters and (output_layer or module.weight is not output)]
    if not names:
        raise StudyError(
            f"{type(model).__name__} has no convolution or linear layer before its output layer: nothing to prune"
        )
    return names


@dataclass(frozen=True)
class Budget:
    """How many parameters there are, and how many of them can be pruned.

    Parameters
    ----------
    total : int
        All parameters.
    prunable : int
        Prunable weights.
    prunable_biases : int
        Biases of the layers with prunable weights; the released protocol counts them as prunable.
    """

    total: int
    prunable: int
    prunable_biases: int

    @classmethod
    def of(cls, model: nn.Module, names: Sequence[str]) -> "Budget":
        """The budget of a model whose prunable weights have these names."""
        sizes = {name: parameter.numel() for name, parameter in model.named_parameters()}
        biases = (name.removesuffix("weight") + "bias" for name in names)
        return cls(
            sum(sizes.values()),
            sum(sizes[name] for name in names),
            sum(sizes.get(name, 0) for name in biases),
        )

    def kept(self, ratio: float, *, released: bool = False) -> int:
        """Number of prunable weights kept at a pruning ratio.

        k = round(total / ratio) - nonprunable, so that parameters before / parameters after is the ratio.
        Under the released protocol the fraction kept is (total / ratio - nonprunable) / prunable with the
        biases of prunable layers among the prunable, applied to the weights alone.

        Raises
        ------
        StudyError
            Where fewer than one weight would be kept; names the largest attainable ratio.
        """
        if released:
            prunable = self.prunable + self.prunable_biases
            k = round((self.total / ratio - (self.total - prunable)) / prunable * self.prunable)
        else:
            k = round(self.total / ratio) - (self.total - self.prunable)
        if k < 1:
            raise StudyError(
                f"{ratio:g} would keep no prunable weight: the largest attainable ratio is "
                f"{self.largest_ratio(released=released)}",
                option="--ratio",
            )
        return k

    def largest_ratio(self, *, released: bool = False) -> float:
        """Largest ratio that keeps at least one weight, rounded down to two decimals."""
        if released:
            prunable = self.prunable + self.prunable_biases
            after = self.total - prunable + Fraction(prunable, self.prunable)
        else:
            after = Fraction(self.total - self.prunable + 1)
        return int(100 * self.total / after) / 100
