"""From what users wrote to what the program runs on, with the checks that span several keys."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

import attrs

from proxycore import RAM, DeviceId, ServiceId
from proxycore.config import LOAD_S, WAKE_S, CoreConfig, DeviceSpec, Placement, ServiceSpec
from proxyserver.gauges import GaugeFault
from proxyserver.gauges.host import ram_total
from proxyserver.policies import UnknownPolicy, names, policy_named
from proxyserver.runtime._plugins import Offers, find_runtimes
from proxyserver.runtime._protocol import ExternalSpec
from proxyserver.templates import Draft, Template, Templates, WatchedTemplate, find_templates

from ._access import check_reach, keys_of, remarks_on
from ._claims import Claim, advice_of, claim_by_estimate, doubts_of_claim, placements, residues
from ._errors import Problem, Problems, Steps, near
from ._folders import Folders
from ._launch import Place, launch_spec
from ._model import DeviceEntry, MemoryEntry, ServerEntry, ServiceEntry, VramClaim
from ._models import add_names, idle_s, models_of
from ._names import check_default_model, check_names
from ._own_templates import OwnTemplates
from ._ports import check_ports
from ._profiles import check_kept
from ._readers import Readers
from ._requests import rules_of
from ._runtimes import Runtimes, own_key, pull_of
from ._server import server_settings
from ._settings import Service, Settings
from ._shapes import name
from ._tls import tls_of
from ._units import shown

_Entry = TypeVar("_Entry")
FindGpus = Callable[[], Mapping[DeviceId, int]]
"""Tells the GPUs of this machine with their memory.

Raises:
    GaugeFault: none can be found, and why.
