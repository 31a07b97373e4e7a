"""Replace the passwords, tokens and keys in texts, log records, warnings and tracebacks by `***`."""

import functools
import logging
import os
import re
import sys
import threading
import traceback
import warnings
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, unquote

MASK = "***"
SHORTEST_KNOWN = 6  # a shorter secret from the environment may be an ordinary word

Span = tuple[int, int]

_FORMAT_WARNING = warnings.formatwarning

_NAME = (
    r"(?:pass(?:word|wd|phrase|file)|pwd|secret|token|credentials?|signature|jwt|sslkey\w*"
    r"|(?:api|access|account|auth|private|secret|shared|storage|subscription)[_-]?key)"
)
# If a URL is handled as a path, one of its slashes is lost.
_SCHEME = re.compile(r"((?:https?|postgres\w*|mysql|mariadb|mssql)(?:\+\w+)?):/+|([a-z][a-z0-9+.-]{0,30})://", re.I)
_NAME_ALONE = re.compile(r"/*[\w.-]{2,}:(?=[^/].*@)", re.S)  # me:password@host, without a scheme
_WEB = re.compile(r"(?:.*\+)?(?:https?|wss?)", re.I)
_AUTHORITY = re.compile(r"[^/?#]*")
_PORT = re.compile(r":\d{1,5}")
_IPV6 = re.compile(r"\[[^\]@]*\](?::\d{0,5})?")
_WORD = re.compile(r"\S*")
_UP_TO_NEXT_AT = re.compile(r"[^\n@]*@\S*")
_WITHOUT_PASSWORD = ("", "x-oauth-basic")  # these mean that the user name is a token, as GitHub allows
_SETTING = re.compile(r"[?&;#]([\w.%+-]{1,80})=")
# For SQLAlchemy the value of odbc_connect is a whole connection string, including the password.
_SECRET_SETTING = re.compile(rf".*{_NAME}|key|sig|sas|code|auth|pass|pw|odbc_connect", re.I)
_VALUE = re.compile(r"[^&]*")
_VALUE_IN_TEXT = re.compile(r"[^\s&]*")
_ASSIGNMENT = re.compile(
    rf"{_NAME}(?:['\"]\s*:\s*|=|['\"]\]?\s*=\s*)"  # 'password': 'x', token=x, environ["TOKEN"] = 'x'
    r"|(?:pass(?:word|wd|phrase)|secret)\s*=\s*"  # password = x
    r"|(?:(?:\w-|_)(?:password|secret|token|key)|\bauthorization):\s*(?:(?:basic|bearer|token)\s+)?",  # X-Api-Key: x
    re.I,
)
_QUOTED = re.compile(r"(?<=')(?:[^'\\\n]|\\.)*(?=')|(?<=\")(?:[^\"\\\n]|\\.)*(?=\")|")
_CREDENTIALS = re.compile(r"\b(?:Basic|Bearer)\s+(?=[^\s'\"]*[\d=])([^\s'\"]{6,})")
_ENDING = "'\")]}>,.;:"
_VARIABLE = re.compile(
    r"(?:PASSWORD|PASSWD|PASSPHRASE|SECRET|TOKEN|(?:API|ACCESS|ACCOUNT|PRIVATE|STORAGE)_?KEY)$", re.I
)


def without_secrets(text: str) -> str:
    """Replace every secret in a text by `***`.

    Secrets are: the password in `scheme://name:password@host`; the token in `https://token@host`; the value of a
    setting whose name is password, token, key or similar, in a URL's query or elsewhere; the credentials of an HTTP
    header; and each password or token in an environment variable.

    If a word has several `@`, the password may contain one, so the mask extends to the last `@`.

    Parameters
    ----------
    text : str
    """
    spans = [*_in_urls(text), *_in_queries(text), *_assigned(text), *_of_known_secrets(text)]
    spans += [match.span(1) for match in _CREDENTIALS.finditer(text)]
    return _masked(text, spans)


def without_password(uri: str) -> str:
    """Replace every secret in the URI of a tracking store by `***`.

    Parameters
    ----------
    uri : str
        The URI alone: a space or a quotation mark counts as part of it.
    """
    return _masked(uri, _in_uri(uri))


def _in_uri(uri: str) -> list[Span]:
    spans = [(start, _VALUE.match(uri, start).end()) for start in _settings(uri)]  # type: ignore[union-attr]
    if scheme := _SCHEME.search(uri):
        userinfo = _userinfo(scheme[1] or scheme[2], uri[scheme.end() :])
        spans += [(scheme.end() + start, scheme.end() + end) for start, end in userinfo]
    elif name := _NAME_ALONE.match(uri):
        spans.append((name.end(), uri.rindex("@")))
    return spans


