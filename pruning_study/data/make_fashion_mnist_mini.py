"""Make the embedded sample: the first 600 training and 100 test images of each class of Fashion-MNIST.

    python pruning_study/data/make_fashion_mnist_mini.py data/fashion_mnist.npz

Fashion-MNIST is Copyright (c) 2017 Zalando SE, under the MIT License (see NOTICE).
"""

import sys
from pathlib import Path

import numpy as np

PER_CLASS = {"train": 600, "test": 100}


def first_of_each_class(labels: np.ndarray, count: int) -> np.ndarray:
    """Return the indices of the first `count` images of each class, in file order."""
    return np.sort(np.concatenate([np.flatnonzero(labels == label)[:count] for label in np.unique(labels)]))


def main(source: str) -> None:
    arrays = {}
    with np.load(source, allow_pickle=False) as whole:
        for part, count in PER_CLASS.items():
            chosen = first_of_each_class(whole[f"{part}_labels"], count)
            arrays[f"{part}_images"] = whole[f"{part}_images"][chosen]
            arrays[f"{part}_labels"] = whole[f"{part}_labels"][chosen]
        arrays["class_names"] = whole["class_names"]
    target = Path(__file__).parent / "fashion_mnist_mini.npz"
    np.savez_compressed(target, **arrays)
    print(f"{target}: {', '.join(f'{key} {array.shape}' for key, array in arrays.items())}")


if __name__ == "__main__":
    main(*sys.argv[1:])
