"""What the core decided is remembered, found again, and bounded."""

from itertools import product

import pytest

from proxycore import (
    Cause,
    Core,
    CoreConfig,
    DeviceId,
    DeviceSpec,
    Placement,
    RequestFinished,
    RunGone,
    RunId,
    RunReady,
    ServiceId,
    ServiceSpec,
    StartRequested,
    State,
    StopRequested,
    Tick,
    TicketId,
    Unit,
)
from proxyserver.decisions import Decision, Decisions, Kind
from proxyserver.decisions._decision import kind_of
from proxyserver.decisions._words import step

from .playing import GPU0, NOON, Played, arrived, service

CHAT, CODER = ServiceId("chat"), ServiceId("coder")
ENDED = Cause("exit", "exit code 0")


@pytest.fixture
def played() -> Played:
    """Chat wants the room of coder, which serves; then it gets it."""
    played = Played(service("coder", 16), service("chat", 14))
    played.tell(0.0, arrived(1, "coder", 0.0))
    played.tell(20.0, RunReady(CODER, RunId(1)))
    played.tell(30.0, arrived(2, "chat", 30.0))
    played.tell(35.0, RequestFinished(TicketId(1)))
    played.tell(37.0, RunGone(CODER, RunId(1), ENDED))
    played.tell(40.0, RunReady(CHAT, RunId(2)))
    return played


def test_all_is_told_in_order(played: Played) -> None:
    """Numbered from 1, the newest last."""
    assert played.kinds() == [
        "reserve coder",
        "start coder",
        "wait coder",
        "ready coder",
        "admit coder",
        "wait chat",
        "evict chat",
        "stop coder",
        "reserve chat",
        "down coder",
        "start chat",
        "ready chat",
        "admit chat",
    ]
    assert [one.number for one in played.decisions.find()] == list(range(1, 14))


def test_what_makes_a_service_leave_is_about_it(played: Played) -> None:
    assert "evict chat" in played.kinds(service=CODER)
    assert "wait chat" not in played.kinds(service=CODER)


def test_a_request_is_found_by_its_id(played: Played) -> None:
    """And by its ticket."""
    assert played.kinds(request="r2") == ["wait chat", "admit chat"]
    assert played.kinds(ticket=TicketId(2)) == played.kinds(request="r2")
    assert played.kinds(request="r3") == []


def test_the_last_of_a_kind(played: Played) -> None:
    """A limit leaves out the oldest."""
    assert played.kinds(kind=Kind.READY) == ["ready coder", "ready chat"]
    assert played.kinds(kind=Kind.READY, limit=1) == ["ready chat"]


def test_an_eviction_has_all_figures(played: Played) -> None:
    """Points in time are Unix time."""
    [evicted] = played.decisions.find(kind=Kind.EVICT)
    assert (evicted.at, evicted.number, evicted.service) == (NOON + 35.0, 7, CHAT)
    told = evicted.as_json()
    [candidate] = told.pop("candidates")
    assert told["need"] == {GPU0: 14 << 30}
    assert told["free"] == {GPU0: 8 << 30}
    assert told["policy"] == "cost_rate"
    assert told["patient_until"] == pytest.approx(NOON + 30.0 + 40.0)
    assert (candidate["service"], candidate["run"], candidate["fate"]) == (CODER, 1, "leaves")
    assert candidate["value"] > 0


def test_what_has_no_room_in_it_has_the_same_keys(played: Played) -> None:
    """A program need not ask whether a key is there."""
    assert len({tuple(one.as_json()) for one in played.decisions.find()}) == 1


def test_a_request_that_is_admitted_at_once_leaves_nothing(played: Played) -> None:
    before = played.decisions.find()
    played.tell(41.0, arrived(3, "chat", 41.0), RequestFinished(TicketId(3)))
    assert played.decisions.find() == before


def test_who_leaves_while_waiting_is_told_of() -> None:
    """Once, and only if it waited."""
    played = Played(service("chat", 14))
    played.tell(0.0, arrived(1, "chat", 0.0))
    played.decisions.left(TicketId(1), 3.0)
    played.decisions.left(TicketId(1), 4.0)
    played.decisions.left(TicketId(2), 4.0)
    assert played.kinds()[-2:] == ["wait chat", "leave chat"]
    assert played.decisions.find()[-1].waited_s == 3.0


def test_a_start_by_hand_is_told_of() -> None:
    """It waits and is admitted as a request is."""
    played = Played(service("chat", 14))
    played.tell(0.0, StartRequested(TicketId(1), CHAT, 600.0))
    played.tell(5.0, RunReady(CHAT, RunId(1)))
    assert played.kinds(ticket=TicketId(1)) == ["wait chat", "admit chat"]


def test_a_refusal_has_its_reason() -> None:
    """And how long it was waited for, with what was missing."""
    played = Played(service("coder", 16), service("chat", 14))
    played.tell(0.0, arrived(1, "coder", 0.0))
    played.tell(1.0, arrived(2, "chat", 1.0, wait_s=5.0))
    played.tell(6.0, Tick())
    [refused] = played.decisions.find(kind=Kind.REFUSE)
    assert (refused.reason, refused.waited_s) == ("queue_timeout", 5.0)
    assert refused.room is not None
    assert [one.fate for one in refused.room.candidates] == ["loads"]


def test_a_crowd_of_waiters_pushes_out_no_eviction() -> None:
    """Requests and services have a limit each."""
    played = Played(service("coder", 16), service("chat", 14), decisions_max=8)
    played.tell(0.0, arrived(1, "coder", 0.0), RunReady(CODER, RunId(1)))
    played.tell(1.0, RequestFinished(TicketId(1)), arrived(2, "chat", 1.0))
    for ticket in range(3, 50):
        played.tell(1.0, arrived(ticket, "chat", 1.0))
    kinds = played.kinds()
    assert len(kinds) == 8 + 6
    assert "evict chat" in kinds
    assert kinds[-8:] == ["wait chat"] * 8


def test_every_step_has_a_kind_and_words() -> None:
    """Whatever the table allows."""
    for old, new in product(State, State):
        assert "chat" in step(kind_of(old, new), CHAT, "because")


def test_a_stop_by_hand_says_so(played: Played) -> None:
    played.tell(50.0, StopRequested(CHAT, force=True))
    *_, stopped = played.decisions.find(service=CHAT)
    assert stopped == Decision(
        14,
        NOON + 50.0,
        Kind.STOP,
        CHAT,
        "chat is stopped: stopped by hand",
        run=RunId(2),
    )


def test_places_for_models_are_no_bytes() -> None:
    """A server that holds one model at once is told of in words; figures are bytes alone."""
    places = DeviceId("router:models")
    config = CoreConfig(
        (DeviceSpec(GPU0, 24 << 30, 0), DeviceSpec(places, 1, 0, unit=Unit.MODELS)),
        tuple(
            ServiceSpec(name, (Placement.of([(GPU0, 5 << 30), (places, 1)]),))
            for name in (CHAT, CODER)
        ),
    )
    core, decisions = Core(config, now=0.0), Decisions("lru", counted=[places])
    for event in (arrived(1, "coder", 0.0), RunReady(CODER, RunId(1)), arrived(2, "chat", 0.0)):
        decisions.note(core.handle(event, 0.0), 0.0, lambda _: None)
    wait = decisions.find()[-1].as_json()
    assert "a place in its host" in wait["why"]
    assert (wait["need"], wait["candidates"][0]["claim"]) == ({GPU0: 5 << 30}, {GPU0: 5 << 30})
