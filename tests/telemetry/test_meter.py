"""What is counted of the core's facts and of requests, and that it stays bounded."""

from collections.abc import Mapping

import attrs
import pytest

from proxycore import Cause, Changed, Reason, Refuse, RunId, ServiceId, State, TicketId
from proxyserver.http import Outcome, RequestRecord
from proxyserver.telemetry import catalogue as cat
from proxyserver.telemetry._kinds import KINDS_MAX, PATH_MAX, Kinds, operation
from proxyserver.telemetry._store import OTHER, SERIES_MAX, Counter
from proxyserver.telemetry.catalogue import Metric
from proxyserver.telemetry.meter import Meter
from proxyserver.wire import Usage

CHAT = ServiceId("chat")
OOM = Cause("gpu_oom", "out of memory", out_of_memory=True)


@attrs.define
class Life:
    """One service that goes from state to state, and who counts."""

    kept_down_by: Cause | None = None
    ended_by: Cause | None = None
    now: float = 100.0
    state: State = State.DOWN
    meter: Meter = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.meter = Meter(lambda service: self.kept_down_by, lambda service: self.ended_by)

    def go(self, *states: State, why: str = "", after_s: float = 1.0) -> None:
        for state in states:
            self.now += after_s
            fact = Changed(CHAT, RunId(1), self.state, state, why)
            self.meter.note(fact, self.now)
            self.state = state

    def start(self) -> None:
        self.go(State.RESERVED, State.STARTING, State.READY)

    def counted(self, metric: Metric) -> Mapping[tuple[str, ...], float]:
        [counter] = [one for one in self.meter.counters if one.metric is metric]
        return counter.series

    def seen(self, metric: Metric) -> Mapping[tuple[str, ...], tuple[int, float]]:
        [histogram] = [one for one in self.meter.histograms if one.metric is metric]
        return {
            values: (sum(one.counts), round(one.total, 6))
            for values, one in histogram.series.items()
        }


def test_starts_are_counted_by_how_they_end() -> None:
    """Ready, abandoned by whoever wanted it, or failed."""
    life = Life()
    life.start()
    life.go(State.STOPPING, State.DOWN, why="idle")
    life.go(State.RESERVED, State.STARTING, State.STOPPING, State.DOWN, why="stopped by hand")
    life.go(State.RESERVED, State.STARTING)
    life.kept_down_by = Cause("exit", "it ended")
    life.go(State.BACKOFF)
    assert life.counted(cat.SERVICE_STARTS) == {
        ("chat", "ready"): 1,
        ("chat", "abandoned"): 1,
        ("chat", "failed"): 1,
    }
    assert life.counted(cat.FAILURES) == {("chat", "exit"): 1}
    assert life.counted(cat.SERVICE_RESTARTS) == {}


def test_recovery_is_told_by_what_had_failed() -> None:
    """A run out of memory is started again as a larger one: that helps, or it does not."""
    life = Life(ended_by=OOM)
    life.go(State.RESERVED, State.STARTING)
    life.go(State.VERIFYING, why="once more, with more room: out of memory")
    life.go(State.DOWN)
    life.start()
    assert life.counted(cat.OOM) == {("chat",): 1}
    assert life.counted(cat.SERVICE_STARTS) == {("chat", "failed"): 1, ("chat", "ready"): 1}
    assert life.counted(cat.SERVICE_RESTARTS) == {("chat",): 1}
    assert life.counted(cat.RECOVERIES) == {("chat", "gpu_oom", "larger", "helped"): 1}
    # It has recovered: what follows is a start like any other.
    life.go(State.STOPPING, State.DOWN, why="idle")
    life.start()
    assert life.counted(cat.RECOVERIES) == {("chat", "gpu_oom", "larger", "helped"): 1}


def test_recovery_is_told_by_what_was_done() -> None:
    """Started again as a larger one and, after a pause, as it was; then given up."""
    life = Life(ended_by=OOM)
    life.go(State.RESERVED, State.STARTING)
    life.go(State.VERIFYING, why="once more, with more room: out of memory")
    life.go(State.DOWN, State.RESERVED, State.STARTING)
    life.kept_down_by = Cause("gpu_oom", "out of memory", out_of_memory=True)
    life.go(State.VERIFYING, State.BACKOFF, State.DOWN, State.RESERVED, State.STARTING)
    life.go(State.STOPPING, State.DOWN, why="stopped by hand")
    life.go(State.RESERVED, State.STARTING)
    life.kept_down_by = Cause("bad_flag", "no such option", heals=False)
    life.go(State.VERIFYING, State.FAILED)
    assert life.counted(cat.RECOVERIES) == {
        ("chat", "gpu_oom", "larger", "failed"): 1,
        ("chat", "gpu_oom", "restart", "abandoned"): 1,
        ("chat", "gpu_oom", "restart", "failed"): 1,
        ("chat", "bad_flag", "give_up", "failed"): 1,
    }
    # Somebody has corrected it, and starts it by hand.
    life.go(State.DOWN)
    life.start()
    assert life.counted(cat.RECOVERIES)["chat", "bad_flag", "restart", "helped"] == 1


