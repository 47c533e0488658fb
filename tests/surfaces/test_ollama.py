"""Ollama's API over OpenAI's: requests as servers read them, answers as Ollama's clients do."""

import json
from typing import Any

import pytest

from proxyserver.surfaces.ollama import Answer, BadRequest, asked

NOW = 1_700_000_000.5
WHEN = "2023-11-14T22:13:20.500000Z"
TOOL = {"type": "function", "function": {"name": "add", "parameters": {}}}


def events(*said: Any) -> bytes:
    """Return a stream as llama-server writes it: comments, an event each, an end."""
    lines = [one if isinstance(one, str) else json.dumps(one) for one in said]
    return b": comment\n\n" + b"".join(f"data: {line}\n\n".encode() for line in lines)


def delta(reason: str | None = None, **said: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": said, "finish_reason": reason}]}


def told(path: str, data: bytes, size: int = 1 << 20, *, streams: bool = True) -> list[Any]:
    """Return the lines of an answer that comes in pieces of this size."""
    answer = Answer(path.encode(), "coder:latest", streams, NOW - 2, 0.5)
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    out = b"".join(answer.feed(piece, NOW) for piece in pieces) + answer.finish(NOW)
    assert out.endswith(b"\n")
    return [json.loads(line) for line in out.splitlines()]


def test_a_conversation_is_asked_for() -> None:
    """With options by their other names; what is about the server's memory stays here."""
    request = {
        "model": "coder",
        "messages": [
            {"role": "system", "content": "be brief"},
            {"role": "user", "content": "what is it?", "images": ["/9j/4AAQ", "iVBORw0"]},
            {
                "role": "assistant",
                "content": "",
                "thinking": "hm",
                "tool_calls": [
                    {"function": {"name": "add", "arguments": {"a": 1}}},
                    {"function": {"name": "sub", "arguments": {}}},
                ],
            },
            {"role": "tool", "tool_name": "sub", "content": "0"},
            {"role": "tool", "content": "2"},
        ],
        "tools": [TOOL],
        "format": {"type": "object"},
        "think": False,
        "keep_alive": "5m",
        "options": {"num_predict": 9, "num_ctx": 4096, "temperature": 0.5, "stop": ["x"]},
    }
    got = asked(b"/api/chat", request)
    url = "data:image/{};base64,{}".format
    pictures = [url("jpeg", "/9j/4AAQ"), url("png", "iVBORw0")]
    functions = [{"name": "add", "arguments": '{"a": 1}'}, {"name": "sub", "arguments": "{}"}]
    assert (got.path, got.streams, got.empty) == (b"/v1/chat/completions", True, False)
    assert got.body == {
        "model": "coder",
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": 9,
        "temperature": 0.5,
        "stop": ["x"],
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "answer", "schema": {"type": "object"}, "strict": True},
        },
        "chat_template_kwargs": {"enable_thinking": False},
        "tools": [TOOL],
        "messages": [
            {"role": "system", "content": "be brief"},
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "what is it?"},
                    *({"type": "image_url", "image_url": {"url": one}} for one in pictures),
                ],
            },
            {
                "role": "assistant",
                "content": "",
                "reasoning_content": "hm",
                "tool_calls": [
                    {"id": f"call_{number}", "type": "function", "function": function}
                    for number, function in enumerate(functions)
                ],
            },
            {"role": "tool", "content": "0", "tool_call_id": "call_1"},
            {"role": "tool", "content": "2", "tool_call_id": "call_0"},
        ],
    }


@pytest.mark.parametrize(
    ("path", "request_", "to", "body"),
    [
        (
            "/api/generate",
            {"prompt": "Hi", "system": "be brief", "stream": False, "format": "json"},
            "/v1/chat/completions",
            {
                "stream": False,
                "response_format": {"type": "json_object"},
                "messages": [
                    {"role": "system", "content": "be brief"},
                    {"role": "user", "content": "Hi"},
                ],
            },
        ),
        (
            "/api/generate",
            {"prompt": "a", "suffix": "b", "stream": False, "options": {"num_predict": -1}},
            "/v1/completions",
            {"stream": False, "prompt": "a", "suffix": "b"},
        ),
        (
            "/api/generate",
            {"prompt": "a", "raw": True, "stream": False, "think": "high"},
            "/v1/completions",
            {"stream": False, "prompt": "a", "reasoning_effort": "high"},
        ),
        (
            "/api/embed",
            {"input": ["a"], "dimensions": 8},
            "/v1/embeddings",
            {"input": ["a"], "dimensions": 8},
        ),
        ("/api/embeddings", {"prompt": "a"}, "/v1/embeddings", {"input": "a"}),
    ],
)
def test_others_are_asked_for(path: str, request_: Any, to: str, body: Any) -> None:
    """Each in the words of its own path."""
    got = asked(path.encode(), {"model": "m", **request_})
    assert (got.path.decode(), got.body) == (to, {"model": "m", **body})


@pytest.mark.parametrize(
    "request_",
    [
        [],
        {"messages": {}},
        {"messages": ["x"]},
        {"messages": [{"role": "user", "images": "x"}]},
        {"messages": [{"role": "assistant", "tool_calls": ["x"]}]},
        {"messages": [], "options": [1]},
    ],
)
def test_what_makes_no_sense_is_refused(request_: Any) -> None:
    """With words; never with a bug."""
    with pytest.raises(BadRequest):
        asked(b"/api/chat", request_)


