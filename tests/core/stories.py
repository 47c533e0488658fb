"""Stories in text: what happens to a core, and what it does about it.

A story opens with its configuration and says then, line by line, what happens.  The indented lines
under each are the effects.  `python -m tests.core.stories` writes them anew: then read the diff.

    gpu0 24                                  a device and its GiB; headroom 0 or as told
    models router:models 1                   how many models a server holds at once
    service chat gpu0=14 | gpu1=14 idle=300  placements, then fields of ServiceSpec without their _s
    service chat gpu0=14 ~ gpu0=1            after the tilde: what a sleeping run holds there
    @20 arrive 1 chat                        time, what, and with whom
    without chat                             it is out of the next configuration
    @30 replace                              all that was said of services and devices is in force
"""

from collections.abc import Callable
from pathlib import Path

from proxycore import (
    Cause,
    ConfigReplaced,
    Core,
    CoreConfig,
    DeviceId,
    DeviceSpec,
    Placement,
    RunAlive,
    RunGone,
    RunId,
    RunReady,
    RunsFound,
    RunSlept,
    RunStuck,
    RuntimeFound,
    RuntimeLost,
    RunWoke,
    ServiceId,
    ServiceSpec,
    ShutdownRequested,
    SleepRequested,
    StartRequested,
    StopRequested,
    Tick,
    TicketId,
    Unit,
)
from proxycore import effects as fx
from proxycore import events as ev
from proxycore.config import GIB

WAIT_S = 600.0
FIELDS: dict[str, tuple[str, Callable[[str], object]]] = {
    "idle": ("idle_s", float),
    "start": ("start_s", float),
    "start_max": ("start_max_s", float),
    "drain": ("drain_s", float),
    "grace": ("grace_s", float),
    "load": ("load_s", float),
    "wake": ("wake_s", float),
    "concurrent": ("concurrent_max", int),
    "queue": ("queue_max", int),
    "priority": ("priority", int),
    "pinned": ("pinned", lambda word: word == "yes"),
    "host": ("host", ServiceId),
    "as": ("fingerprint", str),
    "cuts": ("drain_cuts", lambda word: word == "yes"),
}


def play(text: str) -> str:
    """Return the story with the effects that the core has for it now."""
    devices: dict[str, DeviceSpec] = {}
    services: dict[str, ServiceSpec] = {}
    core: Core | None = None
    told = []
    for line in text.splitlines():
        if line.startswith("    "):
            continue
        told.append(line)
        words = line.split()
        match words:
            case [] | ["#", *_]:
                pass
            case ["service", name, *rest]:
                services[name] = _service(name, rest)
            case ["without", name]:
                (services if name in services else devices).pop(name)
            case [at, *what] if at.startswith("@"):
                now = float(at[1:])
                config = CoreConfig(tuple(devices.values()), tuple(services.values()))
                core = core or Core(config, now=now)
                event = ConfigReplaced(config) if what == ["replace"] else _event(what, now)
                effects = core.handle(event, now)
                told += [f"    {line}" for effect in effects for line in _lines(effect)]
                deadline = core.deadline()
                told.append("    " + ("at rest" if deadline is None else f"until {deadline:g}"))
            case ["models", device, count]:
                unit = Unit.MODELS
                devices[device] = DeviceSpec(DeviceId(device), int(count), headroom=0, unit=unit)
            case [device, capacity, *rest]:
                headroom = int(rest[0].partition("=")[2]) if rest else 0
                devices[device] = DeviceSpec(DeviceId(device), int(capacity) * GIB, headroom * GIB)
    return "\n".join(told) + "\n"


def stories() -> list[Path]:
    """Return the files of all stories."""
    return sorted((Path(__file__).parent / "stories").glob("*.txt"))


def _placement(words: list[str]) -> Placement:
    pairs = [word.partition("=") for word in words]
    return Placement.of((DeviceId(one), int(amount) * _unit(one)) for one, _, amount in pairs)


def _unit(device: str) -> int:
    """Return what a story counts a device in: its models are written `host:models`."""
    return 1 if ":" in device else GIB


def _service(name: str, words: list[str]) -> ServiceSpec:
    settings = [word for word in words if word.partition("=")[0] in FIELDS]
    places = " ".join(word for word in words if word not in settings).split("|")
    pairs = [word.partition("=") for word in settings]
    fields = {FIELDS[key][0]: FIELDS[key][1](value) for key, _, value in pairs}
    awake, asleep = zip(*(place.partition("~")[::2] for place in places), strict=True)
    can_sleep = any("~" in place for place in places)
    residues = tuple(_placement(place.split()) for place in asleep) if can_sleep else ()
    return ServiceSpec(
        ServiceId(name),
        tuple(_placement(place.split()) for place in awake),
        asleep=residues,
        **fields,  # type: ignore[arg-type]
    )


