"""Where log lines go and what they look like; what other libraries log goes the same way.

One event is one line, whatever a client wrote into a path or a model name: control characters are
escaped, so that nobody can forge a line or move a terminal's cursor.  Only a traceback has more.
Tracebacks never show the values of variables (loguru's `diagnose`): some are keys and prompts.
"""

import datetime
import json
import logging
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from types import FrameType
from typing import TYPE_CHECKING, ClassVar, Literal, TextIO

import attrs
from loguru import logger

from proxyserver._batch import Batch

from ._log_file import LogFile, LogWriter

if TYPE_CHECKING:
    from loguru import Message, Record

LogFormat = Literal["text", "json"]

QUIET = ("docker", "h2", "hpack", "httpcore", "httpx", "hypercorn.access", "trio", "urllib3")
"""Libraries that tell every step at INFO: what they do is told by our own lines."""


TRACE, SPAN = "trace_id", "span_id"
"""Extra fields of lines about a request whose trace is kept: in hexadecimal digits."""
Often = Literal["DEBUG", "INFO", "WARNING"]
_LEVELS: Mapping[Often, int] = {"DEBUG": 10, "INFO": 20, "WARNING": 30}


def configure_logs(
    level: str, form: LogFormat, stream: TextIO | None = None, file: LogFile | None = None
) -> None:
    """Send all log lines of this process to one stream, standard error by default; also again.

    Args:
        level: The least level that is shown, in loguru's names.
        form: `text` for people, `json` for collectors: one object a line.
        stream: Where to.  Colours only for a terminal, and not where NO_COLOR is set.
        file: Where to as well; that it cannot be written to is an error among the lines.
    """
    stream = stream or sys.stderr
    colours = form == "text" and stream.isatty() and not os.environ.get("NO_COLOR")

    def write(text: str) -> None:
        with suppress(OSError, ValueError):  # Where nobody reads any more, requests go on.
            stream.write(text)
            stream.flush()

    batches = [Batch(write)]
    # Those of others stay, once they are there.
    if not _Ours.handlers:
        logger.remove()
    for handler in (*_Ours.handlers, *_Ours.listeners.values()):
        with suppress(ValueError):
            logger.remove(handler)
    if _Ours.plain is not None:
        _Ours.plain.flush()
    if _Ours.file is not None:
        _Ours.file.close()
    plain = _Plain(batches, logger.level(level).no, form)

    def tell(fault: str) -> None:
        batches[0].add(plain.line("ERROR", {}, fault, dict), now=True)

    _Ours.file = None
    if file is not None:
        try:
            _Ours.file = LogWriter(file, tell)
        except OSError as error:
            tell(f"no log lines go to {file.path}: {error}")
        else:
            batches.append(Batch(_Ours.file.write))
    _Ours.level = level
    _Ours.plain = None if colours else plain
    _Ours.handlers = [
        logger.add(
            partial(Batch.add, batch, now=True),
            level=level,
            format=_text if form == "text" else _json,
            colorize=colours and batch is batches[0],
            backtrace=False,
            diagnose=False,
        )
        for batch in batches
    ]
    for take in _Ours.listeners:
        _Ours.listeners[take] = _listening(take)
    _choose_way()
    logging.basicConfig(handlers=[_ToLoguru()], level=logging.INFO, force=True)
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)


@contextmanager
def every_line(take: Callable[["Message"], None]) -> Iterator[None]:
    """Give all lines of the configured level to somebody else as well, inside the block."""
    _Ours.listeners[take] = _listening(take)
    _choose_way()
    try:
        yield
    finally:
        logger.remove(_Ours.listeners.pop(take))
        _choose_way()


def _listening(take: Callable[["Message"], None]) -> int:
    return logger.add(take, level=_Ours.level, format="{message}", backtrace=False, diagnose=False)


def _choose_way() -> None:
    """Let lines take the short way where nobody listens."""
    _Plain.present = None if _Ours.listeners else _Ours.plain


def log_often(
    level: Often,
    subject: Mapping[str, object],
    message: str,
    details: Callable[[], Mapping[str, object]],
) -> None:
    """Log what there is a line of for every request: as loguru would, in a fifth of the time.

    loguru finds out about the caller, the thread and the process, of which no line tells.

    Args:
        level: As in loguru.
        subject: What it is about: `service`, `run`, `request`.
        message: What happened.
        details: Makes what is told to programs besides.
    """
    plain = _Plain.present
    if plain is None:
        logger.bind(**subject, **details()).log(level, message)
    elif _LEVELS[level] >= plain.least:
        line = plain.line(level, subject, message, details)
        for batch in plain.batches:
            batch.add(line)


class _Ours:
    """What was configured, so that it can be replaced without what others have added."""

    level: ClassVar[str] = "INFO"
    handlers: ClassVar[list[int]] = []
    """That of the stream, and that of the file if there is one."""
    file: ClassVar[LogWriter | None] = None
    plain: ClassVar["_Plain | None"] = None
    listeners: ClassVar[dict[Callable[["Message"], None], int]] = {}
    """Those of `every_line`, each with its handler."""


@attrs.define
class _Plain:
    """Makes lines without colours."""

    batches: Sequence[Batch]
    least: int
    form: LogFormat
    _second: int = -1
    _clock: str = ""
    present: ClassVar["_Plain | None"] = None
    """None: a terminal has colours, or nothing was configured."""

    def flush(self) -> None:
        for batch in self.batches:
            batch.flush()

    def line(
        self,
        level: str,
        subject: Mapping[str, object],
        message: str,
        details: Callable[[], Mapping[str, object]],
    ) -> str:
        now = time.time()
        if self.form == "json":
            at = datetime.datetime.fromtimestamp(now).astimezone()
            return _object(at, level, {**subject, **details()}, message)
        second = int(now)
        if second != self._second:
            self._second, self._clock = second, time.strftime("%H:%M:%S", time.localtime(second))
        millisecond = int((now - second) * 1000)
        return f"{self._clock}.{millisecond:03} {level: <7} {_placed(subject, message)}\n"


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
    record["extra"]["line"] = _placed(record["extra"], record["message"])
    return (
        "<green>{time:HH:mm:ss.SSS}</green> <level>{level: <7}</level> {extra[line]}\n{exception}"
    )


def _placed(extra: Mapping[str, object], message: str) -> str:
    """Return a message in one line, after what it is about."""
    place = str(extra.get("service") or extra.get("logger") or "aiproxy")
    if (run := extra.get("run")) is not None:
        place += f"#{run}"
    if request := extra.get("request"):
        place += f" [{request}]"
    return _one_line(f"{place}  {message}")


def _json(record: "Record") -> str:
    extra = record["extra"]
    told = {key: value for key, value in extra.items() if key != "line"}  # of another handler
    if record["exception"] is not None:
        told["exception"] = "".join(traceback.format_exception(*record["exception"]))
    extra["line"] = _object(record["time"], record["level"].name, told, record["message"])
    return "{extra[line]}"


def _object(at: datetime.datetime, level: str, extra: Mapping[str, object], message: str) -> str:
    fields = {"time": at.isoformat(), "level": level, **extra, "message": message}
    return json.dumps(fields, default=str) + "\n"


def _one_line(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode()
        for letter in text
    )
