"""The conversion: whatever a compose file says is taken over, or told of with its line."""

import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs
import cattrs

from proxyserver.settings import Problem, SettingsError
from proxyserver.settings._compose_keys import WHY_NOT
from proxyserver.settings._errors import Problems, Steps
from proxyserver.settings._include import read_text
from proxyserver.settings._model import ContainerEntry
from proxyserver.settings._shapes import make_converter, structure
from proxyserver.settings._yaml import parse

from ._commands import SAYS, options_of
from ._images import Known, known, value_of
from ._values import References, host_name, ports_of, volumes_of
from ._write import configuration

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
_ALIAS = re.compile(r"[!-~]{1,128}")
_URL = re.compile(r"https?://[^/\s\"']+(/[^\s\"'|&;]*)")
_TAKEN = frozenset(field.name for field in attrs.fields(ContainerEntry)) - {"port"}
_UNCHECKED = frozenset({"volumes", "env_file"})
"""What exists on the disk is looked at by `config check`, on the machine where it matters."""
_TOP: Mapping[str, str] = {
    "version": "it means nothing any more, to compose neither",
    "configs": WHY_NOT["configs"],
    "secrets": WHY_NOT["secrets"],
    "models": WHY_NOT["models"],
    "include": "convert the other file too",
}


@attrs.frozen
class Converted:
    """A configuration, and what there is to say of it."""

    text: str
    """YAML, with the remarks as comments."""
    remarks: tuple[Problem, ...]
    """What was not taken over, or is to be looked at, by place in the compose file."""


def import_compose(path: Path, only: Iterable[str] = ()) -> Converted:
    """Convert a compose file, or these services of it.

    Raises:
        SettingsError: it is no compose file, or has no such service.
    """
    document = parse(read_text(path), str(path), None)
    document.problems.check()
    data = document.data
    services = data.get("services") if isinstance(data, dict) else None
    if not isinstance(services, dict) or not services:
        document.problems.add(("services",), "there are none: is this a compose file?")
        document.problems.check()
        raise AssertionError("unreachable")
    for name in only:
        if name not in services:
            there = ", ".join(services)
            document.problems.add(("services",), f"there is no {name!r}; there are: {there}")
    document.problems.check()
    told = name if isinstance(name := data.get("name"), str) else path.absolute().parent.name
    project = re.sub(r"[^a-z0-9_-]", "", told.lower())
    conversion = _Conversion(path, data, document.problems, project)
    return conversion.convert(tuple(only) or tuple(services))


