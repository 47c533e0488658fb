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
OPERATION = Label("gen_ai.operation.name", "operation")
METHOD = Label("http.request.method", "method")
ROUTE = Label("http.route", "route")
STATUS = Label("http.response.status_code", "status")
VERSION = Label("service.version", "version")
