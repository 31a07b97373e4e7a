"""False alarms and power of the audit, on stored networks and on simulated ones.

    python benchmarks/false_alarms.py [one] [losses] [several] [simulated]

The stored networks are in results/: dense networks, the same networks fine-tuned without pruning (pruner `none`), and
pruned networks. If two networks differ only by fine-tuning or by the seed of their training, no class is damaged, so
every alarm is false. Without an argument all tables are made. results/validation/false-alarms.md has the tables, and
docs/concepts/how-the-audit-decides.md discusses them.
"""

import sys
from collections.abc import Callable, Iterator
from itertools import permutations
from pathlib import Path
from typing import NamedTuple

import numpy as np

from analysis.audit.audit import audit_predictions
from analysis.audit.result import Audit
from analysis.runs import exports, schema
from analysis.statistics import class_losses, moderation, two_way
from analysis.statistics.class_table import class_table, marked
from analysis.statistics.hypothesis_tests import LEVEL, corrected
from analysis.statistics.limits import damage_gate
from analysis.statistics.network_losses import GROSS_LOSS, gross_losses
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
# Studies in which classes are made to lose recall.
WITH_LOSSES = STUDIES[:3]
# Largest number of audits in a row of a table; if more are possible, this many are drawn without replacement.
MOST_AUDITS = 300
# Number of audits in a row of a table if there are several networks on each side.
MOST_OF_SEVERAL = 100
# Losses of recall that are given to a class of one network, and number of audits for each loss.
LOSSES, AUDITS_OF_LOSSES = (0.02, 0.05, 0.1, 0.2, 0.3), 100
# In comparisons without retraining, the predictions for up to this share of each class's images change from right to
# wrong, and for the same share from wrong to right.
EXCHANGED = 0.02
# Pruning ratios whose losses the audit should find, to measure its power.
MILD, STRONG = 20, 50
NETWORKS = (2, 3, 5, 10)
# Numbers of classes with the number of simulated audits in each row, and numbers of networks on each side.
SIMULATED = ((10, 1000), (100, 200))
SIMULATED_NETWORKS = (2, 3, 5, 10, 30)
# Loss of the one simulated class that loses recall, in standard errors of the change of a class to which `SPREADS`
# gives the variance 1.
LOSS = 5.0


def main() -> None:
    """Print the tables that the command line names, or all."""
    tables = {"one": print_one, "losses": print_losses, "several": print_several, "simulated": print_simulated}
    for name in sys.argv[1:] or tables:
        tables[name]()


def print_one() -> None:
    """Print how often an audit of one network a side finds that a class differs, and how often the audit fails."""
    print("| networks | comparison | audits | a class differs | --fail-on-damage |")
    print("| --- | --- | ---: | ---: | ---: |")
    for name, dataset in STUDIES:
        label, dense, tuned, pruned = networks(RESULTS / name / "frames.zip", dataset)
        for comparison, audits in comparisons(label, dense, tuned, pruned[STRONG]):
            found = list(audits)
            differs, fails = (np.mean([bool(each) for each in values]) for values in zip(*found, strict=True))
            print(f"| {name}, {dataset} | {comparison} | {len(found)} | {differs:.1%} | {fails:.1%} |", flush=True)


def print_losses() -> None:
    """Print how often an audit of one network a side finds a class that was made to lose recall."""
    print(f"| networks | comparison | {' | '.join(f'{100 * loss:.0f} points' for loss in LOSSES)} |")
    print(f"| --- | --- |{' ---: |' * len(LOSSES)}")
    for name, dataset in WITH_LOSSES:
        label, dense, tuned, _ = networks(RESULTS / name / "frames.zip", dataset)
        right = [side == label for side in (dense, tuned)]
        for comparison, shares in found_losses(label, *right):
            print(f"| {name}, {dataset} | {comparison} | {' | '.join(shares)} |", flush=True)


def print_several() -> None:
    """Print how often each test, or the loss of a single network, shows damage, and how often intervals contain 0."""
    alarms = "plain | moderated | both tests | one network | undecided"
    print(f"| networks | a side | comparison | {alarms} | coverage, plain | coverage, moderated |")
    print(f"| --- | ---: | --- |{' ---: |' * 7}")
    for name, dataset in STUDIES:
        for row in several(*networks(RESULTS / name / "frames.zip", dataset)):
            print(f"| {name}, {dataset} | {' | '.join(row)} |", flush=True)


