"""An evaluator for MLflow, `pruning-audit`: it audits a compressed classifier and logs the results to the active run.

mlflow.models.evaluate(
    model, data, targets="label", model_type="classifier", evaluators="pruning-audit",
    evaluator_config={"baseline_predictions": before, "control_predictions": control},
)
"""

import logging
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from mlflow.models.evaluation.artifacts import (
    CsvEvaluationArtifact,
    ImageEvaluationArtifact,
    TextEvaluationArtifact,
)
from mlflow.models.evaluation.base import EvaluationResult, ModelEvaluator

from analysis.audit import audit
from analysis.audit import result as audit_result
from analysis.audit.result import Audit
from analysis.common import files
from analysis.common.errors import StudyError
from analysis.compare import blocks, logged
from analysis.runs.checks import some
from analysis.statistics import limits
from analysis.statistics.limits import Limits

log = logging.getLogger(__name__)

BASELINE = "baseline_predictions"
CONTROL = "control_predictions"
_LIMITS = ("max_class_loss", "max_accuracy_loss")
_OTHERS = ("class_names", "groups", "metric_prefix", *_LIMITS)
_NO_SCORES = frozenset({"label", "class", "prediction", "score"})
_NEEDED = (
    f'evaluator_config={{"{BASELINE}": before}}, the classes that the model before compression predicts for the same '
    "images"
)
_ARTIFACTS: dict[str, type[Any]] = {
    "csv": CsvEvaluationArtifact,
    "png": ImageEvaluationArtifact,
    "md": TextEvaluationArtifact,
}


class PruningAudit(ModelEvaluator):
    """Compare a compressed classifier with the model before compression, class by class.

    The configuration has `baseline_predictions` and, optionally, `control_predictions`, `class_names` and `groups`.
    They are passed to `analysis.audit_predictions` as `before`, `control`, `class_names` and `groups`. The limits
    `max_class_loss` and `max_accuracy_loss`, in points, are as in the command `audit`, whose exit code becomes a
    metric. The optional `metric_prefix` is a prefix of all logged names.
    """

    @classmethod
    def can_evaluate(cls, *, model_type: str, evaluator_config: dict[str, Any], **_: Any) -> bool:
        """Return whether the model is a classifier and the configuration is meant for this evaluator."""
        if model_type != "classifier":
            return False
        if not (is_meant := any(name == CONTROL or name.startswith("baseline") for name in evaluator_config or {})):
            log.warning("pruning-audit is skipped: it needs %s", _NEEDED)
        return is_meant

    def evaluate(
        self,
        *,
        model_type: str,
        dataset: Any,
        run_id: str,
        evaluator_config: dict[str, Any],
        model: Any = None,
        predictions: str | None = None,
        **_: Any,
    ) -> EvaluationResult:
        """Log the audit's metrics, table and picture to a run.

        Raises
        ------
        StudyError
            If the configuration has an unknown entry or a limit that is not in points, if labels are missing, or for
            the reasons given in `analysis.audit_predictions`.
        """
        if unknown_options := sorted(evaluator_config.keys() - {BASELINE, CONTROL, *_OTHERS}):
            options = ", ".join((BASELINE, CONTROL, *_OTHERS))
            raise StudyError(f"evaluator_config: {unknown_options[0]!r} is unknown; pruning-audit accepts {options}")
        if BASELINE not in evaluator_config:
            raise StudyError(f"pruning-audit needs {_NEEDED}")
        if not dataset.has_targets:
            raise StudyError("pruning-audit needs the true classes: pass their column as targets")
        predicted = dataset.predictions_data if model is None else model.predict(dataset.features_data)
        if predicted is None:
            raise StudyError("pruning-audit needs the predicted classes: pass a model, or their column as predictions")
        within = limits.in_points(*map(evaluator_config.get, _LIMITS))
        labels = _labels(dataset)
        result = audit.audit_predictions(
            labels,
            evaluator_config[BASELINE],
            classes(predicted, predictions, labels),
            evaluator_config.get(CONTROL),
            evaluator_config.get("groups"),
            evaluator_config.get("class_names"),
        )
        return _log(result, within, run_id, evaluator_config.get("metric_prefix", ""))


def _labels(dataset: Any) -> np.ndarray | pd.Series:
    """Return the true classes, with the index of the data if it has one."""
    labels = np.asarray(dataset.labels_data)
    features = dataset.features_data
    is_table = isinstance(features, pd.DataFrame) and len(features) == len(labels)
    return pd.Series(labels, features.index) if is_table else labels


