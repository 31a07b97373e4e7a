"""What is said of made-up networks, by hand; audits and `prune` have the other cases."""

import numpy as np
import pytest

from analysis.compare import sentences
from analysis.compare.comparison import Comparison
from tests.analysis.compare.test_comparison import CLASSES, LABEL, network

DENSE, PRUNED = network(90, 80), network(90, 40)


@pytest.mark.parametrize(
    ("right", "said"),
    [
        (
            {"before": DENSE, "after": PRUNED},
            "The networks differ: recall is shown to be lower in 1 of 2 classes after than before: ",
        ),
        ({"control": DENSE, "after": PRUNED}, "1 of 2 classes is shown to have lost recall through pruning: dog lost "),
        (
            {"before": DENSE, "after": PRUNED, "control": DENSE},
            "1 of 2 classes is shown to have lost recall through pruning: dog lost 40.0 points (",
        ),
        (
            {"before": np.repeat(DENSE, 2, 0), "after": np.repeat(DENSE, 2, 0)},
            "None of 2 classes is shown by 200 images to have lost recall through pruning and retraining (cat may",
        ),
    ],
)
def test_a_cause_is_named_only_where_the_networks_show_one(right, said):
    assert sentences.losses(Comparison(CLASSES, LABEL, right)).startswith(said)


def test_a_bound_that_excludes_no_loss_is_said_in_words():
    """Retraining swaps 60 cats for 60 dogs, so that a loss of all dogs may be chance."""
    right = {"before": network(90, 30), "control": network(30, 90), "after": network(30, 89)}
    assert sentences.losses(Comparison(CLASSES, LABEL, right)).endswith(" may have lost all its recall)")


def test_networks_that_were_not_pruned_lose_through_what_was_done_to_them():
    pairs = {"before": np.repeat(DENSE, 2, 0), "after": np.repeat(DENSE, 2, 0)}
    assert "lost recall through retraining (" in sentences.losses(Comparison(CLASSES, LABEL, pairs), "retraining")


def test_gains_are_those_since_what_losses_are_held_against():
    for side, reference in (("before", "network before"), ("control", "control")):
        found = Comparison(CLASSES, LABEL, {side: network(90, 60), "after": network(90, 95)})
        assert sentences.gains(found) == f"dog is shown to have 35.0 points more recall than in the {reference}."
        assert sentences.lost_count(found) == "no class is shown to have lost recall"
