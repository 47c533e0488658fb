"""Random configurations of a small machine, and what may become of one while the core runs."""

from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import attrs

from .._ids import RAM, DeviceId, ServiceId
from ..config import CoreConfig, DeviceSpec, Placement, ServiceSpec, Unit

GPU0, GPU1 = DeviceId("gpu0"), DeviceId("gpu1")
ROUTER = ServiceId("router")
ONE_MODEL = DeviceId("router:models")
_SHAPES: tuple[tuple[tuple[DeviceId, ...], ...], ...] = (
    ((GPU0,),),
    ((GPU0,),),
    ((GPU0,), (GPU1,)),
    ((GPU0, GPU1),),
    ((GPU1,), (GPU0, GPU1)),
    ((),),
)
"""On which devices a service may be placed: the alternatives of six kinds of services."""
MODELS = ("small", "large", "huge")
NAMES = ("coder", "chat", "embed", "rerank", "vision", "speech")


def random_config(random: Random) -> CoreConfig:
    """Return a small machine with services of all shapes; times are short, bytes are few."""
    devices = (
        DeviceSpec(GPU0, random.choice((16, 20, 24)), headroom=1),
        DeviceSpec(GPU1, random.choice((10, 24)), headroom=2),
        DeviceSpec(RAM, 32, headroom=4),
    )
    names = random.sample(NAMES, random.randint(2, 5))
    services = [_random_spec(ServiceId(name), random) for name in names]
    if random.random() < 0.5:
        return CoreConfig(devices, tuple(services))
    # A server with models, and now and then one that holds a single model at once.
    host, shape = ROUTER, random.choice(_SHAPES)
    services[0] = _random_spec(host, random, size=3, shape=shape)
    slot = ONE_MODEL if random.random() < 0.4 else None
    services[3:] = [
        _random_spec(
            ServiceId(f"{host}/{name}"),
            random,
            size=random.choice((3, 6, 9)),
            shape=random.choice((shape, shape, *_SHAPES)),
            host=host,
            slot=slot,
        )
        for name in MODELS[: random.randint(2, 3)]
    ]
    slots = DeviceSpec(ONE_MODEL, 1, headroom=0, unit=Unit.MODELS)
    return CoreConfig((*devices, slots), tuple(services))


def _random_spec(
    service: ServiceId,
    random: Random,
    *,
    size: int | None = None,
    shape: tuple[tuple[DeviceId, ...], ...] | None = None,
    host: ServiceId | None = None,
    slot: DeviceId | None = None,
) -> ServiceSpec:
    ram = random.choice((0, 0, 2, 13)) if size is None else random.choice((0, 2))
    vram = size or random.choice((3, 6, 6, 9, 9, 12, 12, 13, 15, 40))

    def place(*devices: DeviceId) -> Placement:
        amounts = [(RAM, ram), *((device, vram) for device in devices)]
        return Placement.of(amounts if slot is None else [*amounts, (slot, 1)])

    placements = tuple(place(*devices) for devices in shape or random.choice(_SHAPES))
    return ServiceSpec(
        service,
        placements,
        asleep=() if shape else _random_residues(placements, random),
        wake_s=random.choice((0.5, 2.0, 20.0)),
        host=host,
        load_s=random.choice((1.0, 10.0, 60.0)),
        concurrent_max=random.choice((None, 1, 1, 2)),
        queue_max=random.choice((1, 2, 256)),
        priority=random.choice((0, 0, 0, 1)),
        pinned=random.random() < 0.1,
        idle_s=random.choice((None, 5.0, 50.0)),
        start_s=20.0,
        start_max_s=45.0,
        drain_s=random.choice((8.0, 40.0)),
        drain_cuts=random.random() < 0.3,
        grace_s=3.0,
    )


def _random_residues(placements: tuple[Placement, ...], random: Random) -> tuple[Placement, ...]:
    """Return what is held asleep: main memory, and little or nothing of a GPU; () half the time."""
    if random.random() < 0.5:
        return ()
    most = random.choice((0, 1, 3))
    return tuple(
        Placement.of(
            (device, amount if device == RAM else min(amount, most))
            for device, amount in placement.amounts
        )
        for placement in placements
    )


def another_config(
    config: CoreConfig, random: Random, likely: Sequence[ServiceId] = ()
) -> CoreConfig:
    """Return a configuration that differs from another in a few things, or in none.

    Args:
        config: the other.
        random: decides what.
        likely: those whom a change is to concern more often than the others.
    """
    for _ in range(random.randint(0, 3)):
        there = [spec for spec in config.services if spec.id in likely]
        spec = random.choice(there if there and random.random() < 0.7 else config.services)
        config = random.choice(_EDITS)(config, spec, random)
    return config


