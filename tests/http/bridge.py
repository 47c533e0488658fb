"""Lets tests that write HTTP/1.1 speak HTTP/2: what they send goes as streams of one connection."""

from collections.abc import Awaitable, Callable
from contextlib import suppress

import attrs
import h2.config
import h2.connection
import h2.events
import h2.exceptions
import h11
import trio

_GONE = (trio.BrokenResourceError, trio.ClosedResourceError)


@attrs.define(eq=False)
class Bridge:
    """Between a test (`near`) and the server (`far`); requests go one after the other."""

    near: trio.SocketStream
    far: trio.SocketStream | trio.SSLStream[trio.SocketStream]
    _http1: h11.Connection = attrs.field(factory=lambda: h11.Connection(h11.SERVER))
    _http2: h2.connection.H2Connection = attrs.field(
        factory=lambda: h2.connection.H2Connection(
            h2.config.H2Configuration(header_encoding=None, validate_outbound_headers=False)
        )
    )
    _stream: int = 0
    _is_framed: bool = False
    _sending: trio.Lock = attrs.field(factory=trio.Lock)
    _changed: trio.Event = attrs.field(factory=trio.Event)

    async def run(self) -> None:
        """Pass on until either side ends."""
        self._http2.initiate_connection()
        below = self.far if isinstance(self.far, trio.SocketStream) else self.far.transport_stream
        with below.socket, self.near.socket:
            async with trio.open_nursery() as nursery:
                for way in (self._up, self._down):
                    nursery.start_soon(self._one_way, way, nursery.cancel_scope)

    async def _one_way(self, way: Callable[[], Awaitable[None]], scope: trio.CancelScope) -> None:
        with suppress(*_GONE, h11.RemoteProtocolError):
            await way()
        scope.cancel()

    async def _flush(self) -> None:
        async with self._sending:
            if data := self._http2.data_to_send():
                await self.far.send_all(data)

    async def _up(self) -> None:
        await self._flush()
        while True:
            event = self._http1.next_event()
            if event is h11.NEED_DATA:
                data = await self.near.receive_some(65536)
                self._http1.receive_data(bytes(data))
            elif event is h11.PAUSED:
                await self._change()
                if self._http1.states == {h11.CLIENT: h11.DONE, h11.SERVER: h11.DONE}:
                    self._http1.start_next_cycle()
            elif isinstance(event, h11.Request):
                await self._ask(event)
            elif isinstance(event, h11.Data):
                await self._send(bytes(event.data))
            elif isinstance(event, h11.EndOfMessage):
                if self._is_framed:
                    with suppress(h2.exceptions.ProtocolError):
                        self._http2.end_stream(self._stream)
                    await self._flush()
            else:
                return

    async def _ask(self, request: h11.Request) -> None:
        self._stream = self._http2.get_next_available_stream_id()
        headers = [
            (b":method", request.method),
            (b":scheme", b"https"),
            (b":path", request.target),
        ]
        for name, value in request.headers:
            if name == b"host":
                headers.append((b":authority", value))
            elif name not in (b"connection", b"transfer-encoding", b"te", b"keep-alive"):
                headers.append((name, value))
        framed = {b"content-length", b"transfer-encoding"} & {name for name, _ in request.headers}
        self._is_framed = bool(framed)
        self._http2.send_headers(self._stream, headers, end_stream=not framed)
        await self._flush()

    async def _send(self, data: bytes) -> None:
        while data:
            try:
                window = self._http2.local_flow_control_window(self._stream)
                size = min(window, self._http2.max_outbound_frame_size, len(data))
                if size > 0:
                    self._http2.send_data(self._stream, data[:size])
            except h2.exceptions.ProtocolError:
                return  # It was answered before it was all.
            await self._flush()
            data = data[max(size, 0) :]
            if size <= 0:
                await self._change()

    async def _change(self) -> None:
        await self._changed.wait()
        self._changed = trio.Event()

    async def _down(self) -> None:
        while data := await self.far.receive_some(65536):
            for event in self._http2.receive_data(bytes(data)):
                if not await self._take(event):
                    return
            await self._flush()
            self._changed.set()
        self._changed.set()

    async def _take(self, event: h2.events.Event) -> bool:
        """Pass an event on; False: the answer is broken."""
        match event:
            case h2.events.ResponseReceived() | h2.events.InformationalResponseReceived():
                headers = [(name, value) for name, value in event.headers if name[:1] != b":"]
                status = int(dict(event.headers)[b":status"])
                kind = h11.InformationalResponse if status < 200 else h11.Response
                await self._say(kind(status_code=status, headers=headers))
            case h2.events.DataReceived(data=data, flow_controlled_length=size):
                self._http2.acknowledge_received_data(size, self._stream)
                await self._say(h11.Data(data=data))
            case h2.events.TrailersReceived():
                await self._say(h11.EndOfMessage(headers=event.headers))
            case h2.events.StreamEnded():
                if self._http1.our_state is not h11.DONE:
                    await self._say(h11.EndOfMessage())
            case h2.events.StreamReset(error_code=code):
                return code == 0
        return self._http1.our_state is not h11.MUST_CLOSE

    async def _say(self, event: h11.Event) -> None:
        data = self._http1.send(event)
        if data:
            await self.near.send_all(data)


async def bridged(
    far: trio.SocketStream | trio.SSLStream[trio.SocketStream], nursery: trio.Nursery
) -> trio.SocketStream:
    """Return a connection on which HTTP/1.1 is spoken, and HTTP/2 on the one that is given."""
    near, test = trio.socket.socketpair()
    nursery.start_soon(Bridge(trio.SocketStream(near), far).run)
    return trio.SocketStream(test)
