"""Clients of streams are told that they wait, and what comes then is whole, or known not to be."""

import json

import attrs
import pytest
import trio
from h11 import CLIENT, Connection, Data, EndOfMessage, RemoteProtocolError, Request, Response

from proxycore import Cause, Experience, Reason, RunId, ServiceId, ServiceView, State
from proxyserver.http import Outcome
from proxyserver.http._ports import Progress
from proxyserver.http._waiting import describe
from proxyserver.refused import Refused
from proxyserver.runtime import ExitReport

from .rig import EVENTS, PATIENCE_S, Rig, Server, Wire, answer, chunk, running

SOON = Server(stream_after_s=0.05, stream_every_s=0.05)
CODER = ServiceId("coder")
TOKENS = b'data: {"a": 1}\n\n', b"data: [DONE]\n\n"
OPENAI, ANTHROPIC = "/v1/chat/completions", "/v1/messages"


def asking(target: str = OPENAI, *, stream: str = "true") -> bytes:
    body = f'{{"model": "coder", "stream": {stream}}}'.encode()
    head = f"POST {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


async def streaming(wire: Wire) -> None:
    """Answer with a stream, in chunks of its own."""
    await wire.head()
    await wire.send(EVENTS + b"".join(map(chunk, TOKENS)) + b"0\r\n\r\n")
    await wire.more()


class Client:
    """Reads an answer as h11 does, so that its framing is right or it fails."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._http = Connection(CLIENT)
        self._http.send(Request(method="GET", target="/", headers=[("host", "x")]))
        self._http.send(EndOfMessage())
        self.response: Response | None = None
        self.body = b""
        self.whole = False

    async def until(self, end: bytes | None) -> bytes:
        """Read until the body ends like this; None: to its end."""
        with trio.fail_after(PATIENCE_S):
            while not self.whole and (end is None or not self.body.endswith(end)):
                event = self._http.next_event()
                if isinstance(event, Response):
                    self.response = event
                elif isinstance(event, Data):
                    self.body += event.data
                elif isinstance(event, EndOfMessage):
                    self.whole = True
                else:
                    await self._wire.more()
                    self._http.receive_data(self._wire.buffer)  # Nothing: the connection ended.
                    self._wire.buffer = b""
        return self.body


async def waiting(rig: Rig, request: bytes) -> Client:
    """Ask while nobody gets a place, and return once the client was told twice."""
    client = Client(await rig.ask(request))
    await client.until(b"\n\n")
    told = client.body
    while client.body.count(b"\n\n") < 2:
        await client.until(told + b":\n\n")
    return client


def let_go(rig: Rig) -> None:
    assert rig.conductor.hold is not None
    rig.conductor.hold.set()


async def test_comments_come_first_and_then_the_tokens() -> None:
    """One stream, framed right to its end; the connection serves another request after it."""
    async with running(streaming, server=SOON) as rig:
        rig.conductor.hold = trio.Event()
        client = await waiting(rig, asking())
        let_go(rig)
        body = await client.until(None)
        record = await rig.record()
    assert client.response is not None
    headers = dict(client.response.headers)
    assert (client.response.status_code, headers[b"content-type"]) == (200, b"text/event-stream")
    assert body.lstrip(b":\n") == b"".join(TOKENS)
    assert b": ping" not in body
    assert (record.outcome, record.streamed) == (Outcome.ANSWERED, True)
    assert record.waited_s > 0.05


@pytest.mark.parametrize("framing", ["length", "close"])
async def test_a_stream_without_chunks_gets_some(framing: str) -> None:
    """The head that was sent says that there are."""
    said = b"".join(TOKENS)
    length = f"Content-Length: {len(said)}\r\n" if framing == "length" else "Connection: close\r\n"

    async def script(wire: Wire) -> None:
        await wire.head()
        head = f"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n{length}\r\n"
        await wire.send(head.encode() + said)

    async with running(script, server=SOON) as rig:
        rig.conductor.hold = trio.Event()
        client = await waiting(rig, asking())
        let_go(rig)
        assert (await client.until(None)).lstrip(b":\n") == said


@pytest.mark.parametrize("target", [OPENAI, ANTHROPIC])
async def test_a_refusal_after_that_is_an_event(target: str) -> None:
    """In the words of the API, with the end that its clients wait for, and a whole body."""
    async with running(server=SOON) as rig:
        rig.conductor.hold = trio.Event()
        rig.conductor.refusals["coder"] = Refused(CODER, Reason.SERVICE_FAILED, "no such file")
        client = await waiting(rig, asking(target))
        let_go(rig)
        body = (await client.until(None)).lstrip(b":\n")
        record = await rig.record()
    if target == OPENAI:
        event, done, rest = body.split(b"\n\n")
        assert json.loads(event.removeprefix(b"data: "))["error"]["code"] == "service_failed"
        assert (done, rest) == (b"data: [DONE]", b"")
    else:
        name, data = body.strip().split(b"\n")
        assert name == b"event: error"
        assert json.loads(data.removeprefix(b"data: "))["error"]["message"] == "no such file"
    assert record.outcome is Outcome.REJECTED


async def test_an_answer_that_is_no_stream_is_told_as_an_error() -> None:
    """The service's own words are kept; its connection serves the next request."""
    refusal = json.dumps({"error": {"message": "context is too long", "type": "x"}}).encode()

    async def script(wire: Wire) -> None:
        for _ in range(2):
            await wire.head()
            wire.buffer = b""
            await wire.send(answer(refusal, status="400 Bad Request"))
        await wire.more()

    async with running(script, server=SOON) as rig:
        rig.conductor.hold = trio.Event()
        client = await waiting(rig, asking())
        let_go(rig)
        body = (await client.until(None)).lstrip(b":\n")
        rig.conductor.hold = None
        status, _, _ = await rig.get("/service/coder/x")
        assert (status, len(rig.upstreams)) == (400, 1)
    event, done, _ = body.split(b"\n\n")
    assert "context is too long" in json.loads(event.removeprefix(b"data: "))["error"]["message"]
    assert done == b"data: [DONE]"


