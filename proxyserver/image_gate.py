"""Holds back who wants a service until its image is here, for services that say `pull: missing`.

That comes before the core: while an image is on its way no room is taken for it, nobody is made to
leave, and neither the time of the start nor what is learnt of it has the pull in it.
"""

from collections.abc import Callable, Mapping

import attrs
import trio

from proxycore import Reason, ServiceId

from .pulls import Pulls
from .refused import Refused
from .runtime import ContainerSpec, RuntimeFault, RuntimeUnreachable
from .settings import Service

RETRY_S = 30.0
"""For so long after a failed pull requests are told of it, instead of trying again."""


@attrs.define(eq=False)
class _Line:
    """Who waits for the image of one service, in order of arrival."""

    order: trio.StrictFIFOLock = attrs.field(factory=trio.StrictFIFOLock)
    waiting: set[trio.CancelScope] = attrs.field(factory=set)
    is_stopped: bool = False


class ImageGate:
    """Lets who wants a service pass once its image is here.

    Args:
        services: which image each needs, and whether it may be fetched.
        pulls: what fetches them.
        pulled: is told of each pull that was waited for: whose, from when to when.
    """

    def __init__(
        self,
        services: Mapping[ServiceId, Service],
        pulls: Pulls,
        *,
        pulled: Callable[[ServiceId, float, float], None] = lambda service, from_at, to_at: None,
    ) -> None:
        self._services = services
        self._pulls = pulls
        self._pulled = pulled
        self._lines: dict[ServiceId, _Line] = {}

    async def wait(self, service: ServiceId, until_at: float, *, by_hand: bool = False) -> None:
        """Return when the image of the service is here, or that is not ours to see to.

        Who came first passes first.

        Args:
            service: which.
            until_at: when whoever asks has waited enough.
            by_hand: try again, however lately it has failed.

        Raises:
            Refused: it does not come, or not in time, and why.
        """
        service = self._host(service)
        image = self.fetched_for(service)
        if image is None:
            return
        line = self._lines.setdefault(service, _Line())
        queue_max = self._services[service].spec.queue_max
        if len(line.waiting) >= queue_max:
            raise Refused(service, Reason.QUEUE_FULL, f"{queue_max} wait for {image} already", 1.0)
        with trio.CancelScope(deadline=until_at) as scope:
            line.waiting.add(scope)
            try:
                async with line.order:
                    await self._have(service, image, by_hand=by_hand)
            finally:
                line.waiting.discard(scope)
        if not scope.cancelled_caught:
            return
        if line.is_stopped:
            pull = self._pulls.known.get(image)
            if pull is not None and not pull.followers:
                self._pulls.cancel(image)
            raise Refused(service, Reason.STOPPED, "stopped by hand while its image was fetched")
        message = f"waited too long: {self._how_far(image)}"
        raise Refused(service, Reason.QUEUE_TIMEOUT, message, RETRY_S)

    async def _have(self, service: ServiceId, image: str, *, by_hand: bool) -> None:
        try:
            if await self._pulls.is_here(image):
                return
            last = self._pulls.known.get(image)
            if last is not None and last.fault is not None and not by_hand:
                assert last.ended_at is not None
                again_s = last.ended_at + RETRY_S - trio.current_time()
                if again_s > 0:
                    raise _failed(service, last.fault, again_s)
            from_at = trio.current_time()
            await self._pulls.begin(image).wait()
            self._pulled(service, from_at, trio.current_time())
        except RuntimeUnreachable:
            return  # The core knows what becomes of those who wait for an engine.
        except RuntimeFault as fault:
            raise _failed(service, fault, RETRY_S) from fault

    def stop(self, service: ServiceId) -> None:
        """Let nobody wait for the image of the service; without anybody its pull is cancelled."""
        line = self._lines.pop(self._host(service), None)
        if line is None:
            return
        line.is_stopped = True
        for scope in line.waiting:
            scope.cancel()

    def waiting(self, service: ServiceId) -> int:
        """Tell how many wait for the image of the service."""
        line = self._lines.get(self._host(service))
        return 0 if line is None else len(line.waiting)

    def image_of(self, service: ServiceId) -> str | None:
        """Return the image of a service; None: it has none."""
        it = self._services[service]
        what = it.launch.what
        return what.image if it.runtime == "docker" and isinstance(what, ContainerSpec) else None

    def fetched_for(self, service: ServiceId) -> str | None:
        """Return the image that is fetched when it is missing; None: nothing is."""
        return self.image_of(service) if self._services[service].pull == "missing" else None

    def _host(self, service: ServiceId) -> ServiceId:
        """Return whose image it needs: a model needs that of its server."""
        return self._services[service].spec.host or service

    def _how_far(self, image: str) -> str:
        pull = self._pulls.known.get(image)
        if pull is None or pull.ended_at is not None:
            return f"{image} is still to be fetched"
        done, total = pull.progress.done, pull.progress.total
        figures = f" ({done >> 20} of {total >> 20} MiB)" if total else ""
        return f"{image} is still on its way{figures}"


def _failed(service: ServiceId, fault: RuntimeFault, again_s: float) -> Refused:
    message = f"{service} has no image: {fault.cause.message}"
    return Refused(service, Reason.SERVICE_FAILED, message, again_s)
