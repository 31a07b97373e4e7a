"""How often the bounds of `analysis.statistics.class_costs` hold, and how often losses up to a limit are called safe.

    python benchmarks/class_costs.py [--studies 400]

The studies are simulated. The predictions of a fifth of a class's images are uncertain, and pruning adds errors only in
one half of this fifth. This half is the same in all networks, so that networks share the noise of the test images. A
class's true loss also differs between networks.
"""

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import product
from typing import NamedTuple

import click
import numpy as np
import pandas as pd

from analysis.statistics import class_costs, class_losses, class_sums
from analysis.statistics.largest_excess import largest_excess_floor
from analysis.statistics.resampling import mean_interval

LARGEST = 0.02  # loss of the class that loses most
SPREAD = 0.006  # standard deviation of a class's true loss over networks
MOVABLE = 0.2  # share of a class's images whose predictions are uncertain


class Case(NamedTuple):
    """Losses of a study: which classes lose, how many networks and classes there are, how losses are distributed."""

    harmed: str
    networks: int
    classes: int
    skewed: bool = False
    scale: float = 1.0


def main_cases() -> Iterator[Case]:
    for classes, harmed, networks in product((10, 100), ("none", "one", "three", "graded"), (3, 10, 30)):
        yield Case(harmed, networks, classes)
    yield from (Case(harmed, networks, 10, skewed=True) for harmed in ("none", "one") for networks in (3, 10, 30))


def safe_cases() -> Iterator[Case]:
    yield from (Case("one", networks, 10, scale=scale) for scale in (1.0, 0.5) for networks in (5, 10, 20, 100))


def true_losses(case: Case) -> np.ndarray:
    losses = np.zeros(case.classes)
    if case.harmed == "graded":
        losses = np.linspace(0, LARGEST, case.classes)
    else:
        losses[: {"none": 0, "one": 1, "three": 3}[case.harmed]] = LARGEST
    return case.scale * losses


class Study(NamedTuple):
    label: np.ndarray
    reference: np.ndarray
    pruned: np.ndarray


def study(case: Case, generator: np.random.Generator) -> Study:
    """Simulate a study: whether each network predicts each image correctly, before and after."""
    images = 250 if case.classes == 10 else 60
    label = np.repeat(np.arange(case.classes), images)
    size = case.networks, case.classes
    errors = generator.exponential(size=size) - 1 if case.skewed else generator.standard_normal(size)
    losses = true_losses(case) + SPREAD * errors
    movable = generator.random(len(label)) < MOVABLE
    hit = movable & (generator.random(len(label)) < 0.5)
    right_before = np.where(movable, generator.uniform(0.3, 0.7, len(label)), 0.95)
    shift = np.repeat(losses, images, axis=1) / MOVABLE * 2 * hit
    reference, pruned = (
        generator.random((case.networks, len(label))) < chance
        for chance in (np.broadcast_to(right_before, shift.shape), np.clip(right_before - shift, 0, 1))
    )
    return Study(label, reference, pruned)


def outcome(case: Case, seed: int) -> dict[str, float]:
    made = study(case, np.random.default_rng([seed, case.networks, case.classes]))
    losses = true_losses(case)
    share = np.full(case.classes, 1 / case.classes)
    costs, weights = losses - losses.mean(), class_sums.excess_weights(share)
    changes = class_losses.from_predictions(made.label, made.reference, made.pruned)
    recalls = [side.reshape(case.networks, case.classes, -1).mean(2) for side in (made.reference, made.pruned)]
    moderated = class_losses.moderated(changes, (recalls[0] + recalls[1]).mean(0) / 2)
    of_loss = class_costs.bounds(moderated, np.eye(case.classes))
    of_cost = class_costs.bounds(moderated, weights)
    differences = made.reference.astype(int) - made.pruned
    worst = class_costs.worst_class(moderated, weights, label=made.label, differences=differences)
    values = class_costs.excess(recalls[0] - recalls[1], share)
    places, read = class_costs.read_left_out(values, weights, made.label, differences)
    low, high = mean_interval(read.mean(0))
    both = (made.reference & made.pruned).reshape(case.networks, case.classes, -1).mean(2)
    floor = largest_excess_floor(*recalls, both, np.bincount(made.label))
    beyond = mean_interval(values.max(1) - floor)
    return {
        "every bound of a loss holds": np.all(of_loss.upper_all >= losses),
        "widest bound, points": 100 * np.max(of_loss.upper_all),
        "false alarm": np.any((of_cost.p < 0.05) & (costs <= 1e-12)),
        "worst class found": np.any((of_cost.p < 0.05) & (costs == costs.max()) & (costs > 0)),
        "largest cost in its interval": worst.low <= costs.max() <= worst.high,
        "width, points": 100 * (worst.high - worst.low),
        "error of the chosen class's cost, points": 100 * (worst.cost - costs[places].mean()),
        "largest cost in t-interval of the worst class's costs": low <= costs.max() <= high,
        "mean largest excess minus its floor, points": 100 * float((values.max(1) - floor).mean()),
        "largest cost in interval of that mean": beyond[0] <= costs.max() <= beyond[1],
        "safe": bool(np.all(of_loss.upper_all <= LARGEST)),
    }


def shares(case: Case, studies: int) -> dict[str, object]:
    outcomes = pd.DataFrame([outcome(case, seed) for seed in range(studies)]).astype(float)
    largest = true_losses(case)
    return {**case._asdict(), "largest cost, points": 100 * (largest - largest.mean()).max(), **outcomes.mean()}


@click.command()
@click.option("--studies", default=400, show_default=True, help="Simulated studies in each row.")
@click.option("--processes", default=1, show_default=True)
def main(studies: int, processes: int) -> None:
    cases = [*safe_cases(), *main_cases()]
    with ProcessPoolExecutor(processes) as pool:
        for number, row in enumerate(pool.map(shares, cases, [studies] * len(cases))):
            click.echo(pd.DataFrame([row]).round(3).to_csv(index=False, header=number == 0), nl=False)


if __name__ == "__main__":
    main()
