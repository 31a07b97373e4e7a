"""How often bounds of losses, costs and disproportionate losses are too low if few images change.

    python benchmarks/few_images.py [--studies 100] [--processes 1]

The studies are simulated. The references misclassify a tenth of the images, and pruning loses few of the others. Of
five networks, each has its own answers for a fifth of the images, and of ten for half of them. All other answers are
the same in every network.
"""

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import product
from typing import NamedTuple

import click
import numpy as np
import pandas as pd

from analysis.statistics import class_costs, class_losses, class_sums, class_table
from analysis.statistics.proportion import disproportionate_losses

ERROR = 0.1  # share of images that the references misclassify
OWN = {1: 0.0, 2: 0.0, 5: 0.2, 10: 0.5}  # by number of networks: share of the images whose answers are its own


class Case(NamedTuple):
    """Numbers of classes, of images of each class and of networks, which classes lose, and how many images are lost."""

    classes: int
    images: int
    networks: int
    harmed: str
    lost: int


def cases() -> Iterator[Case]:
    sizes = (10, 100), (10, 1000), (100, 50)
    for (classes, images), networks, harmed, lost in product(sizes, OWN, ("all", "one"), (3, 30, 60)):
        yield Case(classes, images, networks, harmed, lost)


class Study(NamedTuple):
    label: np.ndarray
    reference: np.ndarray
    pruned: np.ndarray


def shares_lost(case: Case) -> np.ndarray:
    """Return the share of each class's images, out of those that the reference classifies correctly, that are lost."""
    harmed = np.arange(case.classes) < (case.classes if case.harmed == "all" else 1)
    return np.minimum(harmed * case.lost / (harmed.sum() * case.images * (1 - ERROR)), 1)


def study(case: Case, generator: np.random.Generator) -> Study:
    """Simulate a study: whether each network predicts each image correctly, before and after."""
    label = np.repeat(np.arange(case.classes), case.images)
    # The last draw is that of the images whose changes are the same in every network.
    draws = generator.random((2, case.networks + 1, len(label)))
    has_own = generator.random((case.networks, len(label))) < OWN[case.networks]
    right, kept = (np.where(has_own, draw[:-1], draw[-1]) for draw in draws)
    reference = right >= ERROR
    return Study(label, reference, reference & (kept >= shares_lost(case)[label]))


def outcome(case: Case, seed: int) -> dict[str, float]:
    label, reference, pruned = study(case, np.random.default_rng([seed, *case[:3], case.lost]))
    losses = (1 - ERROR) * shares_lost(case)
    # All references have the same error, so proportional errors would be equal losses.
    costs = losses - losses.mean()
    changes = class_losses.from_predictions(label, reference, pruned)
    moderated = class_losses.moderated(changes, np.full(case.classes, 1 - ERROR))
    weights = class_sums.excess_weights(np.full(case.classes, 1 / case.classes))
    control = reference if case.networks == 1 else None
    found = class_table.costs(label, reference, pruned, control)
    of_loss = class_table.losses(label, reference, pruned, control).upper
    of_accuracy = class_table.accuracy_loss(label, reference, pruned, control).upper
    beyond = disproportionate_losses(label, reference, pruned, reference).upper_all
    return {
        "accuracy": np.any(of_accuracy < losses.mean()),
        "losses": np.any(of_loss < losses),
        "costs": np.any(found.columns["cost_upper_all"] < costs),
        "costs, from variances alone": not np.all(class_costs.bounds(moderated, weights).upper_all >= costs),
        "disproportionate losses": np.any(beyond < costs),
        "largest bound of a cost, points": 100 * np.max(found.columns["cost_upper_all"]),
    }


def row(case: Case, studies: int) -> dict[str, object]:
    return {**case._asdict(), **pd.DataFrame([outcome(case, seed) for seed in range(studies)]).astype(float).mean()}


@click.command()
@click.option("--studies", default=100, show_default=True, help="Simulated studies in each row.")
@click.option("--processes", default=1, show_default=True)
def main(studies: int, processes: int) -> None:
    every = list(cases())
    with ProcessPoolExecutor(processes) as pool:
        for number, each in enumerate(pool.map(row, every, [studies] * len(every))):
            click.echo(pd.DataFrame([each]).round(3).to_csv(index=False, header=number == 0), nl=False)


if __name__ == "__main__":
    main()
