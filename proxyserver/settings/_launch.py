"""From a service as written to all that is needed to start it: its template's draft, made ours."""

import hashlib
import json
import re
import shutil
from collections.abc import Container, Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import attrs

from proxycore import ServiceId
from proxyserver.runtime._protocol import (
    ContainerSpec,
    Endpoint,
    ExternalSpec,
    LaunchSpec,
    LiveProbe,
    Mount,
    Probe,
    ProcessSpec,
)
from proxyserver.templates import Draft

from ._compose_keys import translated
from ._errors import Problems, Steps
from ._model import ContainerEntry, ExternalEntry, ProcessEntry, ServiceEntry
from ._plain import host_path
from ._runtimes import Chosen

_TRANSLATED = frozenset(
    "environment env_file volumes mem_limit deploy cpus healthcheck labels".split()
)
_FIELD = re.compile(r"[!-~]+(?: [!-~]+)*")
_NO_TARGET = "expected a path that starts with / and has no spaces"
_REQUEST_TARGET = re.compile(r"/[!-~]*")


def launch_spec(
    service: ServiceId,
    entry: ServiceEntry,
    draft: Draft,
    chosen: Chosen,
    place: "Place",
) -> LaunchSpec:
    """Make the launch of a service; what is missing or wrong goes to `place.found`."""
    draft = _named(draft, service, entry.aliases)
    what: ContainerSpec | ProcessSpec | ExternalSpec
    ready, live = entry.ready or draft.ready, draft.live
    if entry.external is not None:
        what = _external(entry.external, place)
        if entry.external.health is not None:
            ready = entry.ready or Probe(entry.external.health)
            live = LiveProbe(entry.external.health)
            _check_probe(live, (*place.at, "external", "health"), place.found)
    elif chosen.what == "container":
        what = _container(entry.container or ContainerEntry(), draft.container, place)
    else:
        what = _process(entry.process or ProcessEntry(), draft.process, place)
    live = live if entry.live is None else entry.live or None
    for key, probe in (("ready", entry.ready), ("live", live)):
        _check_probe(probe, (*place.at, key), place.found)
    sleep, wake = entry.sleep or draft.sleep, entry.wake or draft.wake
    for key, calls in (("sleep", sleep), ("wake", wake)):
        for index, call in enumerate(calls):
            if not _REQUEST_TARGET.fullmatch(call.path):
                path = (*place.at, key, *((index,) if len(calls) > 1 else ()), "path")
                place.found.add(path, _NO_TARGET)
        if not calls and key not in place.wrong and (sleep or wake or entry.asleep):
            place.found.add((*place.at, key), "is missing: who sleeps must be woken", at_key=False)
    metrics = draft.metrics if entry.metrics is None else entry.metrics or None
    if metrics is not None and not _REQUEST_TARGET.fullmatch(metrics):
        place.found.add((*place.at, "metrics"), _NO_TARGET)
    return LaunchSpec(
        service=service,
        what=what,
        ready=ready,
        ready_line=draft.ready_line if entry.ready_line is None else entry.ready_line,
        live=live,
        failures=draft.failures,
        sleep=sleep,
        wake=wake,
        metrics=metrics,
        asleep_line=draft.asleep_line,
        fingerprint=_fingerprint(what, chosen.options),
        options=chosen.options,
        examine=draft.examine,
    )


@attrs.frozen
class Place:
    """Where a service stands: in the document, on the disk, in the environment."""

    at: Steps
    base: Path
    environ: Mapping[str, str]
    found: Problems
    wrong: Container[str] = ()
    """Keys that could not be read, which was told."""


def _named(draft: Draft, service: ServiceId, aliases: Iterable[str]) -> Draft:
    """Say in the commands of a draft what the service is called."""

    def words(command: tuple[str, ...] | None) -> tuple[str, ...]:
        return tuple(
            name
            for word in command or ()
            for name in (
                (service, *aliases)
                if word == "${NAMES}"
                else (word.replace("${SERVICE}", service),)
            )
        )

    container, process = draft.container, draft.process
    if container is not None and container.command is not None:
        container = attrs.evolve(container, command=words(container.command))
    if process is not None:
        process = attrs.evolve(process, command=words(process.command))
    return attrs.evolve(draft, container=container, process=process)


