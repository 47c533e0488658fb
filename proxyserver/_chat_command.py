"""The command `aiproxy chat`: questions and answers, as they come."""

import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter
from cyclopts.validators import Number

from ._at import HERE, At, daemon_at
from ._command import FAILED, CommandFailed, Json, fail, print_json

if TYPE_CHECKING:
    from .answers import Answer
    from .client import Client

QUESTION_MAX = 16 << 20
"""Characters; no model takes so many, and a pipe may have no end."""
ENDS = ("/bye", "/exit", "/quit")


def chat(
    service: Annotated[str, Parameter(help="Any name that `model` may have.")],
    question: Annotated[
        str | None, Parameter(help="Ask only this; else standard input, or what you type.")
    ] = None,
    /,
    *,
    system: Annotated[str | None, Parameter(help="What the model is told before all else.")] = None,
    max_tokens: Annotated[
        int | None, Parameter(help="The longest answer.", validator=Number(gte=1))
    ] = None,
    temperature: Annotated[
        float | None, Parameter(help="How freely it chooses.", validator=Number(gte=0))
    ] = None,
    at: At = HERE,
    json: Json = False,
) -> None:
    """Talk to a service; Ctrl-C stops an answer, Ctrl-D ends."""
    body: dict[str, Any] = {"model": service, "stream": True}
    options = {"max_tokens": max_tokens, "temperature": temperature}
    body |= {key: value for key, value in options.items() if value is not None}
    messages = [] if system is None else [{"role": "system", "content": system}]
    if question is None and not sys.stdin.isatty():
        question = sys.stdin.read(QUESTION_MAX).strip()
    if question is None:
        if json:
            fail("--json is for one question: give it after the service, or by a pipe")
        with daemon_at(at) as daemon, closing(daemon):
            daemon.health()  # Who is not there is told before anybody types.
            _converse(daemon, body, messages)
        return
    if not question:
        fail("there is no question: give one after the service, or by a pipe")
    messages.append({"role": "user", "content": question})
    with daemon_at(at) as daemon, closing(daemon):
        answer = _ask(daemon, body | {"messages": messages}, quiet=json)
    if json:
        print_json(
            {
                "answer": answer.text,
                "reasoning": answer.thought,
                "tokens": answer.tokens,
                "finish_reason": answer.why,
            }
        )


def _converse(daemon: "Client", body: dict[str, Any], messages: list[dict[str, str]]) -> None:
    """Take questions until the input ends; what goes wrong with one does not end the rest."""
    from .answers import Answer
    from .client import DaemonRefused

    with suppress(ImportError):
        import readline  # noqa: F401 (it lets people edit what they type)

    print("Ctrl-C stops an answer, Ctrl-D ends.", file=sys.stderr)
    while True:
        try:
            question = input("> ").strip()
        except EOFError:
            print()
            return
        if question in ENDS:
            return
        if not question:
            continue
        asked = [*messages, {"role": "user", "content": question}]
        answer = Answer()
        try:
            _ask(daemon, body | {"messages": asked}, answer=answer)
        except KeyboardInterrupt:
            pass
        except (CommandFailed, DaemonRefused) as error:
            print(f"{error}", file=sys.stderr)
        if answer.text:
            # What was said is known to both, though it was stopped.
            messages[:] = [*asked, {"role": "assistant", "content": answer.text}]


def _ask(
    daemon: "Client", body: dict[str, Any], *, answer: "Answer | None" = None, quiet: bool = False
) -> "Answer":
    """Ask, and print the answer as it comes; the connection is closed however this ends.

    Raises:
        CommandFailed: the answer is an error, or broke off.
        DaemonRefused: there was none.
        DaemonUnreachable: nor was there anybody to give it.
    """
    from .answers import Answer, AnswerFailed

    answer = Answer() if answer is None else answer
    show = _Show(quiet)
    try:
        with closing(daemon.chat_lines(body)) as lines, show.waiting(body["model"]) as begin:
            for line in lines:
                if (piece := answer.take(line)) is not None:
                    begin()
                    show.thought(piece.thought)
                    show.text(piece.text)
        answer.finish()
    except AnswerFailed as error:
        show.end()
        raise CommandFailed(FAILED, f"aiproxy: {error}") from None
    except KeyboardInterrupt:
        show.end(" (stopped)")
        raise
    show.end()
    return answer


class _Show:
    """Writes an answer: its text to standard output, its thoughts only for people to see."""

    def __init__(self, quiet: bool) -> None:
        from ._console import is_rich

        self._quiet = quiet
        self._rich = is_rich(sys.stdout)
        self._thinks = False
        self._wrote = False

    @contextmanager
    def waiting(self, service: str) -> Iterator[Any]:
        """Tell that an answer is waited for, until what is yielded is called."""
        from ._console import is_rich

        if self._quiet or not (is_rich(sys.stderr) and self._rich):
            yield lambda: None
            return
        from rich.console import Console

        status = Console(stderr=True).status(f"waiting for {service}")
        status.start()
        try:
            yield status.stop
        finally:
            status.stop()

    def thought(self, text: str) -> None:
        if text and self._rich and not self._quiet:
            self._write(text if self._thinks else f"\x1b[2m{text}")
            self._thinks = True

    def text(self, text: str) -> None:
        if not text or self._quiet:
            return
        if self._thinks:
            self._write("\x1b[0m\n\n")
            self._thinks = False
        self._write(text)

    def end(self, why: str = "") -> None:
        """Leave the line as it should be for what comes next."""
        if self._thinks:
            self._write("\x1b[0m")
        if (self._wrote or why) and not self._quiet:
            self._write(f"{why}\n")
        self._wrote = self._thinks = False

    def _write(self, text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()
        self._wrote = True