@pytest.mark.parametrize("by_way_of", [(), (State.VERIFYING,)])
def test_giving_up_counts_once(by_way_of: tuple[State, ...]) -> None:
    """Whether its memory is still to be seen free or not."""
    life = Life()
    life.go(State.RESERVED, State.STARTING)
    life.kept_down_by = Cause("bad_flag", "no such option", heals=False)
    life.go(*by_way_of, State.FAILED)
    assert life.counted(cat.RECOVERIES) == {("chat", "bad_flag", "give_up", "failed"): 1}


@pytest.mark.parametrize(
    ("outcome", "status", "result"),
    [
        (Outcome.ANSWERED, 200, "helped"),
        (Outcome.ANSWERED, 404, "helped"),
        (Outcome.ANSWERED, 503, "failed"),
        (Outcome.REJECTED, 503, "failed"),
        (Outcome.BROKEN, None, "failed"),
        (Outcome.CLIENT_GONE, None, "abandoned"),
    ],
)
def test_a_request_that_was_sent_once_more(
    outcome: Outcome, status: int | None, result: str
) -> None:
    """It counts by why its first run had ended."""
    life = Life(ended_by=Cause("exit", "it ended"))
    life.meter.request(record(retries=1, outcome=outcome, status=status))
    life.meter.request(record(outcome=outcome, status=status))
    assert life.counted(cat.RETRIES) == {("chat", outcome.value): 1}
    assert life.counted(cat.RECOVERIES) == {("chat", "exit", "new_run", result): 1}


def test_failure_counts_once() -> None:
    """However long its cause is shown, and through however many states it goes."""
    life = Life()
    life.start()
    life.kept_down_by = Cause("exit", "it ended")
    life.go(State.VERIFYING, State.BACKOFF, State.DOWN)
    life.start()
    life.go(State.STOPPING, State.DOWN, why="idle")
    assert life.counted(cat.FAILURES) == {("chat", "exit"): 1}
    life.start()
    life.kept_down_by = Cause("exit", "it ended")
    life.go(State.FAILED)
    assert life.counted(cat.FAILURES) == {("chat", "exit"): 2}


@pytest.mark.parametrize(
    ("why", "reason"),
    [
        ("room for other", "room"),
        ("room for other, which ran out of memory", "room"),
        ("idle", "idle"),
        ("only 0.3 GiB free on gpu0", "low_memory"),
        ("stopped by hand", "by_hand"),
        ("its configuration has changed", "configuration"),
        ("shutdown", "shutdown"),
        ("it does not answer", None),
    ],
)
def test_evictions_are_told_by_reason(why: str, reason: str | None) -> None:
    """In few words, and once, however it leaves; a failure is none."""
    life = Life()
    life.start()
    life.go(State.DRAINING, State.STOPPING, State.DOWN, why=why)
    assert life.counted(cat.EVICTIONS) == ({} if reason is None else {("chat", reason): 1})


def test_a_run_has_an_age() -> None:
    """From its start, or from its adoption, until it has ended."""
    life = Life()
    life.go(State.RESERVED, State.STARTING)
    started_at = life.now
    life.go(State.READY)
    assert life.meter.started_at == {CHAT: started_at}
    life.go(State.STOPPING, State.DOWN)
    assert life.meter.started_at == {}
    life.go(State.READY)
    assert life.meter.started_at == {CHAT: life.now}


def record(**changes: object) -> RequestRecord:
    plain = RequestRecord(
        "id",
        "POST",
        "/v1/chat/completions",
        CHAT,
        RunId(1),
        200,
        0.25,
        0.5,
        2.0,
        100,
        200,
        Outcome.ANSWERED,
        None,
    )
    return attrs.evolve(plain, **changes)  # type: ignore[arg-type]  # as the test says


