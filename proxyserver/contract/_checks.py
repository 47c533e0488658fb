"""The checks of the contract: each holds for containers, processes and what others write alike."""

import contextlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable

import trio

from proxycore import RunId, ServiceId
from proxyserver.runtime import Endpoint, FailurePattern, LaunchSpec, RuntimeFault

from ._bench import ALPHA, BETA, PATIENCE_S, PLACEMENT, Behaviour, Bench, cleaned

POLL_S = 0.01
GPU_FULL = "gpu_oom"


async def eventually(condition: Callable[[], Awaitable[bool]]) -> None:
    with trio.fail_after(PATIENCE_S):
        while not await condition():  # noqa: ASYNC110  nothing tells us when
            await trio.sleep(POLL_S)


async def start(bench: Bench, spec: LaunchSpec, run: int = 1) -> Endpoint:
    """Start a run and wait until it answers."""
    endpoint = await bench.runtime.start(spec, RunId(run), PLACEMENT)
    await eventually(lambda: bench.answers(endpoint))
    return endpoint


async def check_start_and_stop(bench: Bench) -> None:
    """A started run answers where it says; a stopped one does not, and its end was asked for."""
    spec = bench.spec()
    endpoint = await start(bench, spec)
    assert await bench.runtime.owns(ALPHA, RunId(1), endpoint)
    await bench.runtime.stop(ALPHA, RunId(1), PATIENCE_S)
    assert not await bench.answers(endpoint)
    assert not await bench.runtime.owns(ALPHA, RunId(1), endpoint)
    report = await bench.runtime.wait_gone(spec, RunId(1))
    assert report.cause.kind == "stopped"
    assert report.exit_code == 0


async def check_stranger_is_not_owned(bench: Bench) -> None:
    """Only the run's own endpoint is its own: not another run's, nor one where nobody is."""
    mine = await start(bench, bench.spec(ALPHA), 1)
    other = await start(bench, bench.spec(BETA), 2)
    owns = bench.runtime.owns
    assert await owns(ALPHA, RunId(1), mine)
    assert await owns(BETA, RunId(2), other)
    assert not await owns(ALPHA, RunId(1), other)
    assert not await owns(ALPHA, RunId(2), other)
    assert not await owns(ALPHA, RunId(1), Endpoint("127.0.0.1", 1))


async def check_deaf_run_is_ended(bench: Bench) -> None:
    """A run that ignores the polite signal is ended by force after its grace, and not before."""
    spec = bench.spec(behaviour=Behaviour(ignores_term=True))
    await start(bench, spec)
    asked_at = trio.current_time()
    await bench.runtime.stop(ALPHA, RunId(1), 1.0)
    assert 0.99 < trio.current_time() - asked_at < PATIENCE_S / 2  # not 1.0: they are floats
    report = await bench.runtime.wait_gone(spec, RunId(1))
    assert report.exit_code in (-9, 137)
    assert report.cause.kind == "stopped"


async def check_kill(bench: Bench) -> None:
    """A killed run is gone at once."""
    spec = bench.spec(behaviour=Behaviour(ignores_term=True))
    endpoint = await start(bench, spec)
    with trio.fail_after(PATIENCE_S / 2):
        await bench.runtime.kill(ALPHA, RunId(1))
    assert not await bench.answers(endpoint)
    assert (await bench.runtime.wait_gone(spec, RunId(1))).exit_code in (-9, 137)


async def check_runs_that_never_were(bench: Bench) -> None:
    """Whatever is asked of a run that never came to be does nothing and does not fail."""
    runtime = bench.runtime
    await runtime.kill(ALPHA, RunId(7))
    await runtime.stop(ALPHA, RunId(7), PATIENCE_S)
    assert not await runtime.owns(ALPHA, RunId(7), Endpoint("127.0.0.1", 1))
    assert await runtime.facts(ALPHA, RunId(7)) is None
    assert [line async for line in runtime.log_lines(ALPHA, RunId(7), tail=5, follow=True)] == []
    with trio.fail_after(PATIENCE_S):
        assert (await runtime.wait_gone(bench.spec(), RunId(7))).exit_code is None
    await runtime.forget(ALPHA, RunId(7))
    assert list(await runtime.found()) == []


async def check_end_by_itself(bench: Bench) -> None:
    """A run that ends by itself leaves its exit code and its last words."""
    spec = bench.spec(behaviour=Behaviour(load_s=0.1, exit_code=3))
    await bench.runtime.start(spec, RunId(1), PLACEMENT)
    with trio.fail_after(PATIENCE_S):
        report = await bench.runtime.wait_gone(spec, RunId(1))
    assert (report.cause.kind, report.cause.heals) == ("exit", True)
    assert (report.exit_code, report.oom_killed) == (3, False)
    assert "exit code 3" in report.cause.message
    assert "loading failed" in report.log_tail[-1]


