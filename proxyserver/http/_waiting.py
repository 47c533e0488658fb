"""Tells clients of streams that they wait, and for what: a connection that is silent gets closed.

Most clients, and the proxies before them, give up when nothing comes for a minute or so, and a
model may load for longer.  So after a grace, in which a quick failure still has a status of its
own, an answer is begun: a stream of events, with comments in it.  All clients that were tried pass
over comments (but for the literal `: ping`, which one takes for the end).  Lines of JSON have no
comments; there it is a piece of the answer with no text in it.
"""

import json
import time
from collections.abc import Awaitable, Callable

import attrs
import trio

from proxycore import ServiceId, ServiceView, State
from proxyserver.surfaces import Shape, shape_of, streams_events

from ._exchange import ClientGone, Exchange
from ._held import Held
from ._ports import Conductor, Progress, Settings
from ._translation import LINES

EVENTS = b"text/event-stream"
READ_MAX = 1024 * 1024
"""A larger body is not read once more to see whether it asks for a stream."""


@attrs.frozen
class Waiting:
    """Tells those who wait.

    Args:
        conductor: who knows how far a service is.
        settings: how often to tell, and what.
    """

    conductor: Conductor
    settings: Settings

    def teller(
        self, exchange: Exchange, service: ServiceId, path: bytes, held: Held | None
    ) -> Callable[[], Awaitable[None]] | None:
        """Return what tells a client while it waits; None: it wants no stream, for all we know.

        Args:
            exchange: the client's.
            service: who shall answer.
            path: what it is asked for, by the service's own name.
            held: the body, if it was read.
        """
        translation = exchange.translation
        if translation is None and not streams_events(path):
            return None
        if translation is not None and translation.still("") is None:
            return None

        async def tell() -> None:
            server = self.settings.server
            await trio.sleep_until(exchange.arrived_at + server.stream_after_s)
            if translation is None and not _wants_stream(exchange, held):
                return
            try:
                while True:
                    await exchange.say(*self._words(exchange, service))
                    await trio.sleep(server.stream_every_s)
            except ClientGone:
                return  # Who watches the connection ends the request.

        return tell

    def _words(self, exchange: Exchange, service: ServiceId) -> tuple[bytes, bytes]:
        """Return them, and their media type."""
        progress: Progress = self.settings.services[service].stream_progress
        text = ""
        if progress != "none":
            text = describe(self.conductor.view().service(service), trio.current_time())
        if exchange.translation is not None:
            thought = f"{text}\n" if progress == "reasoning" else ""
            return exchange.translation.still(thought) or b"", LINES
        if progress == "reasoning" and shape_of(exchange.head.target) is Shape.OPENAI:
            return _reasoning(exchange, f"{text}\n"), EVENTS
        return (b": %s\n\n" % text.encode() if text else b":\n\n"), EVENTS


def _wants_stream(exchange: Exchange, held: Held | None) -> bool:
    """Tell whether the body is here and asks for a stream; nobody may be still sending it."""
    if held is None:
        body = exchange.peek()
    elif exchange.body_read and not held.on_disk and held.size <= READ_MAX:
        body = held.joined()
    else:
        body = None
    if body is None or b'"stream"' not in body:
        return False
    try:
        asked = json.loads(body)
    except (ValueError, RecursionError):
        return False
    return isinstance(asked, dict) and asked.get("stream") is True


def describe(view: ServiceView, now: float) -> str:
    """Return in a few words what a service is doing, for those who wait for it."""
    state = _DOES.get(view.state, view.state.value)
    parts = [f"{view.id} {state}"]
    if (left_s := estimate_s(view, now)) is not None:
        parts.append(f"about {left_s:.0f} s to go")
    if view.waiting > 1:
        parts.append(f"{view.waiting} requests wait")
    return ", ".join(parts)


def estimate_s(view: ServiceView, now: float) -> float | None:
    """Return how long a load that runs will go on, by what was learnt of the last; None: unknown.

    One that takes longer than it used to is always about to end.
    """
    load_s = view.experience.load_s
    if view.state is not State.STARTING or load_s is None:
        return None
    return max(1.0, load_s - (now - view.since_at))


_DOES = {
    State.DOWN: "waits for room",
    State.RESERVED: "waits for others to make room",
    State.STARTING: "is loading",
    State.READY: "is busy",
    State.ASLEEP: "waits for room to wake",
    State.ROUSING: "waits for others to make room",
    State.WAKING: "is waking",
    State.DRAINING: "is about to restart",
    State.STOPPING: "is about to restart",
    State.VERIFYING: "is about to restart",
}


def _reasoning(exchange: Exchange, text: str) -> bytes:
    """Return a text as a model's own thoughts, for clients that show those."""
    chunk = {
        "id": exchange.request_id,
        "object": "chat.completion.chunk",
        "created": int(time.time()),
        "model": exchange.model or "",
        "choices": [{"index": 0, "delta": {"reasoning_content": text}, "finish_reason": None}],
    }
    return b"data: %s\n\n" % json.dumps(chunk).encode()
