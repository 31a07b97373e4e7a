"""Pruners by name: each has a score function and a rule that turns scores into masks."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING

from analysis.common import imports
from analysis.common.errors import StudyError, did_you_mean
from pruning_study.pruning import budget, channels, fairgrape, masks, scores, structured

if TYPE_CHECKING:
    from torch import Tensor

ARGUMENTS = ("theta", "grad", "epsilon", "generator")
OPTION = "pruner"


@dataclass(frozen=True)
class Pruner:
    """A method for choosing the weights to keep.

    Parameters
    ----------
    name : str
        Value of `--pruner`, as runs log it.
    score : callable
        Pure function that scores the weights of one layer. Its parameters are `theta` and any others of `ARGUMENTS`.
        Functions of this package may also have the parameters

        - `penalty_grad`: gradient of the training's penalty for a weight decay of 1;
        - `class_grads`: gradients of the classes' mean losses (classes, *shape of theta).

        With the unit `filter`, the function either accepts `theta` and returns a score per filter, or accepts `maps`,
        the layer's feature maps of some images, and returns a score per image and filter.
    scope : {"global", "layer"}
        Whether all layers share one budget or each layer keeps the same share. `--scope` overrides it.
    unit : {"weight", "channel", "filter"}
        Unit that is kept or pruned as a whole:

        - `weight`: a single weight;
        - `channel`: an input channel, with all weights of its layer that read it;
        - `filter`: an output channel, with all parameters that make, scale or read it in any layer (see `filters`).
    choose : callable
        Function such as `masks.exact_k`, which makes masks from the scores, the number to keep and the candidates.
    ordinal : bool
        Whether scores are ranks within a layer, which cannot be compared across layers.
    prunes : bool
        False for a control that keeps every weight: its ratio is 1, and it has no schedule.
    stands_for : str
        Long form of a short name.
    other_names : tuple of str
        Names of the pruner in other software.
    digest : str, optional
        Digest of the source, if the score function is the user's own.

    Examples
    --------
    >>> from torch import tensor
    >>> largest = Pruner("largest", score=lambda theta: theta)
    >>> [mask.tolist() for mask in largest.masks([tensor([1.0, 4.0]), tensor([3.0, 5.0])], k=2)]
    [[False, True], [False, True]]
    >>> sorted(PRUNERS["up"].needs)
    ['epsilon', 'grad', 'penalty_grad']
    """

    name: str
    score: Callable[..., Tensor]
    scope: str = "global"
    unit: str = "weight"
    choose: masks.Choose = masks.exact_k
    ordinal: bool = False
    prunes: bool = True
    stands_for: str = ""
    other_names: tuple[str, ...] = ()
    digest: str | None = None

    def masks(
        self,
        scores: Sequence[Tensor],
        k: int | Sequence[int],
        candidates: Sequence[Tensor] | None = None,
        *,
        scope: str | None = None,
    ) -> list[Tensor]:
        """Turn the scores of all layers into masks.

        Parameters
        ----------
        scores : sequence of Tensor, one for each layer
        k : int, or sequence of int
            Number of weights (of filters, with the unit `filter`) to keep, in all layers together or in each layer.
        candidates : sequence of bool Tensor, shaped as `scores`, optional
            True for the scores to choose from; all by default.
        scope : {"global", "layer"}, optional
            Scope; the pruner's own by default. Ignored if `k` has a number for each layer.

        Returns
        -------
        list of bool Tensor, True where kept, shaped as `scores`

        Raises
        ------
        StudyError
            If a score is NaN or infinite.
        """
        if isinstance(k, int):
            if (scope or self.scope) == "global":
                return self.choose(scores, k, candidates)
            k = self.layer_counts([score.shape for score in scores], k)
        return masks.in_each_layer(self.choose, scores, k, candidates)

    def layer_counts(self, shapes: Sequence[Sequence[int]], kept_weights: int) -> list[int]:
        """Return the number of weights to keep in each layer if every layer keeps the same share of its units."""
        if self.unit == "channel":
            return budget.channel_counts(shapes, kept_weights)
        return budget.layer_counts([math.prod(shape) for shape in shapes], kept_weights)

    @property
    def needs(self) -> frozenset[str]:
        """Parameters of the score function other than `theta`.

        They are either `maps`, or any of `grad`, `penalty_grad`, `class_grads`, `epsilon` and `generator`.
        """
        return frozenset(inspect.signature(self.score).parameters) - {"theta"}

    @property
    def at_once(self) -> bool:
        """Whether the pruner prunes only trained networks, in one step, because it traces the network's filters."""
        return self.unit == "filter"


