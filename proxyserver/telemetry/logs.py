"""Where log lines go and what they look like; what other libraries log goes the same way.

One event is one line, whatever a client wrote into a path or a model name: control characters are
escaped, so that nobody can forge a line or move a terminal's cursor.  Only a traceback has more.
Tracebacks never show the values of variables (loguru's `diagnose`): some are keys and prompts.
"""

import json
import logging
import os
import sys
import traceback
from types import FrameType
from typing import TYPE_CHECKING, Literal, TextIO

from loguru import logger

if TYPE_CHECKING:
    from loguru import Record

LogFormat = Literal["text", "json"]

QUIET = ("docker", "h2", "hpack", "httpcore", "httpx", "hypercorn.access", "trio", "urllib3")
"""Libraries that tell every step at INFO: what they do is told by our own lines."""


def configure_logs(level: str, form: LogFormat, stream: TextIO | None = None) -> None:
    """Send all log lines of this process to one stream, standard error by default.

    Args:
        level: The least level that is shown, in loguru's names.
        form: `text` for people, `json` for collectors: one object a line.
        stream: Where to.  Colours only for a terminal, and not where NO_COLOR is set.
    """
    stream = stream or sys.stderr
    logger.remove()
    logger.add(
        stream,
        level=level,
        format=_text if form == "text" else _json,
        colorize=form == "text" and stream.isatty() and not os.environ.get("NO_COLOR"),
        backtrace=False,
        diagnose=False,
    )
    logging.basicConfig(handlers=[_ToLoguru()], level=logging.INFO, force=True)
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)


class _ToLoguru(logging.Handler):
    """Hands the standard library's log records on, under the place that they came from."""

    def emit(self, record: logging.LogRecord) -> None:
        level: str | int = record.levelno
        if record.levelname in logging.getLevelNamesMapping():
            level = record.levelname
        frame: FrameType | None = sys._getframe(1)
        depth = 1
        while frame is not None and frame.f_code.co_filename == logging.__file__:
            frame, depth = frame.f_back, depth + 1
        logger.bind(logger=record.name).opt(depth=depth, exception=record.exc_info).log(
            level, record.getMessage()
        )


def _text(record: "Record") -> str:
    extra = record["extra"]
    place = str(extra.get("service") or extra.get("logger") or "aiproxy")
    if extra.get("run") is not None:
        place += f"#{extra['run']}"
    if extra.get("request"):
        place += f" [{extra['request']}]"
    extra["line"] = _one_line(f"{place}  {record['message']}")
    return (
        "<green>{time:HH:mm:ss.SSS}</green> <level>{level: <7}</level> {extra[line]}\n{exception}"
    )


def _json(record: "Record") -> str:
    fields: dict[str, object] = {
        "time": record["time"].isoformat(),
        "level": record["level"].name,
        **record["extra"],
        "message": record["message"],
    }
    if record["exception"] is not None:
        fields["exception"] = "".join(traceback.format_exception(*record["exception"]))
    record["extra"]["line"] = json.dumps(fields, default=str)
    return "{extra[line]}\n"


def _one_line(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode()
        for letter in text
    )
