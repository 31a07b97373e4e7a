"""How often intervals, bounds and tests of `analysis.statistics.losses` are right, and how wide the intervals are.

    python benchmarks/losses.py [--draws 40] [--seed 0] > losses.csv

Networks and images are drawn with replacement from published predictions in results/, so the true losses are the means
over all of them: of the pair that was drawn if it is one pair, else of all networks. A few populations are changed
first, to test what may break the estimates, and one is made up. Prints a CSV with a row for each setting and quantity,
and on the error stream what was wanted and the settings that missed it.
"""

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import click
import numpy as np
import pandas as pd

from analysis.runs import exports, schema
from analysis.statistics import losses
from analysis.statistics.hypothesis_tests import LEVEL, change_interval
from analysis.study.settings import CONTROL

RESULTS = Path(__file__).parent.parent / "results"
PUBLISHED = {
    "MNIST, 220 networks": ("proportion", "mnist"),
    "Fashion-MNIST, 100 networks": ("proportion", "fashion-mnist"),
    "CIFAR-10, 80 networks": ("proportion", "cifar10-jpeg"),
    "Fashion-MNIST, 60 networks": ("decay", "fashion-mnist"),
    "CIFAR-10, 60 networks": ("decay", "cifar10-jpeg"),
}
MNIST, FASHION, CIFAR, *_ = PUBLISHED
MADE_UP = "made up, 200 networks"
RATIO = 20
NETWORKS = (1, 2, 3, 5, 10, 30, 100)
UNEQUAL = (15, 1000)  # fewest and most images of a class
FEWEST_COMPARED = 10  # networks
PLANTED = 0.1  # loss that power is measured for
MANY_CHANGED = 30  # widths are compared with the two-way ones if each network changes more images of a class


class Population(NamedTuple):
    """Differences of many pairs of networks on many images, (networks, images), or both sides of them."""

    label: np.ndarray
    difference: np.ndarray
    sides: tuple[np.ndarray, np.ndarray]


class Setting(NamedTuple):
    """What is drawn: how many networks from which population, and how many images of each class."""

    structure: str
    population: str
    networks: int
    classes: int
    images: tuple[int, ...]  # of each class; or the fewest and the most

    def sizes(self) -> np.ndarray:
        if len(self.images) == 1:
            return np.full(self.classes, self.images[0])
        return np.geomspace(*self.images, self.classes).round().astype(int)


def settings() -> Iterator[Setting]:
    """Yield all settings, those of one structure and population together."""

    def crossed(structure: str, populations, networks, sizes, classes: int = 10) -> Iterator[Setting]:
        for name in populations:
            yield from (Setting(structure, name, n, classes, images) for n in networks for images in sizes)

    few = NETWORKS[1:-1]
    yield from crossed("as published", PUBLISHED, NETWORKS, [(15,), (50,), (200,), (1000,), UNEQUAL])
    yield from crossed("control against control", [MNIST, FASHION, CIFAR], NETWORKS, [(15,), (50,), (200,), (1000,)])
    yield from crossed("control against control, unpaired", [MNIST, CIFAR], few, [(50,), (1000,)])
    yield from crossed("unpaired", [MNIST, CIFAR], few, [(50,), (1000,)])
    yield from crossed("hundred classes", [FASHION, CIFAR], (1, *few), [(15,), (100,), UNEQUAL], 100)
    yield from crossed("two classes", [FASHION, CIFAR], few, [(50,), (1000,)], 2)
    yield from crossed("one class thrice as variable", [MNIST, FASHION, CIFAR], few, [(50,), (1000,)])
    yield from crossed("one class destroyed in one network", [MNIST, CIFAR], few, [(50,), (1000,)])
    yield from crossed("one class destroyed in a fifth of networks", [MNIST, CIFAR], few, [(50,), (1000,)])
    yield from crossed("one class loses the same images", [MADE_UP], (1, *few), [(15,), (50,), (200,), (1000,)])
    yield from crossed("classes trade images in pairs", [MNIST, CIFAR], few, [(50,), (1000,)])


