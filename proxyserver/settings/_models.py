"""From `models:` of a service to services inside it, one for each model."""

from collections.abc import Iterable, Mapping

import attrs

from proxycore import DeviceId, ServiceId, Unit
from proxycore.config import DeviceSpec, Placement, ServiceSpec, idle_auto_s

from ._claims import placements
from ._errors import Problems, Steps
from ._model import ModelEntry, ServiceEntry
from ._settings import Service


def models_of(
    service: Service,
    entry: ServiceEntry,
    devices: Mapping[DeviceId, DeviceSpec],
    gpus_missing: str,
    found: Problems,
) -> tuple[list[Service], list[DeviceSpec]]:
    """Return the models of a service, and what counts them if it may not hold all at once."""
    at: Steps = ("services", service.spec.id)
    if service.models is None:
        for key in ("models", "models_max"):
            if getattr(entry, key):
                what = f"a service of the type {service.type!r} loads and unloads no models"
                found.add((*at, key), what, at_key=True)
        return [], []
    names = [model.name for model in entry.models]
    for index, name in enumerate(names):
        if name in names[:index]:
            found.add((*at, "models", index, "name"), f"{name!r} is named twice")
    counts = []
    limits = [most for most in (entry.models_max, service.models.models_max) if most is not None]
    if limits:
        device = DeviceId(f"{service.spec.id}:models")
        counts = [DeviceSpec(device, min(limits), headroom=0, unit=Unit.MODELS)]
    models = {}
    for index, model in enumerate(entry.models):
        here = (*at, "models", index, "memory")
        where = placements(model.memory, devices, gpus_missing, here, found) if devices else ()
        claims = [[*one.amounts, *((count.id, 1) for count in counts)] for one in where]
        models[model.name] = _model(service, model, tuple(map(Placement.of, claims)))
    return list(models.values()), counts


def add_names(services: dict[ServiceId, Service], names: Mapping[ServiceId, Iterable[str]]) -> None:
    """Let services have the names of models that they have loaded, where nobody has them.

    Args:
        services: all there are, servers and the models inside them.
        names: of each server, what it calls the models that it has loaded from its start.
    """
    taken = {
        name
        for one in services.values()
        for name in (one.spec.id, *one.spec.aliases, *([one.model] if one.model else []))
    }
    for service in [*services]:
        fresh = [name for name in names.get(service, ()) if name not in taken]
        taken.update(fresh)
        one = services[service]
        spec = attrs.evolve(one.spec, aliases=(*one.spec.aliases, *fresh))
        services[service] = attrs.evolve(one, spec=spec)


def _model(service: Service, entry: ModelEntry, where: tuple[Placement, ...]) -> Service:
    host = service.spec
    load_s = entry.load_s or ServiceSpec(host.id).load_s
    spec = attrs.evolve(
        host,
        id=ServiceId(f"{host.id}/{entry.name}"),
        asleep=(),
        host=host.id,
        placements=where or (Placement(),),
        aliases=entry.aliases,
        load_s=load_s,
        concurrent_max=entry.concurrency,
        priority=host.priority if entry.priority is None else entry.priority,
        pinned=entry.pinned,
        idle_s=host.idle_s if entry.idle_s is None else idle_s(entry.idle_s, load_s),
        queue_max=entry.queue_max or host.queue_max,
        fingerprint="",  # With its host it is loaded anew in any case.
    )
    wait_s = entry.wait_s or service.wait_s
    return attrs.evolve(
        service, spec=spec, wait_s=wait_s, model=entry.name, remedy=None, about=None
    )


def idle_s(idle: float | str, load_s: float) -> float | None:
    """Return the idle time that a setting stands for; None: for ever."""
    match idle:
        case "auto":
            return idle_auto_s(load_s)
        case "never":
            return None
    return float(idle)
