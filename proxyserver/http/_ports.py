"""What this package needs from the rest of the server, so that it can be tested without it."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias

from proxycore import CoreConfig, CoreView, DeviceId, RunId, ServiceId, ServiceSpec
from proxyserver.about import About
from proxyserver.access import Key
from proxyserver.gauges import Measurement
from proxyserver.request_rules import RequestRules
from proxyserver.runtime import ExitReport, RunFacts

from .upstream import UpstreamConnections


class Slot(Protocol):
    """A place at a ready run: the right to send it one request."""

    @property
    def run(self) -> RunId: ...
    @property
    def connections(self) -> UpstreamConnections: ...


class RuntimeState(Protocol):
    """Whether what runs things can be reached."""

    @property
    def ok(self) -> bool: ...
    @property
    def message(self) -> str: ...


class Conductor(Protocol):
    """Who knows the services: what they do, and how to get a place at one."""

    def view(self) -> CoreView: ...

    def slot(
        self,
        service: ServiceId,
        *,
        wait_s: float | None = None,
        request: str | None = None,
        meanwhile: Callable[[], Awaitable[None]] | None = None,
    ) -> AbstractAsyncContextManager[Slot]:
        """Wait for a place, for the request with this id; if there is a wait, do that meanwhile.

        Raises:
            Refused: there will be none.
        """

    async def start(self, service: ServiceId, *, restart: bool = False) -> RunId:
        """Start the service; return when it is ready, and go on when the caller is cancelled.

        Raises:
            Refused: it does not start.
        """

    async def stop(self, service: ServiceId, *, force: bool = False) -> None:
        """Stop the service; return when nothing of it lives."""

    async def sleep(self, service: ServiceId) -> None:
        """Put the service to sleep; return when that is over."""

    async def metrics(self, service: ServiceId, authorization: str | None) -> tuple[int, bytes]:
        """Ask the present run for its metrics; return status and body.

        Raises:
            NoAnswer: it does not answer.
        """

    def report(self, service: ServiceId) -> ExitReport | None:
        """Tell how the last run ended."""

    def progress(self, service: ServiceId) -> float | None:
        """Tell how much of a model's load is done, from 0 to 1; None: nobody knows."""

    async def facts(self, service: ServiceId) -> RunFacts | None:
        """Describe the living run."""

    def log_lines(self, service: ServiceId, *, tail: int, follow: bool) -> AsyncIterator[str]:
        """Yield the end of the log, then, if asked, what comes."""

    def runtimes(self) -> Mapping[str, RuntimeState]: ...


class Health(Protocol):
    """Whether a gauge works; if not, why."""

    @property
    def ok(self) -> bool: ...
    @property
    def message(self) -> str: ...


class Gauges(Protocol):
    """Who knows how much memory there is, and who holds it."""

    def health(self) -> Mapping[str, Health]: ...

    def last(self, device: DeviceId) -> Measurement | None:
        """Return the last measurement, however old."""

    def measurement(self, device: DeviceId) -> Measurement | None:
        """Return the last measurement, unless it is too old to be trusted."""


class Pull(Protocol):
    """An image on its way, or how that ended."""

    @property
    def state(self) -> str: ...
    def as_json(self) -> dict[str, Any]: ...

    def steps(self) -> AsyncIterator["Pull"]:
        """Yield itself now and whenever something has changed, and last when it is over."""


class Pulls(Protocol):
    """Who fetches images."""

    @property
    def known(self) -> Mapping[str, Pull]: ...

    def begin(self, image: str) -> Pull:
        """Begin to fetch it, or join who does.

        Raises:
            RuntimeFault: not now.
        """

    def cancel(self, image: str) -> bool:
        """Cancel its pull; return whether there was one."""


class Gate(Protocol):
    """Who knows which image a service needs, and who waits for that."""

    def image_of(self, service: ServiceId) -> str | None: ...
    def waiting(self, service: ServiceId) -> int: ...


class Metrics(Protocol):
    """Who has all numbers of the daemon."""

    def exposed(self, accept: str) -> tuple[bytes, str]:
        """Return them as Prometheus reads them, by the Accept header, and the media type."""

    async def usage(
        self, by: str, first: str, last: str
    ) -> Sequence[Mapping[str, str | int | float]] | None:
        """Return what was used from one day to another; None: nobody keeps that.

        Raises:
            OSError: it cannot be read.
        """


class Outcome(Protocol):
    """What a reload did, or would do."""

    @property
    def problems(self) -> Sequence[object]:
        """Why the configuration cannot be used; none: it can."""

    def as_json(self) -> dict[str, Any]: ...


class Configuration(Protocol):
    """Who reads the configuration again."""

    def as_json(self) -> dict[str, Any]:
        """Tell where the one in force came from, and what of the files is not in it."""

    async def reload(self, why: str) -> Outcome: ...
    async def diff(self, text: str | None = None) -> Outcome:
        """Tell what a reload would do, or would if the file said this text."""


class Profiles(Protocol):
    """Who switches between profiles."""

    @property
    def profile(self) -> str | None:
        """The name of the one in force; None: none is."""

    @property
    def profiles(self) -> Mapping[str, Sequence[str]]:
        """All that there are, with their services."""

    async def switch(self, profile: str | None) -> None:
        """Let another be in force, or none.

        Raises:
            KeyError: there is none of this name.
        """


Progress: TypeAlias = Literal["none", "comments", "reasoning"]
"""How clients of streams are told what they wait for."""


class ServerSettings(Protocol):
    @property
    def stream_after_s(self) -> float:
        """How long the client of a stream waits without a word."""

    @property
    def stream_every_s(self) -> float:
        """How often it is told something from then on."""

    @property
    def body_max(self) -> int: ...
    @property
    def spill_max(self) -> int: ...
    @property
    def spill_total(self) -> int: ...
    @property
    def spill_dir(self) -> Path: ...
    @property
    def forwarded(self) -> bool: ...
    @property
    def via(self) -> bool: ...

    @property
    def default_model(self) -> str | None:
        """Who is meant by requests that name no model; None: nobody."""

    @property
    def listens_beyond(self) -> bool:
        """Whether other machines can reach the proxy."""

    @property
    def keys(self) -> tuple[Key, ...]:
        """Who may ask; none: whoever reaches us may."""

    @property
    def hosts(self) -> tuple[str, ...]:
        """Further names by which clients reach us."""

    @property
    def cors(self) -> tuple[str, ...]:
        """The origins whose pages may use us."""


class Service(Protocol):
    @property
    def stream_progress(self) -> Progress: ...
    @property
    def spec(self) -> ServiceSpec: ...
    @property
    def type(self) -> str: ...
    @property
    def runtime(self) -> str: ...

    @property
    def about(self) -> About | None:
        """What its model is; None: nobody knows."""

    @property
    def rules(self) -> RequestRules | None:
        """What is changed about requests for it; None: nothing."""

    @property
    def metrics(self) -> str | None:
        """Where it tells Prometheus of itself; None: nowhere."""

    def closed_by(self, method: str, target: bytes) -> str | None:
        """Return the pattern that closes a request's way to the service; None: it may pass."""


class Settings(Protocol):
    """The part of the configuration in force that shows in answers; asked each time."""

    @property
    def core(self) -> CoreConfig: ...
    @property
    def server(self) -> ServerSettings: ...
    @property
    def services(self) -> Mapping[ServiceId, Service]: ...
