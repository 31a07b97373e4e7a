"""A client that repeats safe requests to a tracking store if their answers break off."""

import logging
import os
from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar, cast

import mlflow.artifacts
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST, ErrorCode

from analysis.runs.store_errors import STORE_ERRORS

ATTEMPTS = 4  # a method of the client may send several requests, each of which may fail
# Error texts for a truncated answer: by urllib3, and by MLflow if the length of the answer is unknown.
BROKEN_OFF = ("Connection broken", "not in a valid JSON format")
READS = ("get_", "search_", "list_", "download_")
# These methods have the same result whether called once or twice, or make a run that is never used and does no harm.
SAME_TWICE = (
    "create_run",
    *("set_tag", "set_experiment_tag", "set_terminated", "update_run", "delete_run"),
    *("log_batch", "log_inputs", "log_artifact", "log_artifacts"),
)
P = ParamSpec("P")
R = TypeVar("R")

# MLflow would show a progress bar for each artifact that it reads; users may turn these bars on again. It would also
# print two lines for each run that ends on a server. These lines always stay off, because they contain the password of
# the tracking URI.
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ["MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"] = "true"
# By default MLflow waits two minutes for each answer and asks eight times, so a hanging server would keep a command
# silent for twenty minutes.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "5")
logging.getLogger("mlflow").setLevel(logging.WARNING)
logging.getLogger("alembic").setLevel(logging.WARNING)
# These loggers would report, with a traceback for each attempt, errors that MLflow also raises.
for _name in ("mlflow.store", "mlflow.utils.rest_utils", "mlflow.exceptions", "sqlalchemy.pool", "urllib3"):
    logging.getLogger(_name).setLevel(logging.CRITICAL)


def client(uri: str | None) -> MlflowClient:
    """Make a client that repeats requests to a tracking store if their answers break off.

    If the answer to the creation of a run is lost, a second run is created. `Store.end_dead` ends the first.

    Parameters
    ----------
    uri : str or None
        None means MLflow's current store.
    """
    return cast(MlflowClient, _Client(MlflowClient(uri)))


def repeating(call: Callable[P, R]) -> Callable[P, R]:
    """Wrap a function to try up to four times if the server's answer breaks off.

    Parameters
    ----------
    call : callable
        A function whose requests are idempotent.
    """

    @wraps(call)
    def repeated(*args: P.args, **kwargs: P.kwargs) -> R:
        for _ in range(ATTEMPTS - 1):
            try:
                return call(*args, **kwargs)
            except MlflowException as error:
                if not any(words in str(error) for words in BROKEN_OFF):
                    raise
        return call(*args, **kwargs)

    return repeated


def _as_store_errors(call: Callable[P, R]) -> Callable[P, R]:
    """Wrap a function to convert all its errors to store errors.

    A malformed answer, or an artifact store whose library is not installed, can raise any error.
    """

    @wraps(call)
    def called(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return call(*args, **kwargs)
        except STORE_ERRORS:
            raise
        except Exception as error:
            raise MlflowException(f"{type(error).__name__}: {error}") from error

    return called


list_artifacts = repeating(_as_store_errors(mlflow.artifacts.list_artifacts))
download_artifacts = repeating(_as_store_errors(mlflow.artifacts.download_artifacts))


class _Client:
    def __init__(self, client: MlflowClient) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._client, name)
        if callable(value):
            value = _as_store_errors(value)
        return repeating(value) if name.startswith(READS) or name in SAME_TWICE else value

    def delete_tag(self, run_id: str, key: str) -> None:
        """Delete a tag, and ignore that it is missing, because a request whose answer was lost may have deleted it."""
        try:
            repeating(self._client.delete_tag)(run_id, key)
        except MlflowException as error:
            if error.error_code != ErrorCode.Name(RESOURCE_DOES_NOT_EXIST):
                raise
