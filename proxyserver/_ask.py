"""One question to a server of ours, over a connection of its own."""

import sys
from collections.abc import Callable

import h11
import trio

from proxyserver.runtime._dial import dial, socket_of
from proxyserver.runtime._protocol import Endpoint

ANSWER_MAX = 1 << 20
"""Who says more than this in answer to a short question says nothing that we want."""
_READ_BYTES = 65536
# See `readiness`: a connection within 127.0.0.1 can reach itself.
_LOCAL_ADDRESS = {"127.0.0.1": "127.0.0.2"} if sys.platform == "linux" else {}


class NoAnswer(Exception):
    """Nothing that could be understood came back in time."""


async def ask(
    endpoint: Endpoint,
    method: str,
    path: str,
    *,
    body: bytes = b"",
    headers: tuple[tuple[str, str], ...] = (),
    within_s: float = 5.0,
) -> tuple[int, bytes]:
    """Return the status and the body of the answer.

    Raises:
        NoAnswer: none came within the time in seconds, and why.
    """
    said = bytearray()

    def take(data: bytes) -> None:
        if len(said) + len(data) > ANSWER_MAX:
            raise NoAnswer(f"{method} {path}: more than {ANSWER_MAX} bytes")
        said.extend(data)

    status = await _within(within_s, endpoint, method, path, body, headers, take)
    return status, bytes(said)


async def listen(
    endpoint: Endpoint,
    method: str,
    path: str,
    line: Callable[[str], None],
    *,
    body: bytes = b"",
    headers: tuple[tuple[str, str], ...] = (),
    within_s: float,
) -> int:
    """Tell of each line of the answer as it comes; return the status when it is over.

    Raises:
        NoAnswer: none came, or it is not over within the time in seconds, and why.
    """
    rest = b""

    def take(data: bytes) -> None:
        nonlocal rest
        *lines, rest = (rest + data).split(b"\n")
        if len(rest) > ANSWER_MAX:
            raise NoAnswer(f"{method} {path}: a line of more than {ANSWER_MAX} bytes")
        for one in lines:
            line(one.decode("utf-8", "replace").rstrip("\r"))

    status = await _within(within_s, endpoint, method, path, body, headers, take)
    if rest:
        line(rest.decode("utf-8", "replace"))
    return status


async def _within(
    within_s: float,
    endpoint: Endpoint,
    method: str,
    path: str,
    body: bytes,
    headers: tuple[tuple[str, str], ...],
    take: Callable[[bytes], None],
) -> int:
    with trio.move_on_after(within_s):
        try:
            return await _exchange(endpoint, method, path, body, headers, take)
        except (OSError, trio.BrokenResourceError, h11.RemoteProtocolError) as error:
            raise NoAnswer(f"{method} {path}: {error}") from error
    raise NoAnswer(f"{method} {path}: no answer within {within_s:g} s")


async def _exchange(
    endpoint: Endpoint,
    method: str,
    path: str,
    body: bytes,
    headers: tuple[tuple[str, str], ...],
    take: Callable[[bytes], None],
) -> int:
    stream = await dial(endpoint, local_address=_LOCAL_ADDRESS.get(endpoint.host))
    connection = h11.Connection(h11.CLIENT)
    head = [
        ("Host", endpoint.authority),
        ("Connection", "close"),
        ("Content-Type", "application/json"),
        ("Content-Length", str(len(body))),
        *headers,
    ]
    if endpoint.authorization is not None and not headers:
        head.append(("Authorization", endpoint.authorization))
    target = endpoint.prefix + path
    request = connection.send(h11.Request(method=method, target=target, headers=head))
    rest = connection.send(h11.Data(data=body)) + connection.send(h11.EndOfMessage())
    status = 0
    with socket_of(stream):
        await stream.send_all(request + rest)
        while True:
            match connection.next_event():
                case h11.NEED_DATA:
                    connection.receive_data(bytes(await stream.receive_some(_READ_BYTES)))
                case h11.Response(status_code=status):
                    pass
                case h11.Data(data=data):
                    take(bytes(data))
                case h11.EndOfMessage():
                    return status
                case h11.InformationalResponse():
                    pass
                case _:
                    raise NoAnswer(f"{method} {path}: it hung up")
