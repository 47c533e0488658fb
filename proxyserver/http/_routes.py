"""The table of all routes: what the server answers, in words; two documents are made of it."""

from proxyserver.decisions import DECISIONS_MAX, Kind
from proxyserver.surfaces import ANY, SURFACES, Surface

from ._entries import ANYTHING as ANYTHING
from ._entries import ROLES_OF as ROLES_OF
from ._entries import Entry as Entry
from ._entries import Query as Query
from ._entries import Sent as Sent
from ._entries import Who as Who
from ._model_routes import MODELS
from ._usage import BY

TAIL_MAX = 10_000
IMAGE_MAX = 512
"""Longer than any name that an engine takes."""
IMAGE_PATTERN = "^[!-~]+$"
KINDS = [kind.value for kind in Kind]


_PLACE = (
    "queue_full",
    "queue_timeout",
    "start_timeout",
    "insufficient_resources",
    "service_failed",
    "runtime_unavailable",
    "service_stopped",
    "service_removed",
    "shutting_down",
    "request_cancelled",
)
_MODEL = (
    "invalid_json",
    "invalid_form",
    "missing_model",
    "model_not_found",
    "request_timeout",
    "request_too_large",
    "server_busy",
    "disk_full",
    "upstream_error",
    "upstream_timeout",
    *_PLACE,
)
WAIT = Query("wait", "boolean", "`false`: answer 202 at once and go on in the background.")
_DONE = '`{"id", "state", "run"}` when it is done, 202 with the same at once if not waiting.'
_IMAGE = Query(
    "image",
    "string",
    "Its name, such as `name:tag`.",
    {"pattern": IMAGE_PATTERN, "maxLength": IMAGE_MAX},
    required=True,
)
_PULL = 'A line of JSON whenever it is farther, the last with its end: `{"image", "state", ...}`.'
YAML = "application/yaml"
_CHANGES = '"added", "removed", "restarts", "changes", "next_start", "server", "needs_restart"'
_CANCELLED = '`{"image", "cancelled"}`; false: none was running.'

_ASKED = Query("model", "string", "Who is meant, where the body does not name a `model`.")


def _sent(row: Surface) -> Sent:
    media = "multipart/form-data" if row.is_form else "application/json"
    said = (
        "As that API has it; of it the proxy reads `model` alone."
        " Where it names none, `?model=NAME` does."
    )
    return Sent(media, said, row.example)


