"""The command `aiproxy bench`: how fast a service answers, through the proxy."""

import sys
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from ._at import HERE, At
from ._command import FAILED, UNREACHABLE, CommandFailed, Json, print_json

Many = Number(gte=1, lte=100_000)


def bench(
    service: Annotated[str, Parameter(help="Any name that `model` may have.")],
    /,
    *,
    requests: Annotated[
        int, Parameter(name=("--requests", "-n"), help="How many.", validator=Many)
    ] = 10,
    concurrency: Annotated[
        int,
        Parameter(
            name=("--concurrency", "-c"),
            help="How many at once.",
            validator=Number(gte=1, lte=1000),
        ),
    ] = 1,
    prompt: Annotated[str, Parameter(help="What is asked; a number is put before it.")] = (
        "Tell me in some sentences what a proxy is."
    ),
    prompt_words: Annotated[
        int, Parameter(help="Make it about so long, by repeating it.", validator=Number(gte=0))
    ] = 0,
    max_tokens: Annotated[
        int, Parameter(help="The longest answer.", validator=Number(gte=1))
    ] = 128,
    at: At = HERE,
    json: Json = False,
) -> None:
    """Measure time to first token and tokens a second, over many requests."""
    from ._bench import Plan, Unreachable, figures, rows, run
    from ._console import is_rich, print_table

    def told(done: int) -> None:
        sys.stderr.write(f"\r{done}/{requests} ")
        sys.stderr.flush()

    plan = Plan(at.url, at.key(), service, requests, concurrency, prompt, prompt_words, max_tokens)
    shows = is_rich(sys.stderr) and not json
    try:
        outcome = run(plan, told if shows else lambda done: None)
    except Unreachable as error:
        raise CommandFailed(UNREACHABLE, f"aiproxy: {error}") from None
    finally:
        if shows:
            sys.stderr.write("\r\x1b[K")
    found = figures(outcome)
    if json:
        print_json(found)
    elif outcome.good:
        print_table(rows(found))
    if outcome.failed:
        count = f"{len(outcome.failed)} of {requests} requests failed"
        raise CommandFailed(FAILED, f"aiproxy: {count}, the first with: {outcome.failed[0]}")
