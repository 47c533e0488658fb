"""All metrics, once: what each means, its unit, its labels, its buckets.

Prometheus' names are derived from OpenTelemetry's as its specification says: dots become
underscores, the unit is added, counters end in `_total`.
"""

import enum

import attrs

from . import names
from .names import Label


class Kind(enum.Enum):
    """How a metric behaves."""

    COUNTER = "counter"
    """It only grows."""
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


_UNITS = {"s": "seconds", "By": "bytes", "Cel": "celsius", "W": "watts", "J": "joules"}
"""Units of UCUM that Prometheus spells out; those in braces are for people and left out."""


@attrs.frozen(eq=False)
class Metric:
    """One metric; each is there once, so it is compared by identity."""

    name: str
    """In OpenTelemetry."""
    unit: str
    """By UCUM."""
    kind: Kind
    meaning: str
    labels: tuple[Label, ...] = ()
    buckets: tuple[float, ...] = ()
    """The upper bounds of a histogram, inclusive."""

    @property
    def prometheus(self) -> str:
        """Return its name in Prometheus, without what is added to parts of it (`_total` is)."""
        name = self.name.replace(".", "_")
        unit = _UNITS.get(self.unit)
        if self.unit == "1" and self.kind is Kind.GAUGE:
            unit = "ratio"
        if unit is not None and not name.endswith(f"_{unit}"):
            name += f"_{unit}"
        return f"{name}_total" if self.kind is Kind.COUNTER else name


DURATIONS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
"""For whole requests (OpenTelemetry's advice for `gen_ai.server.request.duration`)."""
FIRST = (
    *(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25),
    *(0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0),
)
"""For times to a first token (its advice), to which a cold start adds what follows."""
COLD = (20.0, 40.0, 80.0, 160.0, 320.0)
EACH = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5)
"""For the time of each token (its advice)."""
TOKENS = tuple(float(4**power) for power in range(14))
"""For numbers of tokens (its advice)."""
HTTP = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
"""For HTTP (its advice), to which long answers add what follows."""
LONG = (30.0, 60.0, 120.0, 300.0, 600.0)
OVERHEAD = (0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5)
LOADS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 320.0, 640.0)

_ASKED = (names.SERVICE, names.MODEL, names.OPERATION)

