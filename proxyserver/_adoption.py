"""What an earlier life of the daemon left: which of it is worth keeping, and how the rest goes."""

from collections.abc import Callable, Collection, Container, Iterable, Mapping
from pathlib import Path

import trio
from loguru import logger

from proxycore import DeviceId, ServiceId

from ._run import Judge
from .runtime import Endpoint, FoundProcess, Runtime, RuntimeFault, write_atomically
from .settings import Service
from .sleepers import Sleepers

ADOPT_S = 5.0
"""A found run that does not answer within this time is not healthy."""
REMOVE_S = 20.0
"""How long the start of the daemon waits for one leftover to go."""


async def worth_keeping(
    found: Iterable[FoundProcess],
    services: Mapping[ServiceId, Service],
    runtime: Runtime,
    judge: Judge,
    devices: Container[DeviceId],
    sleepers: Sleepers,
    removing: trio.Nursery,
) -> list[tuple[Service, FoundProcess, Endpoint]]:
    """Return what is worth keeping of what was found in a runtime; the rest is being removed.

    Args:
        found: what was found.
        services: those that the runtime runs.
        runtime: where.
        judge: who says whether one answers.
        devices: those that are known now.
        sleepers: knows who sleeps.
        removing: where the rest is removed.
    """
    kept: dict[ServiceId, tuple[Service, FoundProcess, Endpoint]] = {}
    # The newest run of a service first: of two that live, it is the one that served.
    for one in sorted(found, key=lambda one: one.run, reverse=True):
        service = services.get(one.service)
        if (
            service is not None
            and one.service not in kept
            and one.endpoint is not None
            and await is_good(service, one, runtime, judge, devices, sleepers)
        ):
            kept[one.service] = (service, one, one.endpoint)
        else:
            removing.start_soon(remove, runtime, one)
    return list(kept.values())


async def is_good(
    service: Service,
    found: FoundProcess,
    runtime: Runtime,
    judge: Judge,
    devices: Container[DeviceId],
    sleepers: Sleepers,
) -> bool:
    """Tell whether a found run is unchanged, on devices that are still known, and answers.

    Args:
        service: what it would be a run of.
        found: what was found.
        runtime: where.
        judge: who says whether it answers.
        devices: those that are known now.
        sleepers: knows whether it sleeps, and so need not answer.
    """
    asleep = sleepers.is_asleep(found.run)
    if (
        not found.alive
        or found.endpoint is None
        or service.models is not None  # Which models it holds, and for whom, nobody knows.
        or asleep is None
        or (asleep and not service.spec.asleep)
        or service.launch.fingerprint != found.fingerprint
        or not all(device in devices for device in found.placement.devices)
    ):
        return False
    if asleep:
        return True
    with trio.move_on_after(ADOPT_S):
        await judge.wait_ready(
            service.launch, found.run, found.endpoint, runtime, alive=lambda: None
        )
        return True
    return False


async def remove_unused(file: Path, used: Collection[str], make: Callable[[str], Runtime]) -> None:
    """End what still runs in runtimes that no service of the configuration uses any more.

    Nobody else would: the conductor knows only what is used, and an engine that nobody uses need
    not be there.

    Args:
        file: remembers which runtimes may hold something of ours.
        used: those that services use now.
        make: makes a runtime by its name.
    """
    unreached = []
    for name in sorted(_names_in(file).difference(used)):
        runtime = make(name)
        try:
            found = await runtime.found()
        except RuntimeFault as fault:
            logger.warning("{}, unused now, may still run services: {}", name, fault)
            unreached.append(name)
            continue
        for one in found:
            await remove(runtime, one)
    try:
        write_atomically(file, "\n".join((*sorted(used), *unreached)).encode())
    except OSError as error:
        logger.warning("cannot remember which runtimes are used: {}", error)


def _names_in(file: Path) -> set[str]:
    try:
        return set(file.read_text().split())
    except FileNotFoundError:
        return set()


async def remove(runtime: Runtime, found: FoundProcess) -> None:
    """End and forget a found run; one that does not go is left for the next life, and said."""
    logger.info("removing {} run {} of an earlier life", found.service, found.run)
    with trio.move_on_after(REMOVE_S) as scope:
        try:
            if found.alive:
                await runtime.kill(found.service, found.run)
            await runtime.forget(found.service, found.run)
        except RuntimeFault as fault:
            logger.warning("{} run {} stays behind: {}", found.service, found.run, fault)
    if scope.cancelled_caught:
        logger.warning("{} run {} does not end", found.service, found.run)
