"""Errors of the proxy itself: what can be wrong, and the status and the words for it."""

import json
import math

import attrs

from proxycore import Reason, ServiceId
from proxyserver.access import Key
from proxyserver.surfaces import Shape, error_body

STATUS = {
    Reason.QUEUE_FULL: 429,
    Reason.QUEUE_TIMEOUT: 504,
    Reason.START_TIMEOUT: 504,
    Reason.NEVER_FITS: 503,
    Reason.SERVICE_FAILED: 503,
    Reason.RUNTIME_LOST: 503,
    Reason.STOPPED: 503,
    Reason.REMOVED: 404,
    Reason.SHUTTING_DOWN: 503,
}

CODES = {
    "invalid_request": "The request contradicts itself or misses something; the message says what.",
    "invalid_json": "The body is not JSON, or no object.",
    "invalid_form": "The body is no form, or one that servers read in different ways.",
    "missing_model": "The body has no `model`, or it is no text.",
    "invalid_api_key": "No API key was sent, or none that is known here, or more than one.",
    "wrong_role": "The API key is not for this; the message says which role it lacks.",
    "rate_limited": "The API key has reached its limit of requests.",
    "forbidden_host": "The `Host` is no name of this server: a web page may be behind it.",
    "forbidden_origin": "A web page of another site sent the request.",
    "admin_path": "The path administers the service; the message says what would open it.",
    "not_found": "There is no such path.",
    "method_not_allowed": "The path is there, the method is not; `Allow` lists what is.",
    "model_not_found": "No service has this model; near names are in the message.",
    "service_not_found": "There is no such service; near names are in the message.",
    "profile_not_found": "There is no such profile; near names are in the message.",
    "request_not_found": "No such request is in flight.",
    "request_cancelled": "Somebody cancelled the request by hand.",
    "request_timeout": "The client stopped sending its head, or its body.",
    "no_metrics": "The service tells no metrics (now); the message says why.",
    "no_statistics": "No statistics of use are kept here.",
    "statistics_unavailable": "The statistics of use cannot be read; the message says why.",
    "request_too_large": "The body is larger than its service takes, or says its `model` too late.",
    "cannot_sleep": "The service cannot be put to sleep (now); the message says why.",
    "configuration_refused": "The configuration cannot be used; `problems` has all of it.",
    "no_image": "The service runs in no container, so there is no image of it.",
    "queue_full": "Too many requests wait for the service already.",
    "internal_error": "A bug of the proxy; its log has the details under the request id.",
    "websocket_unsupported": "A WebSocket was asked for by a way that has none.",
    "upstream_error": "The service broke off, or sent no HTTP; the message has the cause.",
    "insufficient_resources": "The service can never fit on this machine as configured.",
    "service_failed": "The service does not start; the message has the cause.",
    "runtime_unavailable": "What runs the service (the container engine) cannot be reached.",
    "service_stopped": "Somebody stopped the service while the request waited.",
    "service_removed": "The service was taken out of the configuration while the request waited.",
    "shutting_down": "The proxy is stopping.",
    "server_busy": "Too many large bodies or connections are held already.",
    "upstream_timeout": "The service did not accept, answer, or go on with its answer in time.",
    "disk_full": "A body that is too large for the memory cannot be kept on disk.",
    "queue_timeout": "No place at the service within `wait_s`.",
    "start_timeout": "The service did not become ready in time.",
}
"""Every code that the proxy itself answers, with its meaning for people."""


@attrs.frozen
class ApiError(Exception):
    """The proxy's own answer to a request that it will not or cannot serve."""

    status: int
    code: str
    message: str
    param: str | None = None
    headers: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        return self.message

    def encoded(self, shape: Shape = Shape.OPENAI) -> bytes:
        """Return the body of the answer."""
        return error_body(shape, self.status, self.code, self.message, self.param)


def refused(reason: Reason, message: str, retry_after_s: float | None) -> ApiError:
    """Return the answer to a request that got no place."""
    return ApiError(STATUS[reason], reason.value, message, headers=again(retry_after_s))


def again(after_s: float | None) -> tuple[tuple[str, str], ...]:
    """Return the headers that say when to try again; None: in vain until somebody does something.

    The SDKs of OpenAI and Anthropic repeat a 429 or 5xx twice unless they are told not to, and take
    a Retry-After of up to a minute in the place of their own pauses.
    """
    if after_s is None:
        return (("x-should-retry", "false"),)
    return (("retry-after", str(max(1, math.ceil(after_s)))),)


def unknown(what: str, name: str, near: tuple[str, ...], key: Key | None = None) -> ApiError:
    """Return the 404 for a name that nobody has; `what` is `service` or `model`.

    For a key, nobody has what is not for it: so it learns of no others, and `/v1/models` has said
    the same.
    """
    message = f"there is no {what} {name[:128]!r}"
    if key is not None and not key.opens_all:
        message += f" for the key {key.name!r}"
    if near:
        message += f"; did you mean {' or '.join(repr(each) for each in near)}?"
    elif what == "model":
        message += "; GET /v1/models lists those that there are"
    return ApiError(404, f"{what}_not_found", message, param=what)


def admin_closed(service: ServiceId, pattern: str) -> ApiError:
    """Return the 403 for what administers a service, whose settings do not allow it."""
    return ApiError(
        403,
        "admin_path",
        f"{pattern} administers service {service!r}, which is the proxy's business: it is closed to"
        f" clients unless the configuration says `allow_admin: [{json.dumps(pattern)}]`, or"
        " `allow_admin: true`, for that service",
    )


def upstream_failed(service: ServiceId, message: str, *, late: bool = False) -> ApiError:
    """Return the answer for a service that broke off, or (`late`) took longer than we wait."""
    text = f"service {service!r} {message}"
    return (
        ApiError(504, "upstream_timeout", text) if late else ApiError(502, "upstream_error", text)
    )


def late_answer(status: int, said: bytes) -> ApiError:
    """Return what a service answered, for a client whose stream had begun before that."""
    text = said.decode("utf-8", "replace").strip()
    try:
        told = json.loads(text)
    except (ValueError, RecursionError):
        told = None
    if isinstance(told, dict):
        inner = told.get("error", told)
        message = inner.get("message") if isinstance(inner, dict) else inner
        text = message if isinstance(message, str) else text
    return ApiError(status if status >= 400 else 502, "upstream_error", f"{status}: {text[:2000]}")
