"""Compute what compression costs a class, for studies that store not frames but only which predictions are right."""

from collections.abc import Sequence

import numpy as np

from analysis.statistics import class_table

NAME = "class_costs"


def costliest(label: np.ndarray, before: np.ndarray, after: np.ndarray, names: Sequence[str]) -> dict[str, object]:
    """Return the class with the largest mean cost, and this cost.

    Parameters
    ----------
    label : (images,), integers
        Class of each image, from 0.
    before, after : (networks, images), bool
        `after`: whether each compressed network predicts each image correctly. `before`: the same for the network
        with which the compressed network is compared, for example its control.
    names : (classes,)
        Name of each class.

    Returns
    -------
    dict
        - n: number of networks;
        - accuracy_loss: mean loss of accuracy, a share of 1;
        - class: name of the class;
        - loss, loss_upper_all, cost, cost_low, cost_high, cost_p: as in `classes.csv`.
    """
    columns = class_table.costs(label, before, after).columns
    place = int(columns["cost"].argmax())
    return {
        "n": len(after),
        "accuracy_loss": float((before.mean(1) - after.mean(1)).mean()),
        "class": names[place],
        "loss": columns["loss"][place],
        "loss_upper_all": columns["loss_upper_all"].max(),
        **{name: columns[name][place] for name in ("cost", "cost_low", "cost_high", "cost_p")},
    }
