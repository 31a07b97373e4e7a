import pytest
from mlflow.exceptions import MlflowException

from analysis.runs import retries

BROKEN = MlflowException("API request to http://x failed with exception ('Connection broken: IncompleteRead(1)')")


def asking(*answers):
    """A function that raises or gives these in turn, and how often it was called."""
    calls = []

    def ask(value):
        answer = answers[len(calls)]
        calls.append(value)
        if isinstance(answer, Exception):
            raise answer
        return answer + value

    return retries.again_if_broken_off(ask), calls


def test_an_answer_that_breaks_off_is_asked_for_again():
    ask, calls = asking(BROKEN, BROKEN, BROKEN, 1)
    assert ask(2) == 3
    assert calls == [2, 2, 2, 2]


def test_four_that_break_off_are_an_error():
    ask, calls = asking(BROKEN, BROKEN, BROKEN, BROKEN, 1)
    with pytest.raises(MlflowException, match="Connection broken"):
        ask(2)
    assert len(calls) == 4


@pytest.mark.parametrize("error", [MlflowException("no such run"), ValueError("Connection broken")])
def test_no_other_error_is_asked_again(error):
    ask, calls = asking(error, 1)
    with pytest.raises(type(error)):
        ask(2)
    assert calls == [2]


def test_a_client_keeps_what_is_no_method(store_uri):
    assert retries.client(store_uri).tracking_uri == store_uri
