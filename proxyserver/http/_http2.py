"""HTTP/2 (RFC 9113): many requests over one connection, each as if it were alone.

hypercorn speaks it too, and is not asked: it cannot reset a stream whose answer breaks, lets a
slow upload hold up all others, and ends a connection with a bug when one leaves at a bad moment.
What is below is the state machine of h2, and the rules of the proxy:

* **One task reads, one writes, and one each answers a request.**  So a client that takes nothing
  stops its answers, and not our reading.
* **Nothing grows**: a body is acknowledged when it is read, an answer waits for the client's
  windows, and answers to pings and settings are made only as long as they are taken.
* **A client's reset ends the request at once**, with all that is done for it upstream.  Who begins
  and resets faster than any person could (CVE-2023-44487) is told to calm down.
* **A broken answer is a reset**, never an end.
"""

from contextlib import suppress

import trio
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    RequestReceived,
    StreamEnded,
    StreamReset,
)
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes, Settings
from hyperframe.frame import GoAwayFrame
from loguru import logger
from starlette.types import ASGIApp

from proxyserver.wire import HEAD_MAX, BadWire, Header, RequestHead, scan_request

from ._client_side import IDLE_S, ClientSide
from ._exchange import LINGER_S, ClientGone
from ._http2_stream import Http2Stream
from ._peer import VIEW

PREFACE = b"PRI * HTTP/2.0\r\n\r\n"
"""How a client begins that knows what we speak; the rest of it is h2's business."""
STREAMS_MAX = 100
"""At once; as nginx has 128, Go 250."""
WINDOW = 64 * 1024 - 1
"""Of a stream: how much of a body is here and not read; the default of HTTP/2."""
WINDOWS = 256 * 1024
"""Of all streams of a connection together.  Bodies by `model` are read at once, and kept within
limits of their own: what stands here waits for a place by the id of its service."""
READ_MAX = 16 * 1024
"""So much is read at a time: h2 takes tens of microseconds for a frame, and 13 bytes are one."""
AHEAD_MAX = 128 * 1024
"""What is ready to be sent and not yet taken, from where answers wait."""
REPLIES_MAX = 1024 * 1024
"""The same, from where reading waits: a client that takes none of its answers."""
RESETS_MAX = 200.0
RESETS_PER_S = 20.0
"""So many requests a client may reset at once, and for long."""


