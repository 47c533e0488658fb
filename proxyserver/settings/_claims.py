"""From `memory:` to the placements that would do, with the claims that cannot be met refused."""

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from typing import TypeAlias

import attrs

from proxycore import RAM, DeviceId
from proxycore.config import DeviceSpec, Placement
from proxyserver._amounts import in_gib
from proxyserver.templates import Draft, Need, Room

from ._errors import Problems, Steps, near
from ._model import MemoryEntry

Advice: TypeAlias = Callable[[], str]

MUCH_TOO_SMALL = 0.8
"""Of what is certain; a claim below this is told, as a mistake that it may be."""


def placements(
    memory: MemoryEntry,
    devices: Mapping[DeviceId, DeviceSpec],
    gpus_missing: str,
    at: Steps,
    found: Problems,
    advice: Advice = lambda: "",
) -> tuple[Placement, ...]:
    """Return every placement that the claim allows, in the order of the devices.

    Args:
        memory: the claim.
        devices: all there are.
        gpus_missing: why there is no GPU among them, if there is none.
        at: where the claim is written.
        found: where problems go.
        advice: tells what would help where more is claimed than there is.
    """
    ram = memory.ram or 0
    if ram:
        _check_fits(ram, [devices[RAM]], (*at, "ram"), found, advice)
    return tuple(
        Placement.of([*amounts, (RAM, ram)])
        for amounts in _on_gpus(memory, devices, gpus_missing, at, found, advice)
    ) or (Placement(),)


