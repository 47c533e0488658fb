"""The names that telemetry uses for things, all in one place.

They are OpenTelemetry's where it has one: general and HTTP names by the stable conventions, those
of generative AI and of hardware by the conventions in development, which have moved before and
may again.  What is ours alone begins with `aiproxy.`.
"""

import attrs


@attrs.frozen
class Label:
    """What distinguishes the series of a metric."""

    attribute: str
    """Its name in OpenTelemetry."""
    short: str
    """Its name in Prometheus, where queries are written by hand."""


SERVICE = Label("aiproxy.service", "service")
DEVICE = Label("hw.id", "device")
STATE = Label("aiproxy.state", "state")
REASON = Label("aiproxy.reason", "reason")
OUTCOME = Label("aiproxy.outcome", "outcome")
PHASE = Label("aiproxy.phase", "phase")
CAUSE = Label("aiproxy.cause", "cause")
ACTION = Label("aiproxy.action", "action")
MODEL = Label("gen_ai.request.model", "model")
OPERATION = Label("gen_ai.operation.name", "operation")
TOKEN_TYPE = Label("gen_ai.token.type", "type")
SIGNAL = Label("aiproxy.signal", "signal")
METHOD = Label("http.request.method", "method")
ROUTE = Label("http.route", "route")
STATUS = Label("http.response.status_code", "status")
VERSION = Label("service.version", "version")

# Attributes of spans and log lines, and of what sends them.

SERVICE_NAME = "service.name"
SERVICE_VERSION = "service.version"
SERVICE_INSTANCE = "service.instance.id"
HOST_NAME = "host.name"
RUN = "aiproxy.run"
REQUEST = "aiproxy.request.id"
TICKET = "aiproxy.ticket"
ORIGIN = "aiproxy.origin"
URL_PATH = "url.path"
ERROR_TYPE = "error.type"
REQUEST_SIZE = "http.request.body.size"
RESPONSE_SIZE = "http.response.body.size"
RESPONSE_MODEL = "gen_ai.response.model"
INPUT_TOKENS = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS = "gen_ai.usage.output_tokens"
EXCEPTION_TYPE = "exception.type"
EXCEPTION_MESSAGE = "exception.message"
EXCEPTION_STACKTRACE = "exception.stacktrace"
CODE_FUNCTION = "code.function.name"
CODE_FILE = "code.file.path"
CODE_LINE = "code.line.number"

# Names of spans and of their events.

QUEUE = "queue"
UPSTREAM = "upstream"
FIRST_BYTE = "first_byte"
RETRY = "retry"
CANCEL = "cancel"

# Values.

OUTPUT = "output"
"""As an origin: a line is not ours, but what a service wrote to its output."""
