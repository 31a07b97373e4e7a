"""Log a run's network as an MLflow model, which any program can load through MLflow."""

import tempfile
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import mlflow.onnx
import numpy as np
from mlflow.entities import Dataset, LoggedModel, LoggedModelOutput, LoggedModelStatus, Metric, Run
from mlflow.models import Model, ModelSignature

from pruning_study.tracking.reach import one_line_errors
from pruning_study.tracking.store import Store

if TYPE_CHECKING:
    from onnx import ModelProto

# The name of the model under its run.
NAME = "model"
READY = LoggedModelStatus.READY


def find(store: Store, run: Run) -> LoggedModel | None:
    """Return the complete model that was logged for a run; None if there is none."""
    return next((model for model in _models(store, run) if model.status == READY), None)


def log(
    store: Store,
    run: Run,
    model: "ModelProto",
    *,
    signature: ModelSignature,
    example: np.ndarray,
    metadata: Mapping[str, Any],
    tags: Mapping[str, str],
    metrics: Iterable[str],
    dataset: Dataset,
) -> LoggedModel:
    """Log an ONNX model for a finished run, and link metrics of the run to it.

    Parameters
    ----------
    store : Store
    run : mlflow.entities.Run
        Finished run, whose params are copied to the model.
    model : onnx.ModelProto
    signature : ModelSignature
    example : array
        An input, which is stored with the model.
    metadata : mapping
        Metadata for the model's file `MLmodel`.
    tags : mapping of str
    metrics : iterable of str
        Names of metrics of the run; those that the run does not have are left out.
    dataset : mlflow.entities.Dataset
        The data that the metrics were measured on.

    Raises
    ------
    StudyError
        If the store does not accept the model. A later call resumes with what was logged.
    """
    with one_line_errors(store.uri), tempfile.TemporaryDirectory() as folder:
        logged = _unfinished(store, run, tags)
        described = Model(
            artifact_path=logged.artifact_location,
            model_uuid=logged.model_id,
            model_id=logged.model_id,
            run_id=run.info.run_id,
            metadata=dict(metadata),
        )
        mlflow.onnx.save_model(
            model,
            path := f"{folder}/{NAME}",
            mlflow_model=described,
            signature=signature,
            input_example=example,
            pip_requirements=mlflow.onnx.get_default_pip_requirements(),
            # By default MLflow lists a GPU first, and warns whenever the model is loaded without one.
            onnx_execution_providers=["CPUExecutionProvider"],
            save_as_external_data=False,
        )
        store.client.log_model_artifacts(logged.model_id, path)
        _link(store, run, logged, metrics, dataset)
        return store.client.finalize_logged_model(logged.model_id, READY)


def _models(store: Store, run: Run) -> list[LoggedModel]:
    query = f"source_run_id = '{run.info.run_id}' AND name = '{NAME}'"
    with one_line_errors(store.uri):
        return list(store.client.search_logged_models([run.info.experiment_id], query))


def _unfinished(store: Store, run: Run, tags: Mapping[str, str]) -> LoggedModel:
    """Return the model that a killed process left unfinished, or a new one."""
    if models := _models(store, run):
        return models[0]
    return store.client.create_logged_model(
        run.info.experiment_id,
        name=NAME,
        source_run_id=run.info.run_id,
        tags=dict(tags),
        params=dict(run.data.params),
    )


def _link(store: Store, run: Run, model: LoggedModel, names: Iterable[str], dataset: Dataset) -> None:
    """Make the model an output of the run, and link final metrics of the run to it."""
    run_id = run.info.run_id
    outputs = store.get(run_id).outputs
    if model.model_id not in [each.model_id for each in (outputs.model_outputs if outputs else [])]:
        store.client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=0)])
    logged = [store.client.get_metric_history(run_id, name)[-1] for name in names if name in run.data.metrics]
    # With the same time and step, MLflow recognises each linked metric as the run's own metric.
    linked = [
        Metric(
            *(metric.key, metric.value, metric.timestamp, metric.step),
            model_id=model.model_id,
            run_id=run_id,
            dataset_name=dataset.name,
            dataset_digest=dataset.digest,
        )
        for metric in logged
    ]
    store.client.log_batch(run_id, metrics=linked)
