"""Audits of thousands of classes."""

import tracemalloc

import numpy as np

from analysis.audit import audit


def test_memory_grows_with_the_number_of_classes_and_not_with_its_square():
    """Ten thousand classes took 166 s, and several matrices of 0.8 GB each."""
    classes = 4000
    label = np.repeat(np.arange(classes), 2)
    after = np.where(np.arange(len(label)) % 20, label, (label + 1) % classes)
    tracemalloc.start()
    result = audit.audit_predictions(label, label, after)
    assert tracemalloc.get_traced_memory()[1] < 8 * classes**2 / 4
    tracemalloc.stop()
    assert (result.table["loss"] > 0).sum() == 400


def test_the_classes_of_several_networks_need_no_confusion_matrices():
    classes = 4000
    label = np.repeat(np.arange(classes), 2)
    before = np.stack(
        [np.where(np.arange(len(label)) % 10 == network, (label + 1) % classes, label) for network in range(5)]
    )
    tracemalloc.start()
    result = audit.audit_predictions(label, before, before)
    assert tracemalloc.get_traced_memory()[1] < 8 * classes**2 / 4
    tracemalloc.stop()
    assert len(result.table) == classes