@cache
def published(name: str) -> Population:
    """Read pruned networks and their controls."""
    folder, dataset = PUBLISHED[name]
    study, predictions = exports.read(exports.below(RESULTS / folder))
    runs = exports.select_dataset(study, dataset).runs.sort_values(schema.SEED, kind="stable")
    pruned = runs[(runs[schema.PRUNER] == "mp") & (runs[schema.RATIO] == RATIO)]
    both = (each.drop_duplicates(schema.DENSE_RUN_ID) for each in (runs[runs[schema.PRUNER] == CONTROL], pruned))
    both = pd.merge(*(each[[schema.DENSE_RUN_ID, "run_id"]] for each in both), on=schema.DENSE_RUN_ID)
    sides = []
    for ids in (both["run_id_x"], both["run_id_y"]):
        found = predictions(list(ids))
        sides.append(np.array([found[each][schema.PREDICTED] == found[each][schema.LABEL] for each in ids], np.int8))
    return Population(found[ids[0]][schema.LABEL], sides[0] - sides[1], tuple(sides))


@cache
def population(structure: str, name: str) -> Population:
    if name == MADE_UP:
        return same_images(np.random.default_rng(0))
    made = published(name)
    changes = {
        "hundred classes": hundred_classes,
        "two classes": two_classes,
        "one class thrice as variable": thrice_as_variable,
        "one class destroyed in a fifth of networks": destroyed,
        "classes trade images in pairs": trading,
    }
    if structure.startswith("control against control"):
        # Each control is once on either side, so no class loses anything on average.
        first, second = made.sides[0], np.roll(made.sides[0], 1, axis=0)
        return Population(made.label, first - second, (first, second))
    change = changes.get(structure)
    return made if change is None else change(made._replace(difference=made.difference.copy()))


def hundred_classes(made: Population) -> Population:
    """Split each class into ten."""
    place = np.zeros(len(made.label), int)
    for each in range(10):
        place[made.label == each] = np.arange(np.count_nonzero(made.label == each)) % 10
    return made._replace(label=10 * made.label + place)


def two_classes(made: Population) -> Population:
    """Keep the classes that lose most and least."""
    loss = network_losses(made.label, made.difference).mean(0)
    label = np.select([made.label == loss.argmax(), made.label == loss.argmin()], [0, 1], -1)
    return Population(label[label >= 0], made.difference[:, label >= 0], made.sides)


def thrice_as_variable(made: Population) -> Population:
    """Let class 0 deviate from its mean over networks by three times as much as it did."""
    rng, loss = np.random.default_rng(0), network_losses(made.label, made.difference)[:, 0]
    for row, deviation in zip(made.difference, loss - loss.mean(), strict=True):
        add(rng, row, made.label == 0, 2 * deviation)
    return made


def destroyed(made: Population) -> Population:
    """Let every fifth network lose all images of class 0."""
    made.difference[::5, made.label == 0] = 1
    return made


def trading(made: Population) -> Population:
    """Let every second class of each network lose up to a tenth of its images to the next class, or win as many."""
    rng = np.random.default_rng(0)
    for row in made.difference:
        for first, share in zip(range(0, 10, 2), rng.uniform(-0.1, 0.1, 5), strict=True):
            add(rng, row, made.label == first, share)
            add(rng, row, made.label == first + 1, -share)
    return made


def add(rng: np.random.Generator, row: np.ndarray, of_class: np.ndarray, loss: float) -> None:
    """Add a loss or gain to a class of one network, on images that did not change."""
    unchanged = np.flatnonzero(of_class & (row == 0))
    count = round(abs(loss) * np.count_nonzero(of_class))
    row[rng.permutation(unchanged)[:count]] = np.sign(loss)


