"""What is said of the slopes of made-up networks; audits and `prune` have the other cases."""

from analysis.compare import sentences
from analysis.compare.comparison import Comparison
from tests.analysis.compare.test_comparison import CLASSES, LABEL, network


def test_slopes_are_said_only_of_classes_that_differ():
    alike, apart = ({"before": each, "after": each} for each in (network(90, 89), network(90, 50)))
    assert "is left out" in sentences.on_slopes(Comparison(CLASSES, LABEL, alike))
    assert "alpha is 1.00" in sentences.on_slopes(Comparison(CLASSES, LABEL, apart))
    groups = {"animal": LABEL.astype(str)}
    assert sentences.on_slopes(Comparison(CLASSES, LABEL, apart, groups=groups)) == ""
