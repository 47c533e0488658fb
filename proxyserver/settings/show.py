"""The configuration for people to look at: as it is written, or all that is made of it.

No secret is in it: what came from the environment is shown by its reference, and what is called
like a secret is not shown at all.  So it can be part of a bug report.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs

from proxycore.config import Placement
from proxyserver._amounts import in_gib
from proxyserver.request_rules import BodyRules, RequestRules
from proxyserver.runtime._protocol import (
    Call,
    ContainerSpec,
    ExternalSpec,
    Healthcheck,
    LaunchSpec,
    Mount,
    PortBinding,
    Probe,
    Ulimit,
)
from proxyserver.wire import Change

from ._errors import SECRET_MIN, Steps, dotted
from ._include import read_document
from ._settings import Service, Settings
from ._yaml import Fraction, Whole

MASK = "***"
_SECRET = re.compile(
    r"(?:^|[_.\-]|api|access|private)(?:keys?|token|secrets?|password|passwd|passphrase"
    r"|credentials?|authorization)$",
    re.IGNORECASE,
)


class Bytes(int):
    """An amount of memory: a number for programs, `20 GiB` for people."""

    def __str__(self) -> str:
        return in_gib(self)


def as_written(path: Path) -> dict[str, Any]:
    """Return what a file says, with anchors followed and references to the environment left.

    Raises:
        SettingsError: it cannot be read.
    """
    data = read_document(path, None).data
    shown: dict[str, Any] = _masked(data)
    return {key: value for key, value in shown.items() if not key.startswith("x-")}


def resolved(settings: Settings) -> dict[str, Any]:
    """Return all that a configuration means: defaults, claims, and how each service is started."""
    server = {
        field.name: _plain(getattr(settings.server, field.name))
        for field in attrs.fields(type(settings.server))
    }
    for key in ("body_max", "spill_max", "spill_total", "log_file_max"):
        server[key] = Bytes(server[key])
    server["keys"] = {
        key.name: {
            "roles": sorted(key.roles),
            "services": list(key.services),
            "requests_per_minute": key.requests_per_minute,
            "concurrency": key.concurrency,
        }
        for key in settings.server.keys
    }
    devices = {
        device.id: {"memory": Bytes(device.capacity), "headroom": Bytes(device.headroom)}
        for device in settings.core.devices
        if device.unit.value == "bytes"
    }
    written = read_document(settings.path, None).data
    hidden = _Hidden(settings, _literal_variables(written))
    services = {}
    for key, service in settings.services.items():
        said: dict[str, Any] = _masked(dict(_service(settings, service)))
        services[str(key)] = hidden.within(service, said)
    told: dict[str, Any] = _masked({"server": {**server, "devices": devices}})
    shown: dict[str, Any] = hidden.replaced(told, ("server",))
    return shown | {"services": services}


def _rules(rules: RequestRules) -> Iterator[tuple[str, Any]]:
    yield from _body(rules.body)
    yield "names", {name: dict(_body(one)) for name, one in rules.by_name.items()}
    lines = [line.partition(": ") for line in rules.added.decode().splitlines()]
    added = {name: value for name, _, value in lines}
    removed = [name.decode() for name in sorted(rules.dropped) if name.decode() not in added]
    yield "headers", {"set": added, "remove": removed}
    yield "size_max", None if rules.size_max is None else Bytes(rules.size_max)
    for key in ("first_byte_s", "stall_s", "total_s"):
        yield key, getattr(rules, key)


def _body(rules: BodyRules) -> Iterator[tuple[str, Any]]:
    yield "model", rules.model
    change = rules.change or Change()
    yield "set", {key: json.loads(value) for key, value in change.set.items()}
    yield "default", {key: json.loads(value) for key, value in change.default.items()}
    yield "strip", list(change.strip)


def _service(settings: Settings, service: Service) -> Iterator[tuple[str, Any]]:
    """Yield what there is to say of a service, by the keys of the configuration."""
    spec, launch = service.spec, service.launch
    yield "type", service.type
    yield "runtime", service.runtime
    if service.model:
        yield "model", service.model
    yield "aliases", list(spec.aliases)
    # Any one of these will do.
    yield "claims", [_amounts(one) for one in spec.placements]
    if spec.asleep:
        yield "asleep", [_amounts(one) for one in spec.asleep]
    at = dotted(("services", spec.id))
    remarks = [one.message for one in settings.remarks if one.path.startswith(f"{at}.")]
    if remarks:
        yield "remarks", remarks
    yield "concurrency", spec.concurrent_max
    for key in "priority pinned queue_max load_s wake_s".split():
        yield key, getattr(spec, key)
    yield "wait_s", service.wait_s
    for key in "start_s start_max_s drain_s drain_cuts grace_s".split():
        yield key, getattr(spec, key)
    yield "idle_s", "never" if spec.idle_s is None else spec.idle_s
    if not service.model:
        yield "pull", service.pull
        yield from _launch(launch)
    if service.metrics is not None:
        yield "metrics", service.metrics
    yield "closed", list(service.closed)
    if service.rules is not None:
        yield "requests", dict(_rules(service.rules))


def _launch(launch: LaunchSpec) -> Iterator[tuple[str, Any]]:
    what = launch.what
    if isinstance(what, ContainerSpec):
        yield "container", dict(_container(what))
    elif isinstance(what, ExternalSpec):
        yield "external", _given(what)
    else:
        yield "process", _given(what)
    yield "ready", _plain(launch.ready)
    if launch.ready_line is not None:
        yield "ready_line", launch.ready_line
    yield "live", False if launch.live is None else _plain(launch.live)
    for key in ("sleep", "wake"):
        if calls := getattr(launch, key):
            yield key, _plain(calls)
    if launch.options is not None:
        yield "options", _plain(launch.options)


def _container(what: ContainerSpec) -> Iterator[tuple[str, Any]]:
    names = {"mounts": "volumes", "memory_limit": "mem_limit"}
    for key, value in _given(what).items():
        if key in ("shm_size", "memory_limit"):
            value = Bytes(value)
        yield names.get(key, key), value


def _given(value: Any) -> dict[str, Any]:
    """Return the fields of an attrs class that are not as they are by default."""
    return {
        field.name: _plain(getattr(value, field.name))
        if field.name not in ("environment", "labels", "sysctls")
        else dict(getattr(value, field.name))
        for field in attrs.fields(type(value))
        if getattr(value, field.name) != field.default
    }


def _amounts(placement: Placement) -> dict[str, Any]:
    return {
        device: Bytes(amount) if ":" not in device else amount
        for device, amount in placement.amounts
    }


def _plain(value: Any) -> Any:
    """Return a value as JSON and YAML can have it."""
    match value:
        case Mount():
            return f"{value.source}:{value.target}{':ro' if value.read_only else ''}"
        case PortBinding():
            return f"{value.host_ip}:{value.host}:{value.container}/{value.protocol}"
        case Ulimit():
            return f"{value.name}={value.soft}:{value.hard}"
        case Probe() | Call() | Healthcheck():
            return {
                field.name: _plain(getattr(value, field.name))
                for field in attrs.fields(type(value))
                if getattr(value, field.name) is not None or field.name == "status"
            }
        case Path():
            return str(value)
        case Mapping():
            return {str(key): _plain(one) for key, one in value.items()}
        case list() | tuple():
            return [_plain(one) for one in value]
        case _ if attrs.has(type(value)):
            return {
                field.name: _plain(getattr(value, field.name))
                for field in attrs.fields(type(value))
            }
        case bool() | Bytes() | str() | None:
            return value
        case Whole() | Fraction():
            number = (int if isinstance(value, Whole) else float)(value)
            return number if str(number) == value.text else value.text
        case int() | float():
            return value
    return str(value)


def _masked(value: Any, *, secret: bool = False) -> Any:
    """Hide what is called like a secret, in mappings and in the words of commands."""
    match value:
        case dict():
            return {
                key: _masked(one, secret=secret or _is_secret(key, one))
                for key, one in value.items()
            }
        case list() if not secret:
            return list(_words(value))
        case list():
            return [_masked(one, secret=True) for one in value]
        case str() if secret and value and not value.startswith("${env:"):
            return MASK
        case str() if not secret:
            return _pair(value)
    return _plain(value)


def _is_secret(key: str, value: Any) -> bool:
    # The `keys` of the server have names, and what is secret of each has another.
    named = key == "keys" and isinstance(value, dict)
    return bool(_SECRET.search(key)) and not named


def _words(words: Iterable[Any]) -> Iterator[Any]:
    """Hide the word after a flag such as `--api-key`."""
    after = False
    for word in words:
        is_flag = isinstance(word, str) and word.startswith("-")
        yield _masked(word, secret=after and not is_flag)
        after = is_flag and bool(_SECRET.search(word))


def _pair(text: str) -> str:
    """Hide the value in `NAME=value` and `--name=value`, and in a command that is one text."""
    name, equals, value = text.partition("=")
    if equals and " " not in name and _SECRET.search(name) and not value.startswith("${env:"):
        return f"{name}={MASK}"
    if " " in text and "-" in text:
        return " ".join(_words(text.split(" ")))
    return text


@attrs.frozen
class _Hidden:
    """Hides what was not written in the file: values of the environment and of other files."""

    settings: Settings
    literal: Mapping[str, frozenset[str]]
    """By service, the variables whose values the file itself has."""

    def within(self, service: Service, said: dict[str, Any]) -> dict[str, Any]:
        """Hide what is not to be seen of one service."""
        there = ("services", str(service.spec.host or service.spec.id))
        # What a folder brings is written once, under a name of its own.
        _, written = place = self.settings.marks.origins.get(there, there)
        known = self.literal.get(str(written))
        for how in ("container", "process"):
            variables = said.get(how, {}).get("environment", {})
            for name in variables:
                if known is not None and name not in known:
                    variables[name] = MASK
        result: dict[str, Any] = self.replaced(said, place)
        return result

    def replaced(self, said: Any, steps: Steps) -> Any:
        """Name the references in place of what the environment put in below `steps`."""
        found = {
            value: reference
            for place, filled in self.settings.marks.filled.items()
            if place[: len(steps)] == steps
            for value, reference in filled.items()
            if len(value) >= SECRET_MIN
        }
        order = sorted(found, key=len, reverse=True)

        def replace(value: Any) -> Any:
            match value:
                case str():
                    for secret in order:
                        value = value.replace(secret, found[secret])
                    return value
                case dict():
                    return {key: replace(one) for key, one in value.items()}
                case list():
                    return [replace(one) for one in value]
            return value

        return replace(said)


def _literal_variables(written: Any) -> dict[str, frozenset[str]]:
    """Return, for services whose environment comes from elsewhere too, what is written there.

    That is where a variable is named alone, which takes our own value, or read from a file.
    """
    result = {}
    templates = written.get("templates") or {}
    for key, service in (written.get("services") or {}).items():
        template = templates.get(service.get("type")) or {}
        there = [
            one[how]
            for one in (template, service)
            for how in ("container", "process")
            if isinstance(one.get(how), dict)
        ]
        pairs = [pair for one in there for pair in _variables(one.get("environment"))]
        elsewhere = any("env_file" in one for one in there)
        if elsewhere or any(value is None for _, value in pairs):
            result[key] = frozenset(name for name, value in pairs if value is not None)
    return result


def _variables(environment: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(environment, dict):
        yield from environment.items()
    elif isinstance(environment, list):
        for one in environment:
            name, equals, value = str(one).partition("=")
            yield name, value if equals else None