async def check_end_before_start_returns(bench: Bench) -> None:
    """A run that ends at once is no fault of `start`: it is told as every other end."""
    spec = bench.spec(behaviour=Behaviour(exit_code=4))
    endpoint = await bench.runtime.start(spec, RunId(1), PLACEMENT)
    with trio.fail_after(PATIENCE_S):
        report = await bench.runtime.wait_gone(spec, RunId(1))
    assert report.exit_code == 4
    assert not await bench.runtime.owns(ALPHA, RunId(1), endpoint)


async def check_cause_from_log(bench: Bench) -> None:
    """The log tells why: by the general patterns, and before them by the service's own."""
    behaviour = Behaviour(load_s=0.1, out_of_gpu=True)
    spec = bench.spec(ALPHA, behaviour)
    await bench.runtime.start(spec, RunId(1), PLACEMENT)
    own = FailurePattern("own", "cudaMalloc failed", heals=False, advice="Buy a larger one.")
    spec_of_own = bench.spec(BETA, behaviour, failures=(own,))
    await bench.runtime.start(spec_of_own, RunId(2), PLACEMENT)
    with trio.fail_after(PATIENCE_S):
        report = await bench.runtime.wait_gone(spec, RunId(1))
        report_of_own = await bench.runtime.wait_gone(spec_of_own, RunId(2))
    assert (report.cause.kind, report.cause.heals) == (GPU_FULL, True)
    assert (report_of_own.cause.kind, report_of_own.cause.heals) == ("own", False)
    assert "Buy a larger one." in report_of_own.cause.message


async def check_crash(bench: Bench) -> None:
    """A crash in service is noticed at once, by whoever waits."""
    spec = bench.spec()
    endpoint = await start(bench, spec)
    reports = []

    async def wait() -> None:
        reports.append(await bench.runtime.wait_gone(spec, RunId(1)))

    with trio.fail_after(PATIENCE_S):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await bench.crash(endpoint)
    assert reports[0].exit_code in (-11, 139)
    assert reports[0].cause.kind == "exit"
    assert "SIGSEGV" in reports[0].cause.message


async def check_adoption(bench: Bench) -> None:
    """A later life of the daemon finds what lives, and watches and ends it as its own."""
    spec = bench.spec()
    endpoint = await start(bench, spec, 5)
    runtime = bench.reborn()
    (found,) = await runtime.found()
    assert (found.service, found.run, found.alive) == (ALPHA, RunId(5), True)
    assert (found.fingerprint, found.placement) == (spec.fingerprint, PLACEMENT)
    assert found.endpoint == endpoint
    assert await runtime.owns(ALPHA, RunId(5), endpoint)
    assert await runtime.facts(ALPHA, RunId(5)) is not None
    with trio.fail_after(PATIENCE_S):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(runtime.wait_gone, spec, RunId(5))
            await runtime.stop(ALPHA, RunId(5), PATIENCE_S)
    assert not await bench.answers(endpoint)
    await runtime.forget(ALPHA, RunId(5))
    assert list(await runtime.found()) == []


async def check_dead_leftovers(bench: Bench) -> None:
    """What died while no daemon looked is found as dead, and can be forgotten."""
    spec = bench.spec()
    endpoint = await start(bench, spec, 6)
    await bench.crash(endpoint)
    await bench.runtime.wait_gone(spec, RunId(6))
    runtime = bench.reborn()
    (found,) = await runtime.found()
    assert (found.run, found.alive, found.endpoint) == (RunId(6), False, None)
    await runtime.forget(ALPHA, RunId(6))
    assert list(await runtime.found()) == []


async def check_forget_keeps_last_log(bench: Bench) -> None:
    """Of a forgotten run the log remains, for people who ask later."""
    spec = bench.spec()
    await start(bench, spec)
    await bench.runtime.stop(ALPHA, RunId(1), PATIENCE_S)
    await bench.runtime.wait_gone(spec, RunId(1))
    await bench.runtime.forget(ALPHA, RunId(1))
    assert list(await bench.runtime.found()) == []
    lines = [line async for line in bench.runtime.log_lines(ALPHA, RunId(1), tail=9, follow=True)]
    assert any("loading model" in line for line in lines)


async def check_log_tail(bench: Bench) -> None:
    """The tail of a log is its last lines, no more than asked for."""
    endpoint = await start(bench, bench.spec())
    for word in ("apple", "pear", "plum"):
        await bench.say(endpoint, word)

    async def tail(count: int) -> list[str]:
        lines = bench.runtime.log_lines(ALPHA, RunId(1), tail=count, follow=False)
        return [line async for line in lines]

    async def is_there() -> bool:
        return any("plum" in line for line in await tail(9))

    await eventually(is_there)
    last = await tail(2)
    assert ["pear" in last[0], "plum" in last[1]] == [True, True]
    assert await tail(0) == []


async def check_log_follow(bench: Bench) -> None:
    """A followed log tells new lines as they come, and ends with the run."""
    endpoint = await start(bench, bench.spec())
    lines = bench.runtime.log_lines(ALPHA, RunId(1), tail=0, follow=True)
    with trio.fail_after(PATIENCE_S):
        async with trio.open_nursery() as nursery, _open(lines):
            nursery.start_soon(_say_until, bench, endpoint, "melon", scope := trio.CancelScope())
            assert "melon" in await anext(lines)
            scope.cancel()
            await bench.runtime.stop(ALPHA, RunId(1), PATIENCE_S)
            rest = [line async for line in lines]
    assert [line for line in rest if "melon" not in line and "ending" not in line] == []