@attrs.define
class _Conversion:
    """The walk through one file; what is not taken over is told of at once."""

    path: Path
    data: Mapping[str, Any]
    found: Problems
    project: str
    remarks: list[Problem] = attrs.field(factory=list, init=False)
    names: set[str] = attrs.field(factory=set, init=False)
    """What clients may call a service, so far."""
    reader: cattrs.Converter = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.reader = make_converter(self.path.absolute().parent, {})

    def tell(self, steps: Steps, message: str, *, at_key: bool = True) -> None:
        self.remarks.append(self.found.marks.problem(steps, message, at_key=at_key))

    def convert(self, names: Iterable[str]) -> Converted:
        services: dict[str, dict[str, Any]] = {}
        comments: dict[str, list[str]] = {}
        for name, written in self.data["services"].items():
            at: Steps = ("services", name)
            if name not in names:
                self.tell(at, "left out, since it was not asked for")
                continue
            if not isinstance(written, dict):
                self.tell(at, "not taken: it is no mapping")
                continue
            before = len(self.remarks)
            ours = self.name_of(name, at, services)
            services[ours] = self.service(written, at)
            told = sorted(self.remarks[before:], key=lambda one: (one.line, one.column))
            inside = f"services.{name}"
            comments[ours] = [
                ": ".join(filter(None, (f"line {one.line}", _below(one.path, inside), one.message)))
                for one in told
            ]
        self.top()
        head = [
            f"Converted from {self.path.name}; keep it in the same folder, where relative paths",
            "start.  The comments tell what was not taken over, and what is to be looked at.",
        ]
        self.remarks.sort(key=lambda one: (one.line, one.column))
        return Converted(configuration(services, comments, head), tuple(self.remarks))

    def top(self) -> None:
        for key, value in self.data.items():
            if key in ("services", "name"):
                continue
            if key.startswith("x-"):
                self.tell((key,), "what it is merged into has it written out")
            elif key == "volumes":
                for name, said in (value or {}).items() if isinstance(value, dict) else ():
                    if isinstance(said, dict) and said.keys() - {"name", "external"}:
                        self.tell((key, name), "its driver and options hold only if it is there")
            elif key == "networks":
                for name in value if isinstance(value, dict) else ():
                    real = host_name(self.data, key, name, self.project)
                    make = f"`docker network create {real}`"
                    self.tell((key, name), f"compose made {real}; now it must be there: {make}")
            else:
                self.tell((key,), f"not taken: {_TOP.get(key, 'it is not known')}")

    def name_of(self, name: str, at: Steps, services: Mapping[str, Any]) -> str:
        ours = re.sub(r"[^a-z0-9._-]", "-", name.lower()).lstrip("._-")[:63] or "service"
        while ours in services:
            ours += "2"
        if ours != name:
            self.tell(at, f"is called {ours!r} here: small letters, digits, '.', '_' and '-'")
        assert _NAME.fullmatch(ours)
        self.names.add(ours)
        return ours

    # One service

    def service(self, written: Mapping[str, Any], at: Steps) -> dict[str, Any]:
        references = References(lambda steps, message: self.tell(steps, message, at_key=False))
        said = {key: references.translated(value, (*at, key)) for key, value in written.items()}
        image = said.get("image")
        kind = known(image) if isinstance(image, str) else None
        container: dict[str, Any] = {}
        service: dict[str, Any] = {}
        for key, value in said.items():
            self.key(key, value, container, service, (*at, key))
        if "image" not in container:
            container["image"] = f"{self.project}-{at[-1]}"
            self.tell(at, f"has no image: {container['image']} is what compose calls what it built")
        words = _words(said.get("command"))
        self.port(said, words, kind, container, at)
        head: dict[str, Any] = {}
        if isinstance(image, str) and "entrypoint" not in container:
            folders = dict(_folders(container.get("volumes", ())))
            read = options_of(image, words, folders, self.reader.structure)
            if read is not None:
                type_, options = read
                head = {"type": type_, **options}
                if "command" in said:
                    self.tell((*at, "command"), f"is said by the options of `type: {type_}` now")
                container.pop("command", None)
                self.own_words(type_, container, at)
                asked = value_of(words, "--port") is not None
                if kind is not None and (asked or container.get("port") == kind.port):
                    container.pop("port", None)
        if not head and "ready" not in service and kind is not None:
            service["ready"] = {"path": kind.ready}
        if head.get("type") == "vllm" and not words[0].startswith("-"):
            words = ["--model", *words]  # It may stand first, without a flag.
        if aliases := list(self.aliases(words, kind, at)):
            service["aliases"] = aliases
        if not head and container.get("gpus"):
            claim = "write `memory: {vram: 8GiB}` with what it takes beside `container`"
            self.tell(at, f"claims no memory of a GPU yet, so that nobody makes room: {claim}")
        return {**head, "container": container, **service}

    def own_words(self, type_: str, container: dict[str, Any], at: Steps) -> None:
        """Leave out variables by which a server would decide what the proxy decides."""
        said = container.get("environment")
        for name in SAYS.get(type_, ()):
            if isinstance(said, dict) and name in said:
                del said[name]
            elif isinstance(said, list) and any(str(one).startswith(f"{name}=") for one in said):
                said[:] = [one for one in said if not str(one).startswith(f"{name}=")]
            else:
                continue
            self.tell((*at, "environment"), f"{name} is not taken: `type: {type_}` says it")
        if not said:
            container.pop("environment", None)

    def key(
        self,
        key: str,
        value: Any,
        container: dict[str, Any],
        service: dict[str, Any],
        at: Steps,
    ) -> None:
        """Take over one key, or tell why not."""
        if value is None:
            self.tell(at, "says nothing")
        elif key == "ports":
            pass  # Which of them serves is known when all else is read.
        elif key == "volumes":
            found = volumes_of(value, at, self.data, self.project, self.tell)
            if found.mounts:
                container["volumes"] = found.mounts
            if found.tmpfs:
                container.setdefault("tmpfs", []).extend(found.tmpfs)
        elif key == "stop_grace_period":
            service["grace_s"] = value
        elif key == "pull_policy" and value in ("missing", "if_not_present"):
            service["pull"] = "missing"
        elif key == "networks" and isinstance(value, list | dict):
            container["networks"] = self.networks(value, at)
        elif key == "deploy":
            self.deploy(value, container, at)
        elif key == "gpus" and isinstance(value, list):
            container["gpus"] = "all"
            self.tell(at, "all GPUs of its placement; which ones, `memory.vram` says")
        elif key == "runtime" and value == "nvidia":
            container["runtime"] = value
            container.setdefault("gpus", "all")
        elif key in ("network_mode", "ipc", "pid") and str(value).startswith("service:"):
            self.tell(at, "not taken: a service has another container in each run")
        elif key in _TAKEN:
            if key == "healthcheck" and isinstance(value, dict):
                value = self.healthcheck(value, service, at)
            elif key == "extra_hosts" and isinstance(value, list):
                value = [re.sub(r"^([^:=]+)=", r"\1:", str(one)) for one in value]
            elif key == "tmpfs" and isinstance(value, str | list):
                value = [
                    *container.get("tmpfs", []),
                    *([value] if isinstance(value, str) else value),
                ]
            if self.is_good(key, value, at):
                container[key] = value
        else:
            self.tell(at, f"not taken: {WHY_NOT.get(key, 'it is not known')}")

    def is_good(self, key: str, value: Any, at: Steps) -> bool:
        """Tell whether our reader takes it; what hangs on the environment is seen later."""
        if key in _UNCHECKED or "${env:" in repr(value):
            return True
        wrong = Problems(self.found.marks)
        structure(self.reader, {key: value}, ContainerEntry, at[:-1], wrong)
        try:
            wrong.check()
        except SettingsError as error:
            first = error.problems[0].message
            self.tell(at, f"not taken: {first}")
            return False
        return True

    def networks(self, value: Any, at: Steps) -> list[str]:
        for name, said in value.items() if isinstance(value, dict) else ():
            if said:
                self.tell((*at, name), "only the name is taken, not aliases and addresses")
        return [host_name(self.data, "networks", str(name), self.project) for name in value]

    def healthcheck(
        self, value: Mapping[str, Any], service: dict[str, Any], at: Steps
    ) -> dict[str, Any]:
        known_keys = ("test", "interval", "timeout", "start_period", "retries", "disable")
        for key in value.keys() - set(known_keys):
            self.tell((*at, key), "not taken: the proxy asks for itself, by `ready` and `live`")
        url = _URL.search(" ".join(_words(value.get("test"))))
        if url is not None and "${env:" not in url[1]:
            service["ready"] = {"path": url[1]}
        return {key: value[key] for key in known_keys if key in value}

    def deploy(self, value: Any, container: dict[str, Any], at: Steps) -> None:
        """Take limits and GPUs from `deploy`."""
        for key in _mapping(value).keys() - {"resources"}:
            self.tell((*at, key), "not taken: it is for many containers on many machines")
        resources = _mapping(_mapping(value).get("resources"))
        if not resources:
            self.tell(at, "says nothing of the resources of a container")
        for part, said in resources.items():
            if not _mapping(said):
                self.tell((*at, "resources", part), "says nothing")
            for key, inner in _mapping(said).items():
                here = (*at, "resources", part, key)
                if part == "limits" and key in ("memory", "cpus"):
                    ours = "mem_limit" if key == "memory" else "cpus"
                    if self.is_good(ours, inner, here):
                        container[ours] = inner
                elif part == "reservations" and key == "devices" and isinstance(inner, list):
                    self.reserved(inner, container, here)
                elif part == "reservations" and key == "memory":
                    self.tell(here, "not taken: what it claims is said by `memory` of the service")
                else:
                    self.tell(here, "not taken: nothing here needs it")

    def reserved(self, devices: list[Any], container: dict[str, Any], at: Steps) -> None:
        for index, device in enumerate(devices):
            capabilities = device.get("capabilities") if isinstance(device, dict) else ()
            wanted = isinstance(capabilities, list) and "gpu" in capabilities
            if not wanted or device.get("driver") not in (None, "nvidia"):
                self.tell((*at, index), "not taken: only GPUs of NVIDIA are asked for so")
                continue
            container["gpus"] = "all"
            for key in ("device_ids", "options"):
                if key in device:
                    say = "which GPUs it gets is said by `memory.vram`, as {gpu0: 8GiB}"
                    self.tell((*at, index, key), f"not taken: {say}")
            if device.get("count") not in (None, "all"):
                self.tell((*at, index, "count"), "it gets the GPUs of its placement")

    def port(
        self,
        said: Mapping[str, Any],
        words: list[str],
        kind: Known | None,
        container: dict[str, Any],
        at: Steps,
    ) -> None:
        """Find where the server listens; what else is published stays."""
        published = list(ports_of(said.get("ports"), (*at, "ports"), self.tell))
        inside = [port.inside for port in published if port.protocol == "tcp"]
        asked = value_of(words, "--port")
        choices = [int(asked)] if asked is not None and asked.isdecimal() else []
        choices += [kind.port] if kind is not None and kind.port in inside else []
        choices += inside
        exposed = said.get("expose")
        for one in exposed if isinstance(exposed, list) else ():
            choices += [int(one)] if str(one).isdecimal() else []
        choices += [kind.port] if kind is not None else []
        if not choices:
            self.tell(at, "`container.port` is missing: where does the server listen inside?")
        else:
            container["port"] = choices[0]
        kept = []
        for port in published:
            if port.protocol == "tcp" and port.inside in choices[:1]:
                self.tell(port.at, "not published any more: clients ask the proxy", at_key=False)
            elif port.text is None:
                self.tell(port.at, "not taken: name the port of the host", at_key=False)
            elif self.is_good("ports", [port.text], port.at):
                kept.append(port.text)
        if kept:
            container["ports"] = kept

    def aliases(self, words: list[str], kind: Known | None, at: Steps) -> Iterator[str]:
        """Yield what clients call the model, by the server's own arguments."""
        for flag in kind.names if kind is not None else ():
            name = value_of(words, flag)
            if name is None or "${env:" in name or name.startswith("/"):
                continue
            if name in self.names or not _ALIAS.fullmatch(name):
                self.tell(
                    (*at, "command"), f"{name!r} cannot be an alias: it is taken, or too long"
                )
            else:
                self.names.add(name)
                yield name
            return


def _below(path: str, service: str) -> str:
    return path.removeprefix(service).lstrip(".")


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _words(command: Any) -> list[str]:
    if isinstance(command, list):
        return [str(getattr(word, "text", word)) for word in command]
    try:
        return shlex.split(command) if isinstance(command, str) else []
    except ValueError:
        return []


def _folders(volumes: Iterable[Any]) -> Iterator[tuple[str, str]]:
    """Yield target and source of each bind mount."""
    for one in volumes:
        if isinstance(one, dict):
            source, target = str(one.get("source")), str(one.get("target"))
        else:
            source, target = one.split(":")[:2] if "${env:" not in one else ("", "")
        if source.startswith((".", "/", "~")):
            yield target, source
