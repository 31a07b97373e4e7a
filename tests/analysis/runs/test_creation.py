import pytest
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, Metric, Param, ViewType
from mlflow.exceptions import MlflowException

from analysis.runs import retries
from tests.mlflow_server import losing


@pytest.fixture
def experiment(server_port, store_uri, request):
    """Make an experiment on the server and return its id."""
    return MlflowClient(f"http://127.0.0.1:{server_port}").create_experiment(request.node.name)


@pytest.fixture
def create(server_port, experiment):
    """Return a function that creates a run through a proxy with faults, and says how often the proxy was asked to."""

    def created(faults, **more):
        with losing(server_port, {"create": faults, **more}) as (proxy, asked):
            run = retries.client(f"http://127.0.0.1:{proxy}").create_run(experiment, run_name="a run", tags={"a": "b"})
            return run, asked["create"]

    return created


def runs(server_port, experiment, view=ViewType.ACTIVE_ONLY):
    return MlflowClient(f"http://127.0.0.1:{server_port}").search_runs([experiment], run_view_type=view)


def is_the_only_one(run, server_port, experiment):
    (found,) = runs(server_port, experiment)
    assert (found.info.run_id, found.info.run_name, found.data.tags["a"]) == (run.info.run_id, "a run", "b")
    return True


def test_a_run_is_created_by_one_request_and_has_an_id_of_its_own(create, server_port, experiment):
    run, asked = create([])
    assert asked == 1
    assert len(run.data.tags["creation_id"]) == 32
    assert (
        run.to_dictionary() == MlflowClient(f"http://127.0.0.1:{server_port}").get_run(run.info.run_id).to_dictionary()
    )


@pytest.mark.attack
@pytest.mark.parametrize("fault", ["unanswered", "half", "unended", "empty"])
def test_the_answer_to_the_creation_of_a_run_is_lost_or_cut_off__the_run_is_found_and_used(
    create, server_port, experiment, fault
):
    run, asked = create([fault])
    assert asked == 1
    assert is_the_only_one(run, server_port, experiment)


@pytest.mark.attack
def test_the_connection_drops_before_the_server_creates_a_run__a_second_request_creates_it(
    create, server_port, experiment
):
    run, asked = create(["unheard", "unheard"])
    assert asked == 3
    assert is_the_only_one(run, server_port, experiment)


@pytest.mark.attack
def test_a_lost_request_creates_its_run_late__the_second_run_is_deleted(create, server_port, experiment):
    run, asked = create(["late"])
    assert asked == 2
    assert is_the_only_one(run, server_port, experiment)
    assert [gone.info.status for gone in runs(server_port, experiment, ViewType.DELETED_ONLY)] == ["KILLED"]


@pytest.mark.attack
def test_the_answer_is_lost_and_so_is_the_answer_to_the_search_for_the_run__the_search_is_repeated(
    create, server_port, experiment
):
    run, asked = create(["unanswered"], search=["half"])
    assert asked == 1
    assert is_the_only_one(run, server_port, experiment)


@pytest.mark.attack
def test_no_request_to_create_a_run_arrives__it_ends_in_an_error_after_four(create, server_port, experiment):
    with pytest.raises(MlflowException, match="closed connection"):
        create("unheard")
    assert runs(server_port, experiment) == []


@pytest.mark.attack
def test_the_server_refuses_a_run__it_is_asked_once(server_port, experiment):
    with losing(server_port, {}) as (proxy, asked):
        with pytest.raises(MlflowException, match="No Experiment with id=12345"):
            retries.client(f"http://127.0.0.1:{proxy}").create_run("12345")
        assert asked == {"create": 1}


@pytest.mark.attack
def test_the_first_answer_to_every_write_is_lost__the_run_holds_each_value_once(
    server_port, experiment, tmp_path, monkeypatch
):
    """A metric's history would show a value that was logged twice."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "0")
    (tmp_path / "a.txt").write_text("hello")
    names = ("log-batch", "log-inputs", "update", "set-tag", "delete-tag")
    for fault in ("unanswered", "half"):
        with losing(server_port, {name: [fault] for name in ("create", "a.txt", *names)}) as (proxy, asked):
            client = retries.client(f"http://127.0.0.1:{proxy}")
            run_id = client.create_run(experiment).info.run_id
            client.log_batch(run_id, [Metric("loss", 2.0, 1, 1), Metric("loss", 1.0, 2, 2)], [Param("seed", "0")])
            client.log_inputs(run_id, [DatasetInput(Dataset("tiny", "0" * 32, "local", "{}"))])
            client.set_tag(run_id, "error", "none")
            client.delete_tag(run_id, "error")
            client.log_artifact(run_id, str(tmp_path / "a.txt"))
            client.set_terminated(run_id)
            assert {name: asked[name] for name in names} == dict.fromkeys(names, 2)
        plain = MlflowClient(f"http://127.0.0.1:{server_port}")
        run = plain.get_run(run_id)
        assert [(metric.step, metric.value) for metric in plain.get_metric_history(run_id, "loss")] == [
            (1, 2.0),
            (2, 1.0),
        ]
        assert (run.info.status, run.data.params, "error" in run.data.tags) == ("FINISHED", {"seed": "0"}, False)
        assert [given.dataset.name for given in run.inputs.dataset_inputs] == ["tiny"]
        assert [item.path for item in plain.list_artifacts(run_id)] == ["a.txt"]
    assert len(runs(server_port, experiment)) == 2