class Http2:
    """Serves a client until it or we have had enough."""

    def __init__(self, app: ASGIApp, side: ClientSide) -> None:
        self._app = app
        self._side = side
        self._http = H2Connection(H2Configuration(client_side=False, header_encoding=None))
        self._http.local_settings = Settings(
            client=False,
            initial_values={
                SettingCodes.MAX_CONCURRENT_STREAMS: STREAMS_MAX,
                SettingCodes.MAX_HEADER_LIST_SIZE: HEAD_MAX,
            },
        )
        self._streams: dict[int, Http2Stream] = {}
        self._out = bytearray()
        self._wake = trio.Event()
        self._is_sending = False
        self._said_goodbye = False
        self._changed = trio.lowlevel.ParkingLot()
        self._reading = trio.CancelScope()
        self._resets = 0.0
        self._reset_at = trio.current_time()

    async def run(self, data: bytes) -> None:
        """Serve, beginning with what has come."""
        self._http.initiate_connection()
        self._http.increment_flow_control_window(WINDOWS - WINDOW)
        self._flush()
        self._rest()
        # Requests that are under way get their answers first, and new ones are refused: h2 on the
        # client's side (httpx) takes a GOAWAY for the end of them all.
        self._side.ends = self._rest
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._write)
                with self._reading:
                    await self._read(data, nursery)
                self._say_goodbye()
                with trio.move_on_after(LINGER_S):
                    while self._out or self._is_sending:
                        await self.wait_change()
                # What still runs does so for a client that has left, or was told to.
                self._side.gone.set()
                nursery.cancel_scope.cancel()
        finally:
            self._side.ends = None
            if not self._is_sending:
                self._say_goodbye()
                self._side.peer.send_last(bytes(self._out))

    # What comes

    async def _read(self, data: bytes, nursery: trio.Nursery) -> None:
        peer = self._side.peer
        while True:
            try:
                events = self._http.receive_data(data)
            except ProtocolError:
                self._said_goodbye = True  # By h2, which has said why.
                self._flush()
                return
            for event in events:
                if not self._take(event, nursery):
                    self._say_goodbye(ErrorCodes.ENHANCE_YOUR_CALM)
                    return
            self._flush()
            self._changed.unpark_all()
            while len(self._out) >= REPLIES_MAX:
                await self.wait_change()
            try:
                size = await peer.receive(VIEW[:READ_MAX])
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                size = 0
            if size == 0:
                self._side.leave()
                return
            data = bytes(VIEW[:size])

    def _take(self, event: Event, nursery: trio.Nursery) -> bool:
        """Do what an event of h2 asks for; False: no more of this client."""
        match event:
            case RequestReceived():
                self._begin(event, nursery)
            case DataReceived(stream_id=number, data=data, flow_controlled_length=counted):
                if (stream := self._streams.get(number)) is not None:
                    stream.feed(data, counted)
                else:
                    self.acknowledge(number, counted)
            case StreamEnded(stream_id=number):
                if (stream := self._streams.get(number)) is not None:
                    stream.whole = True
            case StreamReset(stream_id=number):
                if (stream := self._streams.get(number)) is not None:
                    stream.leave()
                return self._may_reset()
            case ConnectionTerminated():
                self._side.closing = True
                self._rest()
        return True

    def _may_reset(self) -> bool:
        now = trio.current_time()
        self._resets = max(0.0, self._resets - (now - self._reset_at) * RESETS_PER_S) + 1
        self._reset_at = now
        return self._resets <= RESETS_MAX

    def _begin(self, event: RequestReceived, nursery: trio.Nursery) -> None:
        number = event.stream_id
        whole = event.stream_ended is not None
        if self._side.closing:
            self._reset(number, ErrorCodes.REFUSED_STREAM)
            return
        try:
            head = head_of(event.headers, whole=whole)
        except BadWire:
            self._reset(number, ErrorCodes.PROTOCOL_ERROR)
            return
        stream = self._streams[number] = Http2Stream(number, head, self._side, self, whole=whole)
        self._side.idle, self._side.waits = False, None
        nursery.start_soon(self._answer, stream)

    async def _answer(self, stream: Http2Stream) -> None:
        try:
            with stream.cancelled:
                await self._app(stream.scope(), stream.receive, stream.send)
        except ClientGone:
            pass
        except Exception:
            logger.opt(exception=True).warning("a request ended by a bug of the proxy")
        finally:
            stream.forget()
            del self._streams[stream.number]
            if not stream.ended:
                self._reset(stream.number, ErrorCodes.INTERNAL_ERROR)
            elif not stream.whole:
                self._reset(stream.number, ErrorCodes.NO_ERROR)
            self._flush()
            self._rest()

    def _reset(self, number: int, code: int) -> None:
        with suppress(ProtocolError):  # The client may have done so itself.
            self._http.reset_stream(number, code)

    # The end

    def _rest(self) -> None:
        """Wait for the next request, or for no more."""
        if not self._streams:
            self._side.turn += 1
            self._side.idle, self._side.waits = True, IDLE_S
            if self._side.closing:
                self._reading.cancel()

    def _say_goodbye(self, code: int = ErrorCodes.NO_ERROR) -> None:
        """Tell the client that we take no more."""
        # h2 could say it, but not once it has said that the client was wrong.
        if self._said_goodbye:
            return
        self._said_goodbye = True
        last = self._http.highest_inbound_stream_id
        self._out += GoAwayFrame(0, last_stream_id=last, error_code=code).serialize()
        self._wake.set()

    # What goes

    async def _write(self) -> None:
        while True:
            await self._wake.wait()
            self._wake = trio.Event()
            data, self._out = bytes(self._out), bytearray()
            if data:
                self._is_sending = True
                try:
                    await self._side.peer.send(data)
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    self._side.leave()
                self._is_sending = False
                self._changed.unpark_all()
                await trio.lowlevel.checkpoint()

    def _flush(self) -> None:
        if data := self._http.data_to_send():
            self._out += data
            self._wake.set()

    def send_headers(self, stream: int, headers: list[Header], *, end: bool = False) -> None:
        try:
            self._http.send_headers(stream, headers, end_stream=end)
        except ProtocolError as error:
            raise ClientGone from error
        self._flush()

    def send_data(self, stream: int, data: memoryview) -> int:
        if len(self._out) >= AHEAD_MAX:
            return 0
        http = self._http
        try:
            window = http.local_flow_control_window(stream)
            size = min(len(data), window, http.max_outbound_frame_size)
            if size > 0:
                http.send_data(stream, bytes(data[:size]))
        except ProtocolError as error:
            raise ClientGone from error
        self._flush()
        return max(size, 0)

    def send_end(self, stream: int) -> None:
        try:
            self._http.end_stream(stream)
        except ProtocolError as error:
            raise ClientGone from error
        self._flush()

    def acknowledge(self, stream: int, size: int) -> None:
        with suppress(ProtocolError):
            self._http.acknowledge_received_data(size, stream)
        self._flush()

    async def wait_change(self) -> None:
        await self._changed.park()


def head_of(headers: list[Header], *, whole: bool) -> RequestHead:
    r"""Return a request's head as the scanner of HTTP/1.1 reads it, which has the word here too.

    Args:
        headers: What h2 has let pass: no line ends, no names in capitals.
        whole: Whether there is no body.

    Raises:
        BadWire: this is no request, or one that servers read in different ways.

    >>> pseudo = [(b":method", b"GET"), (b":path", b"/a"), (b":authority", b"b")]
    >>> head_of([*pseudo, (b"x", b"y")], whole=True).raw
    b'\nhost: b\r\nx: y\r\n'
    """
    pseudo = {name: value for name, value in headers if name[:1] == b":"}
    lines = [b"%s %s HTTP/1.1" % (pseudo[b":method"], pseudo.get(b":path", b""))]
    fields = [(name, value) for name, value in headers if name[:1] != b":"]
    if (authority := pseudo.get(b":authority")) is not None:
        # h2 has seen to it that a `host` beside it says the same.
        fields = [(b"host", authority), *(one for one in fields if one[0] != b"host")]
    if not whole and all(name != b"content-length" for name, _ in fields):
        fields.append((b"transfer-encoding", b"chunked"))
    if any(b"\r" in part or b"\n" in part for field in fields for part in field):
        raise BadWire("a line end within a field")
    lines += (b"%s: %s" % field for field in fields)
    head = scan_request(b"\r\n".join((*lines, b"", b"")))
    if head is None:
        raise BadWire("a request that does not end")
    head.version = b"2"
    return head