def classes(predicted: Any, column: str | None = None, labels: np.ndarray | pd.Series | None = None) -> np.ndarray:
    """Return the predicted class of each image, (images,), from the output of a model.

    Parameters
    ----------
    predicted : array, Series, DataFrame, list or dict
        Classes, or scores of the classes, (images, classes), of which the largest marks the predicted class.
    column : str, optional
        The column of the predicted classes, if there are several columns that are not scores.
    labels : array or Series, optional
        The true classes, (images,). If every class has a column of scores named after it, or every column is named
        after a class, a column stands for the class in its name, otherwise for the class whose number is its position;
        the largest number must then be that of the last column.

    Raises
    ------
    StudyError
        If there are several columns, and they are not the scores of all classes, or if a score is NaN or infinite.
    """
    if isinstance(predicted, dict):
        predicted = pd.DataFrame({name: list(values) for name, values in predicted.items()})
    if isinstance(predicted, pd.DataFrame) and column is not None:
        predicted = predicted[column]
    values = np.asarray(predicted)
    if values.ndim != 2 or values.shape[1] == 1:
        return values[:, 0] if values.ndim == 2 else values
    columns = list(getattr(predicted, "columns", range(values.shape[1])))
    fault = (
        f"the predictions have the columns {some(map(str, columns))}, which are not the scores of all classes: name "
        "each column of scores after its class, or name the column of the predicted classes by predictions=<column>"
    )
    try:
        scores = values.astype(float)
    except (TypeError, ValueError) as error:
        raise StudyError(fault) from error
    known = pd.unique(np.asarray([] if labels is None else labels))
    named = _named(columns, known) if isinstance(predicted, pd.DataFrame) and len(known) else None
    if named is None and not _are_positions(columns, known):
        raise StudyError(fault)
    if (missing := np.flatnonzero(~(scores < np.inf).all(axis=1))).size:  # logits of excluded classes may be -inf
        raise StudyError(
            f"the scores of image {missing[0] + 1:,} contain NaN or infinity: leave out images without scores, or "
            "repair the model"
        )
    positions = scores.argmax(axis=1)
    return positions if named is None else named[positions]


def _are_positions(columns: Sequence[Any], known: np.ndarray) -> bool:
    """Return whether columns may be scores of the classes 0, 1 and so on, judging by their names and known classes."""
    are_others = known.dtype.kind in "iuf" and known.size and (known.min() < 0 or known.max() != len(columns) - 1)
    return not are_others and _NO_SCORES.isdisjoint(str(column).lower() for column in columns)


def _named(names: Sequence[Any], known: np.ndarray) -> np.ndarray | None:
    """Return the class that each name stands for as a number or a text, (names,).

    Return None if neither the names include all known classes nor the known classes all names.
    """
    try:
        keys, wanted = (np.asarray(each, dtype=float) for each in (known, names))
    except (TypeError, ValueError):
        keys, wanted = (np.asarray(each).astype(str) for each in (known, names))
    are_known = np.isin(wanted, keys)
    if not (are_known.all() or np.isin(keys, wanted).all()):
        return None
    order = np.argsort(keys)
    places = np.searchsorted(keys, wanted, sorter=order).clip(max=len(keys) - 1)
    named = known[order[places]]
    if are_known.all():
        return named
    own = wanted.astype(known.dtype) if known.dtype.kind in "iuf" else np.asarray(names).astype(str)
    return np.where(are_known, named, own)


def _log(result: Audit, within: Limits, run_id: str, prefix: str) -> EvaluationResult:
    """Send an audit to a run."""
    client = mlflow.MlflowClient()
    gates = result.comparison.gates(within)
    code = {"exit_code": float(limits.exit_code(gates))} if gates else {}
    metrics = {f"{prefix}{name}": value for name, value in (audit_metrics(result) | code).items()}
    for name, value in metrics.items():
        client.log_metric(run_id, name, value)
    for name, text in logged.loss_tags(result.comparison).items():
        client.set_tag(run_id, f"{prefix}{name}", text)
    folder, artifacts = f"{prefix}audit", {}
    with tempfile.TemporaryDirectory() as local_folder:
        audit_result.write(result, Path(local_folder), blocks.blocks(result.comparison, within, gates))
        for path in files.written(Path(local_folder)):
            client.log_artifact(run_id, str(Path(local_folder, path)), folder)
        uri = client.get_run(run_id).info.artifact_uri
        for ending, kind in _ARTIFACTS.items():
            name = f"audit.{ending}"
            artifacts[f"{prefix}{name}"] = kind(uri=f"{uri}/{folder}/{name}")
            artifacts[f"{prefix}{name}"]._load(str(Path(local_folder) / name))
    return EvaluationResult(metrics=metrics, artifacts=artifacts, run_id=run_id)


def audit_metrics(result: Audit) -> dict[str, float]:
    """Return the metrics of an audit that are finite, by name."""
    metrics = {
        "accuracy_before": result.accuracy_before,
        "accuracy_after": result.accuracy_after,
        "accuracy_control": result.accuracy_control,
        "damaged_classes": len(result.damaged),
        "fails_on_damage": float(result.fails),
        **logged.loss_metrics(result.comparison),
        "alpha": result.slopes.alpha,
        "raw_slope": result.slopes.raw_slope,
    }
    return {name: float(value) for name, value in metrics.items() if value is not None and np.isfinite(value)}
