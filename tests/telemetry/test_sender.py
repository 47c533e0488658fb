"""A signal is sent in batches, bounded, and tried again where that may help."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
import trio.testing
from opentelemetry.proto.trace.v1.trace_pb2 import ScopeSpans, Span

from proxyserver.telemetry.otlp import _sender
from proxyserver.telemetry.otlp._encode import envelope
from proxyserver.telemetry.otlp._environment import Batching, Target
from proxyserver.telemetry.otlp._sender import Sender
from tests.rig.collector import PATIENCE_S, Collector, collecting


@attrs.define
class Rig:
    collector: Collector
    batching: Batching = Batching(100, 10, 0.01)  # noqa: RUF009  # it is frozen
    gzip: bool = False
    dropped: int = 0
    sender: Sender = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        url = f"{self.collector.url}/v1/traces"
        target = Target("traces", url, {"key": "secret"}, 1.0, self.gzip)
        wrapped = envelope({"service.name": "x"}, "1.0")
        self.sender = Sender(target, self.batching, wrapped, self._drop)

    def _drop(self, count: int) -> None:
        self.dropped += count

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait for what happens in the collector's thread."""
        with trio.fail_after(PATIENCE_S):
            while not holds():  # noqa: ASYNC110  # it has no events of Trio's
                await trio.sleep(0.01)

    def put(self, *names: str) -> None:
        for name in names:
            self.sender.put(ScopeSpans(spans=[Span(name=name)]).SerializeToString())


@contextmanager
def rig(**more: object) -> Iterator[Rig]:
    with collecting() as collector:
        yield Rig(collector, **more)  # type: ignore[arg-type]  # as the test says


@pytest.mark.parametrize("zipped", [False, True])
async def test_items_are_sent_in_batches(zipped: bool) -> None:
    """In order, with the headers of the target, and no batch larger than it may be."""
    names = [f"span {number}" for number in range(25)]
    with rig(gzip=zipped) as it:
        it.put(*names)
        await it.sender.flush()
        await it.sender.close()
    assert it.collector.names() == names
    assert len(it.collector.requests) == 3
    for path, headers in it.collector.requests:
        assert path == "/v1/traces"
        assert headers["key"] == "secret"
        assert headers.get("content-encoding") == ("gzip" if zipped else None)
    assert it.collector.resources == [{"service.name": "x"}] * 3
    assert it.dropped == 0


async def test_queue_is_bounded() -> None:
    """What comes when it is full is lost, and counted."""
    with rig(batching=Batching(3, 3, 1.0)) as it:
        it.put("a", "b", "c", "d", "e")
        await it.sender.flush()
        await it.sender.close()
    assert (it.collector.names(), it.dropped) == (["a", "b", "c"], 2)


async def test_a_full_batch_does_not_wait() -> None:
    """The delay is for those that are not."""
    with rig(batching=Batching(100, 2, 60.0)) as it:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(it.sender.run)
            await trio.testing.wait_all_tasks_blocked()
            it.put("a", "b")
            await it.until(lambda: len(it.collector.spans) == 2)
            nursery.cancel_scope.cancel()
        await it.sender.close()


async def test_a_collector_that_is_back_gets_the_batch() -> None:
    """It was asked again after a second."""
    with rig() as it:
        it.collector.status = 503
        it.put("a")

        async def mend() -> None:
            await it.until(lambda: len(it.collector.requests) == 1)
            it.collector.status = 200

        async with trio.open_nursery() as nursery:
            nursery.start_soon(mend)
            await it.sender.flush(tries=2)
        await it.sender.close()
    assert (it.collector.names(), it.dropped) == (["a"], 0)
    assert len(it.collector.requests) == 2


async def test_what_is_refused_for_good_is_not_sent_again() -> None:
    """A mistake of ours stays one."""
    with rig() as it:
        it.collector.status = 400
        it.put("a", "b")
        await it.sender.flush(tries=_sender.TRIES)
        await it.sender.close()
    assert (len(it.collector.requests), it.dropped) == (1, 2)


@pytest.mark.parametrize(
    "mistake",
    [
        {"url": "http://127.0.0.1:otlp/v1/traces"},
        {"certificate": Path(__file__)},
        {"headers": {"key": "\N{SNOWMAN}"}},
    ],
)
async def test_a_mistake_of_the_environment_is_told_and_harms_nobody(
    mistake: dict[str, Any],
) -> None:
    """It is found when something is sent, in the midst of a daemon that serves."""
    dropped: list[int] = []
    target = Target("traces", "http://127.0.0.1:1/v1/traces", {}, 1.0, gzip=False)
    target = attrs.evolve(target, **mistake)
    sender = Sender(target, Batching(), envelope({}, "1"), dropped.append)
    sender.put(b"")
    await sender.flush(tries=3)
    await sender.close()
    assert dropped == [1]
