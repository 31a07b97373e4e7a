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

CLASSES, RECALL = 10, 0.9
# Standard deviations of the offsets of classes, the difficulties of images, and a network's own noise.
OFFSET, DIFFICULTY, NOISE = 0.1, 0.8, 0.6
# Images of each class, and networks on each side.
SIZES = ((1000, 2), (1000, 3), (1000, 4), (1000, 6), (40, 10), (40, 30), (15, 10))
AUDITS = 100
_TOTAL = np.sqrt(DIFFICULTY**2 + NOISE**2)


def main() -> None:
    """Print, for each size, the loss that `power` gives and the share of audits that find this loss."""
    print("| images of each class | networks a side | loss, points | found |")
    print("| ---: | ---: | ---: | ---: |")
    for images, networks in SIZES:
        loss = promised_loss(images, networks)
        found = np.mean([is_found(np.random.default_rng(audit), images, networks, loss) for audit in range(AUDITS)])
        print(f"| {images:,} | {networks} | {100 * loss:.1f} | {found:.0%} |", flush=True)


def promised_loss(images: int, networks: int) -> float:
    """Return the smallest loss that `power` gives."""
    movement = power.of_points(CLASSES, images, 100 * movement_of_recall())
    return float(power.smallest_losses(movement, networks, np.random.default_rng(0))[0])


def movement_of_recall() -> float:
    """Return the standard deviation of the change of a class's recall, without noise of images."""
    rng = np.random.default_rng(0)
    offsets = rng.normal(0, OFFSET, (2, 100_000))
    first, second = ndtr((level_of(RECALL) + offsets) / _TOTAL)
    return float((second - first).std())


def level_of(recall: float) -> float:
    """Return the level on the probit scale of a class with this recall."""
    return float(_TOTAL * ndtri(recall))


def is_found(rng: np.random.Generator, images: int, networks: int, loss: float) -> bool:
    """Return whether an audit names class 0, which lost recall."""
    label = np.repeat(np.arange(CLASSES), images)
    difficulty = rng.normal(0, DIFFICULTY, len(label))
    sides = []
    for lost in (0.0, loss):
        level = np.full(CLASSES, level_of(RECALL))
        level[0] = level_of(max(RECALL - lost, 1e-6))
        offsets = rng.normal(0, OFFSET, (networks, CLASSES))
        margin = (level + offsets)[:, label] - difficulty + rng.normal(0, NOISE, (networks, len(label)))
        sides.append(np.where(margin > 0, label, (label + 1) % CLASSES))
    return "0" in audit_predictions(label, *sides).damaged


if __name__ == "__main__":
    main()