def _event(words: list[str], now: float) -> ev.Event:
    match words:
        case ["tick"]:
            return Tick()
        case ["arrive", ticket, service, *wait]:
            wait_s = float(wait[0]) if wait else WAIT_S
            return ev.RequestArrived(TicketId(int(ticket)), ServiceId(service), now + wait_s)
        case ["finish", ticket]:
            return ev.RequestFinished(TicketId(int(ticket)))
        case ["start", ticket, service]:
            return StartRequested(TicketId(int(ticket)), ServiceId(service), now + WAIT_S)
        case ["restart", ticket, service]:
            return ev.RestartRequested(TicketId(int(ticket)), ServiceId(service), now + WAIT_S)
        case ["stop", service, *force]:
            return StopRequested(ServiceId(service), force == ["force"])
        case ["sleep", service]:
            return SleepRequested(ServiceId(service))
        case ["shutdown", within]:
            return ShutdownRequested(now + float(within))
        case ["alive", service, run]:
            return RunAlive(ServiceId(service), RunId(int(run)))
        case ["ready", service, run]:
            return RunReady(ServiceId(service), RunId(int(run)))
        case ["slept", service, run, *holds]:
            said = int(holds[1]) * GIB if holds else None
            return RunSlept(ServiceId(service), RunId(int(run)), said)
        case ["woke", service, run]:
            return RunWoke(ServiceId(service), RunId(int(run)))
        case ["stuck", service, run]:
            return RunStuck(ServiceId(service), RunId(int(run)), Cause("stuck", "no answer"))
        case ["gone", service, run, *why]:
            heals, full = why[:1] != ["incurably"], why[:1] == ["oom"]
            message = " ".join(why[0 if heals else 1 :]) or "exit code 0"
            cause = Cause("exit", message, heals, out_of_memory=full)
            return RunGone(ServiceId(service), RunId(int(run)), cause)
        case ["measure", device, total, free, *runs]:
            by_run = [run.partition("=") for run in runs]
            return ev.MemoryMeasured(
                DeviceId(device),
                int(total) * GIB,
                round(float(free) * GIB),
                tuple((RunId(int(run)), round(float(n) * GIB)) for run, _, n in by_run),
            )
        case ["blind", *devices]:
            return ev.MemoryUnknown(tuple(map(DeviceId, devices)))
        case ["lost", *services]:
            return RuntimeLost(tuple(map(ServiceId, services)), "the engine is away")
        case ["back", *services]:
            return RuntimeFound(tuple(map(ServiceId, services)))
        case ["found", service, run, *place]:
            asleep = place[-1:] == ["asleep"]
            where = _placement(place[:-1] if asleep else place)
            found = ev.FoundRun(ServiceId(service), RunId(int(run)), where, asleep)
            return RunsFound((found,), found.run)
    raise ValueError(f"no such happening: {words}")


def _lines(effect: fx.Effect) -> list[str]:
    match effect:
        case fx.MeasureMemory(devices):
            return [f"=> MeasureMemory {' '.join(devices)}"]
        case fx.StartRun(service, run, placement, host):
            place = " ".join(
                f"{device}={amount // _unit(device)}" for device, amount in placement.amounts
            )
            inside = "" if host is None else f" in {host}"
            return [f"=> StartRun {service} {run} {place}".rstrip() + inside]
        case fx.StopRun(service, run, grace_s):
            return [f"=> StopRun {service} {run} within {grace_s:g}"]
        case fx.KillRun(service, run):
            return [f"=> KillRun {service} {run}"]
        case fx.SleepRun(service, run):
            return [f"=> SleepRun {service} {run}"]
        case fx.WakeRun(service, run):
            return [f"=> WakeRun {service} {run}"]
        case fx.Admit(ticket, service, run):
            return [f"=> Admit {ticket} {service} {run}"]
        case fx.Started(ticket, service, run):
            return [f"=> Started {ticket} {service} {run}"]
        case fx.Refuse(ticket, service, reason, message, retry_after_s):
            again = "" if retry_after_s is None else f" (again in {retry_after_s:g} s)"
            said = f"=> Refuse {ticket} {service} {reason.value}: {message}{again}"
            return [said, *_want_lines(effect.want)]
        case fx.Changed(service, run, old, new, why):
            number = "" if run is None else f"#{run}"
            return [f"{service}{number} {old.value} -> {new.value}: {why}"]
        case fx.Waiting(ticket, _, position, why):
            return [f"ticket {ticket} waits at {position}: {why}", *_want_lines(effect.want)]
        case fx.Explained(service, _, victims, spared, want):
            lines = [f"room for {service}:"]
            lines += [f"  {_leaves(one)}, worth {one.value:.3g}" for one in victims]
            lines += [f"  {_remains(one)}, worth {one.value:.3g}" for one in spared]
            valued = {one.service for one in (*victims, *spared)}
            return lines + [_stays(one) for one in want.holders if one.service not in valued]


def _leaves(one: fx.Valued) -> str:
    return f"{one.service} sleeps" if one.sleeps else f"leaves {one.service}"


def _remains(one: fx.Valued) -> str:
    return f"{one.service} does not sleep" if one.sleeps else f"stays {one.service}"


def _want_lines(want: fx.Want | None) -> list[str]:
    if want is None:
        return []
    free = dict(want.free)
    need = ", ".join(
        f"{device}={amount / _unit(device):g} of {free[device] / _unit(device):g}"
        for device, amount in want.placement.amounts
    )
    return [f"  wants {need}, patient until {want.patient_until:g}", *map(_stays, want.holders)]


def _stays(holder: fx.Holder) -> str:
    until = "" if holder.until_at is None else f" until {holder.until_at:g}"
    why = "too little" if holder.stays is None else holder.stays.value
    return f"  stays {holder.service}: {why}{until}"


if __name__ == "__main__":
    for path in stories():
        path.write_text(play(path.read_text()))
