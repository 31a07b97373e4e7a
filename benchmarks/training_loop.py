"""Training images per second of the project's engines against a plain DataLoader loop.

    python benchmarks/training_loop.py [--rounds 5] [--data-dir data] [--resnet-images 2560] [--resnet-threads 1]
    python benchmarks/training_loop.py --precisions

Each comparison starts the processes of all its loops, lets each train a warm-up epoch, and then times one epoch of each
in turn, round after round, so that other load of the machine affects all loops alike. Only the training epochs are
timed: starting processes (the DataLoader keeps its workers from the warm-up on), reading data and evaluation are not. A
ratio is the median, over the rounds, of a loop's images per second divided by those of the first loop.

With --precisions only the steps of both engines on ResNet-20 are compared, in CPU time: in float32, in bf16, and with
weights of 4 bits.
"""

import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context
from multiprocessing.synchronize import Barrier
from pathlib import Path

import click
import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from analysis.runs import schema
from pruning_study import models
from pruning_study.data import datasets
from pruning_study.data.datasets import Dataset
from pruning_study.data.examples import Examples, FlipCrop, Normalization, generator, shuffled, to_device
from pruning_study.data.torchvision_import import torchvision
from pruning_study.options.config import TrainConfig
from pruning_study.pruning.budget import Budget, prunable
from pruning_study.pruning.masks import exact_k
from pruning_study.steps.engine_choice import choose as choose_engine
from pruning_study.training import engines
from pruning_study.training.loop import apply_masks, fit
from pruning_study.training.optimizer import Optimizer
from pruning_study.training.recipes import RECIPES, Hyperparameters, Phase
from pruning_study.training.setup import TrainingSetup

WORKERS = 2
RATIO, BITS = 10, 4
RECIPE_NAMES = {"lenet5": "lenet5", "resnet20": "resnet-cifar"}

# A function that trains one epoch and returns its images per second.
Epoch = Callable[[], float]


@dataclass(frozen=True)
class Loop:
    """A way to train, and the number of processes that train at once.

    Parameters
    ----------
    name : str
        Name in the table.
    prepare : callable
        Function that turns a data set into an `Epoch`; each process calls it.
    processes : int
    threads : int
        Threads of torch in each process.
    """

    name: str
    prepare: Callable[[Dataset], Epoch]
    processes: int = 1
    threads: int = 1

    @property
    def setting(self) -> str:
        return f"processes {self.processes}, threads {self.threads}"


data_dir_option = click.option(
    "--data-dir",
    default=lambda: TrainConfig().data_dir,
    show_default="$PRUNING_STUDY_DATA, or data",
    type=Path,
    help="Folder of the data sets.",
)


@click.command()
@click.option("--rounds", default=5, show_default=True, type=click.IntRange(min=1), help="Timed epochs of each loop.")
@data_dir_option
@click.option(
    "--resnet-images", default=2560, show_default=True, type=click.IntRange(min=128), help="Images of a ResNet epoch."
)
@click.option(
    "--resnet-threads", default=1, show_default=True, type=click.IntRange(min=1), help="torch threads of ResNet loops."
)
@click.option("--precisions", is_flag=True, help="Compare only the precisions, on ResNet-20.")
def main(rounds: int, data_dir: Path, resnet_images: int, resnet_threads: int, precisions: bool) -> None:
    """Time all loops, print one table."""
    print(f"{os.cpu_count()} cores, torch {torch.__version__}, {rounds} rounds, {load()}")
    print(f"{'loop':<34}{'setting':<26}{'images/s: min':>14}{'median':>9}{'max':>9}{'ratio':>8}")
    cifar10 = cifar10_subset(data_dir, resnet_images)
    if precisions:
        if cifar10:
            compare("ResNet-20, precisions", precision_loops(cifar10), cifar10, rounds)
        return
    data = fashion_mnist(data_dir)
    compare("LeNet5", engine_loops("lenet5", data), data, rounds)
    if cifar10:
        compare("ResNet-20", engine_loops("resnet20", cifar10, resnet_threads), cifar10, rounds)
        compare("ResNet-20, memory layouts", resnet_layouts(resnet_threads), cifar10, rounds)
    print(f"{load()} at the end")


def engine_loops(model_name: str, data: Dataset, threads: int = 1) -> list[Loop]:
    loops = [Loop(f"DataLoader, {WORKERS} workers", partial(dataloader_loop, model_name), threads=threads)]
    for engine in ("native", "torch"):
        if choose(engine, build(model_name, data), data).name != engine:
            continue  # `choose` has logged the reason
        dense, masked = (partial(ours, model_name, ratio, engine=engine) for ratio in (None, RATIO))
        loops += [
            Loop(f"{engine} engine, dense", dense, processes=2, threads=threads),
            Loop(f"{engine} engine, masks of ratio {RATIO}", masked, processes=2, threads=threads),
            Loop(f"{engine} engine, dense", dense, threads=threads),
            Loop(f"{engine} engine, masks of ratio {RATIO}", masked, threads=threads),
        ]
    return loops