async def _say_until(bench: Bench, endpoint: Endpoint, word: str, scope: trio.CancelScope) -> None:
    """Say it again and again: the follower may begin at any time."""
    with scope:
        while True:
            await bench.say(endpoint, word)
            await trio.sleep(POLL_S)


@contextlib.asynccontextmanager
async def _open(lines: AsyncIterator[str]) -> AsyncIterator[None]:
    try:
        yield
    finally:
        close = getattr(lines, "aclose", None)
        if close is not None:
            await close()


async def check_cancelled_start(bench: Bench) -> None:
    """Wherever a start is cancelled, nothing is left of it after `kill` and `forget`."""
    for run, cancel_s in enumerate((0.0, 0.001, 0.003, 0.01, 0.03, 0.1), start=1):
        with trio.move_on_after(cancel_s):
            await bench.runtime.start(bench.spec(), RunId(run), PLACEMENT)
        await bench.runtime.kill(ALPHA, RunId(run))
        await bench.runtime.forget(ALPHA, RunId(run))
        assert list(await bench.reborn().found()) == []


async def check_concurrent_starts(bench: Bench) -> None:
    """Runs that start at the same time do not get in each other's way."""
    endpoints: dict[int, Endpoint] = {}

    async def start_one(number: int) -> None:
        endpoints[number] = await start(bench, bench.spec(ServiceId(f"s{number}")), number)

    with trio.fail_after(PATIENCE_S):
        async with trio.open_nursery() as nursery:
            for number in range(1, 5):
                nursery.start_soon(start_one, number)
    assert len(set(endpoints.values())) == 4
    for number, endpoint in endpoints.items():
        assert await bench.runtime.owns(ServiceId(f"s{number}"), RunId(number), endpoint)


async def check_missing_program(bench: Bench) -> None:
    """What is not there cannot be started, and trying again does not help."""
    try:
        await bench.runtime.start(bench.spec_of_nothing(), RunId(1), PLACEMENT)
    except RuntimeFault as fault:
        cause = fault.cause
    else:
        raise AssertionError("it started what does not exist")
    assert cause.kind in ("image_missing", "binary_missing")
    assert not cause.heals
    assert "nothing-here" in cause.message
    assert list(await bench.runtime.found()) == []


async def check_facts(bench: Bench) -> None:
    """The facts speak of a living run, and only of that."""
    endpoint = await start(bench, bench.spec())
    facts = await bench.runtime.facts(ALPHA, RunId(1))
    assert facts is not None
    assert facts.memory is not None
    assert 0 < facts.memory < 1 << 30
    assert any(f"{endpoint.host}:{endpoint.port}" in port for port in facts.ports)
    (found,) = await bench.runtime.found()
    assert facts.started_at is not None
    assert abs(facts.started_at - found.started_at) < 0.1
    await bench.runtime.kill(ALPHA, RunId(1))
    assert await bench.runtime.facts(ALPHA, RunId(1)) is None


async def check_processes_are_known(bench: Bench) -> None:
    """A process is known as that of its run while it lives; a stranger's never is."""
    pids = {}
    for number, service in enumerate((ALPHA, BETA), 1):
        await start(bench, bench.spec(service), number)
        facts = await bench.runtime.facts(service, RunId(number))
        assert facts is not None
        assert facts.pid is not None
        pids[facts.pid] = RunId(number)
    asked = [*pids, os.getpid(), os.getppid(), 1]
    assert await bench.runtime.whose(asked) == pids
    assert await bench.reborn().whose(asked) == pids
    assert await bench.runtime.whose([]) == {}
    await bench.runtime.kill(ALPHA, RunId(1))
    assert set((await bench.runtime.whose(asked)).values()) == {RunId(2)}


async def check_is_reachable(bench: Bench) -> None:
    """A runtime that is there says what it is, and `watch` tells so first of all."""
    assert await bench.runtime.check()
    told: list[bool] = []
    with trio.move_on_after(PATIENCE_S):
        async with trio.open_nursery() as nursery:

            def changed(ok: bool, message: str) -> None:
                assert message
                told.append(ok)
                nursery.cancel_scope.cancel()

            nursery.start_soon(bench.runtime.watch, changed)
    assert told == [True]


Check = Callable[[Bench], Awaitable[None]]
CHECKS: tuple[Check, ...] = tuple(
    check for name, check in sorted(globals().items()) if name.startswith("check_")
)


def check_name(check: Check) -> str:
    """Return what a check is about, for the id of a test."""
    return check.__name__.removeprefix("check_")


def run_check(check: Check, make: Callable[[], Bench]) -> None:
    """Run a check on a bench of its own, and clean up after it.

    Raises:
        AssertionError: the contract is not kept.
    """

    async def run() -> None:
        bench = make()
        async with cleaned(bench):
            await check(bench)

    trio.run(run)
