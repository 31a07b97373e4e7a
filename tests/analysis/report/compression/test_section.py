"""The report's section on a search of chains, on four chains whose outcome is known by hand."""

import pandas as pd

from analysis.rendering.page import Items, Picture
from analysis.report.compression.section import section
from analysis.runs.chain_searches import ChainTrials
from analysis.study.study import StudyData

# The network as it is; in integers, which costs a shirt a little; half the channels, which costs it 5 points; both; and
# a chain that is larger than integers alone and costs a class more, so that it is not shown.
BYTES = [1000.0, 300.0, 500.0, 150.0, 400.0]
TRIALS = pd.DataFrame(
    {
        "chain": ["as it is", "integers", "halved", "both", "worse"],
        "pruner": ["none", "none", "l1-filter", "l1-filter", "mp"],
        "number_format": ["float32", "fixed-int8", "float32", "fixed-int8", "float16"],
        "worst_class": "shirt",
        "number": range(5),
        "cost": BYTES,
        "accuracy_loss": [0.0, 0.001, 0.003, 0.004, 0.02],
        "accuracy_loss_upper": [0.001, 0.004, 0.006, 0.009, 0.03],
        "class_loss": [-0.0, 0.01, 0.03, 0.05, 0.08],
        "class_loss_upper": [0.005, 0.02, 0.05, 0.08, 0.1],
    }
)


def made(max_class_loss=0.03):
    search = ChainTrials("shirts", "size", max_class_loss, 0.01, TRIALS)
    return section(StudyData(pd.DataFrame(), chain_searches=[search]), 1)


def test_it_names_the_choice_and_what_accuracy_alone_would_choose():
    _, items, table, picture = made().blocks
    assert isinstance(items, Items)
    assert items.sentences == [
        "Of 5 chains, the best within the limits, 3 points of any class and 1 of the accuracy, is integers "
        "(worst class shirt: 1.0 points, at most 2.0).",
        "By accuracy alone the choice would be both (worst class shirt: 5.0 points, at most 8.0).",
    ]
    assert table["chain"].tolist() == ["integers", "as it is", "both"]
    assert table["its loss"].tolist() == ["1.0", "0.0", "5.0"]
    assert table["bytes"].tolist() == ["300", "1,000", "150"]
    assert isinstance(picture, Picture)
    assert picture.name == "chains_1"


def test_nothing_qualifies():
    sentence, _ = made(max_class_loss=0.001).blocks[1].sentences
    assert sentence.startswith("None of 5 chains keeps to the limits, 0.1 points of any class")
    assert "The nearest is as it is" in sentence