_of_layer = partial(Pruner, scope="layer")
_of_channels = partial(_of_layer, unit="channel", choose=structured.largest_channels)
_ALL = (
    Pruner("mp", scores.magnitude, stands_for="magnitude pruning", other_names=("magnitude", "l1")),
    Pruner("gp", scores.gradient, stands_for="gradient pruning", other_names=("gradient", "taylor")),
    Pruner("up", scores.undecayed, stands_for="undecayed pruning", other_names=("undecayed",)),
    Pruner("rp", scores.random, stands_for="random pruning", other_names=("random",)),
    Pruner("up-signed", scores.undecayed_signed, choose=masks.signed_quantile),
    Pruner("up-sum", scores.undecayed_sum),
    _of_layer("l1-unstructured", scores.magnitude),
    _of_layer("random-unstructured", scores.random),
    Pruner("global-unstructured", scores.magnitude),
    _of_channels("l1-structured", structured.l1_norm),
    _of_channels("l2-structured", structured.l2_norm),
    _of_channels("linf-structured", structured.linf_norm),
    _of_channels("random-structured", structured.random_channel),
    _of_layer("fairgrape", fairgrape.keeping_shares, ordinal=True),
    _of_layer("chip", channels.independence, unit="filter"),
    _of_layer("l1-filter", structured.filter_l1_norm, unit="filter"),
    Pruner("none", scores.unpruned, prunes=False),
)
# Each pruner by its name; `schema.BY_LAYER` and `schema.MITIGATING_PRUNERS` repeat what the analysis must know of them.
PRUNERS = {each.name: each for each in _ALL}
_OTHER_NAMES = {other: each for each in _ALL for other in each.other_names}


def pruner(name: str) -> Pruner:
    """Return a pruner by its name.

    Parameters
    ----------
    name : str
        A name of `PRUNERS`, or `package.module:function` for the user's own score function.

    Raises
    ------
    StudyError
        If the name is unknown; if the function cannot be imported, has no parameter `theta`, or has a parameter that is
        not in `ARGUMENTS`; or if its source has changed since this process imported it.
    """
    check_name(name)
    if name in PRUNERS:
        return PRUNERS[name]
    score = imports.import_callable(name, option=OPTION)
    own = _own_pruner(name, score)
    if own.digest != imports.source_digest(score, name):
        raise StudyError(f"the source of {name!r} has changed since it was imported: start again", option=OPTION)
    return own


def checked_name(name: str) -> str:
    """Return a valid pruner name, or raise a ValueError; nothing is imported."""
    if ":" in name or name in PRUNERS:
        return name
    named = _OTHER_NAMES.get(name.lower())
    otherwise = f"it takes {', '.join(PRUNERS)}, or package.module:name"
    meant = f"did you mean {named.name} ({named.stands_for})?" if named else ""
    raise ValueError(f"{name!r} is not a pruner: {meant or did_you_mean(name, PRUNERS, otherwise)}")


def check_name(name: str) -> None:
    """Check, without importing anything, that a name is a valid pruner name.

    Raises
    ------
    StudyError
        If the name is neither in `PRUNERS` nor an import path.
    """
    try:
        checked_name(name)
    except ValueError as error:
        raise StudyError(str(error), option=OPTION) from None


def prunes(name: str) -> bool:
    """Return whether a pruner prunes at all; a user's own score function always does."""
    return name not in PRUNERS or PRUNERS[name].prunes


def own_scope(name: str) -> str:
    """Return a pruner's default scope, which is `global` for a user's own score function."""
    return PRUNERS[name].scope if name in PRUNERS else Pruner.scope


def own_unit(name: str) -> str:
    """Return a pruner's unit, which is `weight` for a user's own score function."""
    return PRUNERS[name].unit if name in PRUNERS else Pruner.unit


def check_scope(name: str, scope: str) -> None:
    """Check that a pruner's scores can be compared over a scope.

    Raises
    ------
    StudyError
        If the scope is `global`, and the scores are those of channels or filters, or ranks within layers.
    """
    budget.check_scope(own_unit(name), scope)
    if scope == "global" and name in PRUNERS and PRUNERS[name].ordinal:
        raise StudyError(
            f"the pruner {name} compares weights within their layer: use layer, or omit the option", option="scope"
        )


def check_gradual(name: str, option: str) -> None:
    """Check that a pruner can prune gradually or iteratively.

    Raises
    ------
    StudyError
        If the pruner can only prune in one step.
    """
    if name in PRUNERS and PRUNERS[name].at_once:
        raise StudyError(
            f"the pruner {name} prunes only trained networks, in one step: choose another pruner", option=option
        )


@cache
def _own_pruner(name: str, score: Callable[..., Tensor]) -> Pruner:
    """Make a pruner from an imported score function. The cache keeps the digest of the source at the first call."""
    try:
        parameters = inspect.signature(score).parameters
    except (TypeError, ValueError):
        raise StudyError(
            f"{name!r} has no readable signature: wrap it in a function that takes some of {', '.join(ARGUMENTS)}",
            option=OPTION,
        ) from None
    if unknown := [parameter for parameter in parameters if parameter not in ARGUMENTS]:
        raise StudyError(
            f"{name!r} has the parameter {unknown[0]!r}: a score may take {', '.join(ARGUMENTS)}", option=OPTION
        )
    if "theta" not in parameters:
        raise StudyError(f"{name!r} has no parameter 'theta', the weights to be scored", option=OPTION)
    for parameter in parameters.values():
        if parameter.kind is parameter.POSITIONAL_ONLY:
            raise StudyError(f"{name!r} takes {parameter.name!r} by position only: leave out the '/'", option=OPTION)
        if parameter.default is not parameter.empty:
            raise StudyError(
                f"{name!r} has a default for {parameter.name!r}, but runs always give a value: leave out the default",
                option=OPTION,
            )
    return Pruner(name, score, digest=imports.source_digest(score, name))
