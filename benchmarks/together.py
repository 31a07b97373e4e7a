"""ResNet-20s trained together, as one batched model, against the same networks one after the other.

    python benchmarks/together.py [--device cuda] [--networks 8] [--images 10240] [--rounds 3] [--data-dir data]

A round trains an epoch of all networks together and then of each alone, so that other load of the machine meets both
alike. The first round only warms up. Evaluation is not timed. The ratio is the median over the rounds.
"""

import statistics
from pathlib import Path

import click
import torch
from torch import nn
from training_loop import build, cifar10_subset, data_dir_option, examples, load, one_epoch

from pruning_study.data.datasets import Dataset
from pruning_study.data.examples import Examples
from pruning_study.training.loop import TrainingSetup, fit
from pruning_study.training.together import fit_together

EPOCHS = 60  # of the recipe, for networks per hour


@click.command()
@click.option("--device", default="cuda" if torch.cuda.is_available() else "cpu", show_default=True)
@click.option("--networks", default=8, show_default=True, type=click.IntRange(min=2), help="Trained at once.")
@click.option("--images", default=10240, show_default=True, type=click.IntRange(min=128), help="Images of an epoch.")
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(min=1))
@data_dir_option
def main(device: str, networks: int, images: int, rounds: int, data_dir: Path) -> None:
    """Time both ways to train, and print a table."""
    data = cifar10_subset(data_dir, images)
    if data is None:
        return
    print(f"{networks} ResNet-20 on {device}, {images:,} images an epoch, torch {torch.__version__}, {load()}")
    models = [_model(data, seed).to(device) for seed in range(networks)]
    trainings = [_training(data, seed, device) for seed in range(networks)]
    speeds = [_round(models, trainings) for _ in range(rounds + 1)][1:]
    together, alone = (statistics.median(speed) for speed in zip(*speeds, strict=True))
    for name, speed in (("one after the other", alone), ("together", together)):
        hourly = 3600 * speed / (len(data.train_labels) * EPOCHS)
        print(f"{name:<20}{speed:10,.0f} images/s{hourly:10,.1f} networks an hour, of {EPOCHS} such epochs")
    print(f"ratio {statistics.median(first / second for first, second in speeds):.2f}")


def _round(models: list[nn.Module], trainings: list[TrainingSetup]) -> tuple[float, float]:
    """Return images per second together and one after the other."""
    together = fit_together(models, trainings)[0].images_per_second
    seconds = [1 / fit(model, training).images_per_second for model, training in zip(models, trainings, strict=True)]
    return together, len(seconds) / sum(seconds)


def _model(data: Dataset, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return build("resnet20", data).to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def _training(data: Dataset, seed: int, device: str) -> TrainingSetup:
    train, normalization = examples(data, torch.channels_last, device)
    validation = Examples(train.images[:128], train.labels[:128])
    return TrainingSetup(train, validation, one_epoch("resnet20"), seed, "benchmark", normalization.black)


if __name__ == "__main__":
    main()
