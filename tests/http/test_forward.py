"""What goes through the proxy arrives as it was sent, piece by piece."""

import tracemalloc

import pytest
import trio

from proxyserver.http import Outcome
from proxyserver.http._trace import Trace
from proxyserver.wire import RequestHead, parse_traceparent

from .rig import EVENTS, GET, PATIENCE_S, Server, Wire, answer, answering, chunk, raw, running


@pytest.mark.lane("fast", "tls", "unix", "hypercorn")
async def test_everything_of_a_request_reaches_the_upstream() -> None:
    """Method, raw path, query, headers in their case, and body arrive; hop-by-hop ones do not."""
    seen: list[bytes] = []

    async def script(wire: Wire) -> None:
        seen.append(await wire.head())
        seen.append(await wire.exactly(5))
        await wire.send(answer(b"done", "X-Cased-Name: v", "Connection: x-secret", "X-Secret: 1"))

    async with running(script) as rig:
        wire = await rig.ask(
            raw(
                """
PATCH /service/coder/a%2Fb/%C3%A9/..//c;d?q=%20&r HTTP/1.1
Host: localhost:1
Connection: keep-alive, X-Hop, Content-Length, X-Forwarded-For
X-Hop: 1
TE: trailers
X-Forwarded-For: 10.0.0.1
X-Request-Id: abc-1
X-OdD-cAsE: kept
X-Bytes: \xe9\xff
Content-Length: 5
""",
                b"hello",
            )
        )
        head = await wire.head()
        assert await wire.exactly(4) == b"done"
        record = await rig.record()
        upstream = rig.conductor.connections["coder"].authority
    client = "unknown" if rig.socket else "127.0.0.1"
    scheme = rig.url.partition(":")[0]
    assert seen == [
        raw(
            f"""
PATCH /a%2Fb/%C3%A9/..//c;d?q=%20&r HTTP/1.1
Host: {upstream.decode()}
X-OdD-cAsE: kept
X-Bytes: \xe9\xff
Content-Length: 5
X-Forwarded-For: 10.0.0.1, {client}
X-Forwarded-Proto: {scheme}
X-Forwarded-Host: localhost:1
X-Forwarded-Prefix: /service/coder
X-Request-Id: abc-1
"""
        ),
        b"hello",
    ]
    assert b"X-Cased-Name: v\r\n" in head
    assert b"X-Request-Id: abc-1\r\n" in head
    assert b"secret" not in head.lower()
    assert (record.status, record.outcome, record.service, record.run) == (
        200,
        Outcome.ANSWERED,
        "coder",
        7,
    )
    assert (record.bytes_in, record.bytes_out) == (5, 4)
    assert record.path == "/service/coder/a%2Fb/%C3%A9/..//c;d"


@pytest.mark.lane("fast", "tls", "unix", "hypercorn")
async def test_via_and_forwarded_are_told_if_wanted() -> None:
    """To the service after what others before us have said, and in the answer."""
    seen: list[bytes] = []

    async def script(wire: Wire) -> None:
        seen.append(await wire.head())
        await wire.send(answer(b"", "Via: 1.1 inner"))

    asked = GET.replace(b"\r\n\r\n", b"\r\nVia: 1.1 outer\r\n\r\n")
    for server in (Server(forwarded=True, via=True), Server()):
        async with running(script, server=server) as rig:
            head = await (await rig.ask(asked)).head()
        client = "unknown" if rig.socket else "127.0.0.1"
        scheme = rig.url.partition(":")[0]
        fields = [line for line in seen[-1].split(b"\r\n") if line.startswith((b"Via", b"Forw"))]
        vias = [line for line in head.split(b"\r\n") if line.lower().startswith(b"via:")]
        if server.via:
            assert fields == [
                *(b"Via: 1.1 outer", b"Via: 1.1 aiproxy"),
                f'Forwarded: for={client};proto={scheme};host="localhost"'.encode(),
            ]
            assert vias == [b"Via: 1.1 inner", b"Via: 1.1 aiproxy"]
        else:
            assert (fields, vias) == ([b"Via: 1.1 outer"], [b"Via: 1.1 inner"])


async def test_a_stream_arrives_chunk_by_chunk() -> None:
    """The client has chunk k before the upstream sends chunk k + 1."""
    go_on, let_go = trio.open_memory_channel[None](0)

    async def script(wire: Wire) -> None:
        await wire.head()
        await wire.send(EVENTS)
        for number in range(5):
            await wire.send(chunk(b"data: %d\n\n" % number))
            await let_go.receive()
        await wire.send(b"0\r\n\r\n")

    async with running(script) as rig:
        wire = await rig.ask(GET)
        await wire.head()
        for number in range(5):
            await wire.until(b"data: %d\n\n" % number)
            await go_on.send(None)
        await wire.until(b"0\r\n\r\n")


