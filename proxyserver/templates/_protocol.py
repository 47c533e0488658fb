"""What a template is: it turns a few typed options into all that is needed to start a server."""

import enum
from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeAlias

import attrs

from proxycore import Cause
from proxyserver.about import About
from proxyserver.runtime._protocol import (
    Call,
    ContainerSpec,
    Endpoint,
    FailurePattern,
    LiveProbe,
    Probe,
    ProcessSpec,
)


@attrs.frozen
class Need:
    """The memory that a run will probably take, in bytes."""

    vram: int
    """0: the GPU is not used."""
    ram: int
    certain: int
    """Of `vram`, or of `ram` where `vram` is 0: a claim of much less is a mistake."""
    share: float = 0.0
    """Of all the memory of each of its GPUs, where a server takes that whatever its model; then
    `vram` is 0."""
    gpus: int = 1
    """With a `share`: how many GPUs it takes at once."""


@attrs.frozen
class Asleep:
    """The memory that a sleeping server holds, in bytes."""

    vram: int
    ram: int


@attrs.frozen
class Room:
    """The memory that a service can have at most, in bytes."""

    vram: int
    """Over all GPUs that it uses; 0: it uses none."""
    ram: int
    vram_total: int = 0
    """What these GPUs have in all, somebody's or free."""
    wanted_vram: int = 0
    """It had so much, and it was too little; 0: nothing of that kind was seen."""
    wanted_ram: int = 0


class ModelState(enum.Enum):
    """How a model inside a server is."""

    MISSING = "missing"
    """The server does not know it."""
    UNLOADED = "unloaded"
    LOADING = "loading"
    LOADED = "loaded"
    FAILED = "failed"
    """Unloaded, because its last load failed or it ended by itself."""


LOAD_S = 24 * 3600.0
"""The answer to a load may come when the load is over; what ends one that hangs is the limit of
the service."""
Progress: TypeAlias = Callable[[float], None]
"""Is told how much of a load is done, from 0 to 1."""


@attrs.frozen
class ModelStatus:
    """What a server says of one of its models."""

    state: ModelState
    message: str = ""
    """What is known of that, as it follows a sentence: ` (exit code 1)`."""


class ModelServer(Protocol):
    """How a server that has several models is asked for them, over its own connection.

    Every question has a deadline of its own, and raises `NoAnswer` where nothing comes of it.
    """

    @property
    def models_max(self) -> int | None:
        """How many models it can hold at once, whatever the room; None: any number."""

    async def status(self, endpoint: Endpoint, model: str) -> ModelStatus:
        """Tell how a model is; this neither loads it nor keeps it awake."""

    async def load(self, endpoint: Endpoint, model: str, told: Progress) -> str | None:
        """Load a model; return when that is over, or has begun and `status` tells what comes of it.

        Args:
            endpoint: of the server.
            model: what the server calls it.
            told: is told how far it is, as the server tells.

        Returns:
            Why it has failed; None: it has not, as far as that is known by now.
        """

    async def unload(self, endpoint: Endpoint, model: str) -> None:
        """Begin to unload a model; requests in flight are over by then."""


@attrs.frozen
class Draft:
    """What a template proposes; the user's own `container:` or `process:` keys win over it.

    In its commands `${SERVICE}` is the id of the service, and the word `${NAMES}` becomes that id
    and the aliases, a word each: some servers serve none but the names that they were told.
    """

    container: ContainerSpec | None
    process: ProcessSpec | None
    ready: Probe
    ready_line: str | None = None
    live: LiveProbe | None = None
    failures: tuple[FailurePattern, ...] = ()
    load_s: float | None = None
    """A guess at the load time, where the template knows better than the general default."""
    need: Need | None = None
    """What it takes where there are GPUs; claimed when nobody declares anything."""
    need_without_gpu: Need | None = None
    sleep: tuple[Call, ...] = ()
    """What lets it sleep; (): it cannot, or was not told to be able to."""
    wake: tuple[Call, ...] = ()
    metrics: str | None = None
    """Where it tells Prometheus of itself; see `LaunchSpec`."""
    asleep_line: str | None = None
    """How its log tells what it holds asleep; see `LaunchSpec`."""
    wake_s: float | None = None
    """A guess at the time to wake, where the template knows better than the general default."""
    asleep: Asleep | None = None
    """What it holds asleep; None: nobody knows, so that the user must say it."""
    models: ModelServer | None = None
    """How its models are loaded; None: it has none that could be loaded and unloaded."""
    admin: tuple[str, ...] = ()
    """Patterns of what administers it, closed to clients unless they are allowed; see
    `proxyserver.admin_paths`."""
    names: tuple[str, ...] = ()
    """What it calls the models that it has loaded from its start: names for it, unless others have
    them."""
    about: About | None = None
    """What its model is, where it has one that can be read."""
    doubts: tuple[str, ...] = ()
    """What the needs leave out, or why there are none."""
    warnings: tuple[tuple[str, str], ...] = ()
    """What is wrong with the values of options, by option, though the server may know better."""
    examine: Callable[[], Cause | None] | None = None
    """Looks at its files for why it may have failed, where the log does not tell."""
    remedy: Callable[[Room], str] | None = None
    """Tells for people what it takes and which options would make it fit; None: nobody knows."""


class Template(Protocol):
    """One kind of inference server."""

    @property
    def name(self) -> str:
        """What users write as `type`."""

    @property
    def options(self) -> type[Any]:
        """An attrs class: the keys that a service of this type may have, with their defaults."""

    def draft(self, options: Any) -> Draft:
        """Make a proposal from the options.

        Raises:
            ValueError: the options contradict each other; the text says which and what to do.
        """


Registry = Mapping[str, Template]
