"""Single values of a compose file: references to the environment, ports, volumes, names."""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

import attrs

from proxyserver.settings._errors import Steps

# https://docs.docker.com/reference/compose-file/interpolation/
_REFERENCE = re.compile(
    r"\$\$|\$\{(?P<braced>\w+)(?:(?P<how>:?[-?+])(?P<rest>(?:[^{}]|\$\{[^{}]*\})*))?\}"
    r"|\$(?P<bare>[A-Za-z_]\w*)",
    re.ASCII,
)
_PORT = re.compile(r"(?:(?P<host>.*):)?(?P<inside>\d{1,5})(?:/(?P<protocol>tcp|udp))?", re.ASCII)
_NO_MEANING = frozenset({"z", "Z", "cached", "delegated", "consistent", "rw"})


class Tell(Protocol):
    def __call__(self, steps: Steps, message: str, *, at_key: bool = True) -> None:
        """Tell what is not taken over."""


@attrs.frozen
class References:
    """Puts our form of references to the environment in place of compose's."""

    tell: Callable[[Steps, str], None]

    def translated(self, value: Any, at: Steps) -> Any:
        match value:
            case str():
                return _REFERENCE.sub(lambda match: self.one(match, at), value)
            case list():
                return [self.translated(one, (*at, index)) for index, one in enumerate(value)]
            case dict():
                return {key: self.translated(one, (*at, key)) for key, one in value.items()}
        return value

    def one(self, match: re.Match[str], at: Steps) -> str:
        name, how, rest = match["braced"] or match["bare"], match["how"] or "", match["rest"] or ""
        if name is None:
            return "$$"
        if how.endswith("?"):
            return f"${{env:{name}}}"
        if how.endswith("+"):
            self.tell(at, f"{match[0]} is left empty: there is no such form here")
            return ""
        if "{" in rest:
            self.tell(
                at, f"{match[0]}: the default is left empty, for it hangs on another variable"
            )
            rest = ""
        return f"${{env:{name}:-{rest}}}"


@attrs.frozen
class Port:
    """One published port."""

    at: Steps
    inside: int
    protocol: str
    text: str | None
    """As we write it; None: the port of the host is any."""


def ports_of(value: Any, at: Steps, tell: Tell) -> Iterator[Port]:
    """Yield what is published; what cannot be read is told of."""
    for index, one in enumerate(value if isinstance(value, list) else ()):
        here = (*at, index)
        if isinstance(one, dict):
            host = ":".join(str(one[key]) for key in ("host_ip", "published") if key in one)
            inside, protocol = str(one.get("target", "")), str(one.get("protocol", "tcp"))
            text = f"{host}:{inside}/{protocol}" if host else f"{inside}/{protocol}"
        else:
            text = str(getattr(one, "text", one))
        match = _PORT.fullmatch(text)
        if match is None:
            tell(here, "not taken: no single port", at_key=False)
            continue
        protocol, host = match["protocol"] or "tcp", match["host"]
        suffix = "" if protocol == "tcp" else f"/{protocol}"
        ours = f"{host}:{match['inside']}{suffix}" if host else None
        yield Port(here, int(match["inside"]), protocol, ours)
    if value is not None and not isinstance(value, list):
        tell(at, "not taken: no list of ports")


@attrs.define
class Volumes:
    """What a service sees of the disk."""

    mounts: list[Any] = attrs.field(factory=list)
    tmpfs: list[str] = attrs.field(factory=list)


def volumes_of(value: Any, at: Steps, data: Mapping[str, Any], project: str, tell: Tell) -> Volumes:
    """Read volumes of both forms; what has no counterpart is told of."""
    found = Volumes()
    for index, one in enumerate(value if isinstance(value, list) else [value]):
        here = (*at, index)
        if isinstance(one, dict):
            _long(one, here, data, project, tell, found)
            continue
        text = str(one)
        source, _, rest = _split(text)
        target, _, options = rest.partition(":")
        if not target:
            tell(here, "not taken: name the volume, or what it holds is lost", at_key=False)
            continue
        if not source.startswith((".", "/", "~", "$")):
            source = host_name(data, "volumes", source, project)
        chosen = set(filter(None, options.split(",")))
        if lost := sorted(chosen - {"ro"} - _NO_MEANING):
            tell(here, f"not taken of it: {', '.join(lost)}", at_key=False)
        if chosen & {"z", "Z"}:
            tell(here, "is not relabelled for SELinux", at_key=False)
        found.mounts.append(f"{source}:{target}" + (":ro" if "ro" in chosen else ""))
    return found


def _split(text: str) -> tuple[str, str, str]:
    """Part the source from the rest; a reference to the environment has colons of its own."""
    depth = 0
    for index, character in enumerate(text):
        depth += {"{": 1, "}": -1}.get(character, 0)
        if character == ":" and depth == 0:
            return text[:index], ":", text[index + 1 :]
    return text, "", ""


def _long(
    one: Mapping[str, Any],
    at: Steps,
    data: Mapping[str, Any],
    project: str,
    tell: Tell,
    found: Volumes,
) -> None:
    kind, target = one.get("type", "volume"), one.get("target")
    if kind == "tmpfs" and target:
        size = (one.get("tmpfs") or {}).get("size")
        found.tmpfs.append(str(target) + (f":size={size}" if size is not None else ""))
        return
    if kind not in ("bind", "volume") or not target or not one.get("source"):
        tell(at, f"not taken: a mount of the type {kind!r} without name", at_key=False)
        return
    for key in one.keys() - {"type", "source", "target", "read_only"}:
        tell((*at, key), "not taken: nothing here needs it")
    source = str(one["source"])
    if kind == "volume":
        source = host_name(data, "volumes", source, project)
    mount = {"type": kind, "source": source, "target": target}
    found.mounts.append(mount | ({"read_only": True} if one.get("read_only") is True else {}))


def host_name(data: Mapping[str, Any], what: str, name: str, project: str) -> str:
    """Return what the engine calls a volume or network of a compose file."""
    declared = data.get(what)
    said = declared.get(name) if isinstance(declared, dict) else None
    if isinstance(said, dict):
        external = said.get("external")
        if isinstance(named := said.get("name"), str):
            return named
        if isinstance(external, dict) and isinstance(old := external.get("name"), str):
            return old
        if external:
            return name
    return f"{project}_{name}" if project else name
