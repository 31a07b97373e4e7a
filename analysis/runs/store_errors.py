"""Describe an error of a tracking store in one line, in the store's own words."""

import html
import re
import sqlite3

import pyarrow as pa
from google.protobuf.json_format import ParseError
from mlflow.exceptions import MlflowException
from requests.exceptions import RequestException
from sqlalchemy.exc import SQLAlchemyError

from analysis.common.errors import first_line
from analysis.common.masking import without_password

STORE_ERRORS = (
    *(MlflowException, SQLAlchemyError, RequestException, OSError, sqlite3.Error),
    ParseError,  # for an answer that is not the JSON that MLflow writes
    UnicodeDecodeError,  # from Python's sqlite3, whose message quotes a damaged file
)

LONGEST_PAGE = 200
# SQLAlchemy puts this line before the store's own reason.
_AUTOFLUSH = re.compile(r"\(raised as a result of Query-invoked autoflush;[^)]*\)\s*")

_DAMAGED = re.compile(r"malformed|of another type|decode", re.I)
_HINTS = {
    r"not a database": "check the tracking URI; if it is right, restore a backup of the file",
    r"is locked": "another process has locked the database: wait for it or end it, then start the same command again",
    r"readonly|read-only|permission denied|unable to open": "make the file and its folder readable and writable",
    r"disk i/o error|disk is full|no space": "check the disk of the store",
    r"no such (table|column)|(relation|column) .* does not exist|view": "the database lacks a part of an MLflow store: "
    "restore a backup of it",
    r"status 401|status 403|unauthenticated|permission_denied|password authentication": "check the user's name, and "
    "the password or token",
    r"certificate|\bssl": "check that the server uses https, and check MLFLOW_TRACKING_SERVER_CERT_PATH",
    r"status 429|status 5\d\d": "look at the tracking server's log, or try again later",
    r"answer is not from MLflow": "check the tracking URI",
}


def explained(uri: str, error: Exception, *, saying: str = "", otherwise: str = "") -> str:
    """Describe an error in one line: the store, its own reason, and what to do.

    Parameters
    ----------
    uri : str
        The tracking URI.
    error : Exception
        Any error of the store.
    saying : str
        Consequence of the error, if the reason does not make it plain.
    otherwise : str
        Advice for errors that have no hint in this module.
    """
    shown, why = without_password(uri), reason(error)
    if _DAMAGED.search(why) and uri.startswith("sqlite"):
        return damaged(uri, why)
    hint = next((hint for words, hint in _HINTS.items() if re.search(words, why, re.I)), otherwise)
    cause = f"{saying} ({why})" if saying else why
    return f"{shown}: {cause}; {hint}" if hint else f"{shown}: {cause}"


def damaged(uri: str, why: str) -> str:
    """Write the error line for a damaged database."""
    return f"{without_password(uri)}: the database is damaged ({why}); restore a backup of the file"


def reason(error: Exception) -> str:
    """Return the store's own reason for an error, without text added by libraries."""
    text = str(error)
    if refused := re.match(
        r"API request to \S+ (?:\S+ )?failed with error code (\d+) .*?Response body: '(.*)'$", text, re.S
    ):
        return f"the server answers with status {refused[1]}{_quoted(refused[2])}"
    if page := re.search(r"not in a valid JSON format. Response body: '(.*)'$", text, re.S):
        return f"the server's answer is not from MLflow{_quoted(page[1])}"
    if status := re.search(r"too many (\d{3}) error responses", text):
        return f"the server answers with status {status[1]}"
    if unanswered := re.match(r"API request to \S+ failed with (?:timeout )?exception (.*)", text, re.S):
        return first_line(Exception(f"the server does not answer: {_innermost(unanswered[1])}"))
    if isinstance(error, pa.ArrowException | ParseError):
        return f"a value is of another type than it should be: {first_line(error)}"
    text = _AUTOFLUSH.sub("", text, count=1)
    return re.sub(
        r"^(?:[A-Z_]+: )?(?:\[\w+\] )?(?:Failed to [a-z ]+: )?(?:\(\w+(?:\.\w+)+\) )?", "", first_line(Exception(text))
    )


def _innermost(chain: str) -> str:
    """Return the message of the innermost of nested errors, such as `A(..., B('message'))`."""
    cause = chain.partition("(Caused by ")[2]
    messages = re.findall(r'"([^"]*)"', cause) or re.findall(r"'([^']*)'", cause) or [chain]
    return messages[-1].rpartition("): ")[2]


def _quoted(body: str) -> str:
    """Return a colon and the start of a page's text, or an empty string if the page has no text."""
    head = re.search(r"<title[^>]*>(.*?)</title>", body, re.S | re.I)
    words = " ".join(html.unescape(re.sub(r"<[^>]*>", " ", head[1] if head else body)).split())
    return f": {words[:LONGEST_PAGE]}" if words else ""
