"""Select the weights that a plan keeps: turn its pruner's scores into masks."""

import copy
from collections.abc import Mapping, Sequence
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn

from analysis.common.errors import StudyError
from pruning_study.data.examples import Examples, generator, seeded
from pruning_study.models.plain_layers import with_plain_layers
from pruning_study.pruning import filters, sparse_training
from pruning_study.pruning.coupled import inputs_second
from pruning_study.pruning.filters import Filters
from pruning_study.pruning.masks import Masks
from pruning_study.pruning.pruners import OPTION, Pruner
from pruning_study.pruning.sparse_training import Exchange
from pruning_study.steps.context import Context
from pruning_study.steps.plan import PrunePlan, Pruning
from pruning_study.training import gradients

# Number of images whose feature maps are scored, and batch size: five batches, as in the code of Sui et al. (2021).
MAP_IMAGES, _BATCH = 640, 128


def select(
    pruning: Pruning,
    context: Context,
    model: nn.Module,
    theta: Mapping[str, Tensor],
    kept_weights: int | Sequence[int],
    candidates: Masks | None = None,
    *,
    gradient: Mapping[str, Tensor] | None = None,
) -> Masks:
    """Return masks that keep the weights with the largest scores of the pruner.

    Parameters
    ----------
    pruning : Pruning
    context : Context
    model : nn.Module
        The model at whose weights the gradient is computed.
    theta : mapping of state-dict names to Tensors
        The prunable weights that are scored.
    kept_weights : int, or sequence of int
        Number of weights to keep, in total or in each layer.
    candidates : dict of state-dict names to bool Tensors, optional
        The weights to choose from; all by default.
    gradient : mapping of state-dict names to Tensors, optional
        The gradient of the data loss over the whole training set, if it is known.

    Returns
    -------
    dict of state-dict names to bool Tensors, True where kept

    Raises
    ------
    StudyError
        If a score is NaN or infinite, or if a score function of the user's own fails or returns no score.
    """
    if (kept_weights if isinstance(kept_weights, int) else sum(kept_weights)) == pruning.budget.prunable:
        return {name: torch.ones_like(tensor, dtype=torch.bool) for name, tensor in theta.items()}
    pruner, seed, training = pruning.pruner, pruning.options.seed, pruning.dense.hyperparameters
    arranged = partial(inputs_second, model) if pruner.unit == "channel" else dict
    theta, candidates = arranged(_in_single_precision(theta)), arranged(candidates or {})
    shared: dict[str, object] = {}
    if "epsilon" in pruner.needs:
        shared["epsilon"] = pruning.epsilon
    if "generator" in pruner.needs:
        shared["generator"] = generator(seed, "random pruning")
    of_layers: dict[str, Mapping[str, Tensor]] = {}
    if "grad" in pruner.needs:
        of_layers["grad"] = _objective_gradient(pruning, context, model, theta, gradient)
    if "penalty_grad" in pruner.needs:
        of_layers["penalty_grad"] = {name: training.penalty_gradient(tensor) for name, tensor in theta.items()}
    if "class_grads" in pruner.needs:
        of_layers["class_grads"] = _class_gradients(context, model, theta)
    # The scoring is seeded, because a user's score function may draw from torch's global generator.
    with seeded(seed, "scores", next(iter(theta.values())).device):
        scores = [
            _score(pruner, name, theta[name], shared | {need: tensors[name] for need, tensors in of_layers.items()})
            for name in theta
        ]
    candidate_masks = [candidates[name] for name in theta] if candidates else None
    masks = pruner.masks(scores, kept_weights, candidate_masks, scope=pruning.scope)
    return arranged(dict(zip(theta, masks, strict=True)))


def sparse_from_start(plan: PrunePlan, context: Context, theta: Mapping[str, Tensor]) -> tuple[Masks, Exchange]:
    """Return random masks for training that is sparse from the start, and the exchange that changes them.

    Parameters
    ----------
    plan : PrunePlan
        With the scope `layer`, every layer keeps the same share of weights; otherwise `layer_numbers` sets how many
        weights each layer keeps.
    context : Context
    theta : mapping of state-dict names to Tensors
        The prunable weights.
    """
    seed, size = plan.options.seed, plan.pruning.dense.hyperparameters.batch_size
    kept_numbers = cast(Mapping[int, int], plan.kept_numbers)
    numbers = sparse_training.equal_numbers if plan.pruning.scope == "layer" else sparse_training.layer_numbers
    of_layers = numbers([weights.shape for weights in theta.values()], kept_numbers[0])

    def gradient(model: nn.Module, batch: int) -> dict[str, Tensor]:
        """Return the gradient of the loss on a random batch of training images, in eval mode."""
        order = torch.randperm(len(context.train), generator=generator(seed, f"growth {batch}"))
        images = Examples(*context.train.batch(order[:size].to(context.train.labels.device)))
        return context.engine.gradient(model, images)

    return (
        sparse_training.random_masks(theta, of_layers, generator(seed, "sparse start")),
        Exchange(plan.options.schedule, kept_numbers, lambda batch: generator(seed, f"exchange {batch}"), gradient),
    )


