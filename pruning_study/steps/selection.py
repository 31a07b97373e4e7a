"""The weights that a setting keeps: its pruner's scores become masks."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from pruning_study.data.examples import generator
from pruning_study.pruning import masks
from pruning_study.pruning.masks import Masks
from pruning_study.pruning.scores import PRUNERS, needs
from pruning_study.steps.settings import PruneSetting
from pruning_study.training import gradients


def select(
    setting: PruneSetting,
    model: nn.Module,
    theta: Mapping[str, Tensor],
    kept: int,
    among: Masks | None = None,
    *,
    gradient: Mapping[str, Tensor] | None = None,
) -> Masks:
    """Masks that keep the weights with the largest scores of the setting's pruner.

    Parameters
    ----------
    setting : PruneSetting
    model : nn.Module
        Where the gradient is taken.
    theta : mapping of state-dict names to Tensors
        The prunable weights that are scored.
    kept : int
        How many to keep.
    among : dict of state-dict names to bool Tensors, optional
        Those to choose from; all by default.
    gradient : mapping of state-dict names to Tensors, optional
        Of the data loss over the whole training set, where it is known.

    Returns
    -------
    dict of state-dict names to bool Tensors, True where kept

    Raises
    ------
    StudyError
        Where a score is NaN or infinite.
    """
    if kept == setting.budget.prunable:
        return {name: torch.ones_like(tensor, dtype=torch.bool) for name, tensor in theta.items()}
    needed = needs(setting.pruner)
    arguments: dict[str, object] = {}
    if "epsilon" in needed:
        arguments["epsilon"] = setting.epsilon
    if "generator" in needed:
        arguments["generator"] = generator(setting.config.seed, "random pruning")
    grad = _objective_gradient(setting, model, theta, gradient) if "grad" in needed else {}
    scores = [
        PRUNERS[setting.pruner](tensor, **arguments, **({"grad": grad[name]} if grad else {}))
        for name, tensor in theta.items()
    ]
    mask = masks.signed_quantile if setting.pruner == "up-signed" else masks.exact_k
    chosen = mask(scores, kept, [among[name] for name in theta] if among else None)
    return dict(zip(theta, chosen, strict=True))


def _objective_gradient(
    setting: PruneSetting, model: nn.Module, theta: Mapping[str, Tensor], gradient: Mapping[str, Tensor] | None
) -> dict[str, Tensor]:
    if setting.gradient_batches or setting.gradient_mode == "train":
        gradient = gradients.sampled_gradient(
            model,
            setting.train,
            batches=setting.gradient_batches,
            mode=setting.gradient_mode,
            batch_size=setting.schedule.batch_size,
            augmentation=setting.schedule.augmentation,
            black=setting.normalization.black,
            seed=setting.config.seed,
        )
    gradient = gradient or setting.engine.gradient(model, setting.train)
    weight_decay = setting.schedule.weight_decay if setting.gradient_objective == "regularized" else 0.0
    return {name: gradient[name] + weight_decay * tensor for name, tensor in theta.items()}
