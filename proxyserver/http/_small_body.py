"""Reads the body of a request to the proxy itself, which is never large."""

from contextlib import aclosing

from starlette.requests import Request

from .errors import ApiError


async def small_body(request: Request, size_max: int, what: str) -> bytes:
    """Return the body of a request that may have so many bytes.

    Raises:
        ApiError: 413, it has more; `what` says of what.
    """
    body = bytearray()
    async with aclosing(request.stream()) as pieces:
        async for piece in pieces:
            body += piece
            if len(body) > size_max:
                message = f"{what} has at most {size_max} bytes"
                raise ApiError(413, "request_too_large", message)
    return bytes(body)
