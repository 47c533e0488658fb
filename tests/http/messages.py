"""What tests send and answer by hand: requests and answers as bytes."""

from collections.abc import Awaitable, Callable

from .sockets import Wire

Script = Callable[[Wire], Awaitable[None]]


def answer(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    """Return a whole HTTP answer."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def answering(data: bytes) -> Script:
    """Return a script that gives this answer to each request without a body."""

    async def script(wire: Wire) -> None:
        while True:
            while b"\r\n\r\n" not in wire.buffer:
                if not await wire.more():
                    return
            await wire.head()
            await wire.send(data)

    return script


def raw(head: str, body: bytes = b"") -> bytes:
    """Return a request, written with bare newlines."""
    return head.strip().replace("\n", "\r\n").encode("latin-1") + b"\r\n\r\n" + body


GET = b"GET /service/coder/x HTTP/1.1\r\nHost: localhost\r\n\r\n"
EVENTS = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
"""The head of an answer that streams events."""
