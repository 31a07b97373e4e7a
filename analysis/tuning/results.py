"""A search of undecayed pruning's epsilon and schedule: what won, on which images, whether it holds on new networks."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.formats import p_value, three_decimals
from analysis.statistics.hypothesis_tests import corrected, paired

WINNER, LAMBDA = "winner", "lambda"
_OF_SCHEDULES = ("ramp", "distill")


@dataclass(frozen=True)
class Tuning:
    """All that a search came to.

    Parameters
    ----------
    name : str
    objective : {"accuracy", "alpha", "both"}
    reason : str
        Why the winner won.
    trials : DataFrame, a row for each trial that ended
        number, complete (False where it was stopped after some seeds), anchor ("" where it is none), epsilon, ratio,
        ramp (share of the fine-tuning; 0 is one shot), distill (weight of distillation);
        on validation images accuracy and distortion with their standard errors over the seeds (`_error`), and of
        every seed (`accuracy/<place>`, `distortion/<place>`); eligible (whole, and within a point of the best
        anchor's accuracy), front (of Pareto), winner.
    finalists : DataFrame, a row for each network of the winner and the anchors
        role (winner, lambda, MP, GP, and these cubic), epsilon, ratio, ramp, distill, seed, new (whether the search
        never saw its dense model); accuracy and alpha on test images; at_chance; run_id.
    comparisons : DataFrame
        As `comparisons` returns it.
    """

    name: str
    objective: str
    reason: str
    trials: pd.DataFrame
    finalists: pd.DataFrame
    comparisons: pd.DataFrame

    @property
    def winner(self) -> pd.Series:
        """The trial that won."""
        return self.trials[self.trials["winner"]].iloc[0]

    @property
    def schedules(self) -> list[str]:
        """Which of ramp and distill any trial has."""
        return [name for name in _OF_SCHEDULES if self.trials[name].any()]

    @property
    def said(self) -> str:
        """What won and why, and how it compares, a sentence a line."""
        return "\n".join(_sentences(self))

    def table(self) -> pd.DataFrame:
        """Winner and anchors on validation and on test images, a row each, as text."""
        won = self.winner
        whole = self.trials[self.trials["complete"] & (self.trials["ratio"] == won["ratio"])]
        rows = []
        for role, networks in self.finalists.groupby("role", sort=False):
            trial = won if role == WINNER else whole[whole["anchor"] == role].iloc[0]
            row = {
                "": f"{WINNER} ({won['anchor']})" if role == WINNER and won["anchor"] else role,
                "epsilon": f"{trial['epsilon']:.3g}",
                **{name: f"{trial[name]:g}" for name in self.schedules},
                "validation accuracy": f"{trial['accuracy']:.4f}",
                "distortion": three_decimals(trial["distortion"]),
            }
            for new, of_role in networks.groupby("new"):
                which = "new networks: " if new else ""
                row[f"{which}test accuracy"] = f"{of_role['accuracy'].mean():.4f}"
                row[f"{which}alpha"] = _mean_alpha(of_role)
            rows.append(row)
        return pd.DataFrame(rows)


def comparisons(finalists: pd.DataFrame, objective: str) -> pd.DataFrame:
    """The winner against each anchor, paired by dense model, on test images.

    On the dense models that the search never saw, where there are any; else on those of the search, which flatter
    the winner. The primary comparison is with lambda, of accuracy, or of alpha where that was the objective; the
    others are corrected together.

    Parameters
    ----------
    finalists : DataFrame
        As in `Tuning`.
    objective : {"accuracy", "alpha", "both"}

    Returns
    -------
    DataFrame
        against, metric, primary, difference (winner minus anchor) with its 95 % interval difference_low,
        difference_high, p (two-sided paired t), p_holm (of the primary one p itself), n, new. Without the anchor
        that has won. Networks at chance have no alpha.
    """
    there = finalists[finalists["new"]] if finalists["new"].any() else finalists
    points = there.drop_duplicates("role").set_index("role")[["epsilon", *_OF_SCHEDULES]]
    anchors = [role for role in points.index if role != WINNER and (points.loc[role] != points.loc[WINNER]).any()]
    sound = there.assign(alpha=there["alpha"].mask(there["at_chance"]))
    rows = []
    for metric in ("accuracy", "alpha"):
        of_roles = sound.pivot(index="seed", columns="role", values=metric)
        for anchor in anchors:
            test = paired(of_roles[WINNER], of_roles[anchor])
            primary = anchor == LAMBDA and metric == ("accuracy" if objective == "accuracy" else "alpha")
            names = ("difference", "difference_low", "difference_high", "p", "n")
            rows.append(
                {"against": anchor, "metric": metric, "primary": primary, **{name: test[name] for name in names}}
            )
    frame = pd.DataFrame(rows).sort_values("primary", ascending=False, kind="stable", ignore_index=True)
    rest = ~frame["primary"]
    frame["p_holm"] = frame["p"]
    frame.loc[rest, "p_holm"] = corrected(frame.loc[rest, "p"], int(rest.sum()))[1]
    return frame.assign(new=bool(there["new"].any()))


def _sentences(result: Tuning) -> Iterator[str]:
    won = result.winner
    stopped = int((~result.trials["complete"]).sum())
    which = [f"epsilon {won['epsilon']:.3g}", *(f"{name} {won[name]:g}" for name in result.schedules)]
    if won["anchor"]:
        which.append(f"the anchor {won['anchor']}")
    yield f"The winner is {', '.join(which)}, ratio {won['ratio']:g}: {result.reason}" + (
        f"; {stopped} stopped early." if stopped else "."
    )
    compared = result.comparisons
    seeds = result.finalists.loc[result.finalists["new"] == compared["new"].any(), "seed"].nunique()
    if compared["new"].any():
        yield f"On the test images, with {seeds} dense models that the search never saw:"
    else:
        yield (
            f"On the test images, with the {seeds} dense models of the search, which flatter the winner; "
            "--confirm-seeds takes new ones:"
        )
    if won["anchor"] == LAMBDA:
        yield "- lambda itself has won: nothing was found to gain over it."
    for row in compared.to_dict("records"):
        yield f"- {_compared(row)}"


def _compared(row: dict) -> str:
    told = f"{'primary, ' if row['primary'] else ''}winner against {row['against']}: {row['metric']}"
    if np.isnan(row["difference_low"]):
        return f"{told}, no interval, n {row['n']}"
    scale, digits, unit = (100, 2, " points") if row["metric"] == "accuracy" else (1, 3, "")
    difference, low, high = (
        f"{scale * row[name]:+.{digits}f}" for name in ("difference", "difference_low", "difference_high")
    )
    p, name = (row["p"], "p") if row["primary"] else (row["p_holm"], "p by Holm")
    shown = "a difference" if p < 0.05 else "no difference shown"
    return f"{told} {difference}{unit} (95 % interval {low} to {high}), {name} {p_value(p)}, n {row['n']}: {shown}"


def _mean_alpha(networks: pd.DataFrame) -> str:
    chance = int(networks["at_chance"].sum())
    sound = networks.loc[~networks["at_chance"], "alpha"].mean()
    return three_decimals(sound) + (f" ({chance} at chance)" if chance else "")
