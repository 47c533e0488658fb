"""Answers of services as they stream: from lines of server-sent events to pieces of text."""

import json
from typing import Any

import attrs


class AnswerFailed(Exception):
    """The answer is an error, or broke off; the text says which."""


@attrs.frozen
class Piece:
    """What one event brings."""

    text: str = ""
    thought: str = ""
    """What a model that reasons says to itself."""


@attrs.define
class Answer:
    """One answer, fed with its lines."""

    text: str = ""
    thought: str = ""
    pieces: int = 0
    tokens: int | None = None
    """As the server counts them, if it does."""
    why: str | None = None
    """Why it ended, by the server's word: `stop`, `length`."""
    ended: bool = False

    def take(self, line: str) -> Piece | None:
        """Take one line; return what it brings, if it brings anything.

        Comments keep a connection alive, and mean nothing.

        Raises:
            AnswerFailed: it is an error, or nothing that can be read.
        """
        if not line.startswith("data:"):
            return None
        data = line.removeprefix("data:").strip()
        if data == "[DONE]":
            self.ended = True
            return None
        try:
            event = json.loads(data)
        except ValueError:
            raise AnswerFailed(f"the answer cannot be read: {data[:200]}") from None
        if not isinstance(event, dict):
            raise AnswerFailed(f"the answer cannot be read: {data[:200]}")
        if (error := event.get("error")) is not None:
            raise AnswerFailed(message_of(error))
        if isinstance(usage := event.get("usage"), dict):
            self.tokens = usage.get("completion_tokens", self.tokens)
        return self._piece(event.get("choices") or [{}])

    def _piece(self, choices: list[dict[str, Any]]) -> Piece | None:
        delta = choices[0].get("delta") or {}
        self.why = choices[0].get("finish_reason") or self.why
        thought = delta.get("reasoning_content") or delta.get("reasoning") or ""
        piece = Piece(str(delta.get("content") or ""), str(thought))
        if not (piece.text or piece.thought):
            return None
        self.text += piece.text
        self.thought += piece.thought
        self.pieces += 1
        return piece

    def finish(self) -> None:
        """Say that no more lines come.

        Raises:
            AnswerFailed: it was not at its end.
        """
        if not self.ended:
            raise AnswerFailed("the answer broke off")


def message_of(error: Any) -> str:
    """Return the words of an error in OpenAI's shape, or in whatever shape it has."""
    if isinstance(error, dict):
        return str(error.get("message") or error)
    return str(error)
