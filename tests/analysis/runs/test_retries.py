import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from analysis.runs import retries
from tests.mlflow_server import breaking_off, free_port, server

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


def test_of_all_methods_of_a_client_only_reads_are_repeated(store_uri, monkeypatch):
    calls = []

    def broken_off(name):
        def method(self):
            calls.append(name)
            raise BROKEN

        return method

    names = [name for name in dir(MlflowClient) if not name.startswith("_") and callable(getattr(MlflowClient, name))]
    for name in names:
        monkeypatch.setattr(MlflowClient, name, broken_off(name))
    client = retries.client(store_uri)
    for name in names:
        with pytest.raises(MlflowException, match="Connection broken"):
            getattr(client, name)()
    assert {calls.count(name) for name in names} == {1, 4}
    verbs = {times: {name.split("_")[0] for name in names if calls.count(name) == times} for times in (1, 4)}
    assert verbs[4] == {"get", "search", "list", "download"}
    assert verbs[1] >= {"create", "log", "set", "update", "delete", "restore", "rename", "register", "end", "start"}
    assert not verbs[1] & verbs[4]


def test_a_server_whose_answers_break_off_is_asked_once_to_create_and_twice_to_read(store_uri, tmp_path):
    with server(tmp_path, port := free_port()), breaking_off(port) as (broken, asked):
        client = retries.client(f"http://127.0.0.1:{broken}")
        made = client.create_run("0").info.run_id
        with pytest.raises(MlflowException, match="Connection broken"):
            client.create_run("0")
        for _ in range(2):
            assert client.get_run(made).info.run_id == made
        assert asked["POST", "/api/2.0/mlflow/runs/create"] == 2
        assert asked["GET", "/api/2.0/mlflow/runs/get"] == 3
        assert len(client.search_runs(["0"])) == 2


def test_a_client_gives_its_attributes_as_they_are(store_uri):
    assert retries.client(store_uri).tracking_uri == store_uri
