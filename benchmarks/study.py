"""Finished runs per hour of a study, everything included, compared with a plain script.

    python benchmarks/study.py [--data-dir data] [--seeds 4] [--ratios 2,10] [--epochs 6] [--fine-tune-epochs 3]
                               [--images 60000] [--workers 1,2] [--plain-seeds 1]

Study and script train LeNet5 and prune it by magnitude. The study is the command `pruning-study study` with an empty
store, timed from its start to its end: imports, store, training, predictions, pictures and artifacts. The plain script
trains the same dense models and fine-tunes the same pruned ones, one after the other, in the loop of
`training_loop.py`: a DataLoader with single PIL images and two workers. The script validates every epoch, keeps the
best one, predicts the test images, and logs nothing. It may run fewer seeds, since each takes the same time. The
accuracies in the table show that both train alike.
"""

import copy
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import click
import numpy as np
import torch
from mlflow import MlflowClient
from torch import Tensor, nn
from torch.utils.data import DataLoader, Subset
from training_loop import (
    WORKERS,
    PictureDataset,
    data_dir_option,
    fashion_mnist,
    load,
    magnitude_masks,
    one_epoch,
    plain_lenet5,
)

from analysis.runs import schema
from pruning_study.data.datasets import Dataset
from pruning_study.data.labels import split


@click.command()
@data_dir_option
@click.option("--seeds", default=4, show_default=True, type=click.IntRange(min=1), help="Number of seeds of the study.")
@click.option(
    "--plain-seeds",
    default=1,
    show_default=True,
    type=click.IntRange(min=1),
    help="Number of seeds of the plain script.",
)
@click.option("--ratios", default="2,10", show_default=True, help="Pruning ratios.")
@click.option("--epochs", default=6, show_default=True, type=click.IntRange(min=1), help="Epochs of dense training.")
@click.option(
    "--fine-tune-epochs", default=3, show_default=True, type=click.IntRange(min=1), help="Epochs after pruning."
)
@click.option("--images", default=60_000, show_default=True, type=click.IntRange(min=1280), help="Training images.")
@click.option(
    "--workers", default="1,2", show_default=True, help="Numbers of worker processes; a study is run with each."
)
def main(
    data_dir: Path,
    seeds: int,
    plain_seeds: int,
    ratios: str,
    epochs: int,
    fine_tune_epochs: int,
    images: int,
    workers: str,
) -> None:
    """Time the plain script and the studies, print one table."""
    whole = fashion_mnist(data_dir)
    data = replace(whole, train_images=whole.train_images[:images], train_labels=whole.train_labels[:images])
    numbers = [float(ratio) for ratio in ratios.split(",")]
    runs = 1 + len(numbers)
    print(f"{os.cpu_count()} cores, torch {torch.__version__}, {load()}")
    print(f"{data.name}, {len(data.train_labels):,} images; {epochs} + {fine_tune_epochs} epochs, ratios {ratios}")
    print(f"{'':<26}{'runs':>6}{'seconds':>9}{'runs/h':>9}{'ratio':>8}{'accuracy: dense':>17}{'pruned':>8}")
    start = time.perf_counter()
    accuracies = plain_script(data, range(plain_seeds), numbers, epochs, fine_tune_epochs)
    first = line("plain script", plain_seeds * runs, time.perf_counter() - start, accuracies, None)
    for count in workers.split(","):
        with tempfile.TemporaryDirectory() as folder:
            seconds, accuracies = study(Path(folder), data, seeds, numbers, epochs, fine_tune_epochs, int(count))
        line(f"study, workers {count}", seeds * runs, seconds, accuracies, first)
    print(f"{load()} at the end")


def line(name: str, runs: int, seconds: float, accuracies: tuple[float, float], first: float | None) -> float:
    """Print a line of the table, and return its runs per hour."""
    pace = 3600 * runs / seconds
    ratio = pace / first if first else 1.0
    dense, pruned = accuracies
    print(f"{name:<26}{runs:6}{seconds:9.1f}{pace:9,.0f}{ratio:7.2f}x{dense:17.3f}{pruned:8.3f}", flush=True)
    return pace