async def test_an_upload_arrives_piece_by_piece() -> None:
    """The upstream has piece k before the client sends piece k + 1."""
    pieces, got = trio.open_memory_channel[bytes](0)

    async def script(wire: Wire) -> None:
        assert b"Transfer-Encoding: chunked\r\n" in await wire.head()
        for _ in range(3):
            await pieces.send(await wire.until(b"!\r\n"))
        await wire.until(b"0\r\n")
        await wire.until(b"\r\n")
        await wire.send(answer(b""))

    async with running(script) as rig:
        wire = await rig.ask(
            raw("POST /service/coder/x HTTP/1.1\nHost: localhost\nTransfer-Encoding: chunked")
        )
        for number in range(3):
            await wire.send(chunk(b"piece %d!" % number))
            with trio.fail_after(PATIENCE_S):
                assert b"piece %d!" % number in await got.receive()
        await wire.send(b"0\r\nX-Sum: 1\r\n\r\n")
        assert b"200" in await wire.head()


async def test_a_close_delimited_answer_ends_well() -> None:
    """Closing in order is the end of an answer without framing."""

    async def script(wire: Wire) -> None:
        await wire.head()
        await wire.send(b"HTTP/1.0 200 OK\r\n\r\nwhole")

    async with running(script) as rig:
        wire = await rig.ask(GET)
        assert b"whole" in await wire.until(b"0\r\n\r\n")


async def test_connections_are_kept_on_both_sides() -> None:
    """Requests on one client connection use one upstream connection, pipelined ones too."""
    async with running(answering(answer(b"ok"))) as rig:
        wire = await rig.connect()
        for _ in range(3):
            await wire.send(GET)
            await wire.until(b"ok")
        await wire.send(GET * 3)
        for _ in range(3):
            await wire.until(b"ok")
        assert len(rig.upstreams) == 1


async def test_a_kept_connection_that_died_is_replaced() -> None:
    """An upstream that closed an idle connection is not noticed by the client."""

    async def script(wire: Wire) -> None:
        await wire.head()
        await wire.send(answer(b"ok"))

    async with running(script) as rig:
        wire = await rig.connect()
        for _ in range(3):
            await wire.send(GET)
            await wire.until(b"ok")
            await trio.sleep(0.01)
        assert len(rig.upstreams) == 3


async def test_bytes_that_nobody_asked_for_answer_nothing() -> None:
    """What an upstream sends after its answer is not taken for the next one."""
    async with running(answering(answer(b"ok") + answer(b"smuggled"))) as rig:
        wire = await rig.connect()
        for _ in range(3):
            await wire.send(GET)
            await wire.head()
            assert await wire.exactly(2) == b"ok"
        assert len(rig.upstreams) == 3


@pytest.mark.parametrize(("method", "status"), [("GET", 200), ("POST", 502)])
async def test_a_request_lost_on_a_kept_connection_is_repeated_if_harmless(
    method: str, status: int
) -> None:
    """The upstream closes on the second request unheard: a GET is sent again, a POST is not."""
    served = 0

    async def script(wire: Wire) -> None:
        nonlocal served
        await wire.head()
        served += 1
        await wire.send(answer(b"ok"))
        if served == 1:
            await wire.head()

    async with running(script) as rig:
        wire = await rig.ask(GET)
        await wire.until(b"ok")
        await wire.send(GET.replace(b"GET", method.encode()))
        assert int((await wire.head()).split()[1]) == status


