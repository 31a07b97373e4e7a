"""Addresses of tracking stores: probe a server before its use, and show an address without its password."""

import re
from urllib.parse import urlsplit

from mlflow.exceptions import MlflowException
from mlflow.utils.credentials import get_default_host_creds
from mlflow.utils.rest_utils import http_request
from sqlalchemy import create_engine
from sqlalchemy.exc import SQLAlchemyError

from analysis.runs import retries
from analysis.runs.errors import StudyError, first_line

PROBE_SECONDS = 5  # to connect, and as long again to answer


def without_password(uri: str) -> str:
    """Return a tracking URI in which `***` stands for the password."""
    return re.sub(r"(://[^/@:]*):[^/@]*@", r"\1:***@", uri)


def probe(uri: str) -> None:
    """Ask a server once whether it is there; MLflow would keep asking for minutes.

    Parameters
    ----------
    uri : str
        The tracking URI of a server or a database. A sqlite file is not probed.

    Raises
    ------
    StudyError
        If the server does not answer within 10 s, or answers with an error.
    """
    scheme = urlsplit(uri).scheme
    if scheme in ("http", "https"):
        _probe_http(uri)
    elif scheme.startswith(("postgresql", "mysql")):
        _probe_database(uri)


def missing_driver(uri: str, error: ModuleNotFoundError) -> StudyError:
    """Return the error for a database whose Python driver is not installed."""
    return StudyError(
        f"{without_password(uri)} needs {error.name}; install it with pip (for Postgres: the extra 'postgres')"
    )


def _probe_http(uri: str) -> None:
    shown = without_password(uri)
    try:
        answer = retries.repeating(http_request)(
            get_default_host_creds(uri),
            "/health",
            "GET",
            max_retries=0,
            timeout=PROBE_SECONDS,
            raise_on_status=False,
        )
    except MlflowException as error:
        raise StudyError(f"{shown} does not answer; start the tracking server or check the URI") from error
    if answer.status_code >= 500:
        raise StudyError(f"{shown} answers with status {answer.status_code}; look at the tracking server's log")


def _probe_database(uri: str) -> None:
    try:
        engine = create_engine(uri, connect_args={"connect_timeout": PROBE_SECONDS})
        try:
            engine.connect().close()
        finally:
            engine.dispose()
    except ModuleNotFoundError as error:
        raise missing_driver(uri, error) from error
    except SQLAlchemyError as error:
        raise StudyError(f"{without_password(uri)}: {first_line(error)}; check the tracking URI") from error
