"""Compute the scores of images for the study risk/, from its dense networks in the current tracking store."""

from pathlib import Path

import mlflow
import numpy as np
import risk
import torch
from mlflow import MlflowClient

from analysis.common.errors import StudyError
from analysis.runs import schema
from analysis.statistics import risk_scores
from pruning_study import load_model
from pruning_study.data import datasets
from pruning_study.options.config import default_data_dir

SEEDS = range(200, 210)
_BATCH = 1000


def collect(folder: Path) -> list[str]:
    """Compute the scores of every data set whose dense networks the current tracking store has, and store them.

    Stored scores of other data sets are kept.

    Returns
    -------
    list of str
        The data sets whose scores were computed.

    Raises
    ------
    StudyError
        If the store has only some of a data set's networks.
    """
    networks = _dense_networks()
    scores = risk.read(folder) if (folder / risk.SCORES).is_file() else {}
    for dataset, run_ids in networks.items():
        if len(run_ids) < len(SEEDS):
            raise StudyError(
                f"{mlflow.get_tracking_uri()}: {len(run_ids)} dense networks of {dataset} instead of {len(SEEDS)}"
            )
        scores[dataset] = _scores(dataset, run_ids)
    folder.mkdir(parents=True, exist_ok=True)
    risk.save(folder, scores)
    return list(networks)


def _dense_networks() -> dict[str, list[str]]:
    """Return the ids of the dense runs of each data set, one for each seed."""
    client = MlflowClient()
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    query = (
        f"tags.{schema.KIND} = '{schema.DENSE}' AND params.{schema.DECAY} = 'cosine' AND attributes.status = 'FINISHED'"
    )
    by_seed: dict[str, dict[int, str]] = {}
    for run in client.search_runs(experiments, query):
        params = run.data.params
        if params[schema.DATASET] in risk.DATASETS and int(params[schema.SEED]) in SEEDS:
            by_seed.setdefault(params[schema.DATASET], {})[int(params[schema.SEED])] = run.info.run_id
    return {dataset: [run_ids[seed] for seed in sorted(run_ids)] for dataset, run_ids in by_seed.items()}


def _scores(dataset: str, run_ids: list[str]) -> dict[str, np.ndarray]:
    data = datasets.load(dataset, data_dir=Path(default_data_dir()))
    images, label = torch.from_numpy(np.asarray(data.test_images)), np.asarray(data.test_labels)
    probabilities = []
    with torch.no_grad():
        for run_id in run_ids:
            model = load_model(run_id)
            logits = torch.cat([model(batch) for batch in images.split(_BATCH)])
            probabilities.append(logits.double().softmax(1).numpy())
    predicted = np.array([each.argmax(1) for each in probabilities])
    uncertainties = risk_scores.uncertainty(np.array(probabilities))
    return risk_scores.image_scores(label, predicted, uncertainties)


if __name__ == "__main__":
    print(", ".join(collect(Path(__file__).parent / risk.STUDY)))