@pytest.mark.slow
@pytest.mark.parametrize("direction", ["up", "down"])
async def test_large_bodies_pass_in_flat_memory(direction: str) -> None:
    """8 MiB go through a slow reader, and only buffers' worth of it is ever held."""
    size = 8 * 1024 * 1024
    piece = bytes(64 * 1024)

    async def script(wire: Wire) -> None:
        await wire.head()
        if direction == "up":
            left = size - len(wire.buffer)
            while left:
                left -= len(await wire.stream.receive_some(16384))
            await wire.send(answer(b""))
        else:
            await wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
            for _ in range(size // len(piece)):
                await wire.send(piece)

    async with running(script) as rig:
        wire = await rig.connect()
        tracemalloc.start()
        length = size if direction == "up" else 0
        await wire.send(
            raw(f"PUT /service/coder/x HTTP/1.1\nHost: localhost\nContent-Length: {length}")
        )
        for _ in range(length // len(piece)):
            await wire.send(piece)
        head = await wire.head()
        left = size - length - len(wire.buffer)
        while left:
            left -= len(await wire.stream.receive_some(16384))
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert head.startswith(b"HTTP/1.1 200 ")
    assert peak < 2 * 1024 * 1024


@pytest.mark.parametrize("closes", [True, False])
async def test_an_early_answer_arrives_while_the_client_still_sends(closes: bool) -> None:
    """A 413 in the middle of an upload reaches the client, which may then stop or go on."""

    async def script(wire: Wire) -> None:
        await wire.head()
        await wire.exactly(1000)
        await wire.send(answer(b"too much", "Connection: close", status="413 Too Large"))
        if not closes:
            await wire.wait_closed(PATIENCE_S)

    async with running(script) as rig:
        wire = await rig.ask(
            raw("POST /service/coder/x HTTP/1.1\nHost: localhost\nContent-Length: 1000000")
        )
        await wire.send(bytes(2000))
        assert (await wire.head()).startswith(b"HTTP/1.1 413 ")
        assert await wire.exactly(8) == b"too much"
        await wire.send(bytes(1000000 - 2000))
        await wire.send(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert (await wire.head()).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    ("method", "reply", "body"),
    [
        ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", b""),
        ("GET", b"HTTP/1.1 204 No Content\r\n\r\n", b""),
        ("GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\nETag: x\r\n\r\n", b""),
        ("GET", b"HTTP/1.1 103 Hints\r\n\r\n" + answer(b"after"), b"after"),
        ("GET", b"HTTP/1.1 100 Continue\r\n\r\n" + answer(b"after"), b"after"),
    ],
    ids=["HEAD", "204", "304", "103", "100"],
)
async def test_answers_without_a_body_leave_the_connections_usable(
    method: str, reply: bytes, body: bytes
) -> None:
    """Two of them fit on one connection, so that no byte was too many or too few."""
    async with running(answering(reply)) as rig:
        wire = await rig.connect()
        for _ in range(2):
            await wire.send(GET.replace(b"GET", method.encode()))
            head = await wire.head()
            if head.startswith(b"HTTP/1.1 103 "):  # The fast lane passes it on.
                head = await wire.head()
            final = reply.replace(b"HTTP/1.1 10", b"").split(b"HTTP/1.1 ")[1].split()[0]
            assert head.split()[1] == final
            assert await wire.exactly(len(body)) == body
        assert len(rig.upstreams) == 1


TRAILED = b"HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n"
TRAILED += b"4;x=y\r\nbody\r\n0\r\nX-Sum: 1\r\n\r\n"


@pytest.mark.lane("fast", "tls", "unix")
async def test_chunks_pass_as_they_are() -> None:
    """With their extensions, and with trailers, both ways."""
    seen: list[bytes] = []

    async def script(wire: Wire) -> None:
        while True:
            seen.append(await wire.head() + await wire.until(b"X-Sum: 2\r\n\r\n"))
            await wire.send(TRAILED)

    body = b"2;a=b\r\nhi\r\n0\r\nX-Sum: 2\r\n\r\n"
    async with running(script) as rig:
        wire = await rig.connect()
        for _ in range(2):
            await wire.send(
                raw(
                    "POST /service/coder/x HTTP/1.1\nHost: localhost\nTransfer-Encoding: chunked",
                    body,
                )
            )
            assert b"\r\nTrailer: X-Sum\r\n" in await wire.head()
            assert await wire.until(b"1\r\n\r\n") == TRAILED.partition(b"\r\n\r\n")[2]
        assert len(rig.upstreams) == 1
    assert [request.endswith(body) for request in seen] == [True, True]


@pytest.mark.lane("hypercorn", "h2")
async def test_trailers_pass() -> None:
    """Where the body is framed anew, they stand at its end all the same."""
    async with running(answering(TRAILED)) as rig:
        wire = await rig.ask(GET)
        await wire.head()
        rest = await wire.until(b"\r\n\r\n")
    assert rest.lower() == chunk(b"body") + b"0\r\nx-sum: 1\r\n\r\n"


async def test_expect_is_answered_here() -> None:
    """The client is told to go on, and the upstream is not asked again."""
    heads: list[bytes] = []

    async def script(wire: Wire) -> None:
        heads.append(await wire.head())
        await wire.exactly(2)
        await wire.send(answer(b"ok"))

    async with running(script) as rig:
        wire = await rig.ask(
            raw(
                "POST /service/coder/x HTTP/1.1\nHost: localhost\n"
                "Expect: 100-continue\nContent-Length: 2"
            )
        )
        assert (await wire.head()).startswith(b"HTTP/1.1 100 ")
        await wire.send(b"hi")
        assert (await wire.head()).startswith(b"HTTP/1.1 200 ")
    assert b"expect" not in heads[0].lower()


TRACE = 0x0AF7651916CD43DD8448EB211C80319C
TRACED = (
    b"GET /service/coder/x HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
    b"TraceParent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n"
    b"tracestate: a=b\r\n\r\n"
)


@pytest.mark.parametrize("traced", [False, True])
async def test_service_learns_its_place_in_the_trace(traced: bool) -> None:
    """Ours where traces are kept, else the client's; the state of the trace passes as it is."""
    seen: list[bytes] = []

    async def script(wire: Wire) -> None:
        seen.append(await wire.head())
        await wire.send(answer(b""))

    def begin(head: RequestHead) -> Trace:
        parent = parse_traceparent(head.known[b"traceparent"][0])
        assert parent is not None
        return Trace(parent.trace, 5, 7, parent.sampled, parent)

    async with running(script, begin_trace=begin if traced else None) as rig:
        await (await rig.ask(TRACED)).rest()
        record = await rig.record()
    [head] = seen
    place = "0000000000000007" if traced else "b7ad6b7169203331"
    lines = [line.lower() for line in head.decode().split("\r\n")]
    assert [line for line in lines if line.startswith("trace")] == (
        ["tracestate: a=b", f"traceparent: 00-{TRACE:032x}-{place}-01"]
        if traced
        else [f"traceparent: 00-{TRACE:032x}-{place}-01", "tracestate: a=b"]
    )
    assert (record.trace is not None) is traced