def same_images(rng: np.random.Generator) -> Population:
    """Make networks that all lose the same twentieth of class 0, and lose and win others at random."""
    label = np.repeat(np.arange(10), 1000)
    difference = rng.choice(np.array([1, -1, 0], np.int8), (200, len(label)), p=[0.05, 0.05, 0.9])
    difference[:, label == 0] = np.arange(1000) % 20 == 0
    return Population(label, difference, (difference, difference))


def network_losses(label: np.ndarray, difference: np.ndarray) -> np.ndarray:
    return np.array([np.bincount(label, row) for row in difference]) / np.bincount(label)


class Draw(NamedTuple):
    label: np.ndarray
    difference: np.ndarray
    truth: np.ndarray  # (classes,)
    sides: tuple[np.ndarray, np.ndarray] | None


def drawn(
    setting: Setting, made: Population, members: list[np.ndarray], true: np.ndarray, rng: np.random.Generator
) -> Draw:
    """Draw networks and images; `members` are each class's images, `true` the losses, (networks, classes)."""
    sizes, n, networks = setting.sizes(), setting.networks, len(made.difference)
    label = np.repeat(np.arange(len(sizes)), sizes)
    images = np.concatenate([rng.choice(own, size) for own, size in zip(members, sizes, strict=True)])
    rows = rng.integers(networks, size=n)
    if "unpaired" in setting.structure:
        rows = [rows, rng.integers(networks, size=n)]
        sides = tuple(side[row][:, images] for side, row in zip(made.sides, rows, strict=True))
        return Draw(label, sides[0] - sides[1], true.mean(0), sides)
    difference, truth = made.difference[rows][:, images], true[rows[0]] if n == 1 else true.mean(0)
    if setting.structure == "one class destroyed in one network":
        difference[0, label == 0] = 1
        truth = np.concatenate([[(truth[0] * (n - 1) + 1) / n], truth[1:]])
    return Draw(label, difference, truth, None)


def judged(draw: Draw, expected: float, label: np.ndarray) -> dict[str, np.ndarray]:
    """Return whether intervals and bounds hold, and their widths; each (classes,), or of all classes together."""
    n, share = len(draw.difference), np.bincount(label) / len(label)
    truth = draw.truth if len(share) > 1 else draw.truth[np.newaxis] @ np.bincount(draw.label) / len(label)
    truth = truth - expected * (truth @ share)
    if draw.sides is None:
        found = losses.spread(label, draw.difference, expected)
    else:
        found = losses.between(label, *draw.sides, expected, paired=False)
    low, high = found.interval()
    said = (losses.holm(found.p()) <= LEVEL) & (found.value > 0)
    result = {
        "covered": (low <= truth + 1e-9) & (truth - 1e-9 <= high),
        "missed_all": np.any(found.upper(LEVEL / len(share)) < truth - 1e-9),
        "missed_largest": found.upper().max() < truth.max() - 1e-9,
        "false_alarm": np.any(said & (truth <= 1e-9)),
        "half_width": (high - low) / 2,
        "changed": np.bincount(label, np.abs(draw.difference).mean(0)),
    }
    of_networks = network_losses(label, draw.difference)
    if expected == 0 and len(share) > 1:
        lost, won = (np.bincount(label, draw.difference[0] == sign, len(share)) for sign in (1, -1))
        tango = change_interval(lost, won, np.bincount(label))
        result["tango"] = (tango[1] - tango[0]) / 2
    if n > 1 and draw.sides is None:
        own, none = (of_networks - expected * (of_networks @ share)[:, np.newaxis]).var(0, ddof=1) / n, 0 * truth
        plain = found._replace(networks=own, dof=n - 1, rare=none)
        result["two_way"] = np.diff(plain.interval(), axis=0)[0] / 2
        result["plain_t"] = np.diff(plain._replace(beyond=none, images=none).interval(), axis=0)[0] / 2
    return result


