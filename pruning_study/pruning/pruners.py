"""Pruners by name: each has a score function, and says how its scores become masks."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from analysis.common import imports
from analysis.common.errors import StudyError
from analysis.common.lazy_imports import imported
from analysis.runs.options import registry
from analysis.runs.options.values import choice_or_import_path
from pruning_study.pruning import budget, masks

if TYPE_CHECKING:
    from torch import Tensor

ARGUMENTS = ("theta", "grad", "epsilon", "generator")
OPTION = "pruner"


@dataclass(frozen=True)
class Pruner:
    """A way to choose the weights that are kept.

    Parameters
    ----------
    name : str
        The name that `--pruner` takes and that runs log.
    score : callable
        A pure function that scores the weights of one layer. Its parameters are `theta` and others of `ARGUMENTS` that
        it needs. It may also take `penalty_grad`, the gradient of the training's penalty for a weight decay of 1, and
        `class_grads`, the gradients of the classes' mean losses (classes, *shape of theta). With the unit `filter` it
        takes `theta` and returns the score of each filter, or it takes `maps`, the layer's feature maps of some images,
        and returns the score of each filter for each image.
    scope : {"global", "layer"}
        Whether the budget is shared by all layers, or every layer keeps the same share. `--scope` overrides it.
    unit : {"weight", "channel", "filter"}
        The unit that is kept or pruned as a whole: a weight; an input channel, which is all weights of a layer that
        read it; or a filter, an output channel with all that makes, scales or reads it in any layer (`filters`).
    choose : callable
        Turns the scores, the number to keep, and the masks to choose from into masks, as `masks.exact_k` does.
    ordinal : bool
        Whether scores are ranks within the layer, which cannot be compared with another layer's.
    prunes : bool
        False for a control that keeps every weight: its ratio is 1, and it has no schedule.
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
            Number of weights to keep in all layers together, or of each layer.
        candidates : sequence of bool Tensor, shaped as `scores`, optional
            The scores to choose from; all by default.
        scope : {"global", "layer"}, optional
            The pruner's own by default. If `k` has a number for each layer, it is always `layer`.

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
        """Return how many weights each layer keeps so that every layer keeps the same share of its units."""
        if self.unit == "channel":
            return budget.channel_counts(shapes, kept_weights)
        return budget.layer_counts([math.prod(shape) for shape in shapes], kept_weights)

    @property
    def needs(self) -> frozenset[str]:
        """The parameters of the score beside the weights.

        Some of `grad`, `penalty_grad`, `class_grads`, `epsilon` and `generator`; or `maps`.
        """
        return frozenset(inspect.signature(self.score).parameters) - {"theta"}

    @property
    def at_once(self) -> bool:
        """Whether it can only prune a trained network at once, because filters are followed through that network."""
        return self.unit == "filter"


PRUNERS = {
    name: Pruner(
        name,
        imported(f"pruning_study.pruning.{record.score}"),
        scope=record.scope,
        unit=record.unit,
        choose=imported(f"pruning_study.pruning.{record.choose}"),
        ordinal=record.ordinal,
        prunes=record.prunes,
    )
    for name, record in registry.PRUNERS.items()
}


def pruner(name: str) -> Pruner:
    """Return the pruner of that name.

    Parameters
    ----------
    name : str
        A name of `PRUNERS`, or `package.module:function` for the user's own score function.

    Raises
    ------
    StudyError
        If the name is unknown; if the function cannot be imported, takes no `theta`, or takes something that is not
        in `ARGUMENTS`; or if its source has changed since this process imported it.
    """
    check_name(name)
    if name in PRUNERS:
        return PRUNERS[name]
    score = imports.import_callable(name, option=OPTION)
    own = _own_pruner(name, score)
    if own.digest != imports.source_digest(score, name):
        raise StudyError(f"the source of {name!r} has changed since it was imported: start again", option=OPTION)
    return own


def check_name(name: str) -> None:
    """Check that a name may be a pruner's, without importing anything.

    Raises
    ------
    StudyError
        If the name is neither in `PRUNERS` nor an import path.
    """
    try:
        choice_or_import_path(PRUNERS, "pruner")(name)
    except ValueError as error:
        raise StudyError(str(error), option=OPTION) from None


def prunes(name: str) -> bool:
    """Return whether a pruner prunes at all; the user's own score function always does."""
    return name not in PRUNERS or PRUNERS[name].prunes


def own_scope(name: str) -> str:
    """Return a pruner's default scope; that of the user's own score function is global."""
    return PRUNERS[name].scope if name in PRUNERS else Pruner.scope


def own_unit(name: str) -> str:
    """Return the unit that a pruner keeps or prunes; the user's own score function prunes single weights."""
    return PRUNERS[name].unit if name in PRUNERS else Pruner.unit


def check_scope(name: str, scope: str) -> None:
    """Check that a pruner's scores can be compared over a scope.

    Raises
    ------
    StudyError
        If channels, filters or ranks within layers are to be compared over all layers.
    """
    budget.check_scope(own_unit(name), scope)
    if scope == "global" and name in PRUNERS and PRUNERS[name].ordinal:
        raise StudyError(
            f"the pruner {name} compares weights within their layer: take layer, or leave it out", option="scope"
        )


def check_gradual(name: str, option: str) -> None:
    """Check that a pruner can prune gradually or iteratively.

    Raises
    ------
    StudyError
        If it can only prune at once.
    """
    if name in PRUNERS and PRUNERS[name].at_once:
        raise StudyError(f"the pruner {name} can only prune a trained network at once: take another", option=option)


@cache
def _own_pruner(name: str, score: Callable[..., Tensor]) -> Pruner:
    """Return the record of an imported score function, whose source is read when the function is first used."""
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
                f"{name!r} has a default for {parameter.name!r}, which the run gives: leave out the default",
                option=OPTION,
            )
    return Pruner(name, score, digest=imports.source_digest(score, name))
