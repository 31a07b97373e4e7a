"""Time and memory of a regression as large as Paganini's (2020): 949,298 rows of seven data sets, 50 terms.

python benchmarks/regression.py
"""

import resource
import time
from collections.abc import Callable
from typing import TypeVar

import numpy as np
import pandas as pd

from analysis.statistics.regression import estimate, logit_of

T, U = TypeVar("T"), TypeVar("U")
ROWS = 949_298
DATASETS = ("cifar-10", "cifar-100", "emnist", "fashionmnist", "kmnist", "mnist", "svhn")
MODELS = ("AlexNet", "LeNet", "resnet18", "vgg11")
TECHNIQUES = (
    "global_unstructured",
    "l1_structured",
    "l1_unstructured",
    "l2_structured",
    "linfty_structured",
    "random_structured",
    "random_unstructured",
)
CLASSES, ITERATIONS = 10, 19


def rows() -> pd.DataFrame:
    """Simulate networks pruned 19 times, with 10 classes and the paper's coefficients of imbalance and entropy."""
    rng = np.random.default_rng(0)
    place = np.arange(ROWS)
    network = place // (CLASSES * ITERATIONS)
    iteration = 1 + place // CLASSES % ITERATIONS
    before = rng.uniform(0.6, 1, ROWS)
    imbalance, entropy = rng.normal(0, 0.02, ROWS), rng.uniform(0, 8, ROWS)
    sparsity = 1 - 0.8**iteration
    return pd.DataFrame(
        {
            "network": network,
            "iteration": iteration,
            "class": place % CLASSES,
            "dataset": np.array(DATASETS)[network % 7],
            "model": np.array(MODELS)[network // 7 % 4],
            "weight_treatment": np.array(["finetune", "rewind"])[network // 28 % 2],
            "pruning_technique": np.array(TECHNIQUES)[network // 56 % 7],
            "sparsity": sparsity,
            "accuracy": before - 0.3 * sparsity + 1.2429 * imbalance - 0.0237 * entropy + rng.normal(0, 0.1, ROWS),
            "accuracy0": before,
            "accuracy0_quartile": np.ceil(4 * (before - 0.6) / 0.4),
            "imbalance": imbalance,
            "class_entropy": entropy,
        }
    )


def main() -> None:
    """Print the time of the fits, the peak memory of the process, and some coefficients."""
    linear = timed("least squares", estimate, rows())
    table = timed("fractional logit", logit_of, linear).set_index("term")
    linear_table = linear.coefficients.set_index("term")
    print(linear_table.loc[["imbalance", "class_entropy"], ["coefficient", "se", "se_clustered"]])
    print(table.loc[["imbalance", "class_entropy"], ["coefficient", "se", "effect"]])


def timed(name: str, fitted: Callable[[T], U], given: T) -> U:
    """Return the result of a fit, and print its time and the peak memory of the process."""
    start, work = time.perf_counter(), time.process_time()
    made = fitted(given)
    seconds, work = time.perf_counter() - start, time.process_time() - work
    gib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{name} of {ROWS:,} rows: {seconds:.1f} s ({work:.1f} s of CPU time), at most {gib:.2f} GiB")
    return made


if __name__ == "__main__":
    main()
