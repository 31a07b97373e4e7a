"""The costs of compression for classes, in studies that store which answers are right instead of frames."""

from collections.abc import Sequence

import numpy as np

from analysis.statistics import class_costs, class_losses, class_sums

NAME = "class_costs"


def costliest(label: np.ndarray, before: np.ndarray, after: np.ndarray, names: Sequence[str]) -> dict[str, object]:
    """Return the class that loses most beyond the accuracy on average, and its cost.

    Parameters
    ----------
    label : (images,), integers
        Class of each image, from 0.
    before, after : (networks, images), bool
        Whether each network's reference, for example its control, and the network itself predict each image correctly.
    names : (classes,)

    Returns
    -------
    dict
        n (networks), accuracy_loss, class; loss, loss_upper_all, cost, cost_low, cost_high and cost_p as in
        `classes.csv`: shares of 1, with bounds and p that hold for all classes together.
    """
    support = np.bincount(label)
    recall = np.stack([(before + after.astype(float))[:, label == each].mean() / 2 for each in range(len(support))])
    changes = class_losses.moderated(class_losses.from_predictions(label, before, after), recall)
    share = support / len(label)
    loss, cost = (
        class_costs.bounds(changes, weights, support=support)
        for weights in (np.eye(len(support)), class_sums.excess_weights(share))
    )
    place = int(cost.value.argmax())
    return {
        "n": len(after),
        "accuracy_loss": float((before.mean(1) - after.mean(1)).mean()),
        "class": names[place],
        "loss": loss.value[place],
        "loss_upper_all": loss.upper_all.max(),
        "cost": cost.value[place],
        "cost_low": cost.low[place],
        "cost_high": cost.high[place],
        "cost_p": cost.p[place],
    }