def _in_urls(text: str) -> Iterator[Span]:
    for scheme in _SCHEME.finditer(text):
        start = scheme.end()
        word = _WORD.match(text, start)[0]  # type: ignore[index]
        if "@" not in word and _ends_inside_password(word):
            longer = _UP_TO_NEXT_AT.match(text, start)
            word = longer[0] if longer else word
        yield from ((start + first, start + last) for first, last in _userinfo(scheme[1] or scheme[2], word))


def _ends_inside_password(word: str) -> bool:
    """Return whether the space after a URL may belong to the URL's password: the text after the colon is no port."""
    password = _AUTHORITY.match(word)[0].partition(":")[2].rstrip(_ENDING)  # type: ignore[index]
    return bool(password) and not password.isdecimal() and not password.startswith(MASK)


def _userinfo(scheme: str, rest: str) -> list[Span]:
    """Find the secrets in the text after `scheme://`: the password, or a token instead of the user name."""
    end = rest.rfind("@")
    authority = _AUTHORITY.match(rest)[0]  # type: ignore[index]
    if end < 0 or _IPV6.fullmatch(authority):
        return []
    is_web = bool(_WEB.fullmatch(scheme))
    name, colon, password = rest[:end].partition(":")
    is_alone = "@" in authority[: len(name) + 1]
    if is_alone and is_web:
        return [(0, end)]
    after = authority[len(name) :]
    # Database URLs allow a slash in a password, so digits that look like a port may begin a password.
    if not colon or not after or (_PORT.fullmatch(after) and (is_web or is_alone)):
        return []
    spans = [(len(name) + 1, end)]
    return [(0, len(name)), *spans] if is_web and password in _WITHOUT_PASSWORD else spans


def _in_queries(text: str) -> Iterator[Span]:
    for start in _settings(text):
        yield start, _end(text, start, _VALUE_IN_TEXT)


def _settings(text: str) -> Iterator[int]:
    """Yield the start of each secret setting's value. Names may have percent escapes (`%70assword`)."""
    for name in _SETTING.finditer(text):
        if _SECRET_SETTING.fullmatch(unquote(name[1])):
            yield name.end()


def _assigned(text: str) -> Iterator[Span]:
    queries = set(_settings(text))
    for name in _ASSIGNMENT.finditer(text):
        start = name.end()
        if start not in queries:
            start += text[start : start + 1] in ("'", '"')
            yield start, max(_end(text, start, _WORD), _end(text, start, _QUOTED))


def _end(text: str, start: int, value: re.Pattern) -> int:
    """Return the end of a value, without the punctuation that follows it."""
    return start + len(value.match(text, start)[0].rstrip(_ENDING))  # type: ignore[index]


def _of_known_secrets(text: str) -> Iterator[Span]:
    """Yield the spans of the environment's secrets, also of their forms with percent escapes added or undone."""
    for secret in _of_environment():
        plain = unquote(secret)
        for form in {secret, plain, quote(plain, safe="")}:
            before, after = (r"(?<!\w)" if form[0].isalnum() else ""), (r"(?!\w)" if form[-1].isalnum() else "")
            yield from (match.span() for match in re.finditer(before + re.escape(form) + after, text))


def _of_environment() -> Iterator[str]:
    for name, value in os.environ.items():
        yield from _secrets_in(name, value)


@functools.cache
def _secrets_in(name: str, value: str) -> list[str]:
    if "://" in value:
        secrets = [value[start:end] for start, end in _in_uri(value)]
    else:
        secrets = [value.strip()] if _VARIABLE.search(name) else []
    return [secret for secret in secrets if len(secret) >= SHORTEST_KNOWN]


def _masked(text: str, spans: list[Span]) -> str:
    parts, done = [], 0
    for start, end in sorted(span for span in spans if span[0] < span[1]):
        if done <= start:
            parts += [text[done:start], MASK]
        done = max(done, end)
    return "".join([*parts, text[done:]])


def install() -> None:
    """Mask log records, warnings and tracebacks in this process, until it ends."""
    logging.setLogRecordFactory(_record)
    warnings.formatwarning = _warning  # type: ignore[assignment]
    sys.excepthook = lambda kind, error, frames: print_traceback(error)
    threading.excepthook = lambda raised: print_traceback(raised.exc_value) if raised.exc_value else None


def print_traceback(error: BaseException) -> None:
    """Print an exception and its traceback to stderr, with secrets masked."""
    sys.stderr.write(without_secrets("".join(traceback.format_exception(error))))


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
