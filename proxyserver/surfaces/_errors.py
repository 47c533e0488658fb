"""The shapes that errors have: each API has its own, and its clients read no other."""

import enum
import json
from typing import Any


class Shape(enum.Enum):
    """Whose clients shall understand an error."""

    OPENAI = "openai"
    ANTHROPIC = "anthropic"
    OLLAMA = "ollama"


def error_body(shape: Shape, status: int, code: str, message: str, param: str | None) -> bytes:
    """Return an error as the clients of this API expect it.

    >>> error_body(Shape.ANTHROPIC, 404, "model_not_found", "there is none", None)
    b'{"type": "error", "error": {"type": "not_found_error", "message": "there is none"}}'
    """
    body: dict[str, Any]
    match shape:
        case Shape.OPENAI:
            kind = _OPENAI.get(status) or _kind(status, "server_error")
            body = {"error": {"message": message, "type": kind, "param": param, "code": code}}
        case Shape.ANTHROPIC:
            kind = _ANTHROPIC.get(status) or _kind(status, "api_error")
            body = {"type": "error", "error": {"type": kind, "message": message}}
        case Shape.OLLAMA:
            body = {"error": message}
    return json.dumps(body, ensure_ascii=False).encode("utf-8", "replace")


def error_event(shape: Shape, body: bytes) -> bytes:
    """Return an error as the last of a stream: of events, or of Ollama's lines."""
    if shape is Shape.OLLAMA:
        return body + b"\n"
    name = b"event: error\n" if shape is Shape.ANTHROPIC else b""
    return b"%sdata: %s\n\n" % (name, body)


def stream_end(shape: Shape) -> bytes:
    """Return the last event of a stream that is over, if the API has one."""
    return b"data: [DONE]\n\n" if shape is Shape.OPENAI else b""


def _kind(status: int, ours: str) -> str:
    return "invalid_request_error" if status < 500 else ours


_OPENAI = {429: "rate_limit_error"}
_ANTHROPIC = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}
"""https://docs.anthropic.com/en/api/errors; there an overload has the status 529."""
