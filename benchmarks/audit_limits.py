"""How often an audit finds losses to be within a limit if they are as large as the limit, or half as large.

    python benchmarks/audit_limits.py [--audits 400]

The networks are simulated. The predictions of a fifth of a class's images are uncertain, and compression adds errors
only in one half of this fifth, the same half in all networks. The network before compression, its control and the
compressed network predict the images independently, so that retraining changes recalls too. A class's true loss also
differs between networks. results/validation/false-alarms.md has the table.
"""

from collections.abc import Iterator
from itertools import product

import click
import numpy as np

from analysis.statistics import limits

LIMIT = 0.02
SPREAD = 0.006  # standard deviation of a class's true loss over networks
MOVABLE = 0.2  # share of a class's images whose predictions are uncertain
CLASSES, IMAGES = 10, 1000
NETWORKS = (1, 3, 5, 10, 20)
LOSING = {"one class": np.arange(CLASSES) == 0, "all classes": np.ones(CLASSES, bool)}
NAMES = [str(number) for number in range(CLASSES)]
LABEL = np.repeat(np.arange(CLASSES), IMAGES)


def answers(losses: np.ndarray, networks: int, generator: np.random.Generator) -> dict[str, np.ndarray]:
    """Return by side whether each network predicts each image correctly, (networks, images)."""
    movable = generator.random(len(LABEL)) < MOVABLE
    hit = movable & (generator.random(len(LABEL)) < 0.5)
    right = np.where(movable, generator.uniform(0.3, 0.7, len(LABEL)), 0.95)
    mean = {"before": 0 * losses, "control": 0 * losses, "after": losses}
    found = {}
    for side, each in mean.items():
        of_networks = each + (SPREAD * generator.standard_normal((networks, CLASSES)) if side != "before" else 0)
        shift = np.repeat(np.broadcast_to(of_networks, (networks, CLASSES)), IMAGES, axis=1) / MOVABLE * 2 * hit
        found[side] = generator.random((networks, len(LABEL))) < right - shift
    return found


def within(losses: np.ndarray, networks: int, seed: int) -> tuple[bool, bool]:
    """Simulate an audit; return whether each class's own interval and the bound for all classes are below the limit."""
    made = answers(losses, networks, np.random.default_rng([seed, networks]))
    table = limits.losses(NAMES, LABEL, made, paired=True).iloc[1:]
    return bool((table["high"] < LIMIT).all()), bool((table["upper"] < LIMIT).all())


def rows(audits: int) -> Iterator[list[str]]:
    for (losing, mask), share, networks in product(LOSING.items(), (1.0, 0.5), NETWORKS):
        found = np.mean([within(share * LIMIT * mask, networks, seed) for seed in range(audits)], axis=0)
        yield [losing, f"{100 * share * LIMIT:g} points", str(networks), *(f"{each:.1%}" for each in found)]


@click.command()
@click.option("--audits", default=400, show_default=True, help="Simulated audits in each row.")
def main(audits: int) -> None:
    click.echo("| who loses | true loss | networks a side | each class's own interval | bound for all classes |")
    click.echo("| --- | ---: | ---: | ---: | ---: |")
    for row in rows(audits):
        click.echo(f"| {' | '.join(row)} |")


if __name__ == "__main__":
    main()
