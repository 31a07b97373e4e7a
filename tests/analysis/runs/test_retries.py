import sys

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from analysis.runs import retries

BROKEN = MlflowException("API request to http://x failed with exception ('Connection broken: IncompleteRead(1)')")


def asking(*answers):
    """Return a repeating function that raises or returns these in turn, and the list of its calls."""
    calls = []

    def ask(value):
        answer = answers[len(calls)]
        calls.append(value)
        if isinstance(answer, Exception):
            raise answer
        return answer + value

    return retries.repeating(ask), calls


def test_a_read_whose_answer_breaks_off_is_repeated():
    ask, calls = asking(BROKEN, BROKEN, BROKEN, 1)
    assert ask(2) == 3
    assert calls == [2, 2, 2, 2]


def test_four_answers_that_break_off_are_an_error():
    ask, calls = asking(BROKEN, BROKEN, BROKEN, BROKEN, 1)
    with pytest.raises(MlflowException, match="Connection broken"):
        ask(2)
    assert len(calls) == 4


@pytest.mark.parametrize("error", [MlflowException("no such run"), ValueError("Connection broken")])
def test_another_error_is_raised_at_once(error):
    ask, calls = asking(error, 1)
    with pytest.raises(type(error)):
        ask(2)
    assert calls == [2]


def test_of_all_methods_of_a_client_only_those_that_do_the_same_twice_are_repeated(store_uri, monkeypatch):
    calls = []

    def broken_off(name):
        def method(self, *_, **__):
            calls.append(name)
            raise BROKEN

        return method

    arguments = {"delete_tag": ["run", "key"]}
    names = [name for name in dir(MlflowClient) if not name.startswith("_") and callable(getattr(MlflowClient, name))]
    for name in names:
        monkeypatch.setattr(MlflowClient, name, broken_off(name))
    client = retries.client(store_uri)
    for name in names:
        with pytest.raises(MlflowException, match="Connection broken"):
            getattr(client, name)(*arguments.get(name, []))
    times = {name: calls.count(name) for name in names}
    assert set(times.values()) == {1, 4}
    repeated = {name for name in names if times[name] == 4 and not name.startswith(retries.READS)}
    assert repeated == {*retries.SAME_TWICE, "delete_tag"}
    once = {name.split("_")[0] for name in names if times[name] == 1}
    assert once >= {"create", "restore", "rename", "register", "start", "copy", "transition"}
    assert not once & {"get", "search", "list", "download"}


@pytest.mark.attack
@pytest.mark.parametrize(
    ("folder", "reason"),
    [("s3://bucket/a", "botocore"), ("zzz://x/y", "zzz://x/"), ("http://127.0.0.1:9/a", "ValueError")],
)
def test_a_folder_of_artifacts_of_a_kind_that_cannot_be_read_here__mlflows_error_says_why(folder, reason, monkeypatch):
    monkeypatch.setitem(sys.modules, "botocore", None)  # as if it were not installed
    for read in (lambda: retries.list_artifacts(artifact_uri=folder), lambda: retries.download_artifacts(folder)):
        with pytest.raises(MlflowException, match=reason):
            read()


def test_a_client_gives_its_attributes_as_they_are(store_uri):
    assert retries.client(store_uri).tracking_uri == store_uri
