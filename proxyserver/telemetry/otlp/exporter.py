"""Sends traces, metrics and logs to a collector, where the environment names one."""

import socket
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING

import attrs
import trio
from loguru import logger

from proxycore import RunId, ServiceId
from proxyserver.http import RequestRecord
from proxyserver.http._trace import Trace
from proxyserver.wire import RequestHead, TraceParent, parse_traceparent

from .. import catalogue as cat
from .. import names
from .._now import Reading
from ..logs import every_line
from ..meter import Meter
from ..starts import Start
from ._encode import Value, envelope
from ._environment import (
    Batching,
    EnvironmentFault,
    Target,
    batching_of,
    number,
    pairs,
    target_of,
)
from ._lines import encoded_line, encoded_output
from ._numbers import encoded_numbers
from ._sampling import Sampler, sampler_of
from ._sender import Sender
from ._spans import RequestSpans, encoded_start, new_id

if TYPE_CHECKING:
    from loguru import Message

LAST_S = 1.5
"""So long the last batches may take when the daemon ends: with a collector that hangs, too."""
INTERVAL_MS = 60_000
STARTS_KEPT = 64
"""So many starts are remembered, for the requests that have waited for them."""
SIGNALS = ("traces", "metrics", "logs")
OUTPUT = "output"


@attrs.frozen
class _Ended:
    start: Start
    own: TraceParent


