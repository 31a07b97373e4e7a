"""Whether the two engines train equally good networks: accuracy and alpha of a small residual network.

    OMP_NUM_THREADS=1 python benchmarks/equivalence.py [--seeds 16] [--epochs 3]

For each seed, each engine trains a network on the embedded data set, prunes it by magnitude and fine-tunes it, from the
same weights and with the same batches and crops. The engines round differently, and training magnifies the difference:
a seed's two networks differ as if they had different seeds. The table gives the mean of each engine over the seeds, and
the mean difference (native minus torch) with its 95 % interval, paired by seed.
"""

from dataclasses import replace
from pathlib import Path

import click
import numpy as np
import torch
from torch import nn

from analysis.statistics.intensification import alpha
from analysis.statistics.recalls import Recalls, class_metrics
from analysis.statistics.resampling import mean_interval
from pruning_study.data import datasets
from pruning_study.data.examples import Examples, Normalization, to_device
from pruning_study.models.initial_weights import draw_normal
from pruning_study.models.resnet import BasicBlock
from pruning_study.pruning.budget import Budget, prunable
from pruning_study.pruning.masks import Masks, exact_k
from pruning_study.training.engines import TORCH, Engine
from pruning_study.training.loop import fit
from pruning_study.training.native import engine as native
from pruning_study.training.recipes import RECIPES, Phase
from pruning_study.training.setup import TrainingSetup

RATIO = 4
MEASURES = ("accuracy, dense", "accuracy, pruned", "alpha")


@click.command()
@click.option("--seeds", default=16, show_default=True, type=click.IntRange(min=2))
@click.option(
    "--epochs", default=3, show_default=True, type=click.IntRange(min=1), help="Epochs at the full learning rate."
)
def main(seeds: int, epochs: int) -> None:
    """Train with both engines, print one table."""
    torch.set_num_threads(1)
    data = datasets.load(datasets.MINI, data_dir=Path())
    normalization = Normalization(*datasets.normalization(data.train_images))
    train, test = (
        to_device(images, labels, normalization, "cpu", torch.contiguous_format)
        for images, labels in ((data.train_images, data.train_labels), (data.test_images, data.test_labels))
    )
    results = np.empty((2, seeds, len(MEASURES)))
    for seed in range(seeds):
        for engine, row in zip((native.load(network(seed), data.image_shape), TORCH), results, strict=True):
            row[seed] = trained_and_pruned(engine, seed, epochs, train, test, normalization)
        print(f"seed {seed}: native, torch {results[:, seed].round(3).tolist()}", flush=True)
    print(f"{'':<20}{'native':>10}{'torch':>10}{'difference':>12}{'95 % interval':>22}")
    for name, ours, theirs in zip(MEASURES, results[0].T, results[1].T, strict=True):
        low, high = mean_interval(ours - theirs)
        difference = f"{(ours - theirs).mean():12.4f}{low:12.4f} to {high:.4f}"
        print(f"{name:<20}{ours.mean():10.4f}{theirs.mean():10.4f}{difference}")


def trained_and_pruned(
    engine: Engine, seed: int, epochs: int, train: Examples, test: Examples, normalization: Normalization
) -> tuple[float, float, float]:
    """Return accuracy before and after pruning, and alpha."""
    model = network(seed)
    settings = replace(RECIPES["resnet-cifar"].dense, phases=(Phase(epochs, 0.1), Phase(1, 0.01)))
    training = TrainingSetup(train, test, settings, seed, "dense", normalization.black, engine)
    fit(model, training)
    before, accuracy_before = balance(engine, model, test)
    fit(model, replace(training, stream="fine-tuning", masks=magnitude_masks(model)))
    after, accuracy_after = balance(engine, model, test)
    return accuracy_before, accuracy_after, float(alpha(before, after))


def network(seed: int) -> nn.Module:
    """Return a residual network of 8 and 16 channels, with one block of stride 1 and one of stride 2."""
    torch.manual_seed(seed)
    model = nn.Sequential(
        *(nn.Conv2d(1, 8, 3, 2, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU()),
        *(BasicBlock(8, 8, 1), BasicBlock(8, 16, 2)),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10)),
    )
    draw_normal(model)
    return model


def balance(engine: Engine, model: nn.Module, test: Examples) -> tuple[np.ndarray, float]:
    """Return the recall balance of a network, and its accuracy."""
    predicted = engine.logits(model, test.images).argmax(1).numpy()
    label = test.labels.numpy()
    accuracy = float((predicted == label).mean())
    return Recalls(class_metrics(label, predicted, 10).recall, accuracy).balance, accuracy


def magnitude_masks(model: nn.Module) -> Masks:
    names = prunable(model)
    scores = [model.get_parameter(name).detach().abs() for name in names]
    return dict(zip(names, exact_k(scores, Budget.exact(model, names).kept_weights(RATIO)), strict=True))


if __name__ == "__main__":
    main()
