import os

import pytest
import torch
from mlflow import MlflowClient
from mlflow.utils.file_utils import local_file_uri_to_path

import pruning_study
from analysis import pull_runs
from analysis.common.errors import StudyError
from analysis.runs import address, schema
from pruning_study.data.examples import Normalization
from pruning_study.models import checkpoints
from pruning_study.tracking import connect
from tests.error_lines import error_line, refused
from tests.mlflow_server import losing
from tests.stored_runs import dense_run, empty_store
from tests.warm_processes import WarmProcess, run_code


def test_a_store_that_cannot_be_made_is_an_error_that_names_it(tmp_path, monkeypatch, store_uri):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/file/a.db")
    with pytest.raises(StudyError, match=r"file/a\.db: .*cannot be used"):
        connect.connect()


@pytest.mark.parametrize("name", ["a %20 b", "100 %"])
def test_artifacts_are_written_into_the_current_folder_or_nowhere(tmp_path, monkeypatch, name):
    """MLflow took %20 for a space, and made another folder beside the current one."""
    (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / name)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", empty_store(tmp_path / "mlflow.db"))
    if "%20" in name:
        with pytest.raises(StudyError, match=r"a %20 b: MLflow would write artifacts into .*a   b: rename the folder"):
            connect.connect()
    else:
        store = connect.connect("new")
        location = store.client.get_experiment(store.experiment_id).artifact_location
        assert local_file_uri_to_path(location).startswith(f"{tmp_path / name}/")


class TestExperiment:
    def test_is_the_named_one_made_where_it_is_not_there(self, store_uri):
        store = connect.connect("another")
        assert store.client.get_experiment(store.experiment_id).name == "another"
        assert connect.connect("another").experiment_id == store.experiment_id

    def test_is_mlflows_current_one(self, store_uri, monkeypatch):
        store = connect.connect()
        assert store.client.get_experiment(store.experiment_id).name == os.environ["MLFLOW_EXPERIMENT_NAME"]
        monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME")
        assert connect.connect().experiment_id == "0"
        monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", store.experiment_id)
        assert connect.connect().experiment_id == store.experiment_id

    def test_that_another_process_makes_at_the_same_moment(self, store_uri, monkeypatch):
        made, found = connect.connect("raced"), MlflowClient.get_experiment_by_name
        answers = [None]  # the experiment does not exist when it is asked for, and does when it is made
        monkeypatch.setattr(
            MlflowClient, "get_experiment_by_name", lambda *query: answers.pop() if answers else found(*query)
        )
        assert connect.connect("raced").experiment_id == made.experiment_id
        assert answers == []

    @pytest.mark.slow
    @pytest.mark.attack
    def test_three_processes_make_a_store_and_an_experiment_at_once__all_get_the_same(self, tmp_path):
        code = "from pruning_study.tracking.connect import connect; print(connect('raced').experiment_id)"
        uri = f"sqlite:///{tmp_path}/mlflow.db"
        processes = [WarmProcess(run_code, code, MLFLOW_TRACKING_URI=uri) for _ in range(3)]
        assert {process.wait().splitlines()[-1] for process in processes} == {"1"}

    @pytest.mark.attack
    @pytest.mark.parametrize("fault", ["unanswered", "half", "empty"])
    def test_the_answer_to_the_creation_of_an_experiment_is_lost__the_experiment_is_found_by_its_name(
        self, store_uri, monkeypatch, server_port, fault
    ):
        with losing(server_port, {"create": [fault]}) as (proxy, _):
            monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{proxy}")
            store = connect.connect(f"lost {fault}")
            assert store.client.get_experiment(store.experiment_id).name == f"lost {fault}"

    def test_that_is_deleted_or_unknown_is_refused_in_one_line_when_a_job_begins(self, store_uri, monkeypatch):
        gone = connect.connect("gone")
        gone.client.delete_experiment(gone.experiment_id)
        with pytest.raises(StudyError, match="'active' state"), connect.connect("gone").job("a job", {}):
            pytest.fail("the job has begun")
        monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME")
        for unknown in ("123456789", "quick"):
            monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", unknown)
            with pytest.raises(StudyError, match=unknown), connect.connect().job("a job", {}):
                pytest.fail("the job has begun")

    def test_under_mlflow_run_is_that_of_its_run(self, store_uri, monkeypatch):
        store = connect.connect("of the job")
        run = store.client.create_run(store.experiment_id)
        monkeypatch.setenv("MLFLOW_RUN_ID", run.info.run_id)
        assert connect.connect().experiment_id == store.experiment_id
        assert connect.connect("of the job").experiment_id == store.experiment_id
        with refused("experiment", "--experiment-name other"):
            connect.connect("other")

    def test_under_mlflow_run_without_one_is_the_one_that_is_asked_for(self, store_uri, monkeypatch):
        client = connect.connect().client
        run_id = client.create_run("0").info.run_id
        monkeypatch.setenv("MLFLOW_RUN_ID", run_id)
        store = connect.connect("asked for")
        assert client.get_experiment(store.experiment_id).name == "asked for"
        assert store.job_run_id is None
        tags = client.get_run(run_id).data.tags
        assert (tags["kind"], tags["mlflow.note.content"]) == ("job", "The runs are in experiment asked for.")

    def test_under_mlflow_run_with_another_store_is_an_error(self, store_uri, monkeypatch):
        monkeypatch.setenv("MLFLOW_RUN_ID", "0" * 32)
        with pytest.raises(StudyError, match=r"0{32}.*absolute"):
            connect.connect()


