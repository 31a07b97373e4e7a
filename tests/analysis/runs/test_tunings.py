"""Searches by `tune`, read from the artifacts of their runs."""

from dataclasses import replace

import pytest
from mlflow import MlflowClient

from analysis.common.errors import StudyError
from analysis.rendering import tuning_text
from analysis.runs import artifacts, pull, tunings
from analysis.study.study import StudyData
from tests import made_up_runs, made_up_tuning

RUNS = made_up_runs.runs("mnist", "lenet5", "mp", 2, [1.2, 1.3])


def stored(*made):
    """The artifacts of searches."""
    of_runs = {str(number): made_up_tuning.files(search) for number, search in enumerate(made)}
    return {name: {run_id: files[name] for run_id, files in of_runs.items()} for name in tunings.FILES}


def test_a_decay_that_is_no_text_is_named():
    made = made_up_tuning.decayed()
    found = stored(replace(made, trials=made.trials.assign(fine_tune_decay=1.5)))
    with pytest.raises(StudyError, match=r"run 0: .*fine_tune_decay must be strings"):
        tunings.of_artifacts(found)


def test_finished_searches_of_a_store_are_read(session_store, tmp_path):
    client = MlflowClient(session_store)
    experiment = client.create_experiment("searches", artifact_location=(tmp_path / "artifacts").as_uri())
    made = made_up_tuning.tuning()
    for search, status in ((made, "FINISHED"), (replace(made, name="other"), "FINISHED"), (made, "RUNNING")):
        run_id = client.create_run(experiment, tags={"kind": "tuning"}).info.run_id
        for name, content in made_up_tuning.files(search).items():
            (tmp_path / name).write_bytes(content)
            client.log_artifact(run_id, str(tmp_path / name))
        if status == "FINISHED":
            client.set_terminated(run_id)
    found = tunings.of_artifacts(artifacts.pulled(pull.Experiment("searches", tracking_uri=session_store), RUNS))
    assert [search.name for search in found] == [made.name, "other"]
    assert tuning_text.summary(found[0]) == tuning_text.summary(made)
    assert tuning_text.table(found[0]).equals(tuning_text.table(made))


def test_a_search_is_exported_with_the_runs_that_it_tested(tmp_path):
    made = made_up_tuning.tuning()
    other = replace(made, name="other", finalists=made.finalists.assign(run_id="elsewhere"))
    for run_id, names in (("another", []), ("elsewhere", ["other"])):
        study = made_up_runs.whole(RUNS.assign(run_id=["a", run_id]))
        StudyData._with_artifacts(study, lambda run_ids: {}, stored(made, other)).export(tmp_path / run_id)
        assert [search.name for search in StudyData.from_frames([tmp_path / run_id]).tunings] == names


@pytest.mark.parametrize("content", [b"", b"a,b\n1,2\n"])
def test_a_damaged_search_is_named(content):
    found = stored(made_up_tuning.tuning())
    found["trials.csv"]["0"] = content
    with pytest.raises(StudyError, match=r"run 0: not what a search writes .*delete the run"):
        tunings.of_artifacts(found)