def test_requests_are_measured() -> None:
    """By route and status, and those to services by service and operation."""
    life = Life()
    life.meter.request(record())
    life.meter.request(record(path="/service/chat/elsewhere", outcome=Outcome.BROKEN))
    life.meter.request(record(method="GET", path="/health", service=None))
    life.meter.request(record(method="BREW", path="/nothing", service=None, status=None))
    assert life.seen(cat.HTTP_DURATION) == {
        ("POST", "/v1/chat/completions", "200"): (1, 2.0),
        ("POST", "/service/{id}/{path}", "200"): (1, 2.0),
        ("GET", "/health", "200"): (1, 2.0),
        (OTHER, OTHER, ""): (1, 2.0),
    }
    assert life.seen(cat.REQUEST_DURATION) == {
        ("chat", "chat", "chat", "answered"): (1, 2.0),
        ("chat", "chat", OTHER, "broken"): (1, 2.0),
    }
    assert life.seen(cat.QUEUE_WAIT) == {("chat",): (2, 0.5)}


def test_tokens_are_measured() -> None:
    """By model and direction; those that we counted ourselves are kept apart."""
    life = Life()
    streamed = record(model="gpt", streamed=True, first_token_s=0.5)
    life.meter.request(attrs.evolve(streamed, usage=Usage(input=10, output=4)))
    life.meter.request(attrs.evolve(streamed, usage=Usage(output=7, counted=True)))
    life.meter.request(record(model="gpt", usage=Usage(input=30, output=1)))
    asked = ("chat", "gpt", "chat")
    assert life.seen(cat.TOKEN_USAGE) == {(*asked, "input"): (2, 40), (*asked, "output"): (2, 5)}
    assert life.counted(cat.TOKENS_COUNTED) == {("chat", "gpt"): 7}
    assert life.seen(cat.TIME_TO_FIRST_TOKEN) == {asked: (2, 1.0)}
    assert life.seen(cat.TIME_PER_OUTPUT_TOKEN) == {asked: (2, 0.75)}


def test_overhead_is_what_the_proxy_took() -> None:
    """Up to the sending, without the wait; what follows is the service's."""
    life = Life()
    life.meter.request(record(asked_s=0.001, sent_s=0.253))
    assert life.seen(cat.OVERHEAD_DURATION) == {("chat",): (1, 0.003)}
    assert life.seen(cat.UPSTREAM_DURATION) == {("chat", "200"): (1, 1.747)}


def test_refusals_are_counted() -> None:
    """By reason."""
    life = Life()
    life.meter.note(Refuse(TicketId(1), CHAT, Reason.QUEUE_FULL, "full"), 1.0)
    assert life.counted(cat.QUEUE_REJECTED) == {("chat", "queue_full"): 1}


def test_series_are_bounded() -> None:
    """What comes beyond the limit is added up, and nothing is lost."""
    counter = Counter(cat.QUEUE_REJECTED)
    for number in range(SERIES_MAX + 10):
        counter.add((f"service {number}", "queue_full"))
    counter.add(("service 0", "queue_full"))
    assert len(counter.series) == SERIES_MAX + 1
    assert counter.series[OTHER, OTHER] == 10
    assert counter.series["service 0", "queue_full"] == 2


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("/v1/chat/completions", "chat"),
        ("/service/a/v1/chat/completions", "chat"),
        ("/api/chat", "chat"),
        ("/v1/completions", "text_completion"),
        ("/v1/embeddings", "embeddings"),
        ("/v1/audio/speech", "speech"),
        ("/service/a/reranking", "rerank"),
        ("/sdapi/v1/txt2img", "image"),
        ("/props", OTHER),
        ("/service/a/", OTHER),
        ("/", OTHER),
    ],
)
def test_operation_is_read_off_the_path(path: str, asked: str) -> None:
    """By the table of paths: below a service it is the same."""
    assert operation(path) == asked


def test_kinds_are_found_once_and_bounded() -> None:
    """As many as there may be, and none whose path is as long as a client likes."""
    made: list[str] = []
    kinds = Kinds(lambda record: made.append(record.path))

    def found(*paths: str) -> list[str]:
        made.clear()
        for path in paths:
            kinds.of(record(path=path))
        return made

    first, *others = [f"/{number}" for number in range(KINDS_MAX + 1)]
    long = "/" + "x" * PATH_MAX
    assert found(long, long) == [long, long]
    found(first, *others)
    assert found(first) == [first]


def test_processor_time_is_that_of_all_runs() -> None:
    """It only grows, over runs too, though a run's own begins anew and may shrink by a process."""
    meter = Life().meter
    for run, total_s in [(1, 5.0), (1, 7.5), (1, 7.0), (1, 8.0), (2, 0.5), (2, 1.0)]:
        meter.processor(CHAT, RunId(run), total_s)
    [counter] = [one for one in meter.counters if one.metric is cat.RUN_PROCESSOR]
    assert counter.series == {("chat",): 4.0}