def _container(entry: ContainerEntry, draft: ContainerSpec | None, place: Place) -> ContainerSpec:
    draft = draft or ContainerSpec(image="", port=0)
    given = {
        key: value
        for key, value in attrs.asdict(entry, recurse=False).items()
        if value is not None and key not in _TRANSLATED
    }
    given |= translated(entry, place.at, place.found)
    result = attrs.evolve(
        draft,
        environment=_environment(
            draft.environment, {**(entry.env_file or {}), **(entry.environment or {})}
        ),
        mounts=_mounts((*draft.mounts, *(entry.volumes or ()))),
        **given,
    )
    if not result.image:
        place.found.add((*place.at, "container", "image"), "is missing")
    if not result.port:
        place.found.add(
            (*place.at, "container", "port"), "is missing: where does it listen inside?"
        )
    return result


def _external(entry: ExternalEntry, place: Place) -> ExternalSpec:
    at = (*place.at, "external")
    if entry.url is None and entry.socket is None:
        place.found.add(at, "needs a `url`, or a `socket` of this machine")
    parts = urlsplit(entry.url or "http://localhost")
    tls = parts.scheme == "https"
    if tls and entry.socket is not None:
        place.found.add((*at, "url"), "a socket has no TLS: write http://")
    endpoint = Endpoint(
        host=parts.hostname or "",
        port=parts.port or (443 if tls else 80),
        tls=tls,
        ca=entry.ca,
        prefix=parts.path.rstrip("/"),
        authorization=entry.authorization,
        socket=entry.socket,
    )
    if entry.authorization is not None and not _FIELD.fullmatch(entry.authorization):
        place.found.add((*at, "authorization"), "expected visible ASCII characters and spaces")
    commands = {"start": entry.start or (), "stop": entry.stop or ()}
    search = place.environ.get("PATH")
    for key, words in commands.items():
        if words:
            commands[key] = (_program(words[0], search, place, (*at, key)), *words[1:])
    return ExternalSpec(endpoint, commands["start"], commands["stop"])


def _process(entry: ProcessEntry, draft: ProcessSpec | None, place: Place) -> ProcessSpec:
    draft = draft or ProcessSpec(command=())
    environment = _environment(draft.environment, entry.environment)
    command = draft.command if entry.command is None else entry.command
    # The template's binary is the user's to name, too.
    at: Steps = (*place.at, "binary")
    if entry.command is not None or not draft.command:
        at = (*place.at, "process", "command")
    if not command:
        place.found.add(at, "is missing")
    else:
        search = dict(environment).get("PATH", place.environ.get("PATH"))
        command = (_program(command[0], search, place, at), *command[1:])
    working_dir = entry.working_dir or draft.working_dir or str(place.base)
    if not Path(working_dir).is_dir():
        place.found.add((*place.at, "process", "working_dir"), f"no such folder: {working_dir}")
    port = draft.port if entry.port is None else entry.port
    return ProcessSpec(command, environment, working_dir, port)


def _program(word: str, search: str | None, place: Place, at: Steps) -> str:
    """Find the program; the daemon's own folder and PATH may be others when it is started."""
    if "/" not in word:
        program = shutil.which(word, path=search)
        where = "on PATH"
    else:
        try:
            path = host_path(word, place.base)
        except ValueError as error:
            place.found.add(at, str(error))
            return word
        program = shutil.which(str(path))
        where = f"at {path}" if not path.exists() else f"that can be executed at {path}"
    if program is None:
        hint = "; name another, or take `runtime: docker`" if at[-1] == "binary" else ""
        place.found.add(at, f"no program {word!r} {where}{hint}")
    return program or word


def _environment(
    draft: Iterable[tuple[str, str]], entry: Mapping[str, str] | None
) -> tuple[tuple[str, str], ...]:
    return tuple(sorted({**dict(draft), **(entry or {})}.items()))


def _mounts(mounts: Iterable[Mount]) -> tuple[Mount, ...]:
    """Drop what a later mount on the same target replaces."""
    return tuple({mount.target: mount for mount in mounts}.values())


def _check_probe(probe: Probe | None, at: Steps, found: Problems) -> None:
    if probe is None:
        return
    if not _REQUEST_TARGET.fullmatch(probe.path):
        found.add((*at, "path"), _NO_TARGET)
    if probe.status is not None and not 200 <= probe.status <= 599:
        found.add((*at, "status"), "expected an HTTP status from 200 to 599")


def _fingerprint(what: ContainerSpec | ProcessSpec | ExternalSpec, options: Any) -> str:
    """Hash all that would make a running one differ; waits, claims and priorities do not."""
    said: list[Any] = [type(what).__name__, attrs.asdict(what)]
    if options is not None:
        said.append(attrs.asdict(options))
    text = json.dumps(said, sort_keys=True, default=repr)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
