"""What the conductor owes to those who call it, with runs that a test scripts."""

from functools import partial
from pathlib import Path

import attrs
import pytest
import trio
from trio.testing import MockClock

from proxycore import Reason, ServiceId, State, journal
from proxyserver.decisions import Kind
from proxyserver.journal_file import JournalFile
from proxyserver.refused import Refused
from tests.conductor.rig import CHAT, CODER, Rig, conducting, service
from tests.rig.fake_runtime import FakeMachine, Script


async def use(rig: Rig, name: ServiceId, for_s: float = 1.0) -> int:
    """Hold a place for a while; return the run that gave it."""
    async with rig.conductor.slot(name) as slot:
        await trio.sleep(for_s)
        return slot.run


def read_segments(folder: Path) -> dict[str, list[str]]:
    """Return the lines of each journal file."""
    return {path.name: path.read_text().splitlines(keepends=True) for path in folder.iterdir()}


async def test_starts_on_demand_and_stops_when_idle(autojump_clock: MockClock) -> None:
    async with conducting({CHAT: Script(ready_s=12.0)}) as rig:
        began_at = trio.current_time()
        async with rig.conductor.slot(CHAT) as slot:
            assert trio.current_time() - began_at == pytest.approx(12.0, abs=0.6)
            assert slot.connections.endpoint == rig.machine.lives[CHAT, slot.run].endpoint
        await trio.sleep(299.0)
        assert rig.state(CHAT) is State.READY
        await trio.sleep(2.0)
        assert rig.state(CHAT) is State.DOWN
        assert rig.machine.calls == [("start", CHAT, 1), ("stop", CHAT, 1), ("forget", CHAT, 1)]


async def test_all_who_wait_share_one_load(autojump_clock: MockClock) -> None:
    async with conducting({CHAT: Script(ready_s=5.0)}) as rig, trio.open_nursery() as nursery:
        for _ in range(8):
            nursery.start_soon(use, rig, CHAT)
    assert [call for call in rig.machine.calls if call[0] == "start"] == [("start", CHAT, 1)]


async def test_room_is_made_by_an_idle_service(autojump_clock: MockClock) -> None:
    async with conducting({CHAT: Script(ready_s=2.0), CODER: Script(ready_s=3.0)}) as rig:
        await use(rig, CODER)
        await use(rig, CHAT)
        calls = [call for call in rig.machine.calls if call[0] != "forget"]
        assert calls == [("start", CODER, 1), ("stop", CODER, 1), ("start", CHAT, 2)]
        assert rig.state(CODER) is State.DOWN


