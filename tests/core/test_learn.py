"""What is learnt of a service: how large it is, and how long it loads."""

from proxycore import DeviceId, Placement
from proxycore._learn import Learnt
from proxycore.config import GIB

from .shapes import GPU0, GPU1, on

USABLE = {GPU0: 24 * GIB, GPU1: 8 * GIB}


def gib(**amounts: float) -> Placement:
    return Placement.of((DeviceId(one), round(n * GIB)) for one, n in amounts.items())


def taught(declared: Placement, *peaks: dict[DeviceId, int]) -> Learnt:
    learnt = Learnt()
    for peak in peaks:
        learnt.note_peak(declared, peak)
    return learnt


def test_nothing_seen_is_what_was_declared() -> None:
    """The configuration counts until a run has shown what it takes."""
    assert Learnt().estimate(on(gpu0=3), USABLE) == on(gpu0=3)


def test_a_peak_and_a_margin() -> None:
    """What was seen at most, and 5 % more."""
    learnt = taught(gib(gpu0=16), {GPU0: 10 * GIB})
    assert learnt.estimate(gib(gpu0=16), USABLE) == gib(gpu0=10.5)


def test_what_one_place_teaches_others_of_its_shape_know() -> None:
    """Any GPU will do, so it takes as much on each; a split is another shape."""
    learnt = taught(gib(gpu0=6), {GPU0: 4 * GIB})
    assert learnt.estimate(gib(gpu1=6), USABLE) == gib(gpu1=4.2)
    assert learnt.estimate(gib(gpu0=3, gpu1=3), USABLE) == gib(gpu0=3, gpu1=3)


def test_more_is_believed_at_once_and_less_slowly() -> None:
    """A run that took little may have had an easy life."""
    learnt = taught(gib(gpu0=16), {GPU0: 10 * GIB}, {GPU0: 12 * GIB}, {GPU0: 2 * GIB})
    assert learnt.peaks[(16 * GIB,)].amounts == ((GPU0, 9 * GIB),)


def test_it_is_never_thought_too_large_for_where_it_ran() -> None:
    """A server that fills its GPU still fits on it."""
    learnt = taught(gib(gpu1=7), {GPU1: 8 * GIB})
    assert learnt.estimate(gib(gpu1=7), USABLE) == gib(gpu1=8)


def test_a_device_of_which_nothing_was_seen() -> None:
    """What is not measured keeps its declared claim."""
    learnt = taught(on(gpu0=6, ram=4), {GPU0: 4})
    assert learnt.estimate(on(gpu0=6, ram=4), {GPU0: 24, DeviceId("ram"): 32}) == on(gpu0=5, ram=4)


def test_who_declares_nothing_is_known_by_what_it_takes() -> None:
    """Then it is held to the GPU where it was seen, if there still is one."""
    learnt = taught(Placement(), {GPU0: 10 * GIB})
    assert learnt.estimate(Placement(), USABLE) == gib(gpu0=10.5)
    assert learnt.estimate(Placement(), {}) == Placement()


def test_out_of_memory_asks_for_15_percent_more() -> None:
    """Each time anew, up to all there is."""
    learnt = Learnt()
    learnt.note_out_of_memory(gib(gpu0=10), gib(gpu0=10))
    [(_, raised)] = learnt.estimate(gib(gpu0=10), USABLE).amounts
    assert abs(raised - 11.5 * GIB) < 4
    learnt.note_out_of_memory(gib(gpu0=10), gib(gpu0=23))
    assert learnt.estimate(gib(gpu0=10), USABLE) == gib(gpu0=24)


def test_loads_are_averaged() -> None:
    """The first counts in full, later ones for three tenths; no time at all teaches nothing."""
    learnt = Learnt()
    learnt.note_load(0.0)
    assert learnt.load_s is None
    learnt.note_load(10.0)
    learnt.note_load(20.0)
    assert learnt.load_s == 13.0


def test_a_load_that_others_slowed_down_teaches_nothing() -> None:
    """Unless it took less than was expected of one that loads alone."""
    learnt = Learnt()
    learnt.note_load(20.0, most_s=20.0)
    assert learnt.load_s is None
    learnt.note_load(10.0, most_s=20.0)
    assert learnt.load_s == 10.0


def test_what_is_held_asleep_is_as_it_was_said() -> None:
    """Of each GPU of its place, and never more than it claims awake; main memory as declared."""
    learnt, declared, home = Learnt(), on(gpu0=2, ram=9), on(gpu0=8, ram=9)
    assert learnt.residue(declared, home) == declared
    learnt.note_asleep(5)
    assert learnt.residue(declared, home) == on(gpu0=5, ram=9)
    assert learnt.residue(declared, on(gpu0=3, gpu1=8, ram=9)) == on(gpu0=3, gpu1=5, ram=9)


def test_the_least_that_was_said_counts() -> None:
    """Each is what is in use on a GPU, perhaps by others too."""
    learnt = Learnt()
    for holds in (5, 2, 7):
        learnt.note_asleep(holds)
    assert learnt.residue(on(gpu0=1), on(gpu0=8)) == on(gpu0=2)
    kept = Learnt()
    kept.recall(learnt.experience)
    assert kept.residue(on(gpu0=1), on(gpu0=8)) == on(gpu0=2)
