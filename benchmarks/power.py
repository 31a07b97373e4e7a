"""How often audits find a loss that, according to `power`, they find four times in five.

    python benchmarks/power.py

The networks are simulated without the assumptions of `power`: each class of a network has an offset on a probit scale,
each image has a difficulty that all networks share, and each network adds its own noise. Their predictions are audited.
results/validation/false-alarms.md has the table.
"""

import numpy as np
from scipy.special import ndtr, ndtri

from analysis.audit import power
from analysis.audit.audit import audit_predictions

CLASSES, IMAGES, RECALL = 10, 1000, 0.9
# Standard deviations of the offsets of classes, the difficulties of images, and a network's own noise.
OFFSET, DIFFICULTY, NOISE = 0.1, 0.8, 0.6
NETWORKS, AUDITS = (2, 3, 4, 6), 100
_TOTAL = np.sqrt(DIFFICULTY**2 + NOISE**2)
LABEL = np.repeat(np.arange(CLASSES), IMAGES)


def main() -> None:
    """Print, for each number of networks, the loss that `power` gives and the share of audits that find this loss."""
    print("| networks a side | loss, points | found |")
    print("| ---: | ---: | ---: |")
    movement = power.of_points(CLASSES, IMAGES, 100 * movement_of_recall())
    for networks in NETWORKS:
        loss = power.smallest_losses(movement, networks, np.random.default_rng(0))[0]
        found = np.mean([is_found(np.random.default_rng(audit), networks, loss) for audit in range(AUDITS)])
        print(f"| {networks} | {100 * loss:.1f} | {found:.0%} |", flush=True)


def movement_of_recall() -> float:
    """Return the standard deviation of the change of a class's recall, without noise of images."""
    rng = np.random.default_rng(0)
    offsets = rng.normal(0, OFFSET, (2, 100_000))
    first, second = ndtr((level_of(RECALL) + offsets) / _TOTAL)
    return float((second - first).std())


def level_of(recall: float) -> float:
    """Return the level on the probit scale of a class with this recall."""
    return float(_TOTAL * ndtri(recall))


def is_found(rng: np.random.Generator, networks: int, loss: float) -> bool:
    """Return whether an audit names class 0, which lost recall."""
    difficulty = rng.normal(0, DIFFICULTY, len(LABEL))
    sides = []
    for lost in (0.0, loss):
        level = np.full(CLASSES, level_of(RECALL))
        level[0] = level_of(max(RECALL - lost, 1e-6))
        offsets = rng.normal(0, OFFSET, (networks, CLASSES))
        margin = (level + offsets)[:, LABEL] - difficulty + rng.normal(0, NOISE, (networks, len(LABEL)))
        sides.append(np.where(margin > 0, LABEL, (LABEL + 1) % CLASSES))
    return "0" in audit_predictions(LABEL, *sides).damaged


if __name__ == "__main__":
    main()
