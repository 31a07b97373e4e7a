"""Protocols: the defaults that follow the text of Good et al. (2022), and those that follow their released code."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from analysis.runs.schema import PAPERS_EPSILON
from pruning_study.pruning import pruners
from pruning_study.pruning.budget import Budget
from pruning_study.pruning.pruners import Pruner

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Protocol:
    """Defaults of options that are not given, and rules that no option changes.

    Parameters
    ----------
    name : str
        Value of `--protocol`, as runs log it.
    gradient_objective : {"regularized", "data"}
        Whether the gradient is that of the loss with weight decay, or of the data loss alone.
    gradient_batches : int or None
        Batches that the gradient is averaged over; None for the whole training set.
    gradient_mode : {"eval", "train"}
        Whether the gradient is taken with BatchNorm's running statistics, or with batch statistics and augmented
        images.
    weight_decay : float or None
        Weight decay of every training; None for the weight decay of the recipe.
    epsilon : float or None
        Weight of the undecay term; None for the weight decay or, if the weight decay is 0, for
        `schema.PAPERS_EPSILON`.
    budget : callable
        Returns the `Budget` of a model, given the names of its prunable weights and of its unused parameters.
    selects_on_test : bool
        Whether to keep the epoch with the lowest test loss in the last learning-rate phase, instead of the epoch with
        the lowest validation loss.
    replaces : mapping of str to str
        Names of pruners, and of the pruner that is used instead of each.
    """

    name: str
    gradient_objective: str
    gradient_batches: int | None
    gradient_mode: str
    weight_decay: float | None
    epsilon: float | None
    budget: Callable[[nn.Module, Sequence[str], Collection[str]], Budget]
    selects_on_test: bool
    replaces: Mapping[str, str] = field(default_factory=dict)

    def pruner(self, name: str) -> Pruner:
        """Return the pruner that the protocol uses for a name; raise a StudyError as `pruners.pruner` does."""
        return pruners.pruner(self.replaces.get(name, name))


PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        Protocol(
            name="paper",
            gradient_objective="regularized",
            gradient_batches=None,
            gradient_mode="eval",
            weight_decay=None,
            epsilon=None,
            budget=Budget.exact,
            selects_on_test=False,
        ),
        Protocol(
            name="released",
            gradient_objective="data",
            gradient_batches=1,
            gradient_mode="train",
            weight_decay=0.0,
            epsilon=PAPERS_EPSILON,
            budget=Budget.counting_biases,
            selects_on_test=True,
            replaces={"up": "up-signed"},
        ),
    )
}
