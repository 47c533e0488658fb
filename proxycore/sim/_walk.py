"""Random walks: a World in which things happen by a seeded `random.Random`."""

from collections.abc import Callable
from itertools import accumulate
from random import Random

from .._ids import DeviceId, ServiceId
from .._memory import LOW_S
from ..config import Unit
from ..policy import EvictionPolicy
from ._books import Run, Stage
from ._configs import another_config, random_config
from .world import World


def walk(
    random: Random, steps: int, policy: EvictionPolicy | None = None, *, replays: bool = True
) -> World:
    """Let `steps` things happen in a random World, and then be kind.

    Args:
        random: decides what happens.
        steps: how much of it.
        policy: what the core asks for values.
        replays: whether the policy would say the same again, so that the journal can be replayed.

    Raises:
        Broken: the core broke a promise.
    """
    world = World(random_config(random), now=random.uniform(-1e3, 1e6), policy=policy)
    # Some things happen more often in one walk, others never: what needs many of a kind in a row
    # comes about more easily than if all walks were alike (Groce et al., Swarm Testing, 2012).
    weights: dict[_Happening, int] = {_arrive: _WEIGHTS[_arrive]}
    for happen, weight in _WEIGHTS.items():
        weights.setdefault(happen, weight * random.choice(_OFTEN))
    happenings, often = tuple(weights), tuple(accumulate(weights.values()))
    for _ in range(steps):
        (happen,) = random.choices(happenings, cum_weights=often)
        if not replays:
            world.forget_journal()
        happen(world, random)
    world.be_kind()
    if replays:
        world.check_replay()
    return world


def _service(world: World, random: Random) -> ServiceId:
    return random.choice(world.config.services).id


def _arrive(world: World, random: Random) -> None:
    world.arrive(_service(world, random), random.choice((0.0, 2.0, 30.0, 600.0, 600.0)))


def _crowd(world: World, random: Random) -> None:
    service = _service(world, random)
    for _ in range(random.randint(2, 4)):
        world.arrive(service, 600.0)


def _finish(world: World, random: Random) -> None:
    served = [one for one in world.books.clients.values() if one.stage is not Stage.WAITING]
    if served:
        world.finish(random.choice(served))


def _leave(world: World, random: Random) -> None:
    if waiting := world.books.waiting():
        world.finish(random.choice(waiting))


def _start(world: World, random: Random) -> None:
    world.start(_service(world, random), random.choice((0.5, 100.0)))


def _restart(world: World, random: Random) -> None:
    world.restart(_service(world, random), 100.0)


def _stop(world: World, random: Random) -> None:
    world.stop(_service(world, random), force=random.random() < 0.3)


def _sleep(world: World, random: Random) -> None:
    able = [spec.id for spec in world.config.services if spec.asleep]
    if able:
        world.sleep(random.choice(able))


def _slept(world: World, run: Run, random: Random) -> None:
    world.doze(run)
    if random.random() < 0.8:
        world.tell_slept(run, random.choice((None, None, 0, 1, 2, 5)))


def _shut_down(world: World, random: Random) -> None:
    # Rarely: nothing but the end of what lives can follow, until a new core comes.
    if random.random() < 0.1:
        world.shut_down(random.choice((0.0, 5.0, 100.0)))


def _of(which: Callable[[Run], bool], do: Callable[[World, Run, Random], None]) -> "_Happening":
    """Return something that happens to one of the runs that the core counts on, if any is such."""

    def happen(world: World, random: Random) -> None:
        runs = [run for run in world.books.current.values() if which(run)]
        if runs:
            do(world, random.choice(runs), random)

    return happen


def _begins(run: Run) -> bool:
    return run.starting or run.waking


def _obey(world: World, run: Run, random: Random) -> None:
    world.die(run, late=random.random() < 0.5)
    if random.random() < 0.8:
        world.tell_gone(run)


def _crash(world: World, run: Run, random: Random) -> None:
    world.die(run)
    if random.random() < 0.8:
        world.tell_gone(run, heals=random.random() < 0.8, out_of_memory=random.random() < 0.4)


def _run_out(world: World, run: Run, _: Random) -> None:
    world.die(run)
    world.tell_gone(run, out_of_memory=True)