def residues(
    where: tuple[Placement, ...], asleep: MemoryEntry, at: Steps, found: Problems
) -> tuple[tuple[Placement, ...], tuple[Placement, ...]]:
    """Return the placements with what sleep takes of main memory, and what is held asleep at each.

    A server that keeps its model in main memory while it sleeps must have room for that: it is
    claimed from the start, so that going to sleep never fails for want of it.
    """
    ram = asleep.ram or 0
    awake = []
    held = []
    for placement in where:
        gpus = [(device, amount) for device, amount in placement.amounts if device != RAM]
        total = sum(amount for _, amount in gpus)
        vram = asleep.vram.total or 0 if asleep.vram is not None else 0
        if vram > total:
            here = (*at, "vram")
            found.add(here, f"claims more asleep than awake: {in_gib(vram)} of {in_gib(total)}")
            vram = total
        # Shared out as the claim is, rounded up.
        parts = [(device, -(-vram * amount // total)) for device, amount in gpus]
        awake.append(Placement.of([*gpus, (RAM, max(ram, placement.on(RAM)))]))
        held.append(Placement.of([*parts, (RAM, ram)]))
    return tuple(awake), tuple(held)


@attrs.frozen
class Claim:
    """What a service claims, and what is to be said of that."""

    placements: tuple[Placement, ...]
    remarks: tuple[str, ...] = ()


def claim_by_estimate(draft: Draft, devices: Mapping[DeviceId, DeviceSpec]) -> Claim:
    """Claim what the template thinks that it needs, since nobody has declared anything."""
    need = _need(draft, devices)
    if need is None:
        said = "; ".join(draft.doubts)
        return Claim(
            (Placement(),), (f"none is declared, and nothing is claimed: {said}",) if said else ()
        )
    gpus = [spec for device, spec in devices.items() if device != RAM]
    if need.share:
        return _claim_by_share(need, gpus, min(need.ram, devices[RAM].usable), draft.doubts)
    # What nothing here can give is cut down: llama.cpp may fit itself into less, and if not, its
    # own failure says so better than a service that can never start.
    vram = min(need.vram, max((spec.usable for spec in gpus), default=0))
    ram = min(need.ram, devices[RAM].usable)
    where = [[(spec.id, vram)] for spec in gpus if vram and vram <= spec.usable] or [[]]
    claimed = " and ".join(
        f"{in_gib(amount)} of {kind}" for kind, amount in (("vram", vram), ("ram", ram)) if amount
    )
    doubts = f" ({'; '.join(draft.doubts)})" if draft.doubts else ""
    remarks = [f"none is declared; claims {claimed} by estimate{doubts}"]
    if (vram, ram) != (need.vram, need.ram):
        needed = f"{in_gib(need.vram)} of vram and {in_gib(need.ram)} of ram"
        told = f"it needs {needed} by estimate, which no device here can give"
        if draft.remedy is not None:
            advice = advice_of(draft, devices, with_gpu=vram > 0)
            told = f"it needs more than any device here can give: {advice}"
        remarks.append(told)
    return Claim(tuple(Placement.of([*amounts, (RAM, ram)]) for amounts in where), tuple(remarks))


def advice_of(
    draft: Draft | None, devices: Mapping[DeviceId, DeviceSpec], *, with_gpu: bool
) -> str:
    """Tell what would make a service fit into the machine, on one GPU at most."""
    if draft is None or draft.remedy is None:
        return ""
    gpus = [spec for device, spec in devices.items() if device != RAM and with_gpu]
    largest = max(gpus, key=lambda spec: spec.usable, default=None)
    room = Room(0, devices[RAM].usable)
    if largest is not None:
        room = attrs.evolve(room, vram=largest.usable, vram_total=largest.capacity)
    return draft.remedy(room)


def _claim_by_share(
    need: Need, gpus: Sequence[DeviceSpec], ram: int, doubts: Sequence[str]
) -> Claim:
    """Claim a part of as many GPUs as the server takes at once."""
    taken = [(spec.id, min(int(need.share * spec.capacity), spec.usable)) for spec in gpus]
    where = [[*chosen, (RAM, ram)] for chosen in combinations(taken, need.gpus)]
    if not where:
        said = f"it takes {need.gpus} GPUs at once, and there are {len(gpus)}"
        return Claim((Placement(),), (f"none is declared, and nothing is claimed: {said}",))
    of_what = "a GPU" if need.gpus == 1 else f"each of {need.gpus} GPUs"
    told = f" ({'; '.join(doubts)})" if doubts else ""
    remarks = [f"none is declared; claims {need.share:.0%} of {of_what}{told}"]
    remarks += [
        f"it takes {need.share:.0%} of {spec.id}, which leaves less than its headroom"
        for spec in gpus
        if need.share * spec.capacity > spec.usable
    ]
    return Claim(tuple(Placement.of(amounts) for amounts in where), tuple(remarks))


def doubts_of_claim(
    memory: MemoryEntry, draft: Draft, devices: Mapping[DeviceId, DeviceSpec]
) -> tuple[str, ...]:
    """Tell if a declared claim is much less than what the service will take."""
    need = _need(draft, devices)
    if need is None:
        return ()
    kind, declared = "ram", memory.ram or 0
    certain, needed = need.certain, in_gib(need.vram or need.ram)
    if need.share:
        least = min(spec.capacity for device, spec in devices.items() if device != RAM)
        certain, needed = int(need.share * least) * need.gpus, f"{need.share:.0%} of its GPU"
    if need.vram or need.share:
        kind = "vram"
        vram = memory.vram
        declared = (vram.total or sum(vram.by_device.values())) if vram is not None else 0
    if declared >= certain * MUCH_TOO_SMALL:
        return ()
    return (f"claims {in_gib(declared)} of {kind}, but it will take about {needed} by estimate",)


def _need(draft: Draft, devices: Mapping[DeviceId, DeviceSpec]) -> Need | None:
    return draft.need if len(devices) > 1 else draft.need_without_gpu


def _on_gpus(
    memory: MemoryEntry,
    devices: Mapping[DeviceId, DeviceSpec],
    gpus_missing: str,
    at: Steps,
    found: Problems,
    advice: Advice,
) -> Sequence[Sequence[tuple[DeviceId, int]]]:
    gpus = {device: spec for device, spec in devices.items() if device != RAM}
    vram = memory.vram
    if vram is None or not (vram.total or vram.by_device):
        if memory.devices:
            found.add((*at, "devices"), "says where `vram` goes, but no `vram` is claimed")
        return [[]]
    here = (*at, "vram")
    if not gpus:
        found.add(here, f"claims memory of a GPU, but {gpus_missing}")
        return []
    if vram.by_device:
        if memory.devices is not None:
            found.add((*at, "devices"), "`vram` names its devices already")
        for device, amount in vram.by_device.items():
            if _known(device, gpus, (*here, device), found):
                _check_fits(amount, [gpus[DeviceId(device)]], (*here, device), found, advice)
        return [[(DeviceId(device), amount) for device, amount in vram.by_device.items()]]
    total = vram.total or 0
    if memory.devices is not None:
        return _together(total, memory.devices, gpus, at, found, advice)
    fitting = [spec for spec in gpus.values() if total <= spec.usable]
    if not fitting and _check_fits(total, list(gpus.values()), here, found, advice):
        names = ", ".join(gpus)
        found.add(
            here,
            f"{in_gib(total)} is more than any one device can give; if the service may use"
            f" several together, name them: devices: [{names}]",
        )
    return [[(spec.id, total)] for spec in fitting]


def _together(
    total: int,
    names: Sequence[str],
    gpus: Mapping[DeviceId, DeviceSpec],
    at: Steps,
    found: Problems,
    advice: Advice,
) -> Sequence[Sequence[tuple[DeviceId, int]]]:
    """Split a total over devices in proportion to what each can give."""
    here = (*at, "devices")
    if not names:
        found.add(here, "names no device")
        return []
    for index, name in enumerate(names):
        if name in names[:index]:
            found.add((*here, index), f"{name} is named twice")
        elif not _known(name, gpus, (*here, index), found):
            continue
    specs = [gpus[DeviceId(name)] for name in dict.fromkeys(names) if name in gpus]
    if len(specs) < len(names) or not _check_fits(total, specs, (*at, "vram"), found, advice):
        return []
    rest_claim, rest_usable = total, sum(spec.usable for spec in specs)
    amounts = []
    for spec in specs:
        # Rounded up, always within the device: rest_claim <= rest_usable holds throughout.
        amount = -(-rest_claim * spec.usable // rest_usable) if rest_usable else 0
        amounts.append((spec.id, amount))
        rest_claim -= amount
        rest_usable -= spec.usable
    return [amounts]


def _known(name: str, gpus: Mapping[DeviceId, DeviceSpec], at: Steps, found: Problems) -> bool:
    if name in gpus:
        return True
    hint = "; claim main memory as `ram` beside `vram`" if name == RAM else near(name, gpus)
    found.add(at, f"unknown device {name!r}{hint}", at_key=True)
    return False


def _check_fits(
    amount: int, devices: Sequence[DeviceSpec], at: Steps, found: Problems, advice: Advice
) -> bool:
    if amount <= sum(device.usable for device in devices):
        return True
    given = " and ".join(
        f"{device.id} ({in_gib(device.capacity)} less {in_gib(device.headroom)} headroom)"
        for device in devices
    )
    said = f"can never be met: {in_gib(amount)} is more than there is on {given}"
    found.add(at, "; ".join(filter(None, (said, advice()))))
    return False
