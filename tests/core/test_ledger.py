"""Room and victims: the arithmetic, against the plainest way to do it."""

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxycore import DeviceId, DeviceSpec, Placement, ServiceId
from proxycore._ledger import Candidate, Room, cheapest_victims

GPU0, GPU1 = DeviceId("gpu0"), DeviceId("gpu1")


def candidate(
    name: str, value: float, gpu0: int = 0, gpu1: int = 0, *, sleeps: bool = False
) -> Candidate:
    placement = Placement.of([(GPU0, gpu0), (GPU1, gpu1)])
    return Candidate(ServiceId(name), placement, value, sleeps=sleeps)


def covers(short: dict[DeviceId, int], victims: tuple[Candidate, ...]) -> bool:
    room = Room({device: -amount for device, amount in {GPU0: 0, GPU1: 0, **short}.items()})
    for victim in victims:
        room.give(victim.placement)
    return all(amount >= 0 for amount in room.free.values())


def brute_force(
    short: dict[DeviceId, int], candidates: list[Candidate]
) -> tuple[Candidate, ...] | None:
    """Look at every set there is."""
    sets = [
        victims
        for size in range(len(candidates) + 1)
        for victims in combinations(sorted(candidates, key=lambda one: one.service), size)
        if covers(short, victims) and len({one.service for one in victims}) == size
    ]
    return min(
        sets,
        key=lambda victims: (
            sum(one.value for one in victims),
            len(victims),
            sorted((one.service, not one.sleeps) for one in victims),
        ),
        default=None,
    )


amounts = st.integers(0, 12)
rows = st.tuples(st.integers(0, 4), amounts, amounts)
# Whole values make ties common, and keep sums exact in any order.
candidate_lists = st.lists(rows, max_size=8).map(
    lambda drawn: [candidate(f"s{number}", *row) for number, row in enumerate(drawn)]
)


def ways_of(
    name: str, stops: tuple[int, int, int], sleeps: tuple[int, int, int] | None
) -> list[Candidate]:
    """Return the ways of one run; to sleep frees no more than to stop, at whatever cost."""
    ways = [candidate(name, *stops)]
    if sleeps is not None:
        value, gpu0, gpu1 = sleeps
        ways.append(candidate(name, value, min(gpu0, stops[1]), min(gpu1, stops[2]), sleeps=True))
    return ways


sleepers = st.lists(st.tuples(rows, st.none() | rows), max_size=5).map(
    lambda pairs: [one for n, pair in enumerate(pairs) for one in ways_of(f"s{n}", *pair)]
)
shortfalls = st.dictionaries(st.sampled_from([GPU0, GPU1]), st.integers(1, 40), min_size=1)


@given(shortfalls, candidate_lists)
def test_the_cheapest_set_is_found(short: dict[DeviceId, int], candidates: list[Candidate]) -> None:
    """As brute force finds it: the least value, then fewer, then the first by id."""
    assert cheapest_victims(short, candidates) == brute_force(short, candidates)


@given(shortfalls, sleepers)
def test_the_cheapest_ways_are_found(
    short: dict[DeviceId, int], candidates: list[Candidate]
) -> None:
    """Whoever leaves does so in one way, and of all ways together there are no cheaper ones."""
    assert cheapest_victims(short, candidates) == brute_force(short, candidates)


def test_a_host_takes_along_what_helps_nobody() -> None:
    """What lives in it ends with it, though it holds nothing where room is needed."""
    model = candidate("host/model", 1, gpu1=3)
    host = Candidate(ServiceId("host"), Placement.of([(GPU0, 8)]), 2, (model.service,))
    assert cheapest_victims({GPU0: 8}, [host, model]) == (host, model)
    assert cheapest_victims({GPU0: 9}, [host, model]) is None


def test_of_equals_one_sleeps() -> None:
    """Who may as well sleep is not stopped."""
    stops, sleeps = candidate("a", 1, gpu0=8), candidate("a", 1, gpu0=7, sleeps=True)
    assert cheapest_victims({GPU0: 7}, [stops, sleeps]) == (sleeps,)
    assert cheapest_victims({GPU0: 8}, [stops, sleeps]) == (stops,)


def test_of_equals_the_fewer_leave() -> None:
    """One big victim is better than two small ones of the same value together."""
    two = [candidate("a", 1, gpu0=4), candidate("b", 1, gpu0=4)]
    big = candidate("c", 2, gpu0=8)
    assert cheapest_victims({GPU0: 8}, [*two, big]) == (big,)


def test_of_equals_the_first_by_id_leaves() -> None:
    """What cannot be told apart by value is told apart by name, never by chance."""
    twins = [candidate("b", 1, gpu0=8), candidate("a", 1, gpu0=8)]
    assert cheapest_victims({GPU0: 8}, twins) == (twins[1],)