"""

_TOP = ("include", "server", "templates", "services")
_HOW = ("container", "process", "external")
ELSEWHERE_START_S = 10.0
"""How long a server that nobody starts is waited for: it is there, or it is not."""


@attrs.define
class Builder:
    """Builds the settings of one file."""

    path: Path
    environ: Mapping[str, str]
    readers: Readers
    found: Problems
    find_gpus: FindGpus
    gpus_missing: str = attrs.field(default="`server.devices` names none", init=False)
    """Why there is no GPU, if there is none."""
    templates: Templates = attrs.field(init=False)
    offers: Offers = attrs.field(init=False)
    own: OwnTemplates = attrs.field(init=False)
    entries: dict[ServiceId, ServiceEntry] = attrs.field(factory=dict, init=False)
    names: dict[ServiceId, tuple[str, ...]] = attrs.field(factory=dict, init=False)
    """What servers call the models that they have loaded from their start."""
    remarks: list[Problem] = attrs.field(factory=list, init=False)

    def __attrs_post_init__(self) -> None:
        reserved = [field.name for field in attrs.fields(ServiceEntry)]
        self.templates = find_templates(reserved)
        self.offers = find_runtimes(reserved)
        self.own = OwnTemplates(self.readers, self.found)

    def build(self, data: Any) -> Settings:
        """Build everything that can be built, then complain or return it.

        Raises:
            SettingsError: all that is wrong.
        """
        if not isinstance(data, dict):
            self.found.add((), "expected a mapping with `server:` and `services:`")
            data = {"services": {}}
        for key in data:
            if key not in _TOP and not key.startswith("x-"):
                self.found.add((key,), f"unknown key{near(key, _TOP)}", at_key=True)
        server, devices = self.devices(data.get("server"))
        if data.get("templates") is not None:
            self.own.read(data["templates"], self.templates.usable)
        written = data.get("services")
        if not isinstance(written, dict):
            what = "expected a mapping of services" if "services" in data else "is missing"
            self.found.add(("services",), what)
            written = {}
        folders = Folders(self.readers.base, self.found)
        written = folders.expanded(written)
        self.remarks += folders.remarks
        services = {}
        counts: list[DeviceSpec] = []
        for key, value in written.items():
            if (service := self.service(key, value, server, devices)) is not None:
                services[service.spec.id] = service
                inside, counted = models_of(
                    service,
                    self.entries[service.spec.id],
                    devices or {},
                    self.gpus_missing,
                    self.found,
                )
                services |= {model.spec.id: model for model in inside}
                counts += counted
        self.check_policy(server)
        keys = keys_of(server, self.found, self.readers.sources)
        check_reach(server, data.get("server"), self.found)
        check_names(self.entries, self.found)
        check_ports(server, services, self.found)
        tls = tls_of(server, self.found)
        self.found.check()
        assert devices is not None
        self.remarks += remarks_on(server, keys, services, self.found)
        add_names(services, self.names)
        specs = tuple(item.spec for item in services.values())
        core = CoreConfig((*devices.values(), *counts), specs)
        check_default_model(server.default_model, core, self.found)
        check_kept(server, services, self.found)
        return Settings(
            self.path,
            server_settings(server, keys, tls, self.environ),
            core,
            MappingProxyType(services),
            self.found.marks,
            tuple(self.remarks),
            self.readers.sources,
            tuple(folders.watched),
        )

    def entry(self, written: Any, to: type[_Entry], at: Steps) -> tuple[_Entry, set[str]]:
        """Read a mapping key by key: the rest can be checked though one is wrong.

        Returns:
            What was read, with defaults for the keys that are wrong, and those keys.
        """
        given = {}
        for key, value in written.items():
            # What a template says may stand in another file than the service.
            alone = self.readers.read({key: value}, to, at, where=(*at, key))
            if alone is not None:
                given[key] = getattr(alone, key)
        return to(**given), written.keys() - given.keys()

    def devices(self, written: Any) -> tuple[ServerEntry, dict[DeviceId, DeviceSpec] | None]:
        """Return `server:`, and the devices by id: GPUs in the order of the file, main memory.

        The devices are None when they cannot be told, so that nobody checks claims on them.
        """
        if written is not None and not isinstance(written, dict):
            self.found.add(("server",), f"expected a mapping, not {shown(written)}")
        elif written is not None:
            entry, wrong = self.entry(written, ServerEntry, ("server",))
            unknown = wrong & {"devices", "ram", "headroom"}
            return entry, None if unknown else self.device_specs(entry)
        return ServerEntry(), self.device_specs(ServerEntry())

    def device_specs(self, entry: ServerEntry) -> dict[DeviceId, DeviceSpec]:
        result = {}
        for key, device in self.gpus(entry).items():
            at: Steps = ("server", "devices", key)
            if key == RAM:
                self.found.add(at, "main memory is not among the devices: say `server.ram`")
            headroom = entry.headroom if device.headroom is None else device.headroom
            result[DeviceId(key)] = self.device(key, device.memory, headroom, at)
        ram = entry.ram or DeviceEntry(ram_total())
        headroom = entry.headroom if ram.headroom is None else ram.headroom
        result[RAM] = self.device(RAM, ram.memory, headroom, ("server", "ram"))
        return result

    def gpus(self, entry: ServerEntry) -> Mapping[str, DeviceEntry]:
        """Return the GPUs that are declared, else those that the driver finds."""
        if entry.devices is not None:
            return entry.devices
        try:
            totals = self.find_gpus()
        except GaugeFault as fault:
            self.gpus_missing = f"`server.devices` is left out and none was found ({fault})"
            return {}
        self.gpus_missing = "`server.devices` is left out and none was found"
        return {gpu: DeviceEntry(total) for gpu, total in totals.items()}

    def device(self, key: str, capacity: int, headroom: int, at: Steps) -> DeviceSpec:
        if headroom >= capacity:
            self.found.add(at, "its `headroom` leaves nothing of it")
            capacity = headroom + 1
        return DeviceSpec(DeviceId(key), capacity, headroom)

    def service(
        self,
        key: str,
        written: Any,
        server: ServerEntry,
        devices: Mapping[DeviceId, DeviceSpec] | None,
    ) -> Service | None:
        """Build one service; None when something about it is wrong."""
        at: Steps = ("services", key)
        try:
            service_id = ServiceId(name(key))
        except ValueError as error:
            self.found.add(at, str(error), at_key=True)
            return None
        if not isinstance(written, dict):
            self.found.add(at, "expected a mapping with a `type`, a `container` or a `process`")
            return None
        said = written.get("type")
        own = self.own.there.get(said) if isinstance(said, str) else None
        if own is not None:
            expanded = self.own.expanded(own, key, written, self.found.marks)
            if expanded is None:
                return None
            written = expanded
        type_ = self.type_of(written, at)
        template = self.templates.usable.get(type_)
        common, special = self.sorted_keys(written, template, at)
        entry, wrong = self.entry(common, ServiceEntry, at)
        self.entries[service_id] = entry
        draft = self.draft(template, special, at) if template else None
        if draft is not None and own is not None:
            draft = attrs.evolve(draft, failures=(*own.failures, *draft.failures))
        where: tuple[Placement, ...] = (Placement(),)
        if devices is not None and "memory" not in wrong:
            # What runs elsewhere takes nothing here, unless somebody says so.
            declared = "memory" in written or entry.external is not None
            where = self.claim(declared, entry, draft, devices, at)
        if draft is None or not written.keys() & {"type", *_HOW} or wrong & {"runtime", *_HOW}:
            return None
        engine = server.docker.host or self.environ.get("DOCKER_HOST") or None
        runtimes = Runtimes(self.offers, engine, server.runtime, self.readers, self.found)
        chosen = runtimes.chosen(entry, written, at)
        place = Place(at, self.readers.base(at), self.environ, self.found, wrong)
        launch = launch_spec(service_id, entry, draft, chosen, place)
        for option, said in draft.warnings:
            self.remarks.append(self.found.marks.problem((*at, option), said))

        def own_or_default(key: str) -> Any:
            own = getattr(entry, key)
            return getattr(server, key) if own is None else own

        self.names[service_id] = draft.names
        load_s = entry.load_s or draft.load_s or LOAD_S
        start_s, idle = own_or_default("start_s"), own_or_default("idle_s")
        pinned = entry.pinned
        if isinstance(launch.what, ExternalSpec):
            # Without a command it is there or it is not, and cannot be made to leave.
            if not launch.what.start and entry.start_s is None:
                start_s = ELSEWHERE_START_S
            if not launch.what.stop:
                pinned = True
                idle = "never" if entry.idle_s is None else idle
        asleep: tuple[Placement, ...] = ()
        if launch.sleep:
            held = entry.asleep or self.asleep(draft, (*at, "asleep"))
            where, asleep = residues(where, held, (*at, "asleep"), self.found)
        spec = ServiceSpec(
            service_id,
            placements=where,
            aliases=entry.aliases,
            asleep=asleep,
            load_s=load_s,
            wake_s=entry.wake_s or draft.wake_s or min(load_s, WAKE_S),
            concurrent_max=entry.concurrency,
            priority=entry.priority,
            pinned=pinned,
            idle_s=idle_s(idle, load_s),
            queue_max=own_or_default("queue_max"),
            start_s=start_s,
            start_max_s=own_or_default("start_max_s"),
            drain_s=own_or_default("drain_s"),
            drain_cuts=own_or_default("drain_cuts"),
            grace_s=own_or_default("grace_s"),
            fingerprint=f"{chosen.runtime}:{launch.fingerprint}",
        )
        shown_type = type_ if own is None else own.name
        return Service(
            spec,
            launch,
            shown_type,
            chosen.runtime,
            own_or_default("wait_s"),
            draft.models,
            about=draft.about,
            rules=rules_of(
                entry.requests,
                (service_id, *entry.aliases, *draft.names),
                draft.models is not None,
                at,
                self.found,
            ),
            closed=self.closed(entry, draft, at),
            remedy=draft.remedy,
            pull=pull_of(entry, server, at, self.found),
            stream_progress=entry.stream_progress or server.stream_progress,
        )

    def closed(self, entry: ServiceEntry, draft: Draft, at: Steps) -> tuple[str, ...]:
        """Return the patterns of what administers a service, less those that are allowed."""
        known = dict.fromkeys((*draft.admin, *entry.admin_paths))
        allowed = entry.allow_admin
        if isinstance(allowed, bool):
            return () if allowed else tuple(known)
        for index, pattern in enumerate(allowed):
            if pattern not in known:
                there = f"there are {', '.join(known)}" if known else "it has none"
                said = f"{pattern!r} is none of its paths of administration ({there})"
                self.found.add((*at, "allow_admin", index), said + near(pattern, known))
        return tuple(pattern for pattern in known if pattern not in allowed)

    def asleep(self, draft: Draft, at: Steps) -> MemoryEntry:
        """Return what is held asleep where nobody says it."""
        if not draft.sleep:
            return MemoryEntry()
        if draft.asleep is None:
            said = "is missing: what does it hold asleep? `{vram: 2GiB, ram: 16GiB}`, for instance"
            self.found.add(at, said)
            return MemoryEntry()
        return MemoryEntry(vram=VramClaim(total=draft.asleep.vram), ram=draft.asleep.ram)

    def claim(
        self,
        is_declared: bool,
        entry: ServiceEntry,
        draft: Draft | None,
        devices: Mapping[DeviceId, DeviceSpec],
        at: Steps,
    ) -> tuple[Placement, ...]:
        """Return where the service may live: as declared, else as the template estimates."""
        here = (*at, "memory")
        if is_declared or draft is None:
            advice = partial(advice_of, draft, devices, with_gpu=entry.memory.vram is not None)
            claim = Claim(
                placements(entry.memory, devices, self.gpus_missing, here, self.found, advice)
            )
            if draft is not None:
                claim = attrs.evolve(claim, remarks=doubts_of_claim(entry.memory, draft, devices))
        else:
            claim = claim_by_estimate(draft, devices)
        self.remarks += [self.found.marks.problem(here, said) for said in claim.remarks]
        return claim.placements

    def type_of(self, written: Mapping[str, Any], at: Steps) -> str:
        how = [key for key in _HOW if key in written]
        for other in how[1:]:
            both = f"give a `{how[0]}` or a `{other}`, not both"
            self.found.add((*at, other), both, at_key=True)
        type_ = written.get("type")
        if type_ is None:
            if not how:
                self.found.add(at, "needs a `type`, a `container` or a `process`", at_key=True)
            return "custom"
        there = self.templates.usable
        if isinstance(type_, str) and type_ in there:
            return type_
        if isinstance(type_, str) and type_ in self.templates.broken:
            self.found.add((*at, "type"), f"cannot be used: {self.templates.broken[type_]}")
            return ""
        if isinstance(type_, str) and type_ in self.own.broken:
            return ""  # What is wrong with it is told there.
        known = ", ".join((*there, *self.own.there))
        hint = near(type_, (*there, *self.own.there)) if isinstance(type_, str) else ""
        self.found.add((*at, "type"), f"unknown type {type_!r} (there are {known}){hint}")
        return ""

    def sorted_keys(
        self, written: Mapping[str, Any], template: Template | None, at: Steps
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Part the keys that every service has from the options of its type."""
        common = [field.name for field in attrs.fields(ServiceEntry)]
        special = [field.name for field in attrs.fields(template.options)] if template else []
        for key in written:
            known = (*common, *special, *own_key(written))
            if template and key not in known and not key.startswith("x-"):
                hint = near(key, known)
                self.found.add((*at, key), f"unknown key{hint}", at_key=True)
        return (
            {key: value for key, value in written.items() if key in common},
            {key: value for key, value in written.items() if key in special},
        )

    def draft(self, template: Template, written: Mapping[str, Any], at: Steps) -> Draft | None:
        try:
            options = self.readers.read(written, template.options, at)
        except Exception as error:
            if not isinstance(template, WatchedTemplate):
                raise  # our own mistake
            self.found.add(at, f"the options of this type cannot be read: {error!r}", at_key=True)
            return None
        if options is None:
            return None
        try:
            return template.draft(options)
        except (ValueError, OSError) as error:
            self.found.add(at, str(error), at_key=True)
            return None

    def check_policy(self, server: ServerEntry) -> None:
        try:
            policy_named(server.policy)
        except UnknownPolicy as error:
            self.found.add(("server", "policy"), str(error) + near(server.policy, names()))