async def test_a_break_after_a_token_is_no_end() -> None:
    """An event tells of it, and the body is aborted: nobody takes it for whole."""

    async def script(wire: Wire) -> None:
        await wire.head()
        await wire.send(EVENTS + chunk(TOKENS[0]))

    async with running(script, server=SOON) as rig:
        rig.conductor.hold = trio.Event()
        client = await waiting(rig, asking())
        let_go(rig)
        with pytest.raises((RemoteProtocolError, trio.BrokenResourceError)):
            await client.until(None)
        record = await rig.record()
    assert b"upstream_error" in client.body
    assert b"[DONE]" not in client.body
    assert record.outcome is Outcome.BROKEN


@pytest.mark.parametrize(
    "request_",
    [
        asking(stream="false"),
        asking("/v1/embeddings"),
        asking().replace(b'"stream": true', b'"a": "\\"stream\\": true"'),
    ],
    ids=["not asked for", "not a stream's path", "said in a text"],
)
async def test_who_wants_no_stream_waits_for_its_status(request_: bytes) -> None:
    """However long that takes."""
    length = request_.rpartition(b"\r\n\r\n")[2]
    request_ = request_.replace(b"Content-Length: 34", b"Content-Length: %d" % len(length))
    async with running(server=SOON) as rig:
        rig.conductor.hold = trio.Event()
        rig.conductor.refusals["coder"] = Refused(CODER, Reason.SERVICE_FAILED, "no such file")
        wire = await rig.ask(request_)
        await trio.sleep(0.2)
        let_go(rig)
        assert (await wire.head()).startswith(b"HTTP/1.1 503 ")


async def test_who_waits_a_moment_gets_a_status() -> None:
    """The grace is there so that a quick failure has one."""
    async with running(server=Server(stream_after_s=PATIENCE_S)) as rig:
        rig.conductor.hold = trio.Event()
        rig.conductor.refusals["coder"] = Refused(CODER, Reason.SERVICE_FAILED, "no such file")
        wire = await rig.ask(asking())
        await trio.sleep(0.1)
        let_go(rig)
        assert (await wire.head()).startswith(b"HTTP/1.1 503 ")


async def test_client_that_leaves_while_it_is_told_gives_up_its_place() -> None:
    """At once, though a comment may be on its way."""
    async with running(server=SOON) as rig:
        rig.conductor.hold = trio.Event()
        wire = await rig.ask(asking())
        await Client(wire).until(b":\n\n")
        wire.close()
        record = await rig.record()
        assert rig.conductor.waiting == 0
    assert record.outcome is Outcome.CLIENT_GONE


