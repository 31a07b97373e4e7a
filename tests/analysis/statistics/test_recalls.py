import numpy as np

from analysis.statistics.recalls import Recalls


def test_recalls_and_accuracies_of_answers():
    label = np.array([0, 0, 0, 1])
    right = np.array([[True, True, False, True], [False, False, False, True]])
    recalls = Recalls.from_answers(label, right)
    assert recalls.recall.round(3).tolist() == [[0.667, 1], [0, 1]]
    assert recalls.accuracy.tolist() == [0.75, 0.25]
    assert (len(recalls), recalls[np.array([False, True])].accuracy.tolist()) == (2, [0.25])


def test_only_the_balance_is_divided_by_the_accuracy():
    recalls = Recalls([[0.9, 0.7], [0, 0]], [0.8, 0])
    assert recalls.raw_balance.round(6).tolist() == [[0.1, -0.1], [0, 0]]
    assert recalls.balance[0].round(6).tolist() == [0.125, -0.125]
    assert np.isnan(recalls.balance[1]).all()
