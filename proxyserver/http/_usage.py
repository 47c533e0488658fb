"""The part of the API that tells what was used, by service, model, key or day."""

from collections.abc import Mapping
from datetime import UTC, date, datetime

import attrs
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ._ports import Metrics
from ._query import parsed
from .errors import ApiError

BY = ("service", "model", "key", "day")
DAYS = 30
"""How far it looks back if nobody says."""


@attrs.frozen
class UsageApi:
    """Answers what was used."""

    _metrics: Metrics

    async def tell(self, request: Request) -> Response:
        by = parsed(request, "by", "service", _BY.__getitem__, "one of " + ", ".join(BY))
        last = _day(request, "to", datetime.now(UTC).date())
        month = date.fromordinal(max(1, last.toordinal() - DAYS + 1))
        first = _day(request, "from", month)
        if first > last:
            text = f"`from` must not be after `to`: {first} is after {last}"
            raise ApiError(400, "invalid_request", text, param="from")
        try:
            rows = await self._metrics.usage(by, first.isoformat(), last.isoformat())
        except OSError as error:
            text = f"the statistics cannot be read: {error}"
            raise ApiError(503, "statistics_unavailable", text) from error
        if rows is None:
            raise ApiError(
                404, "no_statistics", "no statistics are kept here: see `server.usage_days`"
            )
        told = {"by": by, "from": first.isoformat(), "to": last.isoformat(), "rows": rows}
        return JSONResponse(told)


_BY: Mapping[str, str] = {one: one for one in BY}


def _day(request: Request, name: str, default: date) -> date:
    return parsed(request, name, default, date.fromisoformat, "a day, such as 2026-11-27")