def print_simulated() -> None:
    """Print false alarms, coverage and power for simulated classes, whose variances are known."""
    alarms, power = "false alarms, plain | moments | moderated | both tests", "power, plain | moderated | both tests"
    print(f"| classes | networks | variances | {alarms} | coverage | {power} |")
    print(f"| ---: | ---: | --- |{' ---: |' * 8}")
    for row in simulated():
        print(f"| {' | '.join(row)} |", flush=True)


def networks(study_frames: Path, dataset: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, dict[int, np.ndarray]]:
    """Return labels, and predictions of dense, fine-tuned and, by ratio, pruned networks, each (seeds, images)."""
    study, predictions = exports.read([study_frames])
    runs = exports.select_dataset(study, dataset).runs.sort_values(schema.SEED)
    tuned = runs[runs[schema.PRUNER] == CONTROL]
    by_ratio = {
        ratio: runs[(runs[schema.PRUNER] == "mp") & (runs[schema.RATIO] == ratio)].drop_duplicates(schema.DENSE_RUN_ID)
        for ratio in (MILD, STRONG)
    }
    ids = [
        list(tuned[schema.DENSE_RUN_ID]),
        list(tuned["run_id"]),
        *(list(rows["run_id"]) for rows in by_ratio.values()),
    ]
    found = predictions([run_id for side in ids for run_id in side])
    dense, fine_tuned, *pruned = (np.array([found[run_id][schema.PREDICTED] for run_id in side]) for side in ids)
    return found[ids[0][0]][schema.LABEL], dense, fine_tuned, dict(zip(by_ratio, pruned, strict=True))


def comparisons(
    label: np.ndarray, dense: np.ndarray, tuned: np.ndarray, pruned: np.ndarray
) -> Iterator[tuple[str, Iterator[tuple[list[str], bool]]]]:
    """Yield each comparison of one network a side, and its audits.

    Each audit is given by the classes that differ, and whether --fail-on-damage fails.
    """
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
    both = range(min(len(tuned), len(pruned)))
    yield f"(pruned to 1/{STRONG}, with a control)", (audited(label, dense[i], pruned[i], tuned[i]) for i in both)


def drawn(rng: np.random.Generator, every: Iterator[tuple[int, ...]]) -> list[tuple[int, ...]]:
    """Return at most `MOST_AUDITS` of the items, in random order."""
    every = list(every)
    return [every[place] for place in rng.permutation(len(every))[:MOST_AUDITS]]


def audited(*sides: np.ndarray) -> tuple[list[str], bool]:
    """Return the classes that differ, and whether --fail-on-damage fails."""
    result: Audit = audit_predictions(*sides)
    return result.damaged, result.fails


def found_losses(label: np.ndarray, dense: np.ndarray, tuned: np.ndarray) -> Iterator[tuple[str, list[str]]]:
    """Yield how often a loss is found without retraining, and after retraining with and without a control.

    In the place of a compressed network, the audit gets a fine-tuned network in which right predictions of one class,
    drawn at random, are made wrong. To compare without retraining, equally many predictions of each class also turn
    from right to wrong and from wrong to right. To compare with a control, the fine-tuned network has another seed than
    the control, so that its recalls have moved as much as retraining moves recalls.
    """
    rng = np.random.default_rng(0)
    pairs = [rng.permutation(len(tuned))[:2] for _ in range(AUDITS_OF_LOSSES)]
    comparisons = {
        "nothing was retrained": lambda i, j: (tuned[i], exchanged(rng, label, tuned[i]), tuned[i]),
        "with a control": lambda i, j: (dense[i], tuned[j], tuned[i]),
        "no control, `--fail-on-damage`": lambda i, j: (dense[i], tuned[i], None),
    }
    for comparison, sides in comparisons.items():
        found = [[is_found(rng, label, *sides(*each), loss) for each in pairs] for loss in LOSSES]
        yield comparison, [f"{np.mean(of_loss):.0%}" for of_loss in found]


