"""The picture of a comparison; audits have the cases of what is drawn."""

import numpy as np
import pytest

from analysis.compare import picture
from analysis.compare.comparison import Comparison
from tests.analysis.compare.test_comparison import CLASSES, LABEL, network
from tests.text_boxes import hidden_texts

DENSE, PRUNED = network(90, 80), network(90, 40)


@pytest.mark.parametrize("names", [CLASSES, [60 * "w", "dog"]])
@pytest.mark.parametrize("networks", [1, 2])
def test_all_words_can_be_read_beside_names_of_any_length(names, networks):
    right = {"before": DENSE, "control": DENSE, "after": PRUNED}
    repeated = {side: np.repeat(answers, networks, 0) for side, answers in right.items()}
    assert hidden_texts(picture.figure(Comparison(names, LABEL, repeated))) == []
