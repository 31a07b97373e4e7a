"""Mask the secrets in all log records, warnings and tracebacks of a process, including those of libraries."""

import logging
import sys
import threading
import traceback
import warnings
from typing import Any

from analysis.common.masking import without_secrets


def install() -> None:
    """Mask log records, warnings and tracebacks in this process, until it ends."""
    logging.setLogRecordFactory(_record)
    warnings.formatwarning = _warning  # type: ignore[assignment]
    sys.excepthook = lambda kind, error, frames: print_traceback(error)
    threading.excepthook = lambda raised: print_traceback(raised.exc_value) if raised.exc_value else None


def print_traceback(error: BaseException) -> None:
    """Print an exception and its traceback to stderr, with secrets masked."""
    sys.stderr.write(without_secrets("".join(traceback.format_exception(error))))


_FORMAT_WARNING = warnings.formatwarning


def _record(*args: Any, **values: Any) -> logging.LogRecord:
    record = logging.LogRecord(*args, **values)
    try:
        record.msg = without_secrets(record.getMessage())
    except (TypeError, ValueError, KeyError):  # the arguments do not match the message's format
        record.msg = without_secrets(f"{record.msg} {record.args}")
    record.args = None
    if record.exc_info:
        # Handlers print this text instead of the exception.
        record.exc_text = without_secrets(logging.Formatter().formatException(record.exc_info))
        record.exc_info = None
    return record


def _warning(*args: Any, **values: Any) -> str:
    return without_secrets(_FORMAT_WARNING(*args, **values))
