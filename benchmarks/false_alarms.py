"""False alarms of `audit --fail-on-damage` on networks that differ by retraining alone.

    python benchmarks/false_alarms.py

The networks are stored in results/: dense ones, and the same fine-tuned without being pruned (pruner none). No class is
damaged in any of them, so every alarm is false. A pair of seeds differs by retraining from scratch. Takes two minutes
on one core. docs/audit.md shows and discusses the table.
"""

from collections.abc import Iterator
from itertools import permutations
from pathlib import Path

import numpy as np

from analysis.audit.audit import audit_predictions
from analysis.audit.result import Audit
from analysis.runs import exports, schema
from analysis.study.settings import CONTROL

RESULTS = Path(__file__).parent.parent / "results"
STUDIES = (
    ("lenet5", "mnist"),
    ("lenet5", "fashion-mnist"),
    ("lenet5", "cifar10-jpeg"),
    ("lenet5-released", "mnist"),
    ("lenet5-released", "fashion-mnist"),
    ("resnet20-short", "cifar10-jpeg"),
)
# Audits of each row: all there are, or so many drawn without replacement.
MOST_AUDITS = 300
# A pruning ratio whose losses the rule should find, for its power.
STRONG = 50


def main() -> None:
    print("| networks | comparison | audits | a class differs | --fail-on-damage |")
    print("| --- | --- | ---: | ---: | ---: |")
    for name, dataset in STUDIES:
        label, dense, tuned, pruned = networks(RESULTS / name / "frames", dataset)
        for comparison, audits in comparisons(label, dense, tuned, pruned):
            found = list(audits)
            differs, fails = (np.mean([bool(each) for each in values]) for values in zip(*found, strict=True))
            print(
                f"| {name}, {dataset} | {comparison} | {len(found)} | {differs:.1%} | {fails:.1%} |",
                flush=True,
            )


def networks(folder: Path, dataset: str) -> tuple[np.ndarray, ...]:
    """Return a data set's labels, and what dense, fine-tuned and strongly pruned networks predict, (seeds, images)."""
    study, predictions = exports.read([folder])
    runs = exports.select_dataset(study, dataset).runs.sort_values(schema.SEED)
    tuned = runs[runs[schema.PRUNER] == CONTROL]
    strong = runs[(runs[schema.PRUNER] == "mp") & (runs[schema.RATIO] == STRONG)].drop_duplicates(schema.DENSE_RUN_ID)
    ids = [list(tuned[schema.DENSE_RUN_ID]), list(tuned["run_id"]), list(strong["run_id"])]
    found = predictions([run_id for side in ids for run_id in side])
    sides = (np.array([found[run_id][schema.PREDICTED] for run_id in side]) for side in ids)
    return found[ids[0][0]][schema.LABEL], *sides


def comparisons(
    label: np.ndarray, dense: np.ndarray, tuned: np.ndarray, pruned: np.ndarray
) -> Iterator[tuple[str, Iterator[tuple[list[str], bool]]]]:
    """Yield each comparison, and its audits: the classes that differ, and whether --fail-on-damage fails."""
    rng = np.random.default_rng(0)
    seeds = range(len(dense))
    pairs = drawn(rng, permutations(seeds, 2))
    triples = drawn(rng, permutations(seeds, 3))
    yield "one network, fine-tuned", (audited(label, dense[i], tuned[i]) for i in seeds)
    yield "one network, another seed", (audited(label, tuned[i], tuned[j]) for i, j in pairs)
    yield (
        "with a control, the control of another seed",
        (audited(label, dense[i], tuned[i], tuned[j]) for i, j in pairs),
    )
    yield "with a control, three seeds", (audited(label, dense[i], tuned[j], tuned[k]) for i, j, k in triples)
    if len(seeds) >= 6:
        sixes = [rng.permutation(len(seeds))[:6] for _ in range(MOST_AUDITS)]
        yield "three networks a side, fine-tuned", (audited(label, dense[s[:3]], tuned[s[:3]]) for s in sixes)
        yield "three networks a side, other seeds", (audited(label, tuned[s[:3]], tuned[s[3:]]) for s in sixes)
        yield (
            "three networks a side with a control",
            (audited(label, dense[s[:3]], tuned[s[:3]], tuned[s[3:]]) for s in sixes),
        )
    both = range(min(len(tuned), len(pruned)))
    yield f"(pruned to 1/{STRONG}, with a control)", (audited(label, dense[i], pruned[i], tuned[i]) for i in both)


def drawn(rng: np.random.Generator, every: Iterator[tuple[int, ...]]) -> list[tuple[int, ...]]:
    every = list(every)
    return [every[place] for place in rng.permutation(len(every))[:MOST_AUDITS]]


def audited(*sides: np.ndarray) -> tuple[list[str], bool]:
    result: Audit = audit_predictions(*sides)
    return result.damaged, result.fails


if __name__ == "__main__":
    main()
