"""Result of a search of epsilon, schedule, mitigation and decay: its winner, and comparisons on test images."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from analysis.rendering.formats import decimals, interval, p_value, three_decimals
from analysis.runs import schema
from analysis.statistics.hypothesis_tests import LEVEL, corrected, paired

WINNER, LAMBDA = "winner", "lambda"
SEARCHED_PARAMS = ("ramp", "distill", "strength")
ANCHORS_NOTE = (
    "The other rows are the anchors, which every search tries: lambda is the weight decay, the paper's epsilon.\n"
    "With a very large epsilon undecayed pruning does the same as mp (MP), and with 0 the same as gp (GP)."
)


@dataclass(frozen=True)
class Tuning:
    """The result of a search.

    Parameters
    ----------
    name : str
    objective : {"accuracy", "alpha", "both"}
    reason : str
        The reason why the winner won.
    trials : DataFrame, a row for each trial that ended
        number; complete (False if the trial was stopped after some seeds); anchor (empty if the trial is none);
        epsilon, ratio, ramp (share of the fine-tuning; 0 is one-shot), distill (weight of distillation), strength (of
        the mitigation, 0 if it is not searched), fine_tune_decay (only if it is searched); accuracy and distortion on
        validation images, with their standard errors over the seeds (`_error`) and their values for each seed
        (`accuracy/<place>`, `distortion/<place>`); eligible (complete, and within a point of the best anchor's
        accuracy); front (on the Pareto front); winner.
    finalists : DataFrame, a row for each network of the winner and the anchors
        role (winner, lambda, MP, GP, and the last three with `cubic`), epsilon, ratio, ramp, distill, strength,
        fine_tune_decay (only if it is searched), seed; new (whether the search did not use its dense model); accuracy
        and alpha on test images; at_chance; run_id.
    comparisons : DataFrame
        As `comparisons` returns it.
    files : mapping of str to bytes
        The files that the search was read from, if any.
    """

    name: str
    objective: str
    reason: str
    trials: pd.DataFrame
    finalists: pd.DataFrame
    comparisons: pd.DataFrame
    files: Mapping[str, bytes] = field(default_factory=dict, repr=False)

    @property
    def winner(self) -> pd.Series:
        """The trial that won."""
        return self.trials[self.trials["winner"]].iloc[0]

    @property
    def further(self) -> list[str]:
        """The searched params other than epsilon that are nonzero in any trial."""
        return [name for name in _searched(self.trials) if self.trials[name].any()]

    @property
    def sentences(self) -> list[str]:
        """Sentences on the winner and why it won, on the images of the comparisons, and on each comparison."""
        return [_winner(self), _images(self), *_comparisons(self)]

    @property
    def summary(self) -> str:
        """The sentences for a terminal, one per line, with comparisons as a list."""
        winner, images, *compared = self.sentences
        return "\n".join([winner, images, *(f"- {sentence}" for sentence in compared)])

    def table(self) -> pd.DataFrame:
        """Tabulate the winner and the anchors on validation and test images, as text."""
        won = self.winner
        whole = self.trials[self.trials["complete"] & (self.trials["ratio"] == won["ratio"])]
        rows = []
        for role, networks in self.finalists.groupby("role", sort=False):
            trial = won if role == WINNER else whole[whole["anchor"] == role].iloc[0]
            rows.append(self._validated(role, trial) | _tested(networks))
        return pd.DataFrame(rows)

    def _validated(self, role: str, trial: pd.Series) -> dict[str, str]:
        return {
            "": f"{role} ({trial['anchor']})" if role == WINNER and trial["anchor"] else role,
            "epsilon": _epsilon(trial),
            **{name: _value(trial[name]) for name in self.further},
            "validation accuracy": f"{trial['accuracy']:.4f}",
            "distortion": three_decimals(trial["distortion"]),
        }


def _searched(frame: pd.DataFrame) -> list[str]:
    """Return the searched params other than epsilon that are columns of trials or finalists."""
    return [*SEARCHED_PARAMS, *frame.columns.intersection([schema.FINE_TUNE_DECAY])]


def _value(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:g}"


def _epsilon(trial: pd.Series) -> str:
    """Write the epsilon of a trial; that of the anchor MP is too large to be a useful number."""
    return "same as mp" if trial["anchor"].startswith("MP") else f"{trial['epsilon']:.3g}"


def _tested(networks: pd.DataFrame) -> dict[str, str]:
    cells = {}
    for new, rows in networks.groupby("new"):
        kind = "new networks: " if new else ""
        cells[f"{kind}test accuracy"] = f"{rows['accuracy'].mean():.4f}"
        cells[f"{kind}alpha"] = _mean_alpha(rows)
    return cells


def _mean_alpha(networks: pd.DataFrame) -> str:
    at_chance = networks["at_chance"]
    chance_note = f" ({at_chance.sum()} at chance)" if at_chance.any() else ""
    return three_decimals(networks.loc[~at_chance, "alpha"].mean()) + chance_note


def comparisons(finalists: pd.DataFrame, objective: str) -> pd.DataFrame:
    """Compare the winner with each anchor, paired by dense model, on test images.

    The comparison uses dense models that the search did not use, if there are any, else those of the search, which
    flatter the winner. The primary comparison is with lambda, in accuracy if that was the objective, else in alpha. The
    p-values of the other comparisons are corrected together.

    Parameters
    ----------
    finalists : DataFrame
        As in `Tuning`.
    objective : {"accuracy", "alpha", "both"}

    Returns
    -------
    DataFrame
        against, metric, primary, difference (winner minus anchor) with its 95 % interval difference_low and
        difference_high, p (two-sided paired t), p_holm (for the primary comparison p itself), n, new. An anchor with
        the winner's values is left out. Networks at chance have no alpha.
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


