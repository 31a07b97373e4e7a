"""Compare the winner of a search, on test images, with the anchors: lambda (`up` with its default epsilon), MP, GP."""

import pandas as pd

from analysis.runs.tunings import LAMBDA, WINNER, searched
from analysis.statistics.hypothesis_tests import corrected, paired

_TEST = ("difference", "difference_low", "difference_high", "p", "n")


def comparisons(finalists: pd.DataFrame, objective: str) -> pd.DataFrame:
    """Compare the winner with each anchor, paired by dense network, on test images.

    The comparison uses dense networks that were not part of the search if there are any. Otherwise it uses the networks
    of the search, which favour the winner. The primary comparison is with the anchor lambda: of accuracy if accuracy
    was the objective, else of alpha. The p-values of the other comparisons are corrected jointly.

    Parameters
    ----------
    finalists : DataFrame
        As in `analysis.runs.tunings.Tuning`.
    objective : {"accuracy", "alpha", "both"}

    Returns
    -------
    DataFrame
        The primary comparison first, if there is one. An anchor with the winner's settings is left out. Networks at
        chance have no alpha.

        - against: name of the anchor.
        - metric: `accuracy` or `alpha`.
        - primary: whether this is the primary comparison.
        - difference: winner minus anchor.
        - difference_low, difference_high: its 95 % interval.
        - p: from the two-sided paired t-test.
        - p_holm: p corrected for all comparisons that are not primary; p itself for the primary one.
        - n: number of pairs.
        - new: whether the dense networks were not part of the search.
    """
    tested = finalists[finalists["new"]] if finalists["new"].any() else finalists
    sound = tested.assign(alpha=tested["alpha"].mask(tested["at_chance"]))
    primary_metric = "accuracy" if objective == "accuracy" else "alpha"
    rows = []
    for metric in ("accuracy", "alpha"):
        by_role = sound.pivot(index="seed", columns="role", values=metric)
        for anchor in _anchors(tested):
            test = paired(by_role[WINNER], by_role[anchor])
            primary = (anchor, metric) == (LAMBDA, primary_metric)
            rows.append(
                {"against": anchor, "metric": metric, "primary": primary, **{name: test[name] for name in _TEST}}
            )
    frame = pd.DataFrame(rows).sort_values("primary", ascending=False, kind="stable", ignore_index=True)
    others = ~frame["primary"]
    frame["p_holm"] = frame["p"]
    frame.loc[others, "p_holm"] = corrected(frame.loc[others, "p"], int(others.sum()))[1]
    return frame.assign(new=bool(tested["new"].any()))


def _anchors(tested: pd.DataFrame) -> list[str]:
    """Return the anchors that differ from the winner."""
    points = tested.drop_duplicates("role").set_index("role")[["epsilon", *searched(tested)]]
    return [role for role in points.index if role != WINNER and (points.loc[role] != points.loc[WINNER]).any()]