def test_no_question_is_a_wish_to_load() -> None:
    """As Ollama has it."""
    assert asked(b"/api/chat", {"model": "m"}).empty
    assert asked(b"/api/generate", {"model": "m"}).empty
    line = json.loads(Answer(b"/api/chat", "m", True, NOW, 1.5).loaded(NOW))
    assert (line["done"], line["done_reason"]) == (True, "load")
    assert line["load_duration"] == 1_500_000_000


USAGE = {"prompt_tokens": 7, "completion_tokens": 2}
TIMINGS = {"prompt_n": 7, "prompt_ms": 30.5, "predicted_n": 2, "predicted_ms": 100}
FIGURES = {
    "total_duration": 2_000_000_000,
    "load_duration": 500_000_000,
    "prompt_eval_count": 7,
    "prompt_eval_duration": 30_500_000,
    "eval_count": 2,
    "eval_duration": 100_000_000,
}


@pytest.mark.parametrize("size", [1, 7, 1 << 20])
def test_a_conversation_streams(size: int) -> None:
    """A line for each event that says something, and the figures in the last one."""
    data = events(
        delta(role="assistant", content=None),
        delta(reasoning_content="hm"),
        delta(content="Grü"),
        delta(content="ße\n"),
        delta("length"),
        {"choices": [], "usage": USAGE, "timings": TIMINGS},
        "[DONE]",
    )
    common = {"model": "coder:latest", "created_at": WHEN, "done": False}
    said = [
        {"role": "assistant", "content": "", "thinking": "hm"},
        {"role": "assistant", "content": "Grü"},
        {"role": "assistant", "content": "ße\n"},
    ]
    last = {"role": "assistant", "content": ""}
    assert told("/api/chat", data, size) == [
        *({**common, "message": one} for one in said),
        {**common, "message": last, "done": True, "done_reason": "length", **FIGURES},
    ]


def test_tools_are_called_in_one_line() -> None:
    """OpenAI's come in pieces; Ollama's arguments are an object."""
    data = events(
        delta(tool_calls=[{"index": 0, "id": "a", "function": {"name": "add", "arguments": ""}}]),
        delta(tool_calls=[{"index": 0, "function": {"arguments": '{"a":'}}]),
        delta(tool_calls=[{"index": 1, "id": "b", "function": {"name": "sub", "arguments": "{"}}]),
        delta(tool_calls=[{"index": 0, "function": {"arguments": " 1}"}}]),
        delta("tool_calls"),
        "[DONE]",
    )
    called, last = told("/api/chat", data)
    assert called["message"]["tool_calls"] == [
        {"id": "a", "function": {"name": "add", "arguments": {"a": 1}}},
        {"id": "b", "function": {"name": "sub", "arguments": {}}},
    ]
    assert (called["done"], last["done"], last["done_reason"]) == (False, True, "stop")
    assert "tool_calls" not in last["message"]


def test_a_prompt_streams_either_way() -> None:
    """By a conversation, or raw."""
    by_chat = events(delta(content="a"), delta("stop"), "[DONE]")
    raw = events(
        {"choices": [{"text": "a", "finish_reason": None}]},
        {"choices": [{"text": "", "finish_reason": "stop"}]},
        "[DONE]",
    )
    for data in (by_chat, raw):
        first, last = told("/api/generate", data)
        assert (first["response"], first["done"]) == ("a", False)
        assert (last["response"], last["done"], last["done_reason"]) == ("", True, "stop")


def test_an_answer_comes_at_once() -> None:
    """All of it in one object."""
    call = {"id": "a", "function": {"name": "add", "arguments": "{}"}}
    message = {"role": "assistant", "content": "x", "tool_calls": [call]}
    answer = {"choices": [{"message": message, "finish_reason": "stop"}], "usage": USAGE}
    (line,) = told("/api/chat", json.dumps(answer).encode(), 9, streams=False)
    assert line["message"]["content"] == "x"
    assert line["message"]["tool_calls"][0]["function"] == {"name": "add", "arguments": {}}
    assert (line["done"], line["eval_count"]) == (True, 2)


def test_vectors_are_told() -> None:
    """In both of Ollama's ways."""
    answer = {"data": [{"embedding": [0.5]}, {"embedding": [1]}], "usage": USAGE}
    data = json.dumps(answer).encode()
    (line,) = told("/api/embed", data, streams=False)
    assert (line["embeddings"], line["prompt_eval_count"]) == ([[0.5], [1]], 7)
    assert told("/api/embeddings", data, streams=False) == [{"embedding": [0.5]}]


@pytest.mark.parametrize(
    ("data", "streams", "why"),
    [
        (events(delta(content="a"), {"error": {"message": "no room"}}), True, "no room"),
        (events(delta(content="a"), "{"), True, "the server's answer cannot be read"),
        (events(delta(content="a")), True, "the answer ended too early"),
        (b'{"error": {"message": "no room"}}', False, "no room"),
        (b"<html>", False, "the server's answer is no JSON"),
    ],
)
def test_errors_are_told(data: bytes, streams: bool, why: str) -> None:
    """What was said before stays said; there is no last line that claims an end."""
    lines = told("/api/chat", data, streams=streams)
    assert lines[-1] == {"error": why}
    assert not any(line.get("done") for line in lines)
