from dataclasses import replace

import pytest
from mlflow import MlflowClient

from analysis.common.errors import StudyError
from analysis.rendering import tuning_text
from analysis.runs import tunings
from analysis.study.study import StudyData
from tests import made_up_runs, made_up_tuning


def test_a_decay_that_is_no_text_is_named(tmp_path):
    (folder := tmp_path / "tuning" / "1").mkdir(parents=True)
    made = made_up_tuning.decayed()
    for name, content in made_up_tuning.files(replace(made, trials=made.trials.assign(fine_tune_decay=1.5))).items():
        (folder / name).write_bytes(content)
    with pytest.raises(StudyError, match=r"tuning/1: .*fine_tune_decay must be strings"):
        tunings.read([tmp_path])


@pytest.fixture(scope="session")  # a name is free once in a store, and xdist may come back to a module
def searches(session_store, tmp_path_factory):
    """Two finished searches and one that still runs."""
    folder = tmp_path_factory.mktemp("searches")
    client = MlflowClient(session_store)
    experiment = client.create_experiment("searches", artifact_location=(folder / "artifacts").as_uri())
    made = made_up_tuning.tuning()
    other = replace(made, name="other", finalists=made.finalists.assign(run_id="elsewhere"))
    for search, status in ((made, "FINISHED"), (other, "FINISHED"), (made, "RUNNING")):
        run_id = client.create_run(experiment, tags={"kind": "tuning"}).info.run_id
        for name, content in made_up_tuning.files(search).items():
            (folder / name).write_bytes(content)
            client.log_artifact(run_id, str(folder / name))
        if status == "FINISHED":
            client.set_terminated(run_id)
    return session_store


def test_searches_come_back_from_a_folder_as_from_the_store(searches, tmp_path):
    from_store = tunings.pulled("searches", tracking_uri=searches)
    assert len(tunings.write(from_store, tmp_path)) == 8
    for read, pulled in zip(tunings.read([tmp_path]), from_store, strict=True):
        assert read.name == pulled.name
        assert tuning_text.summary(read) == tuning_text.summary(pulled)
        assert tuning_text.table(read).equals(tuning_text.table(pulled))


def test_a_search_of_two_exports_counts_once(tmp_path):
    """Both exports have the first search; each of the others has the same name, and other trials."""
    first = made_up_tuning.tuning()
    second, third = (replace(first, trials=first.trials.assign(epsilon=epsilon)) for epsilon in (0.2, 0.3))
    exports = {"one": [first, second], "two": [third, first]}
    for name, made in exports.items():
        (tmp_path / name).mkdir()
        tunings.write([replace(search, files=made_up_tuning.files(search)) for search in made], tmp_path / name)
    searches = tunings.read([tmp_path / name for name in exports])
    assert [search.trials["epsilon"].iloc[-1] for search in searches] == [first.trials["epsilon"].iloc[-1], 0.2, 0.3]


def test_a_search_is_exported_with_the_runs_that_it_tested(searches, tmp_path):
    pulled = tunings.pulled("searches", tracking_uri=searches)
    runs = made_up_runs.runs("mnist", "lenet5", "mp", 2, [1.2, 1.3])
    for run_id, names in (("another", []), ("elsewhere", ["other"])):
        study = StudyData(runs.assign(run_id=["a", run_id]), tunings=pulled, dense_runs=made_up_runs.dense(runs))
        study.export(tmp_path / run_id)
        assert [search.name for search in tunings.read([tmp_path / run_id])] == names


@pytest.mark.parametrize("damage", [lambda path: path.unlink(), lambda path: path.write_text("a,b\n1,2\n")])
def test_a_damaged_search_is_named(damage, tmp_path):
    (folder := tmp_path / "tuning" / "1").mkdir(parents=True)
    for name, content in made_up_tuning.files(made_up_tuning.tuning()).items():
        (folder / name).write_bytes(content)
    damage(folder / "trials.csv")
    with pytest.raises(StudyError, match=r"tuning/1: .*export again"):
        tunings.read([tmp_path])