class Exporter:
    """Sends what the daemon tells; where a signal goes nowhere, it costs nothing.

    Args:
        environ: the variables of OpenTelemetry.
        version: ours.
        meter: who counts; it is told what was lost.
        readings: tells the gauges.
    """

    def __init__(
        self,
        environ: Mapping[str, str],
        version: str,
        meter: Meter,
        readings: Callable[[], Iterator[Reading]],
    ) -> None:
        self._meter = meter
        self._readings = readings
        self._since_ns = time.time_ns()
        self._spans = RequestSpans()
        self._starts: deque[_Ended] = deque(maxlen=STARTS_KEPT)
        wrapped = envelope(resource_of(environ, version), version)
        self._sampler = Sampler(0.0)
        self._interval_s = INTERVAL_MS / 1000
        self._senders: dict[str, Sender] = {}
        for signal in SIGNALS:
            try:
                target = target_of(signal, environ)
                if target is not None:
                    self._senders[signal] = self._sender(target, environ, wrapped)
                    if signal == "logs":
                        # With a queue of its own: what services say takes no place of ours.
                        self._senders[OUTPUT] = self._sender(target, environ, wrapped)
            except EnvironmentFault as fault:
                logger.warning("no {} are sent: {}", signal, fault)

    def _sender(
        self, target: Target, environ: Mapping[str, str], wrapped: Callable[[bytes], bytes]
    ) -> Sender:
        batching = Batching()
        if target.signal == "traces":
            self._sampler = sampler_of(environ)
            batching = batching_of("BSP", environ, batching)
        elif target.signal == "logs":
            batching = batching_of("BLRP", environ, Batching(delay_s=1.0))
        else:
            name = "OTEL_METRIC_EXPORT_INTERVAL"
            self._interval_s = number(name, environ.get(name, ""), INTERVAL_MS) / 1000
        dropped = partial(self._drop, target.signal)
        return Sender(target, batching, wrapped, dropped)

    def _drop(self, signal: str, count: int) -> None:
        self._meter.count(cat.TELEMETRY_DROPPED, signal, amount=count)

    @property
    def targets(self) -> tuple[Target, ...]:
        """Return where signals go."""
        return tuple(self._senders[signal].target for signal in SIGNALS if signal in self._senders)

    @property
    def takes_output(self) -> bool:
        """Whether what services write to their output can be sent."""
        return OUTPUT in self._senders

    def line(self, service: ServiceId, run: RunId, line: str) -> None:
        """Send a line of a service's output."""
        self._senders[OUTPUT].put(encoded_output(service, run, line, time.time_ns()))

    def lost(self, service: ServiceId) -> None:
        """Count a line of a service's output that is not sent."""
        self._meter.count(cat.OUTPUT_DROPPED, service)

    @property
    def begin(self) -> Callable[[RequestHead], Trace] | None:
        """Return what gives each request its place in a trace; None: traces go nowhere."""
        return self._begin if "traces" in self._senders else None

    def _begin(self, head: RequestHead) -> Trace:
        given = head.known.get(b"traceparent", ())
        # Two of them are none (the specification of W3C: the header comes once).
        parent = parse_traceparent(given[0]) if len(given) == 1 else None
        trace = new_id(128) if parent is None else parent.trace
        return Trace(trace, new_id(64), new_id(64), self._sampler.keeps(trace, parent), parent)

    def request(self, record: RequestRecord) -> None:
        """Send the spans of a request that is over, if its trace is kept."""
        trace = record.trace
        if trace is not None and trace.sampled:
            now = trio.current_time()
            starts = self._waited_for(record, now) if record.waited_s else ()
            encoded = self._spans.encoded(record, trace, time.time_ns(), starts)
            self._senders["traces"].put(encoded)

    def start(self, start: Start, why: str) -> None:
        """Send the spans of a start that is over, which are a trace of its own."""
        if "traces" not in self._senders:
            return
        trace = new_id(128)
        own = TraceParent(trace, new_id(64), self._sampler.keeps(trace, None))
        self._starts.append(_Ended(start, own))
        if own.sampled:
            self._senders["traces"].put(encoded_start(start, own, time.time_ns(), why))

    def _waited_for(self, record: RequestRecord, now: float) -> Iterator[TraceParent]:
        assert record.service is not None
        host = ServiceId(record.service.partition("/")[0])
        asked_at = now - record.duration_s + (record.asked_s or 0.0)
        for ended in self._starts:
            start = ended.start
            overlaps = start.ended_at >= asked_at and start.began_at <= asked_at + record.waited_s
            if start.service in (record.service, host) and overlaps:
                yield ended.own

    async def run(self) -> None:
        """Send until cancelled."""
        async with trio.open_nursery() as nursery:
            for signal, sender in self._senders.items():
                if signal == "metrics":
                    nursery.start_soon(self._send_numbers, sender)
                else:
                    nursery.start_soon(sender.run)
            if "logs" in self._senders:
                nursery.start_soon(self._listen)

    async def close(self) -> None:
        """Send what is left, within `LAST_S`, whatever the collector does."""
        with trio.move_on_after(LAST_S, shield=True):
            async with trio.open_nursery() as nursery:
                for signal, sender in self._senders.items():
                    if signal == "metrics":
                        nursery.start_soon(self._send_numbers_once, sender)
                    else:
                        nursery.start_soon(sender.flush)
        for sender in self._senders.values():
            with trio.move_on_after(0.1, shield=True):
                await sender.close()

    async def _send_numbers(self, sender: Sender) -> None:
        while True:
            await trio.sleep(self._interval_s)
            await self._send_numbers_once(sender)

    async def _send_numbers_once(self, sender: Sender) -> None:
        encoded = []
        for one in encoded_numbers(
            self._meter.counters,
            self._meter.histograms,
            self._readings(),
            since_ns=self._since_ns,
            now_ns=time.time_ns(),
        ):
            encoded.append(one)
            await trio.lowlevel.checkpoint()
        await sender.send(b"".join(encoded), len(encoded))

    async def _listen(self) -> None:
        """Take every log line while this runs."""
        put = self._senders["logs"].put
        token, ours = trio.lowlevel.current_trio_token(), threading.get_ident()

        def take(message: "Message") -> None:
            record = message.record
            if "telemetry" in record["extra"]:
                return  # What we say of a collector that takes nothing would pile up before it.
            if threading.get_ident() == ours:
                put(encoded_line(record))
            else:
                token.run_sync_soon(put, encoded_line(record))

        with every_line(take):
            await trio.sleep_forever()


def resource_of(environ: Mapping[str, str], version: str) -> Mapping[str, Value | None]:
    """Return what is said of the sender of all signals; the environment knows better."""
    given = pairs(environ.get("OTEL_RESOURCE_ATTRIBUTES", ""))
    name = environ.get("OTEL_SERVICE_NAME", "").strip() or given.get(names.SERVICE_NAME)
    return {
        names.SERVICE_VERSION: version,
        names.SERVICE_INSTANCE: str(uuid.uuid4()),
        names.HOST_NAME: socket.gethostname(),
        **given,
        names.SERVICE_NAME: name or "aiproxy",
    }
