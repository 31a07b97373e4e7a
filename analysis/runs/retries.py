"""MLflow's requests, sent again where the answer breaks off."""

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar, cast

import mlflow.artifacts
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

BROKEN_OFF = "Connection broken"  # urllib3's words; of a download that fails MLflow keeps nothing else
TIMES = 4  # what a call asks for may be several requests
P = ParamSpec("P")
R = TypeVar("R")


def again_if_broken_off(ask: Callable[P, R]) -> Callable[P, R]:
    """`ask`, called up to four times where a server dies in the midst of its answer.

    MLflow itself tries again where a server cannot be reached, but not where the answer has begun. What was asked may
    have been done by then: a run is made twice, and `Store.end_dead` ends the other unless it is a report's; a tag that
    was deleted is no longer there.

    Parameters
    ----------
    ask : callable
        A function of MLflow.
    """

    @wraps(ask)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        for _ in range(TIMES - 1):
            try:
                return ask(*args, **kwargs)
            except MlflowException as error:
                if BROKEN_OFF not in str(error):
                    raise
        return ask(*args, **kwargs)

    return call


list_artifacts = again_if_broken_off(mlflow.artifacts.list_artifacts)
download_artifacts = again_if_broken_off(mlflow.artifacts.download_artifacts)


def client(uri: str | None) -> MlflowClient:
    """A client of a tracking store whose methods are called as `again_if_broken_off` calls them.

    Parameters
    ----------
    uri : str or None
        None is MLflow's current one.
    """
    return cast(MlflowClient, _Resending(MlflowClient(uri)))


class _Resending:
    def __init__(self, client: MlflowClient) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._client, name)
        return again_if_broken_off(value) if callable(value) else value