def _add(config: CoreConfig, _: ServiceSpec, random: Random) -> CoreConfig:
    there = [spec.id for spec in config.services]
    gpus = [device.id for device in config.devices]
    names = [*NAMES, ROUTER, *(f"{ROUTER}/{name}" for name in MODELS if ROUTER in there)]
    service = ServiceId(random.choice(names))
    host = ROUTER if service.startswith(f"{ROUTER}/") else None
    size = random.choice((3, 6)) if host or service == ROUTER else None
    shape = random.choice(_SHAPES) if size else None
    spec = _random_spec(service, random, size=size, shape=shape, host=host)
    known = all(device in gpus for place in spec.placements for device in place.devices)
    sleepers = [one.id for one in config.services if one.asleep]
    if service in there or not known or host in sleepers:
        return config
    services = list(config.services)
    services.insert(random.randint(0, len(services)), spec)
    return attrs.evolve(config, services=tuple(services))


def _remove(config: CoreConfig, spec: ServiceSpec, _: Random) -> CoreConfig:
    left = tuple(one for one in config.services if spec.id not in (one.id, one.host))
    return attrs.evolve(config, services=left) if left else config


def _alter(config: CoreConfig, spec: ServiceSpec, random: Random) -> CoreConfig:
    return _with(config, attrs.evolve(spec, fingerprint=str(random.randint(0, 3))))


def _adjust(config: CoreConfig, spec: ServiceSpec, random: Random) -> CoreConfig:
    """Let a service have other limits."""
    limits: dict[str, Any] = {
        "concurrent_max": random.choice((None, 1, 2)),
        "queue_max": random.choice((1, 256)),
        "priority": random.choice((0, 1)),
        "pinned": random.random() < 0.1,
        "idle_s": random.choice((None, 5.0, 50.0)),
        "drain_s": random.choice((8.0, 40.0)),
        "drain_cuts": random.random() < 0.5,
        "grace_s": random.choice((1.0, 3.0, 6.0)),
        "start_s": random.choice((10.0, 20.0)),
        "load_s": random.choice((1.0, 10.0, 60.0)),
    }
    changed = random.sample(sorted(limits), random.randint(1, len(limits)))
    return _with(config, attrs.evolve(spec, **{key: limits[key] for key in changed}))


def _claim(config: CoreConfig, spec: ServiceSpec, random: Random) -> CoreConfig:
    """Let a service claim something else, awake or asleep."""
    other = _random_spec(spec.id, random, shape=_shape_of(spec) if random.random() < 0.5 else None)
    known = [device.id for device in config.devices]
    is_alone = spec.host is None and all(one.host != spec.id for one in config.services)
    if any(device not in known for place in other.placements for device in place.devices):
        return config
    asleep = _random_residues(other.placements, random) if is_alone else ()
    changed = attrs.evolve(spec, placements=other.placements, asleep=asleep)
    return _with(config, changed)


def _shape_of(spec: ServiceSpec) -> tuple[tuple[DeviceId, ...], ...]:
    return tuple(
        tuple(device for device in place.devices if device in (GPU0, GPU1))
        for place in spec.placements
    )


def _resize(config: CoreConfig, _: ServiceSpec, random: Random) -> CoreConfig:
    device = random.choice(config.devices)
    if device.unit is Unit.MODELS:
        other = attrs.evolve(device, capacity=random.choice((1, 2)))
    else:
        capacity, headroom = random.choice((10, 16, 24, 32)), random.choice((0, 1, 4))
        other = attrs.evolve(device, capacity=capacity, headroom=headroom)
    devices = tuple(other if one is device else one for one in config.devices)
    return attrs.evolve(config, devices=devices)


def _unplug(config: CoreConfig, _: ServiceSpec, random: Random) -> CoreConfig:
    """Take a device away from all that could be placed there; or bring one back."""
    gone = random.choice((GPU0, GPU1))
    if all(device.id != gone for device in config.devices):
        device = DeviceSpec(gone, random.choice((16, 24)), headroom=1)
        return attrs.evolve(config, devices=(*config.devices, device))
    services = []
    for spec in config.services:
        stay = [number for number, one in enumerate(spec.placements) if gone not in one.devices]
        placements = tuple(spec.placements[number] for number in stay) or (Placement(),)
        asleep = tuple(spec.asleep[number] for number in stay) if spec.asleep else ()
        services.append(attrs.evolve(spec, placements=placements, asleep=asleep))
    devices = tuple(device for device in config.devices if device.id != gone)
    return attrs.evolve(config, devices=devices, services=tuple(services))


def _with(config: CoreConfig, changed: ServiceSpec) -> CoreConfig:
    services = tuple(changed if spec.id == changed.id else spec for spec in config.services)
    return attrs.evolve(config, services=services)


_EDITS: tuple[Callable[[CoreConfig, ServiceSpec, Random], CoreConfig], ...] = (
    _add,
    _add,
    _remove,
    _alter,
    _alter,
    _adjust,
    _adjust,
    _claim,
    _resize,
    _unplug,
)
