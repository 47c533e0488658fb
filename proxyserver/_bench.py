"""Many streamed requests to one service, timed."""

import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

import attrs
import httpx
import trio

from ._errors import run_plainly
from .answers import Answer, AnswerFailed
from .client import ACT_S, CHAT, CONNECT_S, Way, headers_of, refused


class Unreachable(Exception):
    """Nobody answers there."""


@attrs.frozen
class Plan:
    url: str
    key: str | None
    service: str
    requests: int
    concurrency: int
    prompt: str
    prompt_words: int
    max_tokens: int

    def body(self, number: int) -> dict[str, Any]:
        """Return a request that no server has seen: a cache of prompts would be measured."""
        words = f"{number}. {self.prompt}".split()
        while len(words) < self.prompt_words:
            words += self.prompt.split()
        return {
            "model": self.service,
            "stream": True,
            "stream_options": {"include_usage": True},
            "max_tokens": self.max_tokens,
            "messages": [{"role": "user", "content": " ".join(words)}],
        }


@attrs.frozen
class Timed:
    """One answer: when its first token came, when its last, and how many there were."""

    first_s: float
    last_s: float
    tokens: int
    is_counted: bool
    """The server counted the tokens; else each piece of its answer is taken for one."""

    @property
    def tokens_per_s(self) -> float | None:
        """The speed after the first token; None: there was no more than one."""
        if self.tokens < 2 or self.last_s <= self.first_s:
            return None
        return (self.tokens - 1) / (self.last_s - self.first_s)


@attrs.frozen
class Outcome:
    plan: Plan
    warm_up_s: float
    took_s: float
    good: tuple[Timed, ...]
    failed: tuple[str, ...]


def run(plan: Plan, told: Callable[[int], None]) -> Outcome:
    """Ask once, so that the service is loaded, then as often as planned.

    Raises:
        Unreachable: nobody answers.
    """
    return run_plainly(_run, plan, told)


async def _run(plan: Plan, told: Callable[[int], None]) -> Outcome:
    good: list[Timed] = []
    failed: list[str] = []
    numbers = iter(range(1, plan.requests + 1))
    times = httpx.Timeout(CONNECT_S, read=ACT_S, pool=None)
    limits = httpx.Limits(max_connections=plan.concurrency)
    way = Way.to(plan.url)
    transport = httpx.AsyncHTTPTransport(uds=way.socket, verify=way.trust(), limits=limits)
    async with httpx.AsyncClient(
        base_url=way.base,
        transport=transport,
        trust_env=False,
        timeout=times,
        headers=headers_of(plan.key),
    ) as http:

        async def work() -> None:
            for number in numbers:
                try:
                    good.append(await _ask(http, plan.body(number)))
                except (AnswerFailed, httpx.HTTPError) as error:
                    failed.append(str(error) or type(error).__name__)
                told(len(good) + len(failed))

        warm_up_s = await _warm_up(http, plan)
        began = time.monotonic()
        async with trio.open_nursery() as nursery:
            for _ in range(plan.concurrency):
                nursery.start_soon(work)
        took_s = time.monotonic() - began
    return Outcome(plan, warm_up_s, took_s, tuple(good), tuple(failed))


async def _warm_up(http: httpx.AsyncClient, plan: Plan) -> float:
    """Ask for one token; what is wrong with the service is told by the requests that follow."""
    began = time.monotonic()
    try:
        await _ask(http, plan.body(0) | {"max_tokens": 1})
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.UnsupportedProtocol) as error:
        said = f"no daemon at {plan.url}: {error}"
        raise Unreachable(f"{said}\nstart it with `aiproxy serve`, or say where it is") from None
    except (AnswerFailed, httpx.HTTPError):
        pass
    return time.monotonic() - began


async def _ask(http: httpx.AsyncClient, body: dict[str, Any]) -> Timed:
    answer = Answer()
    began = time.monotonic()
    first_s = last_s = 0.0
    async with http.stream("POST", CHAT, json=body) as response:
        if not response.is_success:
            await response.aread()
            raise AnswerFailed(str(refused(response)))
        async for line in response.aiter_lines():
            if answer.take(line) is not None:
                last_s = time.monotonic() - began
                first_s = first_s or last_s
    answer.finish()
    if not answer.pieces:
        raise AnswerFailed("it answered with nothing")
    return Timed(first_s, last_s, answer.tokens or answer.pieces, answer.tokens is not None)


def figures(outcome: Outcome) -> dict[str, Any]:
    """Return what was found, by name."""
    good = outcome.good
    speeds = [speed for one in good if (speed := one.tokens_per_s) is not None]
    tokens = sum(one.tokens for one in good)
    return {
        "service": outcome.plan.service,
        "requests": outcome.plan.requests,
        "failed": len(outcome.failed),
        "concurrency": outcome.plan.concurrency,
        "warm_up_s": outcome.warm_up_s,
        "took_s": outcome.took_s,
        "first_token_s": _spread([one.first_s for one in good]),
        "answer_s": _spread([one.last_s for one in good]),
        "tokens_per_s": _spread(speeds),
        "tokens": tokens,
        "tokens_are_counted": bool(good) and all(one.is_counted for one in good),
        "all_tokens_per_s": tokens / outcome.took_s if tokens else 0.0,
    }


def _spread(values: Sequence[float]) -> dict[str, float | None]:
    if not values:
        return {"median": None, "least": None, "p95": None, "most": None}
    ordered = sorted(values)
    p95 = ordered[-(-95 * len(ordered) // 100) - 1]
    return {"median": median(ordered), "least": ordered[0], "p95": p95, "most": ordered[-1]}


def rows(found: dict[str, Any]) -> list[tuple[str, ...]]:
    """Return the figures as tables for people have them."""
    unit = "tokens" if found["tokens_are_counted"] else "pieces"
    result: list[tuple[str, ...]] = [("", "MEDIAN", "LEAST", "P95", "MOST")]
    for key, name, form in (
        ("first_token_s", "first token, s", ".3f"),
        ("answer_s", "whole answer, s", ".3f"),
        ("tokens_per_s", f"{unit}/s in one answer", ".1f"),
    ):
        values = found[key].values()
        result.append((name, *("-" if value is None else format(value, form) for value in values)))
    for name, value in (
        (f"{unit}/s of all together", f"{found['all_tokens_per_s']:.1f}"),
        (unit, str(found["tokens"])),
        ("requests at once", f"{found['concurrency']} of {found['requests']}"),
        ("warm-up, s", f"{found['warm_up_s']:.3f}"),
    ):
        result.append((name, value, "", "", ""))
    return result