def test_nobody_leaves_in_vain() -> None:
    """If all together do not suffice, there are no victims."""
    assert cheapest_victims({GPU0: 9}, [candidate("a", 1, gpu0=8)]) is None


@pytest.mark.parametrize("need", [1, 17, 100, 250, 333])
def test_forty_candidates_leave_nobody_superfluous(need: int) -> None:
    """The search is bounded; what it did find by then still holds nobody who need not leave."""
    forty = [
        candidate(f"s{n:02}", 1 + n * 7 % 11 / 8, gpu0=1 + n * 5 % 17, gpu1=1) for n in range(40)
    ]
    short = {GPU0: need, GPU1: 3}
    victims = cheapest_victims(short, forty)
    assert victims is not None
    assert covers(short, victims)
    for victim in victims:
        assert not covers(short, tuple(one for one in victims if one is not victim))


@pytest.mark.parametrize(("gpu0", "gpu1", "value"), [(170, 5, 23.25), (170, 20, 19.25)])
def test_of_many_the_leavers_are_no_more_than_needed(gpu0: int, gpu1: int, value: float) -> None:
    """Nor fewer: of several who need not leave, each alone, not all may stay; the dearest does."""
    forty = [
        candidate(f"s{n:02}", 1 + n * 7 % 11 / 8, gpu0=1 + n * 5 % 17, gpu1=n % 6)
        for n in range(40)
    ]
    short = {GPU0: gpu0, GPU1: gpu1}
    victims = cheapest_victims(short, forty)
    assert victims is not None
    assert covers(short, victims)
    for victim in victims:
        assert not covers(short, tuple(one for one in victims if one is not victim))
    assert sum(one.value for one in victims) == value


def least_value(short: dict[DeviceId, int], candidates: list[Candidate]) -> float:
    """Return what the cheapest set costs that covers the shortfall, by dynamic programming.

    `best` has the least value for all that can be covered of it.
    """
    best: dict[tuple[int, ...], float] = {(0,) * len(short): 0.0}
    for one in candidates:
        for covered, value in list(best.items()):
            gained = tuple(
                min(amount, before + one.placement.on(device))
                for before, (device, amount) in zip(covered, short.items(), strict=True)
            )
            best[gained] = min(best.get(gained, float("inf")), value + one.value)
    return best[tuple(short.values())]


@pytest.mark.parametrize(
    ("step", "short"),
    [*((17, {GPU0: need}) for need in (30, 60, 90, 120, 150, 180)), (7, {GPU0: 120, GPU1: 24})],
)
def test_of_two_dozen_the_cheapest_are_found(step: int, short: dict[DeviceId, int]) -> None:
    """The bounds cut so much that the search ends long before its limit."""
    many = [
        candidate(f"s{n:02}", 4 + n * step % 29, gpu0=2 + n * 5 % 19, gpu1=n * 3 % 7)
        for n in range(24)
    ]
    victims = cheapest_victims(short, many)
    assert victims is not None
    assert sum(one.value for one in victims) == least_value(short, many)


def test_a_hopeless_search_is_given_up() -> None:
    """All bargains are equal and no sum is odd: to look at every set would take for ever."""
    even = [
        candidate(f"s{n:02}", 2 * (10 + n * 7 % 23), gpu0=2 * (10 + n * 7 % 23)) for n in range(40)
    ]
    victims = cheapest_victims({GPU0: 847}, even)
    assert victims is not None
    assert sum(one.value for one in victims) == 848


def test_room_is_taken_and_given_back() -> None:
    """A placement takes its bytes on each device, and gives the same ones back."""
    room = Room.of([DeviceSpec(GPU0, 24, headroom=1), DeviceSpec(GPU1, 8, headroom=9)])
    assert room.free == {GPU0: 23, GPU1: 0}
    placement = Placement.of([(GPU0, 20)])
    room.take(placement)
    assert room.free == {GPU0: 3, GPU1: 0}
    assert not room.fits(placement)
    assert room.shortfall(placement) == {GPU0: 17}
    assert room.left_by(Placement.of([(GPU0, 2)])) == 1
    room.give(placement)
    assert room == Room({GPU0: 23, GPU1: 0})
    assert room.fits(placement)


def test_a_device_that_is_no_more_has_no_room() -> None:
    """A run may be left on one that the configuration does not have any more."""
    byte = Placement.of([(GPU0, 1)])
    room = Room({})
    assert not room.fits(byte)
    assert room.shortfall(byte) == {GPU0: 1}
    room.give(byte)
    assert room.free == {GPU0: 1}