TABLE = (
    Entry(
        ANY,
        "/service/{id}/{path}",
        "Forward any request to a service, starting it when it is not running.",
        "What the service answers, streamed.",
        (
            *("service_not_found", "admin_path", "request_timeout"),
            *("upstream_error", "upstream_timeout", "websocket_unsupported"),
            *_PLACE,
        ),
        media=ANYTHING,
        who="inference",
    ),
    *(
        Entry(
            row.method,
            row.path,
            row.summary,
            "What the service answers, streamed where it streams.",
            (*_MODEL, "admin_path") if row.is_open else _MODEL,
            # A body names the model; that the query may do it instead is said there.
            (_ASKED,) if row.is_open or not row.sent else (),
            media=ANYTHING,
            who="inference",
            sent=_sent(row) if row.sent else None,
        )
        for row in SURFACES
    ),
    *MODELS,
    Entry(
        "GET",
        "/api/v1/services",
        "Show all services and devices.",
        '`{"services": [...], "devices": [...], "configuration": {...}, "version"}`.',
    ),
    Entry(
        "GET",
        "/api/v1/container/{id}",
        "Show what runs a service: container or process, image, ports, health, memory, last exit.",
        '`{"id", "state", "run", "runtime", "name", "image", "pid", "ports", "started_at",'
        ' "health", "exit", "memory"}`.',
        ("service_not_found",),
    ),
    Entry(
        "POST",
        "/api/v1/service/{id}/start",
        "Start a service and wait until it is ready.",
        _DONE,
        ("service_not_found", "invalid_request", *_PLACE),
        (WAIT,),
    ),
    Entry(
        "POST",
        "/api/v1/service/{id}/stop",
        "Stop a service and wait until it is down; requests in flight may finish first.",
        _DONE,
        ("service_not_found", "invalid_request"),
        (WAIT, Query("force", "boolean", "`true`: cut the requests in flight.")),
    ),
    Entry(
        "POST",
        "/api/v1/service/{id}/sleep",
        "Put a service to sleep, once it has served what is in flight, and wait until it sleeps.",
        _DONE,
        ("service_not_found", "invalid_request", "cannot_sleep"),
        (WAIT,),
    ),
    Entry(
        "POST",
        "/api/v1/service/{id}/restart",
        "Stop a service, start it again and wait until it is ready.",
        _DONE,
        ("service_not_found", "invalid_request", *_PLACE),
        (WAIT,),
    ),
    Entry(
        "GET",
        "/api/v1/service/{id}/logs",
        "Show the end of a service's log.",
        "The lines, as text.",
        ("service_not_found", "invalid_request"),
        (
            Query(
                "tail",
                "integer",
                f"How many lines of the past, 0 to {TAIL_MAX}; 100 if not given.",
                {"minimum": 0, "maximum": TAIL_MAX},
            ),
            Query("follow", "boolean", "`true`: then new lines, until the run ends."),
        ),
        media="text/plain",
    ),
    Entry(
        "GET",
        "/api/v1/service/{id}/metrics",
        "Show what a service tells Prometheus of itself; starts and wakes nothing.",
        "What its server answers, as text.",
        ("service_not_found", "no_metrics", "upstream_error"),
        media="text/plain",
    ),
    Entry(
        "POST",
        "/api/v1/service/{id}/pull",
        "Fetch the image of a service, or join who does, and tell how far it is.",
        _PULL,
        ("service_not_found", "invalid_request", "no_image", "server_busy", "shutting_down"),
        (WAIT,),
        media="application/x-ndjson",
    ),
    Entry(
        "POST",
        "/api/v1/service/{id}/pull/cancel",
        "Cancel the pull of the image of a service; whoever waits for it is refused.",
        _CANCELLED,
        ("service_not_found", "no_image"),
    ),
    Entry(
        "GET",
        "/api/v1/pulls",
        "Show the images that are on their way, and how the last pull of others ended.",
        '`{"pulls": [...]}`.',
    ),
    Entry(
        "POST",
        "/api/v1/pull",
        "Fetch any image, or join who does, and tell how far it is.",
        _PULL,
        ("invalid_request", "server_busy", "shutting_down"),
        (_IMAGE, WAIT),
        media="application/x-ndjson",
    ),
    Entry(
        "POST",
        "/api/v1/pull/cancel",
        "Cancel the pull of an image; whoever waits for it is refused.",
        _CANCELLED,
        ("invalid_request",),
        (_IMAGE,),
    ),
    Entry(
        "GET",
        "/api/v1/events",
        "Tell of decisions as they are made, as server-sent events.",
        "Events of a kind, with the number of a decision and all that `/api/v1/decisions` tells.",
        ("service_not_found", "invalid_request"),
        (
            Query("service", "string", "Those about this service, or that make it leave."),
            Query("after", "integer", "Those after this number; the last one if not given."),
        ),
        media="text/event-stream",
    ),
    Entry(
        "GET",
        "/api/v1/requests",
        "Show all requests in flight.",
        '`{"requests": [{"id", "service", "model", "state", "for_s", ...}]}`, the oldest first.',
    ),
    Entry(
        "DELETE",
        "/api/v1/requests/{id}",
        "Cancel the request with this `X-Request-Id`, or all that have it.",
        '`{"id", "cancelled"}`, how many.',
        ("request_not_found",),
    ),
    Entry(
        "GET",
        "/api/v1/config",
        "Tell which configuration is in force, and what of its files is not.",
        '`{"path", "loaded_at", "problems", "needs_restart", "schedules"}`.',
    ),
    Entry(
        "POST",
        "/api/v1/config/reload",
        "Read the configuration again, and put it into force if it is good.",
        f'`{{"outcome": "changed" | "unchanged", {_CHANGES}}}`.',
        ("configuration_refused",),
    ),
    Entry(
        "POST",
        "/api/v1/config/diff",
        "Tell what a reload would do, or would if the file said what the body says.",
        f'`{{"outcome": "changed" | "unchanged", {_CHANGES}}}`.',
        ("configuration_refused", "request_too_large", "invalid_request"),
        sent=Sent(
            YAML, "What the file would say; empty: what it says.", "--data-binary @aiproxy.yaml"
        ),
    ),
    Entry(
        "GET",
        "/api/v1/profile",
        "Tell which profile is in force, and which there are.",
        '`{"profile", "profiles": {name: [services]}}`; `null`: none is.',
    ),
    Entry(
        "POST",
        "/api/v1/profile/{id}",
        "Switch to a profile: its services are pinned and started; `none`: to none.",
        '`{"profile", "profiles"}` as it is now.',
        ("profile_not_found",),
    ),
    Entry(
        "GET",
        "/api/v1/usage",
        "Tell what was used: requests, tokens, times, memory; by service, model, key or day.",
        '`{"by", "from", "to", "rows": [...]}`; see below for what is in a row.',
        ("invalid_request", "no_statistics", "statistics_unavailable"),
        (
            Query("by", "string", "What a row is for; `service` if not given.", {"enum": list(BY)}),
            Query("from", "string", "The first day (UTC); 29 days before `to` if not given."),
            Query("to", "string", "The last day, which counts, too; today if not given."),
        ),
    ),
    Entry(
        "GET",
        "/api/v1/decisions",
        "Tell why the proxy did what it did of late: evictions, waits, refusals, starts, stops.",
        '`{"decisions": [{"number", "at", "kind", "service", "why", ...}]}`, the newest last.',
        ("service_not_found", "invalid_request"),
        (
            Query("service", "string", "Those about this service, or that make it leave."),
            Query("request", "string", "Those about the request with this `X-Request-Id`."),
            Query("ticket", "integer", "Those about this ticket."),
            Query("kind", "string", "Those of this kind.", {"enum": KINDS}),
            Query(
                "limit",
                "integer",
                f"The last so many, 1 to {DECISIONS_MAX}; 100 if not given.",
                {"minimum": 1, "maximum": DECISIONS_MAX},
            ),
        ),
    ),
    Entry(
        "GET",
        "/health",
        "Tell whether the proxy works.",
        '`{"status": "ok" | "degraded", "version", "runtimes"}`; degraded: a runtime is lost.',
        ("invalid_request",),
        (Query("detail", "boolean", "`1`: gauges, services and devices too; for keys of admins."),),
        who="anyone",
    ),
    Entry(
        "GET",
        "/metrics",
        "Show all numbers of the proxy, for Prometheus.",
        "Its text format, or OpenMetrics where that is accepted.",
        media="text/plain",
        who="metrics",
    ),
    Entry(
        "GET",
        "/metrics/services",
        "Show the metrics of all servers that run, for Prometheus.",
        "Its text format; each series has the label `service`.",
        media="text/plain",
        who="metrics",
    ),
    Entry(
        "GET",
        "/api/v1/config/schema",
        "Show the JSON Schema of the configuration, for editors.",
        "A JSON Schema (draft 2020-12), with the templates and runtimes that are installed.",
        media="application/schema+json",
        who="anyone",
    ),
    Entry(
        "GET",
        "/openapi.json",
        "Describe this API for programs.",
        "An OpenAPI 3.1 document.",
        who="anyone",
    ),
    Entry(
        "GET",
        "/docs",
        "Describe this API for people.",
        "A page that needs nothing else.",
        media="text/html",
        who="anyone",
    ),
)

GENERAL_ERRORS = (
    "invalid_api_key",
    "wrong_role",
    "rate_limited",
    "forbidden_host",
    "forbidden_origin",
    "invalid_request",
    "not_found",
    "method_not_allowed",
    "server_busy",
    "internal_error",
)
"""What any route may answer."""
