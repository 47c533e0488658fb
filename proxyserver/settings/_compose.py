"""Values that are written as compose writes them: environments, mounts, ports, limits."""

import ipaddress
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from proxyserver.runtime._protocol import Mount, PortBinding, Ulimit

from ._errors import near
from ._plain import a_list, flag, host_path, mapping, one_of, text_of, whole, word
from ._sources import Sources
from ._units import shown

FILE_MAX = 1 << 20
"""An environment of a megabyte is a mistake."""
_VARIABLE = re.compile(r"[^=\0]+")


def pairs_of(value: Any, separator: str, what: str) -> Iterator[tuple[str, Any]]:
    """Read a mapping, or a list of pairs; the second is None where there is no separator."""
    if isinstance(value, dict):
        yield from value.items()
        return
    if not isinstance(value, list):
        raise ValueError(f"expected a mapping or a list of {what}, not {shown(value)}")
    for item in value:
        first, found, second = word(item).partition(separator)
        yield first, second if found else None


def environment(value: Any, environ: Mapping[str, str]) -> Mapping[str, str]:
    result: dict[str, str] = {}
    for variable, given in pairs_of(value, "=", "NAME=value"):
        if not _VARIABLE.fullmatch(variable):
            raise ValueError(f"{shown(variable)} is no name of a variable")
        if given is None:
            # As in compose: our own value, and no variable at all where we have none.
            if variable in environ:
                result[variable] = environ[variable]
        else:
            text = shown(given) if isinstance(given, bool) else word(given)
            if "\0" in text:
                raise ValueError(f"the value of {variable} has a NUL in it")
            result[variable] = text
    return result


def hosts(value: Any) -> tuple[tuple[str, str], ...]:
    pairs = tuple(pairs_of(value, ":", "name:address"))
    for host, address in pairs:
        if not host or not isinstance(address, str) or not address:
            raise ValueError(f"expected name:address, not {shown(host)} alone")
    return pairs


def gpus(value: Any) -> bool:
    if value == "all":
        return True
    if isinstance(value, bool):
        return value
    try:
        return whole(value, 0, None) > 0
    except ValueError:
        raise ValueError(f"expected all, true, false or a count, not {shown(value)}") from None


def mount_of(value: Any, base: Path) -> Mount:
    if isinstance(value, dict):
        kind = value.get("type", "bind")
        extra = [key for key in value if key not in ("type", "source", "target", "read_only")]
        if extra:
            known = ("type", "source", "target", "read_only")
            raise ValueError(f"unknown key {extra[0]!r}{near(extra[0], known)}")
        one_of(kind, ("bind", "volume"))
        source, target = word(value.get("source")), word(value.get("target"))
        read_only = flag(value.get("read_only", False))
    else:
        source, *rest = text_of(value).split(":")
        if not 1 <= len(rest) <= 2 or rest[1:] not in ([], ["ro"], ["rw"]):
            raise ValueError(f"expected source:target or source:target:ro, not {shown(value)}")
        target, read_only = rest[0], rest[1:] == ["ro"]
        # As in compose, a bare word is the name of a volume, anything like a path is a path.
        kind = "bind" if source.startswith((".", "/", "~")) else "volume"
    if not target.startswith("/"):
        raise ValueError(f"the target must be an absolute path, not {shown(target)}")
    if not source:
        raise ValueError("the source is missing")
    if kind == "volume":
        return Mount(source, target, read_only)
    path = host_path(source, base)
    if not path.exists():
        raise ValueError(f"no such file or folder: {path}")
    return Mount(str(path), target, read_only)


def binding(value: Any) -> PortBinding:
    """Read a port as compose writes it: `8081:80`, `127.0.0.1:8081:80`, `8081:80/udp`."""
    text, _, protocol = word(value).partition("/")
    match = re.fullmatch(r"(?:(\[[0-9a-f:]+\]|[0-9.]+):)?(\d{1,5}):(\d{1,5})", text, re.ASCII)
    if match is None or protocol not in ("", "tcp", "udp"):
        raise ValueError(f"expected host_port:container_port, not {shown(value)}")
    address = (match[1] or "127.0.0.1").strip("[]")
    try:
        ipaddress.ip_address(address)
    except ValueError:
        raise ValueError(f"{shown(address)} is no IP address") from None
    host, container = (whole(int(port), 1, 65535) for port in match.group(2, 3))
    return PortBinding(container, host, address, protocol or "tcp")


def texts(value: Any) -> tuple[str, ...]:
    """Read a text, or a list of them."""
    return tuple(text_of(one) for one in (a_list(value) if isinstance(value, list) else [value]))


def named_texts(value: Any) -> tuple[tuple[str, str], ...]:
    """Read a mapping or a list of name=value; a name alone has an empty value."""
    pairs = pairs_of(value, "=", "name=value")
    return tuple(
        (name, "" if given is None else shown(given) if isinstance(given, bool) else word(given))
        for name, given in pairs
    )


def ulimits(value: Any) -> tuple[Ulimit, ...]:
    """Read limits: one number for both, or `soft` and `hard`; -1 is no limit."""
    found = []
    for name, given in mapping(value).items():
        if isinstance(given, dict):
            if given.keys() != {"soft", "hard"}:
                raise ValueError(f"{shown(name)}: expected a number, or `soft` and `hard`")
            found.append(
                Ulimit(name, whole(given["soft"], -1, None), whole(given["hard"], -1, None))
            )
        else:
            both = whole(given, -1, None)
            found.append(Ulimit(name, both, both))
    return tuple(found)


def processors(value: Any) -> float:
    """Read a number of processors, such as `1.5`, with or without quotes."""
    try:
        found = float(word(value))
    except ValueError:
        found = math.nan
    if not 0 < found < math.inf:
        raise ValueError(f"expected a number of processors, not {shown(value)}")
    return found


def probing(value: Any) -> tuple[str, ...]:
    """Read the command of a health check."""
    if isinstance(value, str):
        return ("CMD-SHELL", value)
    words = tuple(word(one) for one in a_list(value))
    if words[:1] not in (("NONE",), ("CMD",), ("CMD-SHELL",)):
        raise ValueError("expected a text, or a list that begins with CMD, CMD-SHELL or NONE")
    return words


def environment_files(value: Any, base: Path, sources: Sources) -> Mapping[str, str]:
    """Read files of NAME=value lines, the later ones winning; `sources` takes note of them.

    Raises:
        ValueError: one that is required cannot be read, or has another kind of line; no message
            tells what the file says.
    """
    result: dict[str, str] = {}
    for one in value if isinstance(value, list) else [value]:
        required = True
        if isinstance(one, dict):
            required = flag(one.get("required", True))
            one = one.get("path")
        path = sources.note(host_path(text_of(one), base))
        try:
            content = path.read_bytes()[:FILE_MAX].decode()
        except FileNotFoundError:
            if not required:
                continue
            raise ValueError(f"no such file: {path}") from None
        except (OSError, UnicodeDecodeError) as error:
            raise ValueError(f"cannot read {path}: {type(error).__name__}") from None
        for number, line in enumerate(content.splitlines(), 1):
            text = line.strip().removeprefix("export ")
            if not text or text.startswith("#"):
                continue
            name, separator, said = text.partition("=")
            if not separator or not _VARIABLE.fullmatch(name) or "\0" in said:
                raise ValueError(f"{path}:{number}: expected NAME=value")
            result[name.strip()] = _unquoted(said.strip())
    return result


def _unquoted(text: str) -> str:
    """Take off quotes, or a comment where there are none."""
    if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":
        return text[1:-1]
    return re.split(r"\s#", text, maxsplit=1)[0].rstrip()