def exchanged(rng: np.random.Generator, label: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return whether predictions are right, (images,), after as many became wrong as became right in each class."""
    right = right.copy()
    for each in range(label.max() + 1):
        was_right, was_wrong = (rng.permutation(np.flatnonzero((label == each) & (right == side))) for side in (1, 0))
        count = min(round(EXCHANGED * np.count_nonzero(label == each)), len(was_right), len(was_wrong))
        right[was_right[:count]], right[was_wrong[:count]] = False, True
    return right


def is_found(
    rng: np.random.Generator,
    label: np.ndarray,
    before: np.ndarray,
    after: np.ndarray,
    control: np.ndarray | None,
    loss: float,
) -> bool:
    """Let a random class of `after` lose recall; return whether an audit finds this loss. Arrays are (images,)."""
    lost = int(rng.integers(label.max() + 1))
    right = np.flatnonzero(after & (label == lost))
    after = after.copy()
    after[rng.permutation(right)[: round(loss * np.count_nonzero(label == lost))]] = False
    sides = (each if each is None else each[np.newaxis] for each in (before, after, control))
    table = marked(class_table(np.arange(label.max() + 1), label, *sides))
    row = table.set_index("class").loc[str(lost)]
    return bool(row["damaged"] and (control is not None or row["change_high"] < -GROSS_LOSS))


def several(
    label: np.ndarray, dense: np.ndarray, tuned: np.ndarray, pruned: dict[int, np.ndarray]
) -> Iterator[tuple[str, ...]]:
    """Yield for each number of networks and comparison how often damage is shown, and how often intervals contain 0."""
    dense, tuned = dense == label, tuned == label
    sides = {ratio: predicted == label for ratio, predicted in pruned.items()}
    for n in (n for n in NETWORKS if 2 * n <= len(tuned)):
        rng = np.random.default_rng(0)
        draws = [rng.permutation(len(tuned))[: 2 * n] for _ in range(MOST_OF_SEVERAL)]
        pairs = {
            "fine-tuned": (dense, lambda draw, n=n: draw[:n], tuned, lambda draw, n=n: draw[:n]),
            "other seeds": (tuned, lambda draw, n=n: draw[:n], tuned, lambda draw, n=n: draw[n:]),
        }
        for comparison, (before, first, after, second) in pairs.items():
            yield (
                str(n),
                comparison,
                *told([tested(label, before[first(d)], after[second(d)]) for d in draws], null=True),
            )
        for ratio, after in sides.items():
            # Networks at chance are left out of an audit.
            if len(after) == len(tuned) and after.mean() > 0.2:
                found = [tested(label, tuned[draw[:n]], after[draw[:n]]) for draw in draws]
                yield str(n), f"(pruned to 1/{ratio}, with controls)", *told(found, null=False)


class Tested(NamedTuple):
    """Result of an audit: whether each rule finds a damaged class, and the share of intervals that contain 0."""

    plain: bool
    moderated: bool
    both: bool
    one_network: bool
    undecided: bool
    coverage_plain: float
    coverage_moderated: float


def tested(label: np.ndarray, before: np.ndarray, after: np.ndarray) -> Tested:
    """Audit networks, each paired with a network before compression; arrays are (networks, images), bool."""
    changes = class_losses.of_few_images(class_losses.from_predictions(label, before, after), np.bincount(label))
    recall = class_losses.from_answers(label, [(before.astype(float) + after) / 2]).groups[0].mean(0)
    each_class = np.eye(len(recall))
    moderated = class_losses.moderated(changes, recall)
    plain, by_all = (class_losses.estimates(each, each_class) for each in (changes, moderated))
    p_values = plain["p"], by_all["p"], class_losses.p_of_either_test(moderated, each_class)
    damaged = (bool(((corrected(p, len(recall))[1] <= LEVEL) & (plain["value"] < 0)).any()) for p in p_values)
    names, sides = [str(each) for each in range(len(recall))], {"before": before, "after": after}
    alone = gross_losses(names, label, sides, paired=True, tests=len(after) * len(names))
    start = class_losses.from_answers(label, [before.astype(float)]).groups[0].mean(0)
    undecided = damage_gate(names, start, -by_all["low"]).state == "undecided"
    coverage = (float((~((each["low"] > 0) | (each["high"] < 0))).mean()) for each in (plain, by_all))
    return Tested(*damaged, len(alone) > 0, undecided, *coverage)


def told(found: list[Tested], *, null: bool) -> tuple[str, ...]:
    """Return the means of the results of `tested` as text; `null` says that no class lost recall, and adds coverage."""
    shares = np.array(found, float).mean(0)
    return tuple(f"{share:.1%}" if null or place < 5 else "" for place, share in enumerate(shares))


SPREADS: dict[str, Callable[[np.random.Generator, int], np.ndarray]] = {
    "equal": lambda rng, classes: np.ones(classes),
    "prior of four degrees of freedom": lambda rng, classes: 4 / rng.chisquare(4, classes),
    "log-normal, standard deviation 1.5": lambda rng, classes: np.exp(rng.normal(0, 1.5, classes)),
    "every second class thirtyfold": lambda rng, classes: np.where(np.arange(classes) % 2, 1.0, 30.0),
    "one class tenfold": lambda rng, classes: np.where(np.arange(classes), 1.0, 10.0),
    "one class a hundredfold": lambda rng, classes: np.where(np.arange(classes), 1.0, 100.0),
}


def simulated() -> Iterator[tuple[str, ...]]:
    """Yield a row for each number of classes, number of networks, and distribution of the classes' variances."""
    for classes, audits in SIMULATED:
        for n in SIMULATED_NETWORKS:
            for name, spread in SPREADS.items():
                rng = np.random.default_rng(0)
                truth = np.array([spread(rng, classes) for _ in range(audits)])
                estimated = truth * rng.chisquare(n - 1, truth.shape) / (n - 1)
                change = rng.normal(size=truth.shape) * np.sqrt(truth)
                second = truth * rng.chisquare(n - 1, truth.shape) / (n - 1)
                yield str(classes), str(n), name, *simulated_row(change, estimated, second, n - 1)


def simulated_row(change: np.ndarray, estimated: np.ndarray, second: np.ndarray, dof: int) -> tuple[str, ...]:
    """Return false alarms, coverage and power as text; all arrays are (audits, classes)."""
    lost = change.copy()
    lost[:, 1] += LOSS
    plain = estimated, np.full(estimated.shape, float(dof))
    ones = np.ones(estimated.shape[1])
    found = [
        moderation.moderated(each, dof, ones, second=of_recall)
        for each, of_recall in zip(estimated, second, strict=True)
    ]
    rules = {
        "plain": plain,
        "moments": by_moments(estimated, dof),
        "moderated": (np.array([each.variances for each in found]), np.array([each.dof for each in found])),
    }
    p = {name: p_values(change, *rule) for name, rule in rules.items()}
    p["both"] = class_losses.smaller_p(p["moderated"], p["plain"])
    alarms = (f"{(each.min(1) * each.shape[1] <= LEVEL).mean():.1%}" for each in p.values())
    coverage = f"{(p['moderated'] > LEVEL).mean():.1%}"
    of_lost = {name: p_values(lost, *rules[name])[:, 1] for name in ("plain", "moderated")}
    of_lost["both"] = class_losses.smaller_p(of_lost["moderated"], of_lost["plain"])
    power = (f"{(each * len(ones) <= LEVEL).mean():.1%}" for each in of_lost.values())
    return *alarms, coverage, *power


def by_moments(estimated: np.ndarray, dof: int) -> tuple[np.ndarray, np.ndarray]:
    """Return variances moderated as by Smyth (2004), and their degrees of freedom, for comparison."""
    priors = [moderation.prior(each, dof) for each in estimated]
    # With more degrees of freedom than this, t is practically a normal variable.
    variance, added = np.array([(each.variance, min(each.dof, 1e6)) for each in priors]).T[:, :, np.newaxis]
    return (dof * estimated + added * variance) / (dof + added), np.broadcast_to(dof + added, estimated.shape)


def p_values(change: np.ndarray, variances: np.ndarray, dof: np.ndarray) -> np.ndarray:
    """Return two-sided p of changes that vary over networks only, (audits, classes)."""
    all_of_them = two_way.Variances([(variances.ravel(), dof.ravel())])
    return two_way.p_values(all_of_them, change.ravel()).reshape(change.shape)


if __name__ == "__main__":
    main()
