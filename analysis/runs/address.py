"""Probe the server of a tracking store before it is used."""

import configparser
from collections.abc import Callable
from queue import Empty, Queue
from threading import Thread

from mlflow.exceptions import MlflowException
from mlflow.utils.credentials import get_default_host_creds
from mlflow.utils.rest_utils import http_request
from requests import Response
from sqlalchemy import create_engine
from sqlalchemy.exc import SQLAlchemyError

from analysis.common import imports
from analysis.common.errors import StudyError, first_line
from analysis.common.masking import without_password
from analysis.runs import retries
from analysis.runs.store_errors import reason

PROBE_SECONDS = 5  # to connect, and the same again to answer


def probe(uri: str) -> None:
    """Check once that a server answers, because MLflow would keep trying for minutes.

    Parameters
    ----------
    uri : str
        The tracking URI of a server or a database. A sqlite file is not probed.

    Raises
    ------
    StudyError
        If the server does not answer within 10 s, or answers with an error.
    """
    scheme = uri.partition(":")[0].lower()
    if scheme in ("http", "https"):
        _probe_http(uri)
    elif scheme.startswith(("postgresql", "mysql", "mssql")):
        _probe_database(uri)


def missing_driver(uri: str, error: ModuleNotFoundError) -> StudyError:
    """Make the error for a database whose Python driver is not installed."""
    has_extra = uri.partition(":")[0].lower() in ("postgresql", "postgresql+psycopg")
    advice = imports.pip_line("postgres") if has_extra else "install it with pip"
    return StudyError(f"{without_password(uri)} needs {error.name}: {advice}")


def _probe_http(uri: str) -> None:
    address = without_password(uri)
    try:
        answer = _within_limit(
            lambda: retries.repeating(http_request)(
                get_default_host_creds(uri),
                "/health",
                "GET",
                max_retries=0,
                timeout=PROBE_SECONDS,
                raise_on_status=False,
            )
        )
    except configparser.Error as error:
        # The original error quotes a line of the file, and this line may contain the password.
        raise StudyError(
            "~/.mlflow/credentials cannot be read: begin it with the line [mlflow], and write %% for % in the password"
        ) from error
    except MlflowException as error:
        why = reason(error).removeprefix("the server does not answer: ")
        raise StudyError(f"{address} does not answer ({why}); start the tracking server or check the URI") from error
    if answer.status_code >= 500:
        raise StudyError(f"{address} answers with status {answer.status_code}; look at the tracking server's log")


def _within_limit(ask: Callable[[], Response]) -> Response:
    """Enforce a time limit on the whole answer, because a request's own limit restarts with every byte received."""
    answers: Queue[Response | Exception] = Queue()

    def put() -> None:
        try:
            answers.put(ask())
        except Exception as error:
            answers.put(error)

    Thread(target=put, daemon=True).start()
    try:
        answer = answers.get(timeout=2 * PROBE_SECONDS)
    except Empty as error:
        raise MlflowException(f"no complete answer within {2 * PROBE_SECONDS} s") from error
    if isinstance(answer, Exception):
        raise answer
    return answer


def _probe_database(uri: str) -> None:
    limit = "timeout" if uri.lower().startswith("mssql") else "connect_timeout"
    try:
        engine = create_engine(uri, connect_args={limit: PROBE_SECONDS})
        try:
            engine.connect().close()
        finally:
            engine.dispose()
    except ModuleNotFoundError as error:
        raise missing_driver(uri, error) from error
    except SQLAlchemyError as error:
        raise StudyError(f"{without_password(uri)}: {first_line(error)}; check the tracking URI") from error