def _tell_again(world: World, random: Random) -> None:
    """Tell of an old run what may be told of any: late, or twice."""
    old = [run for run in world.books.runs.values() if run.told_gone]
    if old:
        tell = random.choice(
            (
                world.be_alive,
                world.be_ready,
                world.tell_slept,
                world.tell_woke,
                world.be_stuck,
                world.tell_gone,
            )
        )
        tell(random.choice(old))


def _lose(world: World, random: Random) -> None:
    world.lose((_service(world, random),))


def _find(world: World, random: Random) -> None:
    world.find(tuple(spec.id for spec in world.config.services))


def _kill_core(world: World, random: Random) -> None:
    if random.random() < 0.5 or world.books.closing:
        world.kill_core(remembers=random.random() < 0.5)


def _device(world: World, random: Random) -> DeviceId:
    devices = [device.id for device in world.config.devices if device.unit is Unit.BYTES]
    return random.choice(devices)


def _use(world: World, run: Run, random: Random) -> None:
    """Let a run take a part of what it claims, or more, or what it never said."""
    device = _device(world, random)
    claim = run.may_use.on(device) if random.random() < 0.9 else 4
    world.use(run, device, int(claim * random.choice((0.0, 0.5, 1.0, 1.0, 1.5))))


def _intrude(world: World, random: Random) -> None:
    world.intrude(_device(world, random), random.choice((0, 0, 1, 5, 20)))
    if random.random() < 0.5:
        _measure(world, random)


def _starve(world: World, random: Random) -> None:
    """Let strangers leave so little of a device that something idle has to go for it."""
    device = _device(world, random)
    world.intrude(device, 20)
    world.measure(device)
    world.wait(LOW_S)


def _measure(world: World, random: Random) -> None:
    for device in (one for one in world.config.devices if one.unit is Unit.BYTES):
        if random.random() < 0.7:
            world.measure(device.id, complete=random.random() < 0.8)


def _be_blind(world: World, random: Random) -> None:
    world.be_blind(_device(world, random))


def _give_back(world: World, _: Random) -> None:
    world.give_back()


def _wait(world: World, random: Random) -> None:
    world.wait(random.choice((0.1, 1.0, 4.0, 10.0, 35.0, 60.0)))


def _oversleep(world: World, random: Random) -> None:
    world.oversleep(random.choice((4.0, 30.0)))


def _replace(world: World, random: Random) -> None:
    books = world.books
    likely = [*books.current, *books.reserved, *(client.service for client in books.waiting())]
    world.replace(another_config(world.config, random, likely))


def _rotate_journal(world: World, random: Random) -> None:
    world.rotate_journal()


_Happening = Callable[[World, Random], None]
_OFTEN = (0, 1, 1, 3)
_WEIGHTS: dict[_Happening, int] = {
    _arrive: 24,
    _crowd: 6,
    _finish: 18,
    _leave: 2,
    _start: 2,
    _restart: 1,
    _stop: 1,
    _sleep: 4,
    _shut_down: 1,
    _of(lambda run: run.starting and not run.hangs, lambda world, run, _: world.be_ready(run)): 18,
    _of(lambda run: run.waking and not run.hangs, lambda world, run, _: world.tell_woke(run)): 18,
    _of(lambda run: run.falls_asleep, _slept): 18,
    _of(_begins, lambda world, run, _: world.be_alive(run)): 2,
    _of(_begins, lambda world, run, _: world.hang(run)): 1,
    _of(lambda run: run.ready, lambda world, run, _: world.be_stuck(run)): 1,
    _of(lambda run: run.asked, lambda world, run, _: world.be_deaf(run)): 3,
    _of(lambda run: run.lives and run.asked, _obey): 12,
    _of(lambda run: run.lives, _crash): 2,
    _of(lambda run: not run.lives, lambda world, run, _: world.tell_gone(run)): 4,
    _of(lambda run: run.starting, _run_out): 1,
    _tell_again: 3,
    _lose: 1,
    _find: 4,
    _kill_core: 1,
    _rotate_journal: 1,
    _replace: 2,
    _of(lambda run: run.lives, _use): 6,
    _intrude: 2,
    _starve: 1,
    _measure: 10,
    _be_blind: 1,
    _give_back: 4,
    _wait: 10,
    _oversleep: 2,
}
