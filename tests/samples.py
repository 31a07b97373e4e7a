"""Small parts of the embedded sample of Fashion-MNIST."""

import numpy as np


def first_images(train: int, test: int = 20) -> dict[str, np.ndarray]:
    """Return the first training and test images of each class of the embedded sample, as a data set's arrays."""
    from pruning_study.data.datasets import EMBEDDED

    with np.load(EMBEDDED) as whole:
        arrays = {"class_names": whole["class_names"]}
        for part, count in (("train", train), ("test", test)):
            labels = whole[f"{part}_labels"]
            chosen = np.sort(np.concatenate([np.flatnonzero(labels == label)[:count] for label in range(10)]))
            arrays |= {f"{part}_images": whole[f"{part}_images"][chosen], f"{part}_labels": labels[chosen]}
    return arrays
