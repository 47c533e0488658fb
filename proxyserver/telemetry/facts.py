"""Facts about services and requests, as log lines."""

from collections.abc import Iterable
from functools import partial
from typing import assert_never

from loguru import logger

from proxycore import Changed, Explained, Fact, Refuse, State, Valued, Waiting
from proxyserver.http._exchange import Outcome, RequestRecord
from proxyserver.wire import Usage

from .logs import SPAN, TRACE, Often, log_often

_LEVELS = {State.BACKOFF: "WARNING", State.FAILED: "ERROR"}


def log_fact(fact: Fact, now: float) -> None:
    """Write down what the core did and why.

    Args:
        fact: One of the core's effects that ask for nothing.
        now: The core's time: with it a line is found again in the journal.
    """
    log = logger.bind(service=fact.service, at=now)
    match fact:
        case Changed(_, run, old, new, why):
            text = f"{old.value} -> {new.value}" + (f": {why}" if why else "")
            log.bind(run=run).log(_LEVELS.get(new, "INFO"), text)
        case Explained(_, _, victims, spared):
            text = f"room is made by {_ways(victims)}"
            log.info(text + (f", not by {_ways(spared)}" if spared else ""))
        case Waiting(ticket, _, position, why):
            log.bind(ticket=ticket).debug(f"a request waits, number {position} in line: {why}")
        case Refuse(ticket, _, reason, message):
            log.bind(ticket=ticket).debug(f"refused ({reason.value}): {message}")
        case _:
            assert_never(fact)


def log_request(record: RequestRecord) -> None:
    """Write down how a request went; a look at the proxy itself is of less interest."""
    subject = {"request": record.request_id, "service": record.service, "run": record.run}
    details = partial(_details, record)
    if record.outcome is Outcome.BUG:
        log = logger.bind(**subject, **details())
        log.opt(exception=record.error).error(_told(record))
        return
    failed = record.outcome is Outcome.BROKEN or (record.status or 0) >= 500
    looked = record.service is None and record.method in ("GET", "HEAD")
    level: Often = "WARNING" if failed else "DEBUG" if looked else "INFO"
    log_often(level, subject, _told(record), details)


def _details(record: RequestRecord) -> dict[str, object]:
    usage, trace = record.usage or _UNSAID, record.trace
    return {
        "key": record.key,
        "retries": record.retries,
        **({} if trace is None else {TRACE: f"{trace.id:032x}", SPAN: f"{trace.span:016x}"}),
        "status": record.status,
        "outcome": record.outcome.value,
        "waited_s": record.waited_s,
        "first_byte_s": record.first_byte_s,
        "duration_s": record.duration_s,
        "bytes_in": record.bytes_in,
        "bytes_out": record.bytes_out,
        "model": record.model or usage.model,
        "first_token_s": record.first_token_s,
        "tokens_in": usage.input,
        "tokens_cached": usage.cached,
        "tokens_out": usage.output,
        "tokens_counted": usage.counted,
        "prompt_s": usage.prompt_s,
        "output_s": usage.output_s,
        "finish": usage.finish,
    }


def _told(record: RequestRecord) -> str:
    text = f"{record.method} {record.path} {record.status or '-'} in {record.duration_s:.3f} s"
    if record.waited_s >= 0.001:
        text += f", waited {record.waited_s:.3f} s"
    if record.first_byte_s is not None:
        text += f", first byte after {record.first_byte_s:.3f} s"
    if record.retries:
        text += ", sent once more, for its run had ended"
    text += f", {record.bytes_in} bytes in, {record.bytes_out} out"
    usage = record.usage or _UNSAID
    if usage.input is not None:
        text += f", {usage.input} tokens read"
    if usage.output is not None:
        text += f", {'about ' * usage.counted}{usage.output} tokens written"
    if record.key is not None:
        text += f"; by {record.key}"
    if record.outcome is not Outcome.ANSWERED:
        text += f"; {record.outcome.value.replace('_', ' ')}"
    if record.error is not None:
        text += f": {record.error}"
    return text


_UNSAID = Usage()


def _ways(candidates: tuple[Valued, ...]) -> str:
    """Tell who leaves, or would, and how."""
    told = {False: "stopping", True: "the sleep of"}
    return " and ".join(
        f"{words} {_valued(one for one in candidates if one.sleeps is sleeps)}"
        for sleeps, words in told.items()
        if any(one.sleeps is sleeps for one in candidates)
    )


def _valued(candidates: Iterable[Valued]) -> str:
    return ", ".join(f"{one.service}#{one.run} (worth {one.value:.3g})" for one in candidates)
