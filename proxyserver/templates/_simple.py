"""A template that is data: images, a command line, probes."""

import shlex
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, TypeAlias

import attrs

from proxyserver.runtime._protocol import (
    Call,
    FailurePattern,
    LiveProbe,
    Mount,
    Probe,
    ProcessSpec,
)

from ._parts import NO_ESTIMATE, container, hub_environment, mounted
from ._protocol import Asleep, Draft, ModelServer, Need

Arguments: TypeAlias = Callable[[Any, str, str, str], Iterable[str]]
"""From options, what the model is called where it runs, host and port to words."""
Variables: TypeAlias = Callable[[Any, str, str], Iterable[tuple[str, str]]]
"""From options, host and port to variables of the environment."""


def no_words(options: Any, model: str, host: str, port: str) -> Iterable[str]:
    """Return nothing: all is said by the environment."""
    return ()


def no_variables(options: Any, host: str, port: str) -> Iterable[tuple[str, str]]:
    """Return nothing: all is said by the command line."""
    return ()


@attrs.frozen(kw_only=True)
class Simple:
    """A kind of server whose launch follows from a few facts.

    Options of these names mean the same everywhere: `model`, `hf_token`, `variant`, `binary`,
    `folder`, `args`, `sleep_mode`.
    """

    name: str
    options: type[Any]
    images: Mapping[str, str]
    """By variant; where there is only one, the options have none."""
    port: int
    ready: Probe
    live: LiveProbe | None = None
    ready_line: str | None = None
    arguments: Arguments = no_words
    inside: tuple[str, ...] | None = ()
    """Words before the arguments in a container; None: the image's own command."""
    outside: tuple[str, ...] = ()
    """Words between the program and the arguments of a process."""
    variables: Variables = no_variables
    mounts: tuple[Mount, ...] = ()
    failures: tuple[FailurePattern, ...] = ()
    admin: tuple[str, ...] = ()
    metrics: str | None = None
    load_s: float
    need: Callable[[Any], Need | None] = lambda options: None
    sleep: tuple[Call, ...] = ()
    """How it is put to sleep, where `sleep_mode` is among its options and set."""
    wake: tuple[Call, ...] = ()
    asleep: Callable[[Any], Asleep | None] = lambda options: None
    models: Callable[[Any], ModelServer | None] = lambda options: None
    doubts: tuple[str, ...] = (NO_ESTIMATE,)
    more: Mapping[str, Any] = MappingProxyType({})
    """Further keys of the container."""
    one_string: bool = False
    """The image's entrypoint is a shell that takes one word."""

    def draft(self, options: Any) -> Draft:
        """Make a proposal from the options."""
        model = getattr(options, "model", None)
        name, mounts = mounted(model) if model is not None else ("", ())
        token = hub_environment(getattr(options, "hf_token", None))
        args = getattr(options, "args", ())
        everywhere, port = "0.0.0.0", str(self.port)
        command: tuple[str, ...] | None = None
        if self.inside is not None:
            words = self.arguments(options, name, everywhere, port)
            command = (*self.inside, *words, *args)
        if self.one_string and command is not None:
            command = (" ".join(map(_quoted, command)),)
        variant = getattr(options, "variant", next(iter(self.images)))
        need = self.need(options)
        sleeps = getattr(options, "sleep_mode", False)
        return Draft(
            container=container(
                self.images[variant],
                self.port,
                command,
                variant=variant,
                environment=(*token, *self.variables(options, everywhere, port)),
                mounts=(*self.mounts, *mounts),
                **self.more,
            ),
            process=ProcessSpec(
                (
                    options.binary,
                    *self.outside,
                    *self.arguments(options, model or "", "127.0.0.1", "${PORT}"),
                    *args,
                ),
                (*token, *self.variables(options, "127.0.0.1", "${PORT}")),
                getattr(options, "folder", None),
            ),
            ready=self.ready,
            ready_line=self.ready_line,
            live=self.live,
            failures=self.failures,
            admin=self.admin,
            metrics=self.metrics,
            load_s=self.load_s,
            sleep=self.sleep if sleeps else (),
            wake=self.wake if sleeps else (),
            asleep=self.asleep(options) if sleeps else None,
            models=self.models(options),
            need=need if variant != "cpu" else None,
            doubts=self.doubts,
        )


def _quoted(word: str) -> str:
    """Quote for a shell, save the macros of ours, which are names and need none."""
    return word if word.startswith("${") else shlex.quote(word)