@pytest.mark.parametrize("progress", ["comments", "reasoning"])
async def test_progress_is_told_where_it_is_asked_for(progress: Progress) -> None:
    """As a comment, or as what a model thinks, which clients show."""
    async with running(streaming, server=SOON) as rig:
        kind = rig.settings.services[CODER]
        assert isinstance(rig.settings.services, dict)
        rig.settings.services[CODER] = attrs.evolve(kind, stream_progress=progress)
        rig.conductor.hold = trio.Event()
        client = Client(await rig.ask(asking()))
        first = await client.until(b"\n\n")
        let_go(rig)
        await client.until(None)
    if progress == "comments":
        assert first == b": coder is busy\n\n"
    else:
        told = json.loads(first.removeprefix(b"data: "))
        assert told["object"] == "chat.completion.chunk"
        assert told["choices"][0]["delta"] == {"reasoning_content": "coder is busy\n"}


def test_what_is_waited_for_is_described() -> None:
    """What the service does, how long it should take, who else waits."""
    view = ServiceView(
        *(CODER, State.STARTING, RunId(1), "", 100.0, None, 3, 0, None, None, 0, None, None),
        experience=Experience(load_s=30.0),
    )
    assert describe(view, 110.0) == "coder is loading, about 20 s to go, 3 requests wait"
    late = attrs.evolve(view, waiting=1)
    assert describe(late, 200.0) == "coder is loading, about 1 s to go"
    assert describe(attrs.evolve(late, state=State.DOWN), 0.0) == "coder waits for room"


# Once more, on a fresh run


def ended(rig: Rig) -> None:
    """Let the conductor learn that the run has ended."""
    cause = Cause("exit", "it ended with code 1")
    rig.conductor.reports["coder"] = ExitReport(cause, 1, False, ())


def dying(rig: list[Rig], lives: int, *, said: bytes = b"") -> object:
    async def script(wire: Wire) -> None:
        await wire.head()
        if len(rig[0].upstreams) <= lives:
            await wire.send(said)
            ended(rig[0])
            return
        await wire.send(answer(b"done"))
        await wire.more()

    return script


@pytest.mark.parametrize("stream", ["true", "false"])
async def test_a_request_whose_run_ended_without_a_word_is_sent_to_the_next(stream: str) -> None:
    """Once, by a place of its own; the client does not notice."""
    rigs: list[Rig] = []
    async with running(dying(rigs, 1)) as rig:  # type: ignore[arg-type]
        rigs.append(rig)
        wire = await rig.ask(asking(stream=stream))
        assert (await wire.head()).startswith(b"HTTP/1.1 200 ")
        assert await wire.exactly(4) == b"done"
        record = await rig.record()
        assert rig.conductor.asked == ["coder", "coder"]
    assert (record.status, record.retries) == (200, 1)


async def test_that_is_done_once() -> None:
    """It may be the request that ends the runs."""
    rigs: list[Rig] = []
    async with running(dying(rigs, 5)) as rig:  # type: ignore[arg-type]
        rigs.append(rig)

        wire = await rig.ask(asking())
        head = await wire.head()
        assert rig.conductor.asked == ["coder", "coder"]
    assert head.startswith(b"HTTP/1.1 502 ")


async def test_a_run_that_lives_is_not_left() -> None:
    """It closed the connection, and why is its business."""

    async def script(wire: Wire) -> None:
        await wire.head()

    async with running(script) as rig:
        wire = await rig.ask(asking())
        assert (await wire.head()).startswith(b"HTTP/1.1 502 ")
        assert rig.conductor.asked == ["coder"]


@pytest.mark.parametrize("said", [b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab", b"HTTP/1.1 2"])
async def test_what_was_answered_in_part_is_not_asked_again(said: bytes) -> None:
    """Nobody knows what it did."""
    rigs: list[Rig] = []
    async with running(dying(rigs, 5, said=said)) as rig:  # type: ignore[arg-type]
        rigs.append(rig)
        await rig.ask(asking())
        record = await rig.record()
        assert (rig.conductor.asked, record.retries) == (["coder"], 0)


async def test_what_is_gone_cannot_be_sent_again() -> None:
    """A body that streamed to the run is not held; so the client is told, and decides."""
    rigs: list[Rig] = []
    body = b"x" * 10
    async with running(dying(rigs, 5)) as rig:  # type: ignore[arg-type]
        rigs.append(rig)
        head = b"POST /service/coder/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n"
        wire = await rig.ask(head + body)
        assert (await wire.head()).startswith(b"HTTP/1.1 502 ")
        assert rig.conductor.asked == ["coder"]