async def test_connections_break_before_a_run_is_asked_to_stop(autojump_clock: MockClock) -> None:
    script = Script(term_s=5.0)
    async with (
        conducting({CHAT: script}) as rig,
        rig.conductor.slot(CHAT) as slot,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(partial(rig.conductor.stop, CHAT, force=True))
        await trio.sleep(1.0)
        assert slot.connections.closed_at is not None
        assert rig.state(CHAT) is State.STOPPING


async def test_a_load_goes_on_for_those_who_still_wait(autojump_clock: MockClock) -> None:
    async with conducting({CHAT: Script(ready_s=10.0)}) as rig, trio.open_nursery() as nursery:
        with trio.move_on_after(4.0) as impatient:
            nursery.start_soon(use, rig, CHAT)
            await use(rig, CHAT)
        assert impatient.cancelled_caught
        assert rig.state(CHAT) is State.STARTING
        assert rig.conductor.view().service(CHAT).waiting == 1


async def test_a_load_that_nobody_wants_makes_room(autojump_clock: MockClock) -> None:
    async with conducting({CHAT: Script(ready_s=100.0)}) as rig:
        with trio.move_on_after(1.0):
            await use(rig, CHAT)
        assert rig.state(CHAT) is State.STARTING
        await use(rig, CODER)
        assert rig.state(CHAT) is State.DOWN


async def test_the_wait_is_bounded(autojump_clock: MockClock) -> None:
    async with conducting({CHAT: Script(ready_s=100.0)}) as rig:
        began_at = trio.current_time()
        with pytest.raises(Refused) as caught:
            async with rig.conductor.slot(CHAT, wait_s=7.0):
                raise AssertionError
        assert caught.value.reason is Reason.QUEUE_TIMEOUT
        assert trio.current_time() - began_at == pytest.approx(7.0)


async def test_a_failed_start_tells_its_cause_and_backs_off(autojump_clock: MockClock) -> None:
    script = Script(ready_s=5.0, exit_s=1.0, exit_code=3, log=((0.5, "no such model"),))
    async with conducting({CHAT: script}) as rig:
        with pytest.raises(Refused, match="no such model") as caught:
            await use(rig, CHAT)
        assert caught.value.reason is Reason.SERVICE_FAILED
        assert caught.value.retry_after_s == 10.0
        report = rig.conductor.report(CHAT)
        assert report is not None
        assert (report.exit_code, report.log_tail) == (3, ("no such model",))
        with pytest.raises(Refused):
            await use(rig, CHAT)
        assert len([call for call in rig.machine.calls if call[0] == "start"]) == 1
        rig.machine.scripts[CHAT] = Script()
        await trio.sleep(10.1)
        assert await use(rig, CHAT) == 2


async def test_who_waits_gets_a_new_run_after_the_first_crash(autojump_clock: MockClock) -> None:
    one_at_a_time = (service(CHAT, concurrent_max=1),)
    async with (
        conducting(services=one_at_a_time) as rig,
        rig.conductor.slot(CHAT) as first,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(use, rig, CHAT)
        await trio.sleep(1.0)
        rig.machine.end(CHAT)
        await trio.sleep(1.0)
        assert first.connections.closed_at is not None
        assert rig.conductor.view().service(CHAT).run == 2


async def test_a_start_with_no_sign_of_life_is_given_up(autojump_clock: MockClock) -> None:
    patient = (service(CHAT, start_s=30.0, start_max_s=100.0),)
    silent = Script(ready_s=1e6)
    async with conducting({CHAT: silent}, services=patient) as rig:
        began_at = trio.current_time()
        with pytest.raises(Refused) as caught:
            await use(rig, CHAT)
        assert caught.value.reason is Reason.START_TIMEOUT
        assert trio.current_time() - began_at == pytest.approx(30.0)


async def test_signs_of_life_extend_a_start_but_not_for_ever(autojump_clock: MockClock) -> None:
    patient = (service(CHAT, start_s=30.0, start_max_s=100.0),)
    lively = Script(ready_s=1e6, log=tuple((float(n), f"layer {n}") for n in range(0, 200, 20)))
    async with conducting({CHAT: lively}, services=patient) as rig:
        began_at = trio.current_time()
        with pytest.raises(Refused) as caught:
            await use(rig, CHAT)
        assert caught.value.reason is Reason.START_TIMEOUT
        assert trio.current_time() - began_at == pytest.approx(100.0)


async def test_a_run_that_stops_answering_is_replaced(autojump_clock: MockClock) -> None:
    async with conducting() as rig:
        await use(rig, CHAT)
        rig.judge.stuck.set()
        await trio.sleep(1.0)
        assert rig.states(CHAT)[-2:] == [State.STOPPING, State.DOWN]


async def test_a_stop_before_the_start_has_begun_leaves_nothing(autojump_clock: MockClock) -> None:
    async with conducting({CHAT: Script(start_s=5.0, ready_s=5.0)}) as rig:

        async def start() -> None:
            with pytest.raises(Refused) as caught:
                await rig.conductor.start(CHAT)
            assert caught.value.reason is Reason.STOPPED

        async with trio.open_nursery() as nursery:
            nursery.start_soon(start)
            await trio.sleep(1.0)
            await rig.conductor.stop(CHAT)
        assert rig.state(CHAT) is State.DOWN
        assert not rig.machine.lives


async def test_a_start_by_hand_goes_on_without_its_caller(autojump_clock: MockClock) -> None:
    async with conducting({CHAT: Script(ready_s=5.0)}) as rig:
        with trio.move_on_after(1.0):
            await rig.conductor.start(CHAT)
        await trio.sleep(10.0)
        assert rig.state(CHAT) is State.READY


async def test_a_restart_gives_a_fresh_run(autojump_clock: MockClock) -> None:
    async with conducting() as rig:
        assert await rig.conductor.start(CHAT) == 1
        assert await rig.conductor.start(CHAT) == 1
        assert await rig.conductor.start(CHAT, restart=True) == 2


async def test_shutdown_lets_streams_finish_and_refuses_the_rest(
    autojump_clock: MockClock,
) -> None:
    async with conducting({CHAT: Script(ready_s=1.0)}) as rig:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(use, rig, CHAT, 5.0)
            await trio.sleep(2.0)
            began_at = trio.current_time()
            nursery.start_soon(rig.conductor.shutdown, 30.0)
            await trio.sleep(0.0)
            with pytest.raises(Refused) as caught:
                await use(rig, CODER)
            assert caught.value.reason is Reason.SHUTTING_DOWN
        assert trio.current_time() - began_at == pytest.approx(4.0, abs=1.1)
        assert rig.state(CHAT) is State.DOWN


async def test_shutdown_leaves_nothing(autojump_clock: MockClock) -> None:
    async with conducting({CHAT: Script(forget_s=0.5)}) as rig:
        await use(rig, CHAT)
        await rig.conductor.shutdown(1.0)
        assert rig.machine.lives == {}


async def test_a_run_may_be_gone_before_its_next_request_has_its_turn(
    autojump_clock: MockClock,
) -> None:
    """Whoever got a place has connections, if only broken ones."""
    one_at_a_time = (service(CHAT, concurrent_max=1), service(CODER))
    for steps in range(100):
        async with (
            conducting(services=one_at_a_time) as rig,
            trio.open_nursery() as nursery,
            rig.conductor.slot(CHAT),
        ):
            nursery.start_soon(use, rig, CHAT)
            await trio.sleep(0.1)
            rig.machine.end(CHAT)
            for _ in range(steps % 10):
                await trio.lowlevel.checkpoint()


async def test_a_lost_runtime_is_said_and_comes_back(autojump_clock: MockClock) -> None:
    async with conducting() as rig:
        rig.machine.lose("nobody at the socket")
        await trio.sleep(0.1)
        assert not rig.conductor.runtimes()["process"].ok
        with pytest.raises(Refused, match="nobody at the socket") as caught:
            await use(rig, CHAT)
        assert caught.value.reason is Reason.RUNTIME_LOST
        rig.machine.restore()
        await trio.sleep(2.0)
        assert await use(rig, CHAT) == 1
        assert rig.conductor.view().service(CHAT).failures == 0


async def test_the_daemon_starts_without_its_runtime(autojump_clock: MockClock) -> None:
    machine = FakeMachine()
    machine.lose("nobody at the socket")
    async with conducting(machine=machine) as rig:
        with pytest.raises(Refused, match="nobody at the socket"):
            await use(rig, CHAT)
        machine.restore()
        await trio.sleep(2.0)
        await use(rig, CHAT)


async def test_leftovers_are_known_by_more_than_their_number(autojump_clock: MockClock) -> None:
    """A life that could not ask the engine counts from 1 again, as the last one did."""
    engine = FakeMachine()
    async with conducting(machine=engine) as rig:
        assert await use(rig, CODER) == 1
    engine.lose()
    services = (service(CHAT), attrs.evolve(service(CODER), runtime="docker"))
    async with conducting(engine=engine, services=services) as rig:
        assert await use(rig, CHAT) == 1
        engine.restore()
        await trio.sleep(2.0)
        assert engine.lives == {}
        assert rig.state(CHAT) is State.READY


async def test_a_next_life_adopts_what_is_unchanged_and_well(autojump_clock: MockClock) -> None:
    machine = FakeMachine()
    async with conducting(machine=machine) as rig:
        assert await use(rig, CHAT) == 1
    async with conducting(machine=machine) as rig:
        assert rig.states(CHAT) == [State.READY]
        assert await use(rig, CHAT) == 1
        # And it is watched as if we had started it.
        machine.end(CHAT)
        await trio.sleep(1.0)
        assert rig.state(CHAT) is State.DOWN
        assert await use(rig, CHAT) == 2
    assert [call for call in machine.calls if call[0] == "start"] == [
        ("start", CHAT, 1),
        ("start", CHAT, 2),
    ]


async def test_a_next_life_removes_what_was_changed(autojump_clock: MockClock) -> None:
    machine = FakeMachine()
    async with conducting(machine=machine) as rig:
        await use(rig, CHAT)
    changed = (service(CHAT, fingerprint="2"), service(CODER))
    async with conducting(machine=machine, services=changed) as rig:
        assert rig.states(CHAT) == []
        assert not any(life.alive for life in machine.lives.values())
        assert await use(rig, CHAT) == 2


async def test_a_next_life_removes_what_does_not_answer(autojump_clock: MockClock) -> None:
    machine = FakeMachine({CHAT: Script(ready_s=1e6)})
    async with conducting(machine=machine) as rig:
        with trio.move_on_after(1.0):
            await use(rig, CHAT)
    async with conducting(machine=machine) as rig:
        assert rig.states(CHAT) == []
        assert not any(life.alive for life in machine.lives.values())


async def test_the_journal_replays_to_the_same_decisions(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    file = JournalFile(tmp_path)
    async with conducting({CODER: Script(ready_s=3.0)}, journal_file=file) as rig:
        await use(rig, CHAT)
        await use(rig, CODER)
        view = rig.conductor.view()
        facts = list(rig.facts)
    file.close()
    lines = read_segments(tmp_path)["journal.jsonl"]
    effects = [one for step in journal.replay(lines) for one in step.effects]
    assert [one for one in effects if one in facts] == facts
    assert view.service(CODER).state is State.READY


async def test_a_full_journal_goes_on_in_a_new_file(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    file = JournalFile(tmp_path, bytes_max=3000)
    async with conducting(journal_file=file) as rig:
        for _ in range(20):
            await use(rig, CHAT)
    file.close()
    segments = read_segments(tmp_path)
    assert sorted(segments) == ["journal.1.jsonl", "journal.jsonl"]
    for lines in segments.values():
        assert sum(map(len, lines)) < 4000
        assert sum(1 for _ in journal.replay(lines)) > 0


async def test_a_request_that_leaves_while_it_waits_is_remembered(
    autojump_clock: MockClock,
) -> None:
    """By its own id, with how long it had waited; who is admitted leaves nothing at its end."""
    async with conducting({CHAT: Script(ready_s=12.0)}) as rig:
        with trio.move_on_after(5.0):
            async with rig.conductor.slot(CHAT, request="mine"):
                raise AssertionError("it is not ready yet")
        async with rig.conductor.slot(CHAT, request="other"):
            pass
    told = [(one.kind, one.request, one.waited_s) for one in rig.decisions.find() if one.ticket]
    assert told == [
        (Kind.WAIT, "mine", None),
        (Kind.LEAVE, "mine", pytest.approx(5.0, abs=0.1)),
        (Kind.WAIT, "other", None),
        (Kind.ADMIT, "other", pytest.approx(7.0, abs=0.6)),
    ]