REQUEST_DURATION = Metric(
    "gen_ai.server.request.duration",
    "s",
    Kind.HISTOGRAM,
    "Whole requests to services, the wait for a place included.",
    (*_ASKED, names.OUTCOME),
    DURATIONS + LONG[2:],
)
TIME_TO_FIRST_TOKEN = Metric(
    "gen_ai.server.time_to_first_token",
    "s",
    Kind.HISTOGRAM,
    "From the arrival of a request to the first byte of a streamed answer's body.",
    _ASKED,
    FIRST + COLD,
)
TIME_PER_OUTPUT_TOKEN = Metric(
    "gen_ai.server.time_per_output_token",
    "s",
    Kind.HISTOGRAM,
    "The time that each token of a streamed answer took, the first one left out.",
    _ASKED,
    EACH,
)
TOKEN_USAGE = Metric(
    "gen_ai.client.token.usage",
    "{token}",
    Kind.HISTOGRAM,
    "Tokens of a request, as its server says.",
    (*_ASKED, names.TOKEN_TYPE),
    TOKENS,
)
TOKENS_COUNTED = Metric(
    "aiproxy.tokens.counted",
    "{token}",
    Kind.COUNTER,
    "Events of streams whose server says no numbers of tokens; about one token each.",
    (names.SERVICE, names.MODEL),
)
HTTP_DURATION = Metric(
    "http.server.request.duration",
    "s",
    Kind.HISTOGRAM,
    "All requests, from their arrival to the end of their answer.",
    (names.METHOD, names.ROUTE, names.STATUS),
    HTTP + LONG,
)
HTTP_ACTIVE = Metric(
    "http.server.active_requests",
    "{request}",
    Kind.GAUGE,
    "Requests that are waiting or being answered.",
    (names.SERVICE,),
)
UPSTREAM_DURATION = Metric(
    "http.client.request.duration",
    "s",
    Kind.HISTOGRAM,
    "What services took, from the request's sending to the end of their answer.",
    (names.SERVICE, names.STATUS),
    HTTP + LONG,
)
OVERHEAD_DURATION = Metric(
    "aiproxy.proxy.overhead",
    "s",
    Kind.HISTOGRAM,
    "What the proxy itself added before a service was asked; no waiting for a place in it.",
    (names.SERVICE,),
    OVERHEAD,
)
QUEUE_WAIT = Metric(
    "aiproxy.queue.wait",
    "s",
    Kind.HISTOGRAM,
    "How long requests waited for a place.",
    (names.SERVICE,),
    (0.001, 0.01, *LOADS),
)
QUEUE_DEPTH = Metric(
    "aiproxy.queue.depth",
    "{request}",
    Kind.GAUGE,
    "Requests that wait for a place.",
    (names.SERVICE,),
)
QUEUE_REJECTED = Metric(
    "aiproxy.queue.rejected",
    "{request}",
    Kind.COUNTER,
    "Requests that were refused a place.",
    (names.SERVICE, names.REASON),
)
RETRIES = Metric(
    "aiproxy.retries",
    "{request}",
    Kind.COUNTER,
    "Requests that were sent to a second run, since the first had ended without a word.",
    (names.SERVICE, names.OUTCOME),
)
SERVICE_STATE = Metric(
    "aiproxy.service.state",
    "{state}",
    Kind.GAUGE,
    "1 for the state that a service is in, 0 for the others.",
    (names.SERVICE, names.STATE),
)
SERVICE_STARTS = Metric(
    "aiproxy.service.starts",
    "{start}",
    Kind.COUNTER,
    "Starts of services that have come to an end, good or bad.",
    (names.SERVICE, names.OUTCOME),
)
SERVICE_RESTARTS = Metric(
    "aiproxy.service.restarts",
    "{start}",
    Kind.COUNTER,
    "Starts after a failure.",
    (names.SERVICE,),
)
START_DURATION = Metric(
    "aiproxy.service.start.duration",
    "s",
    Kind.HISTOGRAM,
    "How long each phase of a start took.",
    (names.SERVICE, names.PHASE),
    LOADS,
)
EVICTIONS = Metric(
    "aiproxy.evictions",
    "{eviction}",
    Kind.COUNTER,
    "Services that were stopped or put to sleep while they could have gone on, and why.",
    (names.SERVICE, names.REASON),
)
FAILURES = Metric(
    "aiproxy.failures",
    "{failure}",
    Kind.COUNTER,
    "Runs that ended badly, by cause.",
    (names.SERVICE, names.CAUSE),
)
RECOVERIES = Metric(
    "aiproxy.recoveries",
    "{recovery}",
    Kind.COUNTER,
    "What was done after a failure, by its cause, and whether that helped.",
    (names.SERVICE, names.CAUSE, names.ACTION, names.OUTCOME),
)
OOM = Metric(
    "aiproxy.oom",
    "{failure}",
    Kind.COUNTER,
    "Runs that ended for want of memory.",
    (names.SERVICE,),
)
MEMORY_RESERVED = Metric(
    "aiproxy.memory.reserved",
    "By",
    Kind.GAUGE,
    "What a run is thought to need, so that nobody else gets it.",
    (names.DEVICE, names.SERVICE),
)
MEMORY_ESTIMATED = Metric(
    "aiproxy.memory.estimated",
    "By",
    Kind.GAUGE,
    "What the next run of a service is thought to need.",
    (names.DEVICE, names.SERVICE),
)
MEMORY_MEASURED = Metric(
    "aiproxy.memory.measured",
    "By",
    Kind.GAUGE,
    "What a run was last seen to hold.",
    (names.DEVICE, names.SERVICE),
)
MEMORY_FOREIGN = Metric(
    "aiproxy.memory.foreign",
    "By",
    Kind.GAUGE,
    "What programs hold that are none of our runs.",
    (names.DEVICE,),
)
MEMORY_USAGE = Metric(
    "system.memory.usage",
    "By",
    Kind.GAUGE,
    "Main memory that is not available.",
    (names.DEVICE,),
)
MEMORY_LIMIT = Metric(
    "system.memory.limit",
    "By",
    Kind.GAUGE,
    "Main memory that there is for us.",
    (names.DEVICE,),
)
GPU_MEMORY_USAGE = Metric(
    "hw.gpu.memory.usage",
    "By",
    Kind.GAUGE,
    "Memory of a GPU that is not free.",
    (names.DEVICE,),
)
GPU_MEMORY_LIMIT = Metric(
    "hw.gpu.memory.limit",
    "By",
    Kind.GAUGE,
    "Memory of a GPU.",
    (names.DEVICE,),
)
GPU_UTILIZATION = Metric(
    "hw.gpu.utilization",
    "1",
    Kind.GAUGE,
    "The part of the time in which a GPU computed.",
    (names.DEVICE,),
)
TEMPERATURE = Metric(
    "hw.temperature",
    "Cel",
    Kind.GAUGE,
    "Temperature of a GPU.",
    (names.DEVICE,),
)
POWER = Metric(
    "hw.power",
    "W",
    Kind.GAUGE,
    "Power that a GPU takes.",
    (names.DEVICE,),
)
RUN_MEMORY = Metric(
    "container.memory.usage",
    "By",
    Kind.GAUGE,
    "Main memory of a run, container or process.",
    (names.SERVICE,),
)
RUN_PROCESSOR = Metric(
    "container.cpu.time",
    "s",
    Kind.COUNTER,
    "Processor time of runs, container or process, from when they are first measured.",
    (names.SERVICE,),
)
RUN_UPTIME = Metric(
    "container.uptime",
    "s",
    Kind.GAUGE,
    "How long a run has been there.",
    (names.SERVICE,),
)
TELEMETRY_DROPPED = Metric(
    "aiproxy.telemetry.dropped",
    "{item}",
    Kind.COUNTER,
    "Spans of requests, log lines and metrics that no collector took.",
    (names.SIGNAL,),
)
OUTPUT_DROPPED = Metric(
    "aiproxy.output.dropped",
    "{line}",
    Kind.COUNTER,
    "Lines of a service's output that were not sent, for there were too many in a second.",
    (names.SERVICE,),
)
BUILD_INFO = Metric(
    "aiproxy.build.info",
    "{build}",
    Kind.GAUGE,
    "Always 1; its label tells the version.",
    (names.VERSION,),
)

CATALOGUE: tuple[Metric, ...] = tuple(
    value for value in list(globals().values()) if isinstance(value, Metric)
)
