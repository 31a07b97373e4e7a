"""Repeat reads from a tracking server whose answers break off; writes are sent once."""

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar, cast

import mlflow.artifacts
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

ATTEMPTS = 4  # a method of the client may send several requests, and the answer to each may break off
BROKEN_OFF = "Connection broken"  # urllib3's words; MLflow keeps nothing else of a download that fails
READS = ("get_", "search_", "list_", "download_")
P = ParamSpec("P")
R = TypeVar("R")


def client(uri: str | None) -> MlflowClient:
    """Return a client of a tracking store that repeats reads whose answers break off.

    A method that writes is called once: the server may have done what it was asked before its answer broke off, so
    that a repeated request to create a run would create a second one. MLflow itself repeats every request to which no
    answer has begun, also a write.

    Parameters
    ----------
    uri : str or None
        None stands for MLflow's current store.
    """
    return cast(MlflowClient, _Client(MlflowClient(uri)))


def repeating(read: Callable[P, R]) -> Callable[P, R]:
    """Return `read` in a form that tries up to four times while the server's answer breaks off.

    Parameters
    ----------
    read : callable
        A function that changes nothing on the server.
    """

    @wraps(read)
    def repeated(*args: P.args, **kwargs: P.kwargs) -> R:
        for _ in range(ATTEMPTS - 1):
            try:
                return read(*args, **kwargs)
            except MlflowException as error:
                if BROKEN_OFF not in str(error):
                    raise
        return read(*args, **kwargs)

    return repeated


list_artifacts = repeating(mlflow.artifacts.list_artifacts)
download_artifacts = repeating(mlflow.artifacts.download_artifacts)


class _Client:
    def __init__(self, client: MlflowClient) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._client, name)
        return repeating(value) if name.startswith(READS) else value
