"""Ready is what answers as it should, and is ours; all else is not yet.

Sockets know only the real clock, so waits here are a few milliseconds.
"""

from collections.abc import AsyncIterator, Callable

import attrs
import pytest
import trio

from proxycore import RunId, ServiceId
from proxycore.events import Cause
from proxyserver.readiness import ALIVE_EVERY_S, ask, pause_s, wait_ready, wait_stuck
from proxyserver.runtime._protocol import (
    Call,
    ContainerSpec,
    Endpoint,
    LaunchSpec,
    LiveProbe,
    Probe,
    Runtime,
    RuntimeUnreachable,
)

from .servers import LOADING, YES, Handler, answer, free_port, hang_up, keep_silent, serving

SERVICE, RUN = ServiceId("a"), RunId(7)
LAUNCH = LaunchSpec(SERVICE, ContainerSpec("x", 80), ready_line="listening", live=LiveProbe())
GARBAGE = [b"SSH-2.0-OpenSSH\r\n\r\n", b"\x00" * 64, b"", b"HTTP/1.1 200", b"x" * 100_000]
NOT_YET = [
    hang_up,
    keep_silent,
    answer(LOADING),
    answer(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"),
    answer(b"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n"),
    *(answer(garbage) for garbage in GARBAGE),
]


@attrs.define
class Log:
    """The part of a runtime that readiness looks at: whose port it is, and a log."""

    ours: bool = True
    lost: bool = False
    lines: trio.MemoryReceiveChannel[str] | None = None
    asked_for: list[tuple[ServiceId, RunId]] = attrs.field(factory=list)

    async def owns(self, service: ServiceId, run: RunId, endpoint: Endpoint) -> bool:
        await trio.lowlevel.checkpoint()
        self.asked_for.append((service, run))
        if self.lost:
            raise RuntimeUnreachable(Cause("lost", "the engine is away"))
        return self.ours

    async def log_lines(
        self, service: ServiceId, run: RunId, *, tail: int, follow: bool
    ) -> AsyncIterator[str]:
        if self.lost:
            raise RuntimeUnreachable(Cause("lost", "the engine is away"))
        if self.lines is not None:
            async for line in self.lines:
                yield line


async def wait(
    endpoint: Endpoint,
    runtime: Log,
    launch: LaunchSpec = LAUNCH,
    alive: Callable[[], None] = lambda: None,
) -> None:
    await wait_ready(launch, RUN, endpoint, as_runtime(runtime), alive=alive)


def as_runtime(log: Log) -> Runtime:
    return log  # type: ignore[return-value]  # readiness needs two methods of the many


async def never_ready(endpoint: Endpoint, runtime: Log, within_s: float = 0.08) -> bool:
    with trio.move_on_after(within_s) as scope:
        await wait(endpoint, runtime)
    return scope.cancelled_caught


async def test_ready_when_it_says_yes() -> None:
    """A server that answers at once is ready at once, if the runtime says that it is ours."""
    async with serving(answer(YES)) as server:
        runtime = Log()
        with trio.fail_after(1):
            await wait(server.endpoint, runtime)
        assert server.asked == 1
        assert runtime.asked_for == [(SERVICE, RUN)]


async def test_refused_is_not_yet() -> None:
    """Nobody listens, then somebody does."""
    port = await free_port()
    assert await never_ready(Endpoint("127.0.0.1", port), Log())
    async with serving(answer(YES), port) as server:
        with trio.fail_after(1):
            await wait(server.endpoint, Log())


@pytest.mark.parametrize("manners", NOT_YET)
async def test_bad_manners_are_not_yet(manners: Handler) -> None:
    """Whatever a starting server does to a probe, it is not ready, and that is no error."""
    async with serving(manners) as server:
        assert await never_ready(server.endpoint, Log())
        assert server.asked > 0


async def test_ready_after_loading() -> None:
    """The first yes counts."""
    async with serving(answer(LOADING)) as server, trio.open_nursery() as nursery:

        async def load() -> None:
            await trio.sleep(0.1)
            server.handler = answer(YES)
            assert server.asked > 0
            server.asked = 0

        nursery.start_soon(load)
        with trio.fail_after(2):
            await wait(server.endpoint, Log())
        assert server.asked == 1


def test_polls_grow_rarer() -> None:
    """A long load is not asked as often as a short one, which a late look would lengthen most."""
    assert [pause_s(loading_s) for loading_s in (0, 0.1, 0.5, 60)] == [0.005, 0.005, 0.01, 0.02]


async def test_stranger_on_the_port_is_never_ready() -> None:
    """A yes from somebody else's server does not count."""
    async with serving(answer(YES)) as server:
        runtime = Log(ours=False)
        assert await never_ready(server.endpoint, runtime)
        assert runtime.asked_for


async def test_lost_engine_is_not_yet() -> None:
    """Neither the log nor the question whose port it is can make the wait fail."""
    async with serving(answer(YES)) as server:
        assert await never_ready(server.endpoint, Log(lost=True))


async def test_ready_line_makes_us_ask_at_once() -> None:
    """The line cuts a wait short that would have been far longer."""
    send, receive = trio.open_memory_channel[str](10)
    async with serving(answer(LOADING)) as server:
        asked = trio.Event()

        async def load(stream: trio.SocketStream) -> None:
            await answer(LOADING)(stream)
            server.handler = answer(YES)
            asked.set()

        async def tell() -> None:
            await asked.wait()
            await send.send("still loading")
            await send.send("server is listening")

        server.handler = load
        with trio.fail_after(5):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(tell)
                log = as_runtime(Log(lines=receive))
                await wait_ready(
                    LAUNCH, RUN, server.endpoint, log, alive=lambda: None, poll_s=(60, 60)
                )
        assert server.asked == 2


async def test_log_lines_are_signs_of_life() -> None:
    """Each burst of lines is told once, not line by line."""
    send, receive = trio.open_memory_channel[str](100)
    told = []
    async with serving(answer(LOADING)) as server, trio.open_nursery() as nursery:
        for number in range(50):
            send.send_nowait(f"line {number}")
        runtime = Log(lines=receive)
        nursery.start_soon(wait, server.endpoint, runtime, LAUNCH, lambda: told.append(1))
        await trio.sleep(0.05)
        assert told == [1]
        assert receive.statistics().current_buffer_used == 0
        assert ALIVE_EVERY_S > 0.05
        nursery.cancel_scope.cancel()


async def test_any_answer_below_500_can_do() -> None:
    """A probe without a status takes what a server says that has no page for it."""
    launch = attrs.evolve(LAUNCH, ready=Probe("/", None))
    async with serving(answer(b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n")) as server:
        with trio.fail_after(1):
            await wait(server.endpoint, Log(), launch)
        server.handler = answer(LOADING)
        with trio.move_on_after(0.05) as scope:
            await wait(server.endpoint, Log(), launch)
        assert scope.cancelled_caught


async def test_probe_is_a_plain_request() -> None:
    """What goes over the wire is what any server understands."""
    async with serving(answer(YES)) as server:
        heard = []

        async def listen(stream: trio.SocketStream) -> None:
            heard.append(await stream.receive_some())
            await stream.send_all(b"HTTP/1.1 100 Continue\r\n\r\n" + YES)

        server.handler = listen
        with trio.fail_after(1):
            await wait(server.endpoint, Log(), attrs.evolve(LAUNCH, ready=Probe("/r?x=1")))
        host = f"127.0.0.1:{server.endpoint.port}".encode()
        assert heard == [b"GET /r?x=1 HTTP/1.1\r\nHost: " + host + b"\r\nConnection: close\r\n\r\n"]


async def test_probe_can_never_reach_itself() -> None:
    """A probe does not come from the address it goes to, so it cannot take the server's port."""
    async with serving(answer(YES)) as server:
        await wait(server.endpoint, Log())
        assert "127.0.0.1" not in server.peers


async def stuck(endpoint: Endpoint, has_spoken: Callable[[], bool] = lambda: False) -> Cause:
    live = LiveProbe(every_s=0.002, timeout_s=0.02)
    return await wait_stuck(attrs.evolve(LAUNCH, live=live), endpoint, has_spoken)


@pytest.mark.parametrize("manners", [hang_up, keep_silent, answer(LOADING)])
async def test_stuck_after_three_failures_in_a_row(manners: Handler) -> None:
    """One that lives and does not answer is told of, with what was asked."""
    async with serving(manners) as server:
        with trio.fail_after(2):
            cause = await stuck(server.endpoint)
        assert server.asked == 3
        assert (cause.kind, cause.heals) == ("stuck", True)
        assert "GET /health" in cause.message


async def test_single_failures_are_forgiven() -> None:
    """A yes between failures starts the count anew."""
    async with serving(answer(YES)) as server:

        async def two_of_three_fail(stream: trio.SocketStream) -> None:
            await answer(YES if server.asked % 3 == 0 else LOADING)(stream)

        server.handler = two_of_three_fail
        with trio.move_on_after(0.3) as scope:
            await stuck(server.endpoint)
        assert scope.cancelled_caught
        assert server.asked > 6


async def test_who_speaks_to_others_may_be_too_busy_for_a_probe() -> None:
    """While bytes of answers come, silence is forgiven; from then on it counts."""
    async with serving(keep_silent) as server:
        with trio.fail_after(2):
            cause = await stuck(server.endpoint, lambda: server.asked <= 5)
        assert server.asked == 5 + 3
        assert cause.kind == "stuck"


@pytest.mark.parametrize("manners", [hang_up, answer(LOADING)])
async def test_who_has_time_to_say_no_is_not_busy(manners: Handler) -> None:
    """However much it says to others."""
    async with serving(manners) as server:
        with trio.fail_after(2):
            await stuck(server.endpoint, lambda: True)
        assert server.asked == 3


async def test_without_a_probe_nothing_is_stuck(autojump_clock: trio.testing.MockClock) -> None:
    """A living process is enough where nothing is asked."""
    with trio.move_on_after(1e6) as scope:
        await wait_stuck(attrs.evolve(LAUNCH, live=None), Endpoint("127.0.0.1", 1), lambda: False)
    assert scope.cancelled_caught


async def test_a_call_is_sent_as_it_is_said() -> None:
    """With its body as JSON, where it has one; below 300 it is done."""
    heard = bytearray()

    async def listen(stream: trio.SocketStream) -> None:
        while not heard.endswith(b"}") and b"GET" not in heard:
            heard.extend(await stream.receive_some(4096))
        await stream.send_all(b"HTTP/1.1 204 No Content\r\n\r\n")

    async with serving(listen) as server:
        assert await ask(Call("/x?y=1", body='{"a": 1}'), server.endpoint) is None
        assert heard.startswith(b"POST /x?y=1 HTTP/1.1\r\n")
        assert b"\r\nContent-Type: application/json\r\n" in heard
        assert b"\r\nContent-Length: 8\r\n" in heard
        assert heard.endswith(b'\r\n\r\n{"a": 1}')
        heard.clear()
        assert await ask(Call("/x", "GET"), server.endpoint) is None
        assert b"Content-" not in heard
        server.handler = answer(LOADING)
        said = await ask(Call("/x"), server.endpoint)
        assert said == "the server answered 503 to POST /x"
