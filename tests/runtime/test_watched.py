"""A runtime of another package breaks nothing but the services that it runs."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock

from proxycore import Cause, RunId, ServiceId, State
from proxyserver.contract import CHECKS, Check, ProcessBench, check_name, run_check
from proxyserver.refused import Refused
from proxyserver.runtime import (
    Endpoint,
    LaunchSpec,
    ProcessRuntime,
    ProcessSpec,
    RuntimeFault,
    RuntimeUnreachable,
    WatchedRuntime,
)
from tests.conductor.rig import CHAT, CODER, conducting, service
from tests.rig.fake_runtime import FakeMachine, FakeRuntime, Script

RUN = RunId(1)
SPEC = LaunchSpec(CHAT, ProcessSpec(("true",)))


@attrs.define
class Broken(FakeRuntime):
    """A runtime some of whose methods do what the test says."""

    machine: FakeMachine
    instead: dict[str, Callable[..., Any]] = attrs.field(factory=dict)

    def __getattribute__(self, name: str) -> Any:
        instead = object.__getattribute__(self, "instead")
        return instead.get(name) or object.__getattribute__(self, name)


async def raises(*args: object, **more: object) -> None:
    raise ZeroDivisionError("not today")


async def returns_rubbish(*args: object, **more: object) -> object:
    return "rubbish"


def watched(machine: FakeMachine, **instead: Callable[..., Any]) -> WatchedRuntime:
    return WatchedRuntime("theirs", lambda: Broken(machine, instead))


@pytest.mark.slow
@pytest.mark.parametrize("check", CHECKS, ids=check_name)
def test_a_sound_one_keeps_the_contract(check: Check, tmp_path: Path) -> None:
    """Watching changes nothing."""

    def make() -> WatchedRuntime:
        return WatchedRuntime(
            "theirs", lambda: ProcessRuntime(instance=str(tmp_path), state_dir=tmp_path)
        )

    run_check(check, lambda: ProcessBench(make))


@pytest.mark.parametrize("instead", [raises, returns_rubbish])
async def test_what_it_raises_is_a_fault(
    instead: Callable[..., Any], autojump_clock: MockClock
) -> None:
    """Whatever it is, with the name of the runtime and of what it was asked for."""
    names = ("start", "owns", "facts", "whose", "found")
    it = watched(FakeMachine(), **dict.fromkeys(names, instead))
    endpoint = Endpoint("127.0.0.1", 1)
    for name, call in (
        ("start", lambda: it.start(SPEC, RUN, None)),  # type: ignore[arg-type]
        ("owns", lambda: it.owns(CHAT, RUN, endpoint)),
        ("facts", lambda: it.facts(CHAT, RUN)),
        ("whose", lambda: it.whose([1])),
        ("found", it.found),
    ):
        with pytest.raises(RuntimeFault, match=f"'theirs' is broken: {name}") as caught:
            await call()
        assert caught.value.cause.kind == "runtime_broken"
        assert isinstance(caught.value, RuntimeUnreachable) == (name == "found")


@pytest.mark.parametrize("instead", [raises, returns_rubbish])
async def test_the_watch_of_it_never_ends(
    instead: Callable[..., Any], autojump_clock: MockClock
) -> None:
    """One that breaks off tells so, and from then on losses show where the runtime is used."""
    told: list[bool] = []
    with trio.move_on_after(1000.0) as scope:
        await watched(FakeMachine(), watch=instead).watch(lambda ok, why: told.append(ok))
    assert scope.cancelled_caught
    assert told == ([False] if instead is raises else [])


async def test_its_own_faults_pass(autojump_clock: MockClock) -> None:
    """They are what the contract says."""

    async def away(*args: object) -> str:
        raise RuntimeUnreachable(Cause("engine_unreachable", "it is away"))

    it = watched(FakeMachine(), check=away)
    with pytest.raises(RuntimeUnreachable, match=r"^it is away$"):
        await it.check()


async def test_a_fault_beside_a_cancellation_does_not_get_out(autojump_clock: MockClock) -> None:
    """A runtime with tasks of its own may fail while it is cancelled."""

    async def both(*args: object) -> str:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            try:
                await trio.sleep_forever()
            finally:
                raise ZeroDivisionError("while it is cancelled")

    it = watched(FakeMachine(), check=both)
    with trio.move_on_after(1.0) as scope:
        await it.check()
    assert scope.cancelled_caught


async def test_a_run_that_nobody_can_watch_is_ended(autojump_clock: MockClock) -> None:
    """It would be taken for gone while it lives."""
    machine = FakeMachine()
    it = watched(machine, wait_gone=raises)
    await it.start(SPEC, RUN, None)  # type: ignore[arg-type]
    report = await it.wait_gone(SPEC, RUN)
    assert report.cause.kind == "runtime_broken"
    assert not machine.lives[CHAT, RUN].alive


async def test_a_log_that_breaks_off_has_ended(autojump_clock: MockClock) -> None:
    """What came before is told."""

    async def lines(*args: object, **more: object) -> AsyncIterator[str]:
        yield "one\x1b[31m"
        raise ZeroDivisionError

    it = watched(FakeMachine(), log_lines=lines)
    assert [line async for line in it.log_lines(CHAT, RUN, tail=9, follow=True)] == ["one"]


async def test_one_that_cannot_be_made_is_as_out_of_reach(autojump_clock: MockClock) -> None:
    """Its services are refused with the reason, others serve; once it can be made, all is well."""
    machine = FakeMachine({CHAT: Script(ready_s=1.0), CODER: Script(ready_s=1.0)})
    works = False

    def make() -> FakeRuntime:
        if not works:
            raise ZeroDivisionError("not today")
        return FakeRuntime(machine)

    theirs = attrs.evolve(service(CHAT), runtime="theirs")
    more = {"theirs": WatchedRuntime("theirs", make)}
    async with conducting(machine=machine, services=(theirs, service(CODER)), more=more) as rig:
        with pytest.raises(Refused, match=r"'theirs' is broken: it cannot be made.*not today"):
            async with rig.conductor.slot(CHAT):
                pass
        assert rig.conductor.runtimes()["theirs"].ok is False
        async with rig.conductor.slot(CODER):
            pass
        works = True
        await trio.sleep(5.0)
        async with rig.conductor.slot(CHAT):
            pass
        assert rig.state(CHAT) is State.READY


def at_once(*args: object, **more: object) -> str:
    raise ZeroDivisionError


BREAKS = [
    *((name, raises) for name in ("watch", "owns", "facts", "whose", "forget")),
    *((name, returns_rubbish) for name in ("watch", "owns", "facts", "whose", "forget")),
    ("log_lines", at_once),
    ("log_lines", lambda *args, **more: "rubbish"),
]


@pytest.mark.parametrize(("name", "instead"), BREAKS)
async def test_no_broken_method_ends_the_conductor(
    name: str, instead: Callable[..., Any], autojump_clock: MockClock
) -> None:
    """Whatever becomes of its service, another goes on."""
    machine = FakeMachine({CHAT: Script(ready_s=1.0), CODER: Script(ready_s=1.0)})
    theirs = attrs.evolve(service(CHAT), runtime="theirs")
    more = {"theirs": watched(machine, **{name: instead})}
    async with conducting(machine=machine, services=(theirs, service(CODER)), more=more) as rig:
        await use(rig.conductor.slot, CHAT)
        await rig.conductor.facts(CHAT)
        await rig.conductor.stop(CHAT)
        await trio.sleep(10.0)
        async with rig.conductor.slot(CODER):
            pass


async def use(slot: Callable[..., Any], name: ServiceId) -> None:
    """Try to get a place."""
    try:
        async with slot(name, wait_s=20.0):
            pass
    except Refused:
        return