def select_filters(plan: PrunePlan, context: Context, model: nn.Module, theta: Mapping[str, Tensor]) -> Masks:
    """Return masks that keep the filters with the largest scores of the plan's pruner.

    Parameters
    ----------
    plan : PrunePlan
    context : Context
    model : nn.Module
        The model whose feature maps are scored, if the pruner scores feature maps.
    theta : mapping of state-dict names to Tensors
        The model's prunable weights.

    Returns
    -------
    dict of state-dict names to bool Tensors, True where kept
        The dict also has masks of the filters' biases and BatchNorm parameters.

    Raises
    ------
    StudyError
        If a score is NaN or infinite.
    """
    numbers, pruner, removable = plan.filter_numbers, plan.pruning.pruner, plan.pruning.filters
    assert removable is not None
    if "maps" in pruner.needs:
        scores = _map_scores(pruner, removable, plan.options.seed, model, context.train)
    else:
        scores = {name: pruner.score(theta=made) for name, made in filters.weights(removable, theta).items()}
    channel_masks = pruner.masks([scores[name] for name in numbers], list(numbers.values()))
    full_masks = {name: torch.ones_like(tensor, dtype=torch.bool) for name, tensor in theta.items()}
    return full_masks | filters.masks(removable, dict(zip(numbers, channel_masks, strict=True)))


def _map_scores(pruner: Pruner, removable: Filters, seed: int, model: nn.Module, train: Examples) -> dict[str, Tensor]:
    """Score each filter's feature maps, and average the scores over random training images without augmentation."""
    model = copy.deepcopy(model).eval()
    order = torch.randperm(len(train), generator=generator(seed, "feature maps"))
    batches = order[:MAP_IMAGES].to(train.labels.device).split(_BATCH)
    sums: dict[str, Tensor] = {}
    network = with_plain_layers(model, train.batch(batches[0][:1])[0].shape[1:])
    with torch.no_grad(), filters.feature_maps(model, removable) as maps:
        for batch in batches:
            network(train.batch(batch)[0])
            for name, of_layer in maps.items():
                sums[name] = sums.get(name, 0) + pruner.score(maps=of_layer).sum(0)
    return {name: total / min(MAP_IMAGES, len(order)) for name, total in sums.items()}


def _score(pruner: Pruner, name: str, theta: Tensor, arguments: Mapping[str, object]) -> Tensor:
    subject = f"{pruner.name} on {name}"
    try:
        with torch.no_grad():
            score = pruner.score(theta=theta.clone(), **arguments)  # a user's function may work in place
    except Exception as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise StudyError(f"{subject} fails: {reason}", option=OPTION) from error
    shape = tuple(theta.shape)
    if not isinstance(score, Tensor):
        raise StudyError(f"{subject} returns {type(score).__name__}: return a tensor of shape {shape}", option=OPTION)
    if score.shape != theta.shape or score.is_complex():
        raise StudyError(
            f"{subject} returns {score.dtype} of shape {tuple(score.shape)}: return real numbers of shape {shape}",
            option=OPTION,
        )
    return score.to(theta.device)


def _in_single_precision(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors as float32 where their numbers are narrower, because many scores would be equal, or 0."""
    return {name: tensor.to(torch.promote_types(tensor.dtype, torch.float32)) for name, tensor in tensors.items()}


def _objective_gradient(
    pruning: Pruning,
    context: Context,
    model: nn.Module,
    theta: Mapping[str, Tensor],
    gradient: Mapping[str, Tensor] | None,
) -> dict[str, Tensor]:
    training, batches = pruning.dense.hyperparameters, pruning.gradient_batches
    if batches or pruning.gradient_mode == "train":
        gradient = gradients.sampled_gradient(
            model,
            context.train,
            context.engine.mean_gradient,
            batches=batches,
            mode=pruning.gradient_mode,
            batch_size=training.batch_size,
            augmentation=training.augmentation,
            black=context.normalization.black,
            seed=pruning.options.seed,
        )
    gradient = _in_single_precision(gradient or context.engine.gradient(model, context.train))
    weight_decay = training.weight_decay if pruning.gradient_objective == "regularized" else 0.0
    return {name: gradient[name] + weight_decay * training.penalty_gradient(tensor) for name, tensor in theta.items()}


def _class_gradients(context: Context, model: nn.Module, theta: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return, for each class, the gradient of its training images' mean cross-entropy: (classes, *shape)."""
    train = context.train
    of_classes = [
        context.engine.gradient(model, Examples(*train.batch((train.labels == label).nonzero().flatten())))
        for label in range(len(context.data.classes))
    ]
    return {name: torch.stack([gradient[name] for gradient in of_classes]) for name in theta}
