import pytest

from pruning_study.options.protocols import PROTOCOLS
from pruning_study.pruning.budget import Budget


@pytest.mark.parametrize(
    ("field", "paper", "released"),
    [
        ("gradient_objective", "regularized", "data"),
        ("gradient_batches", None, 1),
        ("gradient_mode", "eval", "train"),
        ("weight_decay", None, 0.0),
        ("epsilon", None, 5e-4),
        ("budget", Budget.exact, Budget.counting_biases),
        ("selects_on_test", False, True),
    ],
)
def test_what_the_released_code_does_instead_of_the_text(field, paper, released):
    assert [getattr(PROTOCOLS[name], field) for name in ("paper", "released")] == [paper, released]


def test_the_released_code_takes_up_signed_for_up():
    assert [PROTOCOLS["released"].pruner(name).name for name in ("up", "up-sum", "mp")] == ["up-signed", "up-sum", "mp"]
    assert PROTOCOLS["paper"].pruner("up").name == "up"
