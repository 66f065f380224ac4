"""One JSON line for each thing that happened, on stdout, without a secret in it.

Whoever logs uses `logging`; values that belong to the line are its `extra`. Everything goes through the same last step: only
plain values are written, names that mean a secret are masked, texts that look like a credential are masked, and so is every
text that was registered with `hide`.
"""

import base64
import json
import logging
import re
import sys
import traceback
from collections.abc import Iterable, MutableMapping
from types import TracebackType
from typing import Any, Final, TextIO
from urllib.parse import quote

import structlog

MASK: Final = "******"
MOST_CHARACTERS: Final = 500
MOST_FRAMES: Final = 25

SECRET_NAMES: Final = re.compile(
    r"authorization|token|secret|password|passwd|credential|cookie|private|master|api_?key|settings|evidence|signature"
    r"|body|params|dsn|database_url|openid|client_ip",
    re.IGNORECASE,
)
LOOKS_SECRET: Final = re.compile(
    r"pk_[\w-]{16,}|[Bb]earer\s+\S+|eyJ[\w-]{8,}\.[\w-]+\.[\w-]*|-----BEGIN [\s\S]*|(?<=://)[^/@\s]+@", re.ASCII
)

_PLAIN: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "logger", "event"}
"""What every record of `logging` has; the rest was given as `extra`."""

_hidden: set[str] = set()


def hide(secrets: Iterable[str]) -> None:
    """Never write these texts, nor their base64, hex or URL forms. Texts under six characters are not looked for."""
    for secret in secrets:
        if len(secret) < 6:
            continue
        packed = secret.encode()
        for form in (secret, quote(secret, safe=""), packed.hex(), base64.b64encode(packed).decode().rstrip("=")):
            _hidden.add(form)
        _hidden.add(base64.urlsafe_b64encode(packed).decode().rstrip("="))


def clean(text: str) -> str:
    """The text with everything masked that must not be seen, and not too long."""
    for secret in _hidden:
        if secret in text:
            text = text.replace(secret, MASK)
    return LOOKS_SECRET.sub(MASK, text)[:MOST_CHARACTERS]


def configure(level: str = "info", stream: TextIO | None = None) -> None:
    """Send every log of this process through here."""
    number = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[
            structlog.stdlib.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.WriteLoggerFactory(stream or sys.stdout),
        cache_logger_on_first_use=False,
    )
    handler = _Handler()
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(number, logging.WARNING))
    logging.getLogger("paycore").setLevel(number)


class _Handler(logging.Handler):
    """Takes what libraries log."""

    def emit(self, record: logging.LogRecord) -> None:
        more = {name: value for name, value in vars(record).items() if name not in _PLAIN}
        error = record.exc_info[1] if record.exc_info else None
        structlog.get_logger().log(record.levelno, record.getMessage(), logger=record.name, **more, exc_info=error)


def _render(_logger: Any, _name: str, event: MutableMapping[str, Any]) -> str:
    error = event.pop("exc_info", None)
    first = {name: event.pop(name) for name in ("timestamp", "level", "event") if name in event}
    line = {name: _value(name, value) for name, value in (*first.items(), *event.items())}
    if error:
        line["exception"] = _exception(error if isinstance(error, BaseException) else sys.exc_info()[1])
    return json.dumps(line, ensure_ascii=False)


def _value(name: str, value: Any) -> Any:
    if SECRET_NAMES.search(name):
        return MASK
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, list | tuple | set | frozenset):
        return [_value(name, item) for item in list(value)[:50]]
    return f"<{type(value).__name__}>"


def _exception(error: BaseException | None) -> dict[str, Any] | None:
    """What failed and where: the first line of the text, cleaned, and the places without their values."""
    if error is None:
        return None
    first_line = (str(error).splitlines() or [""])[0]
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    said: dict[str, Any] = {"type": type(error).__name__, "text": clean(first_line), "at": _frames(error.__traceback__)}
    if cause is not None and cause is not error:
        said["cause"] = _exception(cause)
    return said


def _frames(where: TracebackType | None) -> list[str]:
    frames = traceback.extract_tb(where)[-MOST_FRAMES:]
    return [f"{'/'.join(frame.filename.split('/')[-2:])}:{frame.lineno} {frame.name}" for frame in frames]
