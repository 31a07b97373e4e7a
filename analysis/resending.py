"""What is asked of a tracking store is asked again where the answer breaks off."""

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar, cast

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

BROKEN_OFF = "Connection broken"  # by urllib3; MLflow keeps its words alone
P = ParamSpec("P")
R = TypeVar("R")


def client(uri: str | None) -> MlflowClient:
    """A client of a tracking store, each of whose methods is called as `again_if_broken_off` calls it.

    Parameters
    ----------
    uri : str or None
        None is MLflow's current one.
    """
    return cast(MlflowClient, _Resending(MlflowClient(uri)))


def again_if_broken_off(ask: Callable[P, R]) -> Callable[P, R]:
    """`ask`, called a second time where the server dies in the midst of its answer.

    MLflow itself tries again where a server cannot be reached, but not where the answer has begun. What was asked may
    have been done: a run is then made twice.

    Parameters
    ----------
    ask : callable
        A function of MLflow.
    """

    @wraps(ask)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return ask(*args, **kwargs)
        except MlflowException as error:
            if BROKEN_OFF not in str(error):
                raise
            return ask(*args, **kwargs)

    return call


class _Resending:
    def __init__(self, client: MlflowClient) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return again_if_broken_off(getattr(self._client, name))
