"""Coverage and size of the comparison of two methods' alpha_new, in the world of slopes.py; ten minutes.

    OPENBLAS_NUM_THREADS=1 python benchmarks/methods.py

Two methods prune the same dense networks, one after the other and each with accidents of its own; the second spreads
the classes as widely as the first, or more. docs/simulation.md has the figures and what they say.
"""

import numpy as np
import pandas as pd
from scipy.special import ndtr, ndtri
from slopes import ACCIDENT, ACCIDENT_KEPT, DATA_SETS, EASE, SAME_ANSWER, DataSet, per_class

from analysis.methods import compare as methods
from analysis.statistics.intensification import drawn_image_sums, recall_balance
from analysis.statistics.resampling import bootstrap_interval, draws

WIDENINGS = (1.15, 1.25)
STUDIES = 100
SEEDS = (5, 30)
NETWORKS_FOR_TARGET = 4000


def main() -> None:
    print("                               coverage                      p < .05")
    print("data set       seeds  target  t, two-way  t, seeds  bootstrap  t, two-way  identified")
    for data_set in DATA_SETS[:3]:
        for seeds in SEEDS:
            for widening in WIDENINGS:
                rng = np.random.default_rng(0)
                target = difference(rng, data_set, widening) if widening != WIDENINGS[0] else 0.0
                made = pd.DataFrame([study(rng, data_set, seeds, widening) for _ in range(STUDIES)])
                known = made.dropna()
                covered = [
                    ((known[f"{name}_low"] <= target) & (target <= known[f"{name}_high"])).mean()
                    for name in ("two_way", "seeds", "bootstrap")
                ]
                print(
                    f"{data_set.name:<14} {seeds:5}  {target:6.3f}  {covered[0]:10.2f}  {covered[1]:8.2f}  "
                    f"{covered[2]:9.2f}  {(known['p'] < 0.05).mean():10.2f}  {len(known) / STUDIES:10.2f}",
                    flush=True,
                )


def skills(rng: np.random.Generator, data_set: DataSet, seeds: int, widening: float) -> list[np.ndarray]:
    """Return the skill before and after pruning by either method, (seeds, classes) each."""
    by_class = data_set.spread * ndtri((np.arange(data_set.classes) + 0.5) / data_set.classes)
    centre = ndtri(data_set.recall) * np.sqrt(1 + EASE.var() + data_set.spread**2)
    own, *new = ACCIDENT * data_set.spread * rng.standard_normal((3, seeds, data_set.classes))
    kept = [ACCIDENT_KEPT * own + np.sqrt(1 - ACCIDENT_KEPT**2) * accident for accident in new]
    pruned = [
        data_set.skill_kept * centre + widens * by_class + accident
        for widens, accident in zip((WIDENINGS[0], widening), kept, strict=True)
    ]
    return [centre + by_class + own, *pruned]


def difference(rng: np.random.Generator, data_set: DataSet, widening: float) -> float:
    """Return the second method's slope minus the first's, of infinitely many images."""
    recalls = [
        ndtr(skill[..., np.newaxis] + EASE).mean(-1) for skill in skills(rng, data_set, NETWORKS_FOR_TARGET, widening)
    ]
    before, first, second = (recall_balance(recall, recall.mean(-1)) for recall in recalls)
    return float((before * (second - first)).sum() / np.square(before).sum())


def study(rng: np.random.Generator, data_set: DataSet, seeds: int, widening: float) -> dict[str, float]:
    """Return the intervals and p of the difference, for one test set."""
    label = np.repeat(np.arange(data_set.classes), data_set.images)
    ease = rng.integers(len(EASE), size=label.size)
    chances = [ndtr(skill[..., np.newaxis] + EASE)[:, label, ease] for skill in skills(rng, data_set, seeds, widening)]
    first = rng.random(chances[0].shape, dtype=np.float32)
    right = [first < chances[0]]
    for chance in chances[1:]:
        again, repeat = (rng.random(first.shape, dtype=np.float32) for _ in range(2))
        right.append(np.where(repeat < SAME_ANSWER, first, again) < chance)
    runs, found = stored(data_set, label, right)
    two_way = alpha_new_row(methods.compare(runs, lambda run_ids: {run_id: found[run_id] for run_id in run_ids}))
    alone = alpha_new_row(methods.compare(runs))
    low, high = bootstrap(label, right)
    return {
        "two_way_low": two_way["difference_low"],
        "two_way_high": two_way["difference_high"],
        "p": two_way["p"],
        "seeds_low": alone["difference_low"],
        "seeds_high": alone["difference_high"],
        "bootstrap_low": low,
        "bootstrap_high": high,
    }


def stored(data_set: DataSet, label: np.ndarray, right: list[np.ndarray]) -> tuple[pd.DataFrame, dict]:
    """Return runs as `analysis.runs.pull.runs` returns them, and predictions by run id."""
    frames, found = [], {}
    for schedule, after in zip(("one-shot", "cubic"), right[1:], strict=True):
        seeds = range(len(after))
        shares = {"recall_before": right[0], "recall_after": after, "both_right": right[0] & after}
        by_class = {
            f"{name}/{c}": recall for name, of in shares.items() for c, recall in enumerate(per_class(data_set, of).T)
        }
        names = {"dataset": "made-up", "model": "net", "pruner": "mp", "ratio": 20.0, "params.schedule": schedule}
        ids = {"dense_run_id": [f"dense {seed}" for seed in seeds], "run_id": [f"{schedule} {seed}" for seed in seeds]}
        measured = {"accuracy_before": right[0].mean(1), "accuracy_after": after.mean(1)}
        support = {f"support/{c}": float(data_set.images) for c in range(data_set.classes)}
        frames.append(pd.DataFrame({**names, "seed": seeds, **measured, **by_class, **support, **ids}))
        for names_of, of in ((ids["dense_run_id"], right[0]), (ids["run_id"], after)):
            for run_id, answers in zip(names_of, of, strict=True):
                predicted = np.where(answers, label, (label + 1) % data_set.classes)
                found[run_id] = {"label": label, "predicted": predicted}
    return pd.concat(frames, ignore_index=True), found


def alpha_new_row(frame: pd.DataFrame) -> pd.Series:
    return frame[frame["outcome"] == methods.ALPHA_NEW].iloc[0]


def bootstrap(label: np.ndarray, right: list[np.ndarray], resamples: int = 200) -> np.ndarray:
    """Return the percentile interval, (2,), of the difference with seeds and images drawn anew."""
    drawn = draws(np.random.default_rng(1), resamples, len(right[0]))
    slopes = []
    for after in right[1:]:
        _, (numerator, denominator, _) = drawn_image_sums(label, right[0], after, resamples, np.random.default_rng(0))
        slopes.append((drawn * numerator).sum(1) / (drawn * denominator).sum(1))
    return bootstrap_interval(slopes[1] - slopes[0], 0.95)


if __name__ == "__main__":
    main()
