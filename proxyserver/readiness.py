"""Whether a run answers: probes by HTTP until it is ready, and now and then after that.

A probe is one small request on a connection of its own, by h11 over a Trio stream: some forty a
second go to a server that loads, on a machine that has other things to do.
"""

import math
import re
import sys
from collections.abc import Callable
from contextlib import aclosing
from functools import partial

import h11
import trio

from proxycore import RunId, ServiceId
from proxycore.events import Cause
from proxyserver.runtime._dial import dial, socket_of
from proxyserver.runtime._protocol import (
    Call,
    Endpoint,
    ExternalSpec,
    LaunchSpec,
    Probe,
    Runtime,
    RuntimeFault,
)

POLL_LEAST_S = 0.005
POLL_MOST_S = 0.02
POLL_SHARE = 0.02
"""The pause between two probes is so much of the load so far: half of it is what we add to a start
on average.  At most 20 ms, so that with all that follows up to the first byte of the answer it
stays within 15 ms (`python -m benchmarks main`); a probe costs the machine about 1 ms."""
PROBE_S = 1.0
"""An answer to a probe of a starting server takes a millisecond, or does not come at all."""
ELSEWHERE_POLL_S = (0.1, 2.0)
"""A server elsewhere is asked less often: it may be somebody else's."""
ELSEWHERE_PROBE_S = 5.0
"""Far away, a handshake takes a second."""
ALIVE_EVERY_S = 1.0
LIVE_FAILURES = 3
_READ_BYTES = 4096

# A connection from 127.0.0.1 to a port of 127.0.0.1 where nobody listens yet can, once in some
# ten thousand tries, be given that very port as its own and reach itself; then the server cannot
# bind it.  From another loopback address that cannot happen.
_LOCAL_ADDRESS = {"127.0.0.1": "127.0.0.2"} if sys.platform == "linux" else {}


async def wait_ready(
    launch: LaunchSpec,
    run: RunId,
    endpoint: Endpoint,
    runtime: Runtime,
    *,
    alive: Callable[[], None],
    answers: Callable[[], None] = lambda: None,
    poll_s: tuple[float, float] = (POLL_LEAST_S, POLL_MOST_S),
) -> None:
    """Return when the run says yes to its probe, and it is really this run that listens there.

    Whatever else comes back (nothing, a reset, rubbish, 503) means "not yet"; the caller gives
    up by cancelling.  The log is followed meanwhile: a new line is a sign of life, told by
    `alive` at most once in `ALIVE_EVERY_S`, and one that matches `ready_line` asks for a probe
    at once.  An answer in HTTP, whatever it says, is told by `answers`.
    """
    probe_s = PROBE_S
    if isinstance(launch.what, ExternalSpec):
        probe_s, poll_s = ELSEWHERE_PROBE_S, ELSEWHERE_POLL_S
    ready_line = re.compile(launch.ready_line) if launch.ready_line is not None else None
    hurry = trio.Event()

    def look(line: str) -> None:
        if ready_line is not None and ready_line.search(line):
            hurry.set()

    async def is_ours() -> bool:
        try:
            return await runtime.owns(launch.service, run, endpoint)
        except RuntimeFault:
            return False

    async with trio.open_nursery() as nursery:
        nursery.start_soon(
            partial(follow_log, launch.service, run, runtime, alive=alive, line=look, tail=1000)
        )
        paced_from_at = trio.current_time()
        while True:
            if await _says_yes(launch.ready, endpoint, probe_s, answers) and await is_ours():
                break
            with trio.move_on_after(pause_s(trio.current_time() - paced_from_at, *poll_s)):
                await hurry.wait()
                # The line may come a little before the answer changes: begin again, small.
                hurry = trio.Event()
                paced_from_at = trio.current_time()
        nursery.cancel_scope.cancel()


async def follow_log(
    service: ServiceId,
    run: RunId,
    runtime: Runtime,
    *,
    alive: Callable[[], None],
    line: Callable[[str], None] = lambda line: None,
    tail: int = 0,
) -> None:
    """Tell by `alive` of new lines in a log, at most once in `ALIVE_EVERY_S`, until it ends.

    Args:
        service: whose.
        run: which.
        runtime: where.
        alive: a new line is a sign of life.
        line: is told each line.
        tail: so many lines of the past are new, too.
    """
    told_at = -math.inf
    lines = runtime.log_lines(service, run, tail=tail, follow=True)
    try:
        async with aclosing(lines):  # type: ignore[type-var]
            async for one in lines:
                now = trio.current_time()
                if now - told_at >= ALIVE_EVERY_S:
                    told_at = now
                    alive()
                line(one)
    except RuntimeFault:
        # It goes without the log, too; that the engine is lost is noticed elsewhere.
        return