_TEST = ("difference", "difference_low", "difference_high", "p", "n")


def _anchors(tested: pd.DataFrame) -> list[str]:
    """Return the roles of the anchors that differ from the winner."""
    points = tested.drop_duplicates("role").set_index("role")[["epsilon", *_searched(tested)]]
    return [role for role in points.index if role != WINNER and (points.loc[role] != points.loc[WINNER]).any()]


def _winner(tuning: Tuning) -> str:
    won = tuning.winner
    point = [f"epsilon {_epsilon(won)}", *(f"{name} {_value(won[name])}" for name in tuning.further)]
    if won["anchor"]:
        point.append(f"the anchor {won['anchor']}")
    stopped = int((~tuning.trials["complete"]).sum())
    end = f"; {stopped} stopped early." if stopped else "."
    return f"The winner is {', '.join(point)}, ratio {won['ratio']:g}: {tuning.reason}{end}"


def _images(tuning: Tuning) -> str:
    new = bool(tuning.comparisons["new"].any())
    seeds = tuning.finalists.loc[tuning.finalists["new"] == new, "seed"].nunique()
    if new:
        return f"On the test images, with {seeds} dense models that the search never saw:"
    return (
        f"On the test images, with the {seeds} dense models of the search, which flatter the winner; "
        "--confirm-seeds takes new ones:"
    )


def _comparisons(tuning: Tuning) -> Iterator[str]:
    if tuning.winner["anchor"] == LAMBDA:
        yield "lambda itself has won: nothing was found to gain over it."
    yield from map(_compared, tuning.comparisons.to_dict("records"))


def _compared(row: dict) -> str:
    start = f"{'primary, ' if row['primary'] else ''}winner against {row['against']}: {row['metric']}"
    if np.isnan(row["difference_low"]):
        return f"{start}, no interval, n {row['n']}"
    scale, write, unit = (
        (100, decimals(2, sign=True), " points") if row["metric"] == "accuracy" else (1, decimals(3, sign=True), "")
    )
    value, low, high = (scale * row[name] for name in ("difference", "difference_low", "difference_high"))
    p, name = (row["p"], "p") if row["primary"] else (row["p_holm"], "p by Holm")
    result = "a difference" if p < LEVEL else "no difference shown"
    return (
        f"{start} {write(value)}{unit} (95 % interval {interval(low, high, write)}), {name} {p_value(p)}, "
        f"n {row['n']}: {result}"
    )
