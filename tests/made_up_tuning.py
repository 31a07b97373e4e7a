"""A search whose numbers are known: three dense models, five trials, the winner half a point above lambda."""

import json
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from analysis.runs.tunings import Tuning
from pruning_study.study.tuning.winner_comparisons import comparisons

TEST = {
    # accuracy of each dense model, alpha of each
    "winner": ([0.86, 0.87, 0.88], [1.1, 1.0, 1.2]),
    "lambda": ([0.84, 0.85, 0.87], [1.2, 1.3, 1.2]),
    "MP": ([0.85, 0.87, 0.86], [1.3, 1.1, 1.5]),
    "GP": ([0.10, 0.12, 0.50], [9.0, -9.0, 1.5]),
}
EPSILONS = {"winner": 0.1, "lambda": 5e-4, "MP": 1e8, "GP": 0.0}


def finalists(*, new: bool = False, seeds: tuple[int, ...] = (0, 1, 2), epsilons: dict[str, float] = EPSILONS):
    rows = [
        {
            "role": role,
            "epsilon": epsilons[role],
            "ratio": 10.0,
            "ramp": 0.0,
            "distill": 0.0,
            "strength": 0.0,
            "seed": seed,
            "new": new,
            "accuracy": accuracy,
            "alpha": alpha,
            "at_chance": accuracy < 0.15,
            "run_id": f"{role} {seed}",
        }
        for role, of_role in TEST.items()
        for seed, accuracy, alpha in zip(seeds, *of_role, strict=True)
    ]
    return pd.DataFrame(rows)


def tuning(objective: str = "accuracy") -> Tuning:
    trials = pd.DataFrame(
        [
            (0, True, "lambda", 5e-4, 0.850, 0.30, [0.84, 0.85, 0.86], True, False, False),
            (1, True, "MP", 1e8, 0.853, 0.20, [0.85, 0.85, 0.86], True, True, False),
            (2, True, "GP", 0.0, 0.120, 0.90, [0.10, 0.12, 0.14], False, False, False),
            (3, False, "", 1e-6, 0.500, 0.80, [0.49, np.nan, np.nan], False, False, False),
            (4, True, "", 0.1, 0.855, 0.25, [0.85, 0.855, 0.86], True, True, True),
        ],
        columns=[
            "number",
            "complete",
            "anchor",
            "epsilon",
            "accuracy",
            "distortion",
            "of",
            "eligible",
            "front",
            "winner",
        ],
    )
    seeds = pd.DataFrame(trials.pop("of").tolist(), columns=["accuracy/0", "accuracy/1", "accuracy/2"])
    trials = trials.assign(
        ratio=10.0,
        ramp=0.0,
        distill=0.0,
        strength=0.0,
        accuracy_error=0.005,
        distortion_error=0.05,
        **seeds,
        **{"distortion/0": 0.3},
    )
    tested = finalists()
    return Tuning("made up", objective, "the best", trials, tested, comparisons(tested, objective))


def decayed() -> Tuning:
    made = tuning()
    finalists = made.finalists.assign(fine_tune_decay="none")
    finalists.loc[finalists["role"] == "winner", "fine_tune_decay"] = "cosine"
    trials = made.trials.assign(fine_tune_decay=["none", "none", "none", "linear", "cosine"])
    return replace(made, trials=trials, finalists=finalists)


def files(made: Tuning, *, without: Sequence[str] = ()) -> dict[str, bytes]:
    """What its run has, by name; the tables without some columns."""
    summary = {"study_name": made.name, "objective": made.objective, "reason": made.reason}
    tables = {"trials": made.trials, "finalists": made.finalists}
    return {
        "tuning.json": json.dumps(summary).encode(),
        **{
            f"{name}.csv": table.drop(columns=[*without]).to_csv(index=False).encode() for name, table in tables.items()
        },
        "comparisons.csv": made.comparisons.to_csv(index=False).encode(),
    }