def precision_loops(data: Dataset) -> list[Loop]:
    bits = [
        Loop(f"{engine}, weights of {BITS} bits", partial(cpu_epoch, engine, schema.FLOAT32, None, bits=BITS))
        for engine in ("torch", "native")
        if choose(engine, build("resnet20", data), data).name == engine
    ]
    return bits + [
        Loop(f"{engine}, {precision}, {name}", partial(cpu_epoch, engine, precision, ratio))
        for name, ratio in (("dense", None), (f"ratio {RATIO}", RATIO))
        for precision in (schema.FLOAT32, schema.BF16)
        for engine in ("torch", "native")
        if choose(engine, build("resnet20", data), data, precision).name == engine
    ]


def choose(engine: str, model: nn.Module, data: Dataset, precision: str = schema.FLOAT32) -> engines.Engine:
    return choose_engine(engine, model, data.image_shape, device="cpu", precision=precision)


def resnet_layouts(threads: int) -> list[Loop]:
    return [
        Loop("ours in plain layout", partial(ours, "resnet20", None, layout=torch.contiguous_format), threads=threads),
        Loop("ours", partial(ours, "resnet20", None), threads=threads),
    ]


def compare(title: str, loops: Sequence[Loop], data: Dataset, rounds: int) -> None:
    """Time the loops in turn, and print a line for each; the first is the baseline."""
    print(f"{title}: {data.name}, {len(data.train_labels):,} images an epoch", flush=True)
    with ExitStack() as stack:
        running = [start(loop, data, stack) for loop in loops]
        for measure in running:
            measure()  # the warm-up
        speeds = np.array([[measure() for measure in running] for _ in range(rounds)])
    ratios = np.median(speeds / speeds[:, :1], axis=0)
    for loop, speed, ratio in zip(loops, speeds.T, ratios, strict=True):
        figures = f"{speed.min():14,.0f}{np.median(speed):9,.0f}{speed.max():9,.0f}{ratio:7.2f}x"
        print(f"  {loop.name:<32}{loop.setting:<26}{figures}", flush=True)


def start(loop: Loop, data: Dataset, stack: ExitStack) -> Epoch:
    """Start a loop's processes, and return a function that lets each train an epoch and sums their speeds."""
    context = get_context("spawn")
    barrier = context.Barrier(loop.processes)
    processes = [
        stack.enter_context(
            ProcessPoolExecutor(
                1, context, initializer=initialize, initargs=(loop.prepare, data, loop.threads, barrier)
            )
        )
        for _ in range(loop.processes)
    ]

    def measure() -> float:
        epochs = [process.submit(run_epoch) for process in processes]
        return sum(epoch.result() for epoch in epochs)

    return measure


def initialize(prepare: Callable[[Dataset], Epoch], data: Dataset, threads: int, barrier: Barrier) -> None:
    global run_prepared, start_together
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    run_prepared, start_together = prepare(data), barrier


run_prepared: Epoch
start_together: Barrier


def run_epoch() -> float:
    start_together.wait()
    return run_prepared()


def ours(
    model_name: str,
    ratio: float | None,
    data: Dataset,
    layout: torch.memory_format = torch.channels_last,
    engine: str = "torch",
) -> Epoch:
    """Return a function that trains an epoch with the project's loop and model, as `train` and `prune` do."""
    model = build(model_name, data).to(memory_format=layout)  # type: ignore[call-overload]
    chosen = choose(engine, model, data)
    train, normalization = examples(data, chosen.layout or layout)
    # Validation is not timed, so a few images are enough.
    validation = Examples(train.images[:128], train.labels[:128])
    epoch = TrainingSetup(
        train,
        validation,
        one_epoch(model_name),
        seed=0,
        stream="benchmark",
        black=normalization.black,
        engine=chosen,
    )
    if ratio:
        fit(model, epoch)  # initially the largest layer has the smallest weights, so all of it would be pruned
        epoch = replace(epoch, masks=magnitude_masks(model, ratio))
    return lambda: fit(model, epoch).images_per_second


def cpu_epoch(engine: str, precision: str, ratio: float | None, data: Dataset, bits: int | None = None) -> Epoch:
    """Return a function that trains ResNet-20 for an epoch and returns the images per second of CPU time."""
    model = build("resnet20", data).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    chosen = choose(engine, model, data, precision)
    chosen = chosen.with_weight_bits(bits) if bits else chosen
    train, normalization = examples(data, chosen.layout or torch.channels_last)
    recipe, random = one_epoch("resnet20"), generator(0, "benchmark")
    masks: dict[str, Tensor] = {}
    velocity = {name: torch.zeros_like(values) for name, values in model.named_parameters()}
    optimizer = Optimizer(recipe.learning_rate, recipe.momentum, recipe.weight_decay, velocity)

    def epoch() -> float:
        batches, augment = shuffled(train, recipe.batch_size, random), FlipCrop(normalization.black, random)
        start = time.process_time()
        chosen.train_epoch(model, engines.Steps(train, batches, optimizer, masks, augment))
        return len(train) / (time.process_time() - start)

    if ratio:
        epoch()  # initially the largest layer has the smallest weights, so all of it would be pruned
        masks.update(magnitude_masks(model, ratio))
        apply_masks(model, masks)
        for values in velocity.values():
            values.zero_()
    return epoch


