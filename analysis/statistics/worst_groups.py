"""Pick the groups that lose most in one network, and measure their losses in the other networks.

Part of the largest loss in one network is due to chance and to that network, so the group with this loss tends to lose
less in other networks. If groups are picked and measured in the same network, the worst groups look worse than they
are.
"""

import numpy as np
import pandas as pd


def picked_and_judged(names: np.ndarray, before: np.ndarray, after: np.ndarray, most: int = 1) -> pd.DataFrame:
    """Pick the groups that lose most accuracy in each network, and measure their losses in the other networks.

    Parameters
    ----------
    names : (groups,)
    before, after : (networks, groups)
        Accuracy of each network on each group; row i of both is the same network.
    most : int
        Number of groups to pick in each network. Among groups with equal losses, the first are picked.

    Returns
    -------
    DataFrame, one row per network and picked group
        - network: row of the network in which the group was picked.
        - group: name of the group.
        - before, after, loss: accuracies and loss of the group in this network.
        - before_elsewhere, after_elsewhere, loss_elsewhere: the same as means over the other networks; NaN with one
          network.

    Examples
    --------
    Each network loses half of one group, and the other network loses none of it:

    >>> before = np.ones((2, 2))
    >>> after = np.array([[0.5, 1.0], [1.0, 0.5]])
    >>> picked_and_judged(np.array(["a", "b"]), before, after)[["group", "loss", "loss_elsewhere"]].to_numpy().tolist()
    [['a', 0.5, 0.0], ['b', 0.5, 0.0]]
    """
    rows = []
    for network in range(len(after)):
        other_networks = np.arange(len(after)) != network
        loss = before[network] - after[network]
        for group in np.argsort(-loss, kind="stable")[:most]:
            elsewhere = [
                float(side[other_networks, group].mean()) if other_networks.any() else np.nan
                for side in (before, after)
            ]
            rows.append(
                {
                    "network": network,
                    "group": str(names[group]),
                    "before": before[network, group],
                    "after": after[network, group],
                    "loss": loss[group],
                    "before_elsewhere": elsewhere[0],
                    "after_elsewhere": elsewhere[1],
                    "loss_elsewhere": elsewhere[0] - elsewhere[1],
                }
            )
    return pd.DataFrame(rows)