def pause_s(loading_s: float, least_s: float = POLL_LEAST_S, most_s: float = POLL_MOST_S) -> float:
    """Return how long to wait before the next probe of a server that has loaded for so long."""
    return min(max(POLL_SHARE * loading_s, least_s), most_s)


async def wait_stuck(
    launch: LaunchSpec, endpoint: Endpoint, has_spoken: Callable[[], bool]
) -> Cause:
    """Return when a ready run has failed its liveness probe several times in a row.

    A server with many streams may be too busy to answer in time, but what speaks is not dead: no
    answer at all is forgiven to a run that `has_spoken` to others since the last probe.  One that
    refuses, hangs up or says no has had the time to; that counts whatever else it does.

    Without such a probe it never returns.
    """
    live = launch.live
    if live is None:
        await trio.sleep_forever()
        raise AssertionError("unreachable")
    failures = 0
    while failures < LIVE_FAILURES:
        await trio.sleep(live.every_s)
        yes = await _says_yes(live, endpoint, live.timeout_s)
        spoke = has_spoken()  # Each time: what was said before the last probe is no sign of life.
        failures = 0 if yes or (yes is None and spoke) else failures + 1
    return Cause(
        "stuck",
        f"lives, but did not answer GET {live.path} as it should"
        f" {LIVE_FAILURES} times in a row, each within {live.timeout_s:g} s",
    )


async def examine(launch: LaunchSpec) -> Cause | None:
    """Say what is wrong with the files that a launch names; None: nothing is, or it names none."""
    return None if launch.examine is None else await trio.to_thread.run_sync(launch.examine)


async def ask(call: Call, endpoint: Endpoint) -> str | None:
    """Ask a server to do something; return why it did not, or None when it is done.

    Who asks bounds the time, by cancelling.
    """
    try:
        status = await _status(call.path, endpoint, call.method, (call.body or "").encode())
    except (OSError, trio.BrokenResourceError, h11.RemoteProtocolError) as error:
        return f"{call.method} {call.path}: {error}"
    if status is not None and status < 300:
        return None
    answer = "hung up" if status is None else f"answered {status}"
    return f"the server {answer} to {call.method} {call.path}"


async def _says_yes(
    probe: Probe, endpoint: Endpoint, timeout_s: float, answers: Callable[[], None] = lambda: None
) -> bool | None:
    """Ask; None: nothing came in time."""
    status = None
    with trio.move_on_after(timeout_s) as scope:
        try:
            status = await _status(probe.path, endpoint)
        except (OSError, trio.BrokenResourceError, h11.RemoteProtocolError):
            return False
    if status is None:
        return None if scope.cancelled_caught else False
    answers()
    return status < 500 if probe.status is None else status == probe.status


async def _status(
    path: str, endpoint: Endpoint, method: str = "GET", body: bytes = b""
) -> int | None:
    """Ask, and return the status of the answer; None when the server hangs up instead."""
    stream = await dial(endpoint, local_address=_LOCAL_ADDRESS.get(endpoint.host))
    # h11 bounds what it keeps of an unfinished head (16 KiB).
    connection = h11.Connection(h11.CLIENT)
    headers = [("Host", endpoint.authority), ("Connection", "close")]
    if endpoint.authorization is not None:
        headers.append(("Authorization", endpoint.authorization))
    if method != "GET" or body:
        headers.append(("Content-Length", str(len(body))))
    if body:
        headers.append(("Content-Type", "application/json"))
    request = h11.Request(method=method, target=endpoint.prefix + path, headers=headers)
    with socket_of(stream):
        said = connection.send(request) + connection.send(h11.Data(data=body))
        await stream.send_all(said + connection.send(h11.EndOfMessage()))
        while True:
            match connection.next_event():
                case h11.NEED_DATA:
                    connection.receive_data(bytes(await stream.receive_some(_READ_BYTES)))
                case h11.Response(status_code=status):
                    return status
                case h11.InformationalResponse():
                    pass
                case _:
                    return None