def dataloader_loop(model_name: str, data: Dataset) -> Epoch:
    """Return a function for an epoch of the usual loop, in which workers transform single images."""
    recipe = one_epoch(model_name)
    model = plain_lenet5() if model_name == "lenet5" else build(model_name, data)
    optimizer = torch.optim.SGD(
        model.parameters(), lr=recipe.learning_rate, momentum=recipe.momentum, weight_decay=recipe.weight_decay
    )
    criterion = nn.CrossEntropyLoss()
    loader = DataLoader(
        PictureDataset(data, augmented=recipe.augmentation == "flip-crop"),
        batch_size=recipe.batch_size,
        shuffle=True,
        num_workers=WORKERS,
        persistent_workers=True,
    )

    def epoch() -> float:
        model.train()
        loss_sum = top1 = top5 = 0.0
        count = 0
        start = time.perf_counter()
        for images, labels in loader:
            optimizer.zero_grad()
            logits = model(images)
            loss = criterion(logits, labels)
            loss.backward()
            optimizer.step()
            right = logits.topk(5).indices == labels[:, None]
            loss_sum += loss.item() * len(labels)
            top1 += right[:, 0].sum().item()
            top5 += right.sum().item()
            count += len(labels)
        return count / (time.perf_counter() - start)

    return epoch


class PictureDataset(TorchDataset[tuple[Tensor, int]]):
    """Images that torchvision transforms one by one, as PIL pictures, as in its own data sets."""

    def __init__(self, data: Dataset, *, augmented: bool) -> None:
        transforms = torchvision.transforms
        augmentation = [transforms.RandomCrop(32, padding=4), transforms.RandomHorizontalFlip()] if augmented else []
        mean, std = datasets.normalization(data.train_images)
        self.transform = transforms.Compose(
            [*augmentation, transforms.ToTensor(), transforms.Normalize(tuple(mean), tuple(std))]
        )
        images = np.ascontiguousarray(data.train_images.transpose(0, 2, 3, 1))
        self.images = images.squeeze(-1) if images.shape[-1] == 1 else images
        self.labels = data.train_labels

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(Image.fromarray(self.images[index])), int(self.labels[index])


def plain_lenet5() -> nn.Module:
    """Return the layers of the project's LeNet5, written the usual way, for 28x28 grey images and 10 classes."""
    return nn.Sequential(
        *(nn.Conv2d(1, 6, 3), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(6, 16, 3), nn.ReLU(), nn.MaxPool2d(2)),
        nn.Flatten(),
        *(nn.Linear(400, 120), nn.ReLU()),
        *(nn.Linear(120, 84), nn.ReLU()),
        nn.Linear(84, 10),
    )


def one_epoch(model_name: str) -> Hyperparameters:
    """Return the hyperparameters of the model's recipe, for one epoch."""
    recipe = RECIPES[RECIPE_NAMES[model_name]].dense
    return replace(recipe, phases=(Phase(1, recipe.learning_rate),))


def build(model_name: str, data: Dataset) -> nn.Module:
    channels, height, width = data.image_shape
    return models.build(model_name, num_classes=len(data.classes), in_channels=channels, image_size=(height, width))


def examples(data: Dataset, layout: torch.memory_format) -> tuple[Examples, Normalization]:
    normalization = Normalization(*datasets.normalization(data.train_images))
    return to_device(data.train_images, data.train_labels, normalization, "cpu", layout), normalization


def magnitude_masks(model: nn.Module, ratio: float) -> dict[str, Tensor]:
    names = prunable(model)
    scores = [model.get_parameter(name).detach().abs() for name in names]
    return dict(zip(names, exact_k(scores, Budget.exact(model, names).kept_weights(ratio)), strict=True))


def fashion_mnist(data_dir: Path) -> Dataset:
    file = data_dir / "fashion_mnist.npz"
    if file.is_file():
        return datasets.load(str(file), data_dir=data_dir)
    print(f"{file} does not exist: LeNet5 trains on the embedded {datasets.MINI}, whose short epochs are noisier")
    return datasets.load(datasets.MINI, data_dir=data_dir)


def cifar10_subset(data_dir: Path, count: int) -> Dataset | None:
    files = [data_dir / name for name in ("cifar10.npz", "cifar10_jpeg.npz")]
    file = next((file for file in files if file.is_file()), None)
    if not file:
        print(f"neither {files[0]} nor {files[1]} exists: ResNet-20 is left out")
        return None
    data = datasets.load(str(file), data_dir=data_dir)
    # Images are drawn at random, because a file may be sorted by class, and the loss on one class soon becomes 0.
    drawn = np.random.default_rng(0).permutation(len(data.train_labels))[:count]
    return replace(data, train_images=data.train_images[drawn], train_labels=data.train_labels[drawn])


def load() -> str:
    return f"load average {os.getloadavg()[0]:.1f}"


if __name__ == "__main__":
    main()