class TestExisting:
    def test_makes_no_store(self, store_uri, tmp_path, monkeypatch):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/none.db")
        assert connect.existing() is None
        assert not list(tmp_path.glob("none.db*"))

    def test_makes_no_experiment(self, store_uri):
        assert connect.existing("none") is None
        assert connect.connect().client.get_experiment_by_name("none") is None

    def test_is_the_store_and_experiment_that_connect_opens(self, store_uri, monkeypatch):
        store = connect.connect("there")
        assert connect.existing("there").experiment_id == store.experiment_id
        monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME")
        assert connect.existing().experiment_id == "0"

    def test_for_runs_that_exist_a_mistyped_experiment_is_an_error_and_not_made(self, store_uri):
        store = connect.connect("there")
        assert connect.connect_to_runs("there").experiment_id == store.experiment_id
        with refused("experiment", "has no experiment 'thre'"):
            connect.connect_to_runs("thre")
        assert store.client.get_experiment_by_name("thre") is None

    def test_for_runs_that_exist_a_missing_store_is_not_made(self, store_uri, tmp_path, monkeypatch):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/none.db")
        with pytest.raises(StudyError, match=r"none\.db has no experiment"):
            connect.connect_to_runs()
        assert not list(tmp_path.glob("none.db*"))