def of_worst_class(draw: Draw) -> dict[str, np.ndarray]:
    """Return whether the interval of the worst class's cost holds, and whether its cost is falsely said to be."""
    found = losses.worst_class(draw.label, draw.difference, 1)
    truth = draw.truth[found.place] - draw.truth @ np.bincount(draw.label) / len(draw.label)
    return {
        "covered": np.array([found.low <= truth + 1e-9 and truth - 1e-9 <= found.high]),
        "false_alarm": found.p <= LEVEL and found.value > 0 and truth <= 1e-9,
        "half_width": np.array([(found.high - found.low) / 2]),
        "changed": np.array([0]),
    }


def is_found(draw: Draw, rng: np.random.Generator) -> bool:
    """Return whether a loss is found that the last class is made to have."""
    label, difference = draw.label, draw.difference.copy()
    difference[(rng.random(difference.shape) < PLANTED) & (label == label[-1]) & (difference < 1)] += 1
    found = losses.spread(label, difference)
    return bool(losses.holm(found.p())[-1] <= LEVEL and found.value[-1] > 0)


MEANS = ("missed_all", "missed_largest", "false_alarm", "power", "half_width", "tango", "two_way", "plain_t")
QUANTITIES = ("loss", "cost", "accuracy", "worst cost")


def rows(setting: Setting, made: Population, draws: int, rng: np.random.Generator) -> Iterator[dict[str, object]]:
    """Yield a row for each quantity."""
    members = [np.flatnonzero(made.label == each) for each in range(setting.classes)]
    true = network_losses(made.label, made.difference)
    results: dict[str, list[dict[str, np.ndarray]]] = {each: [] for each in QUANTITIES}
    for _ in range(draws):
        draw = drawn(setting, made, members, true, rng)
        results["loss"].append(judged(draw, 0.0, draw.label))
        results["accuracy"].append(judged(draw, 0.0, np.zeros_like(draw.label)))
        if setting.networks > 1:
            results["cost"].append(judged(draw, 1.0, draw.label))
        if setting.networks > 1 and draw.sides is None:
            results["worst cost"].append(of_worst_class(draw))
        if setting.structure == "control against control":
            results["loss"][-1]["power"] = is_found(draw, rng)
    for quantity, found in results.items():
        if found:
            yield row(setting, quantity, {name: np.array([each[name] for each in found]) for name in found[0]})


def row(setting: Setting, quantity: str, found: dict[str, np.ndarray]) -> dict[str, object]:
    """Return the means over draws; arrays are (draws,) or (draws, classes)."""
    many = found["changed"] > MANY_CHANGED
    compares = setting.networks >= FEWEST_COMPARED and "two_way" in found and many.any()
    return {
        **setting._asdict(),
        "images": " to ".join(map(str, setting.images)),
        "quantity": quantity,
        "draws": len(found["covered"]),
        "coverage": found["covered"].mean(),
        "coverage_least": found["covered"].mean(0).min(),
        **{name: found[name].mean() if name in found else np.nan for name in MEANS},
        "of_two_way": found["half_width"][many].sum() / found["two_way"][many].sum() if compares else np.nan,
    }


@click.command()
@click.option("--draws", default=40, show_default=True, help="Draws of networks and images in each setting.")
@click.option("--seed", default=0, show_default=True)
def main(draws: int, seed: int) -> None:
    table = []
    for number, setting in enumerate(settings()):
        made = population(setting.structure, setting.population)
        for row in rows(setting, made, draws, np.random.default_rng([seed, number])):
            click.echo(pd.DataFrame([row]).round(4).to_csv(index=False, header=not table), nl=False)
            table.append(row)
    click.echo(summary(pd.DataFrame(table)), err=True)


def summary(table: pd.DataFrame) -> str:
    """Tell the worst value of what is wanted, with its setting, by structure."""
    wanted = {"coverage": min, "coverage_least": min, "missed_all": max, "missed_largest": max, "false_alarm": max}
    worst = table.groupby(["structure", "quantity"], sort=False).agg({**wanted, "of_two_way": "max"})
    return worst.round(3).to_csv()


if __name__ == "__main__":
    main()
