"""Sends one signal to a collector, in batches; a collector that is gone costs nobody any time.

The SDK's own exporter was measured: it takes 110 us of processor time for the spans of a request,
most of it in a thread that holds the interpreter.  Here each item comes encoded already (some
25 us), what is queued is bytes, and a batch is their concatenation, which is how Protocol Buffers
merge messages.
"""

import gzip
import ssl
from collections import deque
from collections.abc import Callable

import attrs
import httpx
import trio
from loguru import logger

from ._environment import Batching, Target

TRIES = 4
BACKOFF_S = 1.0
"""Before the second try; then twice as long each time (the specification asks for that)."""
BACKOFF_MAX_S = 30.0
_AGAIN = frozenset((429, 502, 503, 504))
"""What OTLP calls retryable."""
_SAID_MAX = 200


@attrs.frozen
class SendFault:
    """Why a collector has not taken what was sent."""

    text: str
    status: int | None = None
    """What it answered; None: nothing."""
    again_s: float | None = None
    """After how long it may be tried again; None: that would be of no use."""


class Sender:
    """A bounded queue before a collector.

    Args:
        target: where to.
        batching: how much at once, and how long to wait for more.
        wrapped: makes the body of a request of encoded items.
        dropped: is told how many items were lost.
    """

    def __init__(
        self,
        target: Target,
        batching: Batching,
        wrapped: Callable[[bytes], bytes],
        dropped: Callable[[int], None],
    ) -> None:
        self.target = target
        self._batching = batching
        self._wrapped = wrapped
        self._dropped = dropped
        self._queue: deque[bytes] = deque()
        self._enough = trio.Event()
        self._works = True
        self._client: httpx.AsyncClient | None = None

    def put(self, item: bytes) -> None:
        """Queue an encoded item; when the queue is full, it is lost."""
        if len(self._queue) >= self._batching.queue_max:
            self._dropped(1)
            return
        self._queue.append(item)
        if len(self._queue) >= self._batching.batch_max:
            self._enough.set()

    async def run(self) -> None:
        """Send until cancelled."""
        while True:
            with trio.move_on_after(self._batching.delay_s):
                await self._enough.wait()
            self._enough = trio.Event()
            await self.flush(tries=TRIES)

    async def flush(self, *, tries: int = 1) -> None:
        """Send all that is queued."""
        queue = self._queue
        while queue:
            batch = [queue.popleft() for _ in range(min(len(queue), self._batching.batch_max))]
            await self._send(b"".join(batch), len(batch), tries)

    async def send(self, items: bytes, count: int) -> None:
        """Send items past the queue."""
        await self._send(items, count, TRIES)

    async def probe(self) -> SendFault | None:
        """Send once what holds no item; return what went wrong."""
        return await self._try(*await self._request(b""))

    async def close(self) -> None:
        """Close the connection."""
        if self._client is not None:
            await self._client.aclose()

    async def _send(self, items: bytes, count: int, tries: int) -> None:
        body, headers = await self._request(self._wrapped(items))
        pause_s = BACKOFF_S
        for last in (*([False] * (tries - 1)), True):
            fault = await self._try(body, headers)
            if fault is None:
                self._say(None)
                return
            self._say(fault.text)
            if last or fault.again_s is None:
                break
            await trio.sleep(min(BACKOFF_MAX_S, max(fault.again_s, pause_s)))
            pause_s *= 2
        self._dropped(count)

    async def _request(self, body: bytes) -> tuple[bytes, dict[str, str]]:
        headers = {"content-type": "application/x-protobuf", **self.target.headers}
        if self.target.gzip:
            body = await trio.to_thread.run_sync(gzip.compress, body, 5)
            headers["content-encoding"] = "gzip"
        return body, headers

    async def _try(self, body: bytes, headers: dict[str, str]) -> SendFault | None:
        """Send once; return what went wrong."""
        target = self.target
        try:
            if self._client is None:
                self._client = httpx.AsyncClient(verify=await _trust(target), trust_env=False)
            answer = await self._client.post(
                target.url, content=body, headers=headers, timeout=target.timeout_s
            )
        except httpx.TimeoutException:
            return SendFault(f"no answer within {target.timeout_s:g} s", again_s=0.0)
        except httpx.HTTPError as error:
            return SendFault(_told(error), again_s=0.0)
        except (httpx.InvalidURL, OSError, ValueError) as error:
            # Of the environment: a port that is none, a file that holds no certificate, a header
            # that cannot be written.
            return SendFault(_told(error))
        if answer.is_success:
            if answer.headers.get("content-type", "").startswith("text/html"):
                # The page of whatever collects: it answers every path, and keeps nothing.
                return SendFault("it answers with a page, as no collector does", answer.status_code)
            return None
        said = " ".join(answer.text[:_SAID_MAX].split())
        again = answer.headers.get("retry-after", "")
        again_s = float(again) if again.isdecimal() else 0.0
        return SendFault(
            f"it answers {answer.status_code} {said}".rstrip(),
            answer.status_code,
            again_s if answer.status_code in _AGAIN else None,
        )

    def _say(self, fault: str | None) -> None:
        """Write down a change for the worse or the better, and not every batch."""
        if (fault is None) is self._works:
            return
        self._works = fault is None
        where = f"{self.target.signal} to {self.target.url}"
        if fault is None:
            logger.bind(telemetry=True).info("{}: sent again", where)
        else:
            logger.bind(telemetry=True).warning("{}: not sent: {}", where, fault)


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".rstrip(": ")


async def _trust(target: Target) -> ssl.SSLContext:
    def load() -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=target.certificate)
        if target.client_certificate is not None:
            context.load_cert_chain(target.client_certificate, target.client_key)
        return context

    return await trio.to_thread.run_sync(load)