class TestCheckpoint:
    @pytest.fixture
    def store(self, store_uri):
        return connect.connect()

    def test_is_that_of_the_run_or_of_a_jobs_only_result(self, store):
        with store.job("a job", {}) as job, dense_run(store, job) as run:
            (run.folder / "checkpoint.safetensors").write_text("hello")
            job.tags({"dense_run_id": run.run_id})
        for run_id in (run.run_id, job.run_id):
            with connect.checkpoint(run_id) as (path, _):
                assert path.read_text() == "hello"

    @pytest.mark.parametrize(
        ("tags", "message"),
        [
            ({}, "job without a network"),
            ({"dense_run_id": "a", "pruned_run_ids": "b,c"}, "several results: name one of b, c"),
        ],
    )
    def test_of_a_job_with_several_results_or_none_is_an_error(self, store, tags, message):
        with store.job("a job", {}) as job:
            job.tags(tags)
        with pytest.raises(StudyError, match=f"{job.run_id}.*{message}"), connect.checkpoint(job.run_id):
            pass

    def test_that_a_run_does_not_have_is_an_error(self, store):
        run_id = store.client.create_run(store.experiment_id, tags={"kind": "dense"}).info.run_id
        with pytest.raises(StudyError, match=f"{run_id}.*no artifact"), connect.checkpoint(run_id):
            pass
        with pytest.raises(StudyError, match="no run abc"), connect.checkpoint("abc"):
            pass

    @pytest.mark.parametrize("tags", [{"kind": "study"}, {"kind": "trial"}, {"kind": "report"}, {}])
    def test_of_a_run_of_another_kind_is_an_error_that_says_what_to_name(self, store, tags):
        run_id = store.client.create_run(store.experiment_id, tags=tags).info.run_id
        message = rf"{run_id} has no network to load \(kind {tags.get('kind', 'unknown')}\): name a dense or pruned run"
        with pytest.raises(StudyError, match=message), connect.checkpoint(run_id):
            pass

    def test_is_loaded_as_a_model_that_normalises_each_channel(self, store, tmp_path, monkeypatch):
        # The network returns its two pixels, one of each channel, as they reach it.
        (tmp_path / "pixels.py").write_text(
            "from torch import nn\ndef net(**_): return nn.Sequential(nn.Flatten(), nn.Linear(2, 2, bias=False))"
        )
        monkeypatch.chdir(tmp_path)
        monkeypatch.syspath_prepend(tmp_path)
        metadata = checkpoints.describe("pixels:net", ("a", "b"), (2, 1, 1), Normalization([0.25, 0.5], [0.5, 0.25]))
        checkpoints.save(tmp_path / schema.CHECKPOINT, {"1.weight": torch.eye(2)}, metadata)
        run_id = store.client.create_run(store.experiment_id, tags={"kind": "dense"}).info.run_id
        store.client.log_artifact(run_id, str(tmp_path / schema.CHECKPOINT))
        model = pruning_study.load_model(run_id, model="pixels:net")
        # (1 - .25) / .5 and (0 - .5) / .25; then (0 - .25) / .5 and (1 - .5) / .25
        logits = [[1.5, -2.0], [-0.5, 2.0]]
        images = torch.tensor([[255, 0], [0, 255]], dtype=torch.uint8).view(2, 2, 1, 1)
        assert model(images).tolist() == logits
        assert model(images / 255).tolist() == logits

    def test_makes_no_store(self, store_uri, tmp_path, monkeypatch):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/none.db")
        with pytest.raises(StudyError, match=r"none\.db: no such file"):
            pruning_study.load_model("abc")
        assert not list(tmp_path.glob("none.db*"))


def test_runs_made_before_0_3_are_refused_by_commands_and_analyses__beside_newer_ones_too(store_uri, run_command):
    experiment_id, client = connect.connect("older").experiment_id, MlflowClient()
    old = client.create_run(experiment_id, start_time=1, tags={"config_hash": "ab", "kind": "dense"}).info.run_id
    client.set_terminated(old)
    line = f"experiment 'older' has runs made before 0.3.0 ({old}): train anew in another experiment, or use the commit"
    for newer in (False, True):
        if newer:
            now = {"config_hash": "cd", "kind": "dense", "schema": "0.3"}
            client.create_run(experiment_id, start_time=2, tags=now)
        for command in ("prune", "tune"):
            result = run_command(command, "--experiment", "older")
            assert (result.exit_code, error_line(result.output)[7:].startswith(line)) == (1, True)
        with pytest.raises(StudyError) as error:
            pull_runs("older")
        assert str(error.value).startswith(line)


class TestEndJob:
    def test_ends_the_run_that_mlflow_run_made(self, store_uri, monkeypatch):
        store = connect.connect()
        run_id = store.client.create_run(store.experiment_id).info.run_id
        monkeypatch.setenv("MLFLOW_RUN_ID", run_id)
        connect.end_job("FAILED", "no such option")
        run = store.get(run_id)
        assert (run.info.status, run.data.tags["error"], run.data.tags["kind"]) == ("FAILED", "no such option", "job")

    def test_leaves_a_run_that_has_ended_as_it_is(self, store_uri, monkeypatch):
        store = connect.connect()
        run_id = store.client.create_run(store.experiment_id).info.run_id
        store.client.set_terminated(run_id)
        monkeypatch.setenv("MLFLOW_RUN_ID", run_id)
        connect.end_job("KILLED", "interrupted")
        assert store.get(run_id).info.status == "FINISHED"

    def test_only_warns_where_the_store_is_away(self, store_uri, monkeypatch, caplog):
        monkeypatch.setattr(address, "PROBE_SECONDS", 0.2)
        monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
        monkeypatch.setenv("MLFLOW_RUN_ID", "0" * 32)
        connect.end_job("KILLED", "interrupted")
        assert "could not be ended" in caplog.text
