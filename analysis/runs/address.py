"""Addresses of tracking stores: probed before use, shown without a password."""

import re
from urllib.parse import urlsplit

from mlflow.exceptions import MlflowException
from mlflow.utils.credentials import get_default_host_creds
from mlflow.utils.rest_utils import http_request
from sqlalchemy import Engine, create_engine

from analysis.runs import retries
from analysis.runs.errors import StudyError

_PROBE_SECONDS = 5  # to connect, and as long again to answer


def without_password(uri: str) -> str:
    """A tracking URI as it may be shown."""
    return re.sub(r"(://[^/@:]*):[^/@]*@", r"\1:***@", uri)


def probe(uri: str) -> None:
    """Ask a server once, where MLflow would ask for minutes.

    Parameters
    ----------
    uri : str
        Of a server or a database; a sqlite file needs no asking.

    Raises
    ------
    StudyError
        Where it does not answer within 10 s, or with an error.
    """
    scheme = urlsplit(uri).scheme
    if scheme in ("http", "https"):
        _probe_http(uri, without_password(uri))
    elif scheme.startswith(("postgresql", "mysql")):
        engine = _server_engine(uri, without_password(uri))
        with engine.connect():
            pass
        engine.dispose()


def _server_engine(uri: str, shown: str) -> Engine:
    try:
        return create_engine(uri, connect_args={"connect_timeout": _PROBE_SECONDS})
    except ModuleNotFoundError as error:
        raise _lacking(shown, error) from error


def _lacking(shown: str, error: ModuleNotFoundError) -> StudyError:
    return StudyError(f"{shown} needs {error.name}; pip install it (for Postgres the extra 'postgres')")


def _probe_http(uri: str, shown: str) -> None:
    try:
        answer = retries.again_if_broken_off(http_request)(
            get_default_host_creds(uri),
            "/health",
            "GET",
            max_retries=0,
            timeout=_PROBE_SECONDS,
            raise_on_status=False,
        )
    except MlflowException as error:
        raise StudyError(f"{shown} does not answer; start the tracking server or check the URI") from error
    if answer.status_code >= 500:
        raise StudyError(f"{shown} answers with status {answer.status_code}; look at the tracking server's log")