def study(
    folder: Path, data: Dataset, seeds: int, ratios: list[float], epochs: int, fine_tune_epochs: int, workers: int
) -> tuple[float, tuple[float, float]]:
    """Return the seconds that the command takes, and the mean accuracies of its dense and of its pruned runs."""
    parts = {"train": (data.train_images, data.train_labels), "test": (data.test_images, data.test_labels)}
    arrays = {f"{part}_labels": labels for part, (_, labels) in parts.items()}
    arrays |= {f"{part}_images": images.transpose(0, 2, 3, 1) for part, (images, _) in parts.items()}
    np.savez(folder / "images.npz", **arrays)
    (folder / "study.yaml").write_text(
        f"dataset: images.npz\nmodel: lenet5\npruner: mp\nratio: {ratios}\nseed: 0-{seeds - 1}\n"
        f"epochs: {epochs}\nfine_tune_epochs: {fine_tune_epochs}\n"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    command = [sys.executable, "-m", "pruning_study", "study", "study.yaml", "--workers", str(workers)]
    start = time.perf_counter()
    subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True)
    seconds = time.perf_counter() - start
    client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
    means = []
    for kind in (schema.DENSE, schema.PRUNED):
        runs = client.search_runs(["0"], f"tags.{schema.KIND} = '{kind}'")
        means.append(float(np.mean([run.data.metrics[schema.TEST_ACCURACY] for run in runs])))
    return seconds, (means[0], means[1])


def plain_script(
    data: Dataset, seeds: range, ratios: list[float], epochs: int, fine_tune_epochs: int
) -> tuple[float, float]:
    """Train and prune one model after the other; return the mean accuracies of the dense and of the pruned ones."""
    torch.set_num_threads(1)  # the fastest setting with two workers on two cores
    test = DataLoader(PictureDataset(_test_as_train(data), augmented=False), batch_size=128, num_workers=WORKERS)
    dense_accuracies, pruned_accuracies = [], []
    for seed in seeds:
        torch.manual_seed(seed)
        indices = split(data.train_labels, 0.1, seed)
        pictures = PictureDataset(data, augmented=False)
        train, validation = (
            DataLoader(Subset(pictures, part.tolist()), 128, shuffle=shuffle, num_workers=WORKERS)
            for part, shuffle in zip(indices, (True, False), strict=True)
        )
        dense = plain_fit(plain_lenet5(), train, validation, epochs, {})
        dense_accuracies.append(accuracy(dense, test)[1])
        for ratio in ratios:
            pruned = copy.deepcopy(dense)
            masks = magnitude_masks(pruned, ratio)
            pruned_accuracies.append(accuracy(plain_fit(pruned, train, validation, fine_tune_epochs, masks), test)[1])
    return float(np.mean(dense_accuracies)), float(np.mean(pruned_accuracies))


def _test_as_train(data: Dataset) -> Dataset:
    return replace(data, train_images=data.test_images, train_labels=data.test_labels)


def plain_fit(
    model: nn.Module, train: DataLoader, validation: DataLoader, epochs: int, masks: dict[str, Tensor]
) -> nn.Module:
    """Train a model; return the model of the epoch with the lowest validation loss."""
    recipe = one_epoch("lenet5")
    optimizer = torch.optim.SGD(model.parameters(), lr=recipe.learning_rate, momentum=recipe.momentum, nesterov=True)
    criterion = nn.CrossEntropyLoss()
    masked = [(model.get_parameter(name), mask) for name, mask in masks.items()]
    best, best_loss = model, float("inf")
    for _ in range(epochs):
        model.train()
        for images, labels in train:
            for parameter, mask in masked:
                parameter.data.mul_(mask)
            optimizer.zero_grad()
            logits = model(images)
            loss = criterion(logits, labels)
            loss.backward()
            optimizer.step()
            loss.item()
            (logits.argmax(1) == labels).sum().item()
        for parameter, mask in masked:
            parameter.data.mul_(mask)
        val_loss, _ = accuracy(model, validation)
        if val_loss < best_loss:
            best, best_loss = copy.deepcopy(model), val_loss
    return best


def accuracy(model: nn.Module, loader: DataLoader) -> tuple[float, float]:
    """Return the mean loss, and the share of the images that are predicted right."""
    model.eval()
    loss, right, count = 0.0, 0, 0
    with torch.no_grad():
        for images, labels in loader:
            logits = model(images)
            loss += nn.functional.cross_entropy(logits, labels, reduction="sum").item()
            right += int((logits.argmax(1) == labels).sum().item())
            count += len(labels)
    return loss / count, right / count


if __name__ == "__main__":
    main()
