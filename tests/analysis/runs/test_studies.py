"""Which experiment contains a study."""

import pytest
from mlflow import MlflowClient

from analysis.common.errors import StudyError
from analysis.runs import studies
from tests.stored_runs import empty_store


@pytest.mark.parametrize("name", ["s5", "studies/s5.yaml", "results/s5", "results/s5/", "results/s5/study.yaml"])
def test_a_study_whose_experiment_is_deleted_is_said_to_be_and_how_it_comes_back(tmp_path, monkeypatch, name):
    """It was said not to be there."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results" / "s5").mkdir(parents=True)
    (tmp_path / "results" / "s5" / "study.yaml").touch()
    client = MlflowClient(uri := empty_store(tmp_path / "mlflow.db"))
    experiment_id = client.create_experiment("s5")
    client.delete_experiment(experiment_id)
    with pytest.raises(StudyError) as error:
        studies.experiment_of(name, tracking_uri=uri)
    assert str(error.value) == (
        f"experiment 's5' is deleted: restore it (mlflow experiments restore --experiment-id {experiment_id})"
    )
