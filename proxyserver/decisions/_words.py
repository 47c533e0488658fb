"""Decisions in words that a user understands."""

from collections.abc import Collection, Iterable, Sequence

from proxycore import DeviceId, Holder, ServiceId, State, Stay, Valued, Waiting, Want

from ._decision import Kind

GIB = 2**30

_STEPS = {
    Kind.RESERVE: "{service} is promised room",
    Kind.RELEASE: "{service} gives back the room that it was promised",
    Kind.START: "{service} is started",
    Kind.ADOPT: "{service} runs already",
    Kind.READY: "{service} is ready",
    Kind.DRAIN: "{service} gets no new requests, so that it can leave",
    Kind.RESUME: "{service} goes on serving",
    Kind.SLEEP: "{service} is put to sleep",
    Kind.WAKE: "{service} is woken",
    Kind.STOP: "{service} is stopped",
    Kind.VERIFY: "{service} has ended, and its memory should be free soon",
    Kind.DOWN: "{service} is down",
    Kind.FAIL: "{service} failed",
    Kind.RETRY: "{service} may be started again",
}
_WAITS = {
    State.RESERVED: "room for {service} is being made",
    State.STARTING: "{service} is starting",
    State.READY: "every place at {service} is taken",
    State.DRAINING: "{service} finishes what it serves, leaves, and must start again",
    State.SLEEPING: "{service} is falling asleep",
    State.ASLEEP: "{service} sleeps",
    State.ROUSING: "room to wake {service} is being made",
    State.WAKING: "{service} is waking up",
    State.STOPPING: "{service} is being stopped, and must start again",
    State.VERIFYING: "{service} has ended, and must start again",
}
_FATES = {
    "leaves": "{service} leaves",
    "sleeps": "{service} is put to sleep",
    "spared": "{service} stays, because those who leave cost least",
    "not_enough": "{service} could leave, which is not enough",
    Stay.SERVES.value: "{service} serves",
    Stay.LOADS.value: "{service} is loading for others",
    Stay.WANTED_SOON.value: "{service} is likely to be wanted again within {left}",
    Stay.PINNED.value: "{service} is pinned",
    Stay.PROMISED.value: "{service} was promised room before",
    Stay.LEAVING.value: "{service} is leaving, and its room counts as free",
    Stay.STUCK.value: "{service} was told to leave and does not",
    Stay.LOST.value: "{service} is out of reach",
}


def step(kind: Kind, service: ServiceId, why: str) -> str:
    """Tell of a step in the life of a service."""
    return f"{_STEPS[kind].format(service=service)}: {why}"


def waits(effect: Waiting, counted: Collection[DeviceId], now: float) -> str:
    """Tell what a request waits for; of `counted` devices there are no bytes, but places."""
    service, position = effect.service, effect.position
    if effect.want is not None:
        text = f"there is no room: {_lacks(service, effect.want, counted, now)}"
    elif effect.state in _WAITS:
        text = _WAITS[effect.state].format(service=service)
    else:
        text = effect.why
    before = position - 1
    if before:
        text += f"; {before} other{'s are' if before > 1 else ' is'} before it"
    return text


def evicts(
    service: ServiceId, victims: Sequence[Valued], want: Want, counted: Collection[DeviceId]
) -> str:
    """Tell who leaves for whom, and what for."""
    told = {False: ("leaves", "leave"), True: ("is put to sleep", "are put to sleep")}
    parts = []
    for sleeps, (one, many) in told.items():
        if names := [victim.service for victim in victims if victim.sleeps is sleeps]:
            parts.append(f"{_and(names)} {many if len(names) > 1 else one}")
    return f"{_and(parts)} to make room: {needs(service, want, counted)}"


def needs(
    service: str,
    want: Want,
    counted: Collection[DeviceId] = (),
    *,
    verb: str = "needs",
    at_most: str = "",
) -> str:
    """Tell what a service needs, what there is, and what strangers hold of it."""
    free, foreign = dict(want.free), dict(want.foreign)
    parts = []
    for device, amount in want.placement.amounts:
        if device in counted:
            if amount > free[device]:
                parts.append("a place in its host, which holds as many models as it may")
            continue
        there = f"{free[device] / GIB:.1f} GiB are free{at_most}"
        text = f"{amount / GIB:.1f} GiB on {device}, where {there}"
        if foreign.get(device):
            text += f" and other programs hold {foreign[device] / GIB:.1f} GiB"
        parts.append(text)
    return f"{service} {verb} {'; '.join(parts)}"


def _lacks(service: ServiceId, want: Want, counted: Collection[DeviceId], now: float) -> str:
    need, free = want.placement.amounts, dict(want.free)
    if all(amount <= free[device] for device, amount in need):
        return "there is some, but others who have waited longer come first"
    text = needs(service, want, counted)
    spared = {holder.stays for holder in want.holders} & {Stay.SERVES, Stay.WANTED_SOON}
    if spared and want.patient_until > now:
        who = "serves" if Stay.SERVES in spared else "is likely to be wanted again"
        text += f"; who {who} is left alone for {want.patient_until - now:.0f} s more at most"
    return text


def fate(holder: Holder, fate: str, now: float) -> str:
    """Tell what became of one who was in the way."""
    left = f"{max(0.0, (holder.until_at or now) - now):.0f} s"
    return _FATES.get(fate, "{service}: " + fate).format(service=holder.service, left=left)


def _and(names: Iterable[str]) -> str:
    """Join names as a sentence does."""
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last
