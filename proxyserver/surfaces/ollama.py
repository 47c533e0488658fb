"""Ollama's requests in OpenAI's words, and OpenAI's answers in Ollama's: bytes in, bytes out.

What Ollama calls options are the same settings under other names, images and arguments of tools are
written otherwise, and an answer streams as lines of JSON with all figures in the last one.  What
concerns the server's memory (`num_ctx`, `keep_alive` and the like) is the proxy's business: it is
left out.

https://github.com/ollama/ollama/blob/main/docs/api.md
"""

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, TypeAlias

import attrs

VERSION = "0.12.6"
"""Of the API that is spoken here: clients look whether it is new enough for tools and thinking."""
ANSWER_MAX = 64 * 1024 * 1024
"""Of an answer that has to be whole before it can be told, or of an event."""

_Object: TypeAlias = dict[str, Any]
_OPTIONS = {
    "num_predict": "max_tokens",
    **{
        name: name
        for name in (
            *("temperature", "top_p", "seed", "stop", "presence_penalty", "frequency_penalty"),
            # llama.cpp has these by the same names; others leave alone what they do not know.
            *("top_k", "min_p", "typical_p", "repeat_penalty", "repeat_last_n"),
            *("mirostat", "mirostat_eta", "mirostat_tau"),
        )
    },
}
_IMAGES = {"/9j/": "jpeg", "R0lG": "gif", "UklG": "webp"}
"""Kinds of images by how they begin, in base 64; all else is taken for PNG."""


class BadRequest(ValueError):
    """The request is none of Ollama's; the text says why."""


@attrs.frozen
class Asked:
    """A request, as it goes to the server."""

    path: bytes
    body: _Object
    streams: bool
    empty: bool = False
    """Nothing is asked: the model shall be loaded, and that is all."""


def asked(path: bytes, request: Any) -> Asked:
    """Return a request for OpenAI's API.

    Args:
        path: of Ollama's API.
        request: its body.

    Raises:
        BadRequest: it has no sense.
    """
    if not isinstance(request, dict):
        raise BadRequest("the body must be a JSON object")
    if path.startswith(b"/api/embed"):
        words = request.get("input", request.get("prompt", ""))
        body = {"model": request.get("model"), "input": words}
        if "dimensions" in request:
            body["dimensions"] = request["dimensions"]
        return Asked(b"/v1/embeddings", body, streams=False)
    streams = request.get("stream", True) is not False
    body = {"model": request.get("model"), "stream": streams, **_settings(request)}
    if streams:
        body["stream_options"] = {"include_usage": True}
    if path == b"/api/chat":
        messages = _list(request.get("messages"), "messages")
        body["messages"] = list(_messages(messages))
        if request.get("tools"):
            body["tools"] = request["tools"]
        return Asked(b"/v1/chat/completions", body, streams, empty=not messages)
    prompt = request.get("prompt") or ""
    if request.get("raw") or request.get("suffix"):
        body["prompt"] = prompt
        if request.get("suffix"):
            body["suffix"] = request["suffix"]
        return Asked(b"/v1/completions", body, streams)
    system = {"role": "system", "content": request.get("system")}
    user = {"role": "user", "content": prompt, "images": request.get("images")}
    body["messages"] = list(_messages([system, user] if system["content"] else [user]))
    return Asked(b"/v1/chat/completions", body, streams, empty=not prompt)


def _settings(request: _Object) -> _Object:
    said = request.get("options") or {}
    if not isinstance(said, dict):
        raise BadRequest("`options` must be an object")
    settings = {_OPTIONS[name]: value for name, value in said.items() if name in _OPTIONS}
    most = settings.get("max_tokens")
    if isinstance(most, int) and most < 0:
        del settings["max_tokens"]  # To the end, in Ollama's words.
    match request.get("format"):
        case "json":
            settings["response_format"] = {"type": "json_object"}
        case dict() as schema:
            named = {"name": "answer", "schema": schema, "strict": True}
            settings["response_format"] = {"type": "json_schema", "json_schema": named}
    match request.get("think"):
        case bool() as thinks:
            settings["chat_template_kwargs"] = {"enable_thinking": thinks}
        case str() as effort:
            settings["reasoning_effort"] = effort
    return settings


def _list(value: Any, name: str) -> list[Any]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise BadRequest(f"`{name}` must be a list")
    return value


def _messages(messages: list[Any]) -> Iterator[_Object]:
    waiting: list[tuple[str, str]] = []
    """Calls of tools that have no result yet: id and name."""
    count = 0
    for message in messages:
        if not isinstance(message, dict):
            raise BadRequest("a message must be an object")
        said: _Object = {"role": message.get("role"), "content": _content(message)}
        if message.get("thinking"):
            said["reasoning_content"] = message["thinking"]
        calls = []
        for call in _list(message.get("tool_calls"), "tool_calls"):
            function = call.get("function") if isinstance(call, dict) else None
            if not isinstance(function, dict):
                raise BadRequest("a call of a tool must have a `function`")
            name, call_id = str(function.get("name")), str(call.get("id") or f"call_{count}")
            count += 1
            waiting.append((call_id, name))
            arguments = json.dumps(function.get("arguments") or {})
            function = {"name": name, "arguments": arguments}
            calls.append({"id": call_id, "type": "function", "function": function})
        if calls:
            said["tool_calls"] = calls
        if said["role"] == "tool":
            said["tool_call_id"] = message.get("tool_call_id") or _answered(waiting, message)
        yield said


def _answered(waiting: list[tuple[str, str]], message: _Object) -> str:
    """Return whose result a message is: Ollama tells the name of the tool, or the order does."""
    name = message.get("tool_name") or message.get("name")
    found = next((one for one in waiting if one[1] == name), None)
    if found is None:
        found = waiting[0] if waiting else ("call_0", "")
    if found in waiting:
        waiting.remove(found)
    return found[0]


def _content(message: _Object) -> Any:
    text = message.get("content") or ""
    images = _list(message.get("images"), "images")
    if not images:
        return text
    return [
        {"type": "text", "text": text},
        *({"type": "image_url", "image_url": {"url": _url(str(image))}} for image in images),
    ]


def _url(image: str) -> str:
    kind = _IMAGES.get(image[:4], "png")
    return image if image.startswith("data:") else f"data:image/{kind};base64,{image}"


@attrs.define
class Answer:
    """An answer on its way: `feed` it what comes, and then `finish`.

    Args:
        path: of Ollama's API.
        model: as the client calls it.
        streams: whether it comes event by event.
        began_at: Unix time of the request.
        loaded_s: how long the model was waited for.
    """

    path: bytes
    model: str
    streams: bool
    began_at: float
    loaded_s: float = 0.0
    failed: str | None = attrs.field(default=None, init=False)
    """Why there is no answer, or not all of it."""
    _unread: bytearray = attrs.field(factory=bytearray, init=False)
    _reason: str | None = attrs.field(default=None, init=False)
    _calls: dict[int, _Object] = attrs.field(factory=dict, init=False)
    _usage: _Object = attrs.field(factory=dict, init=False)
    _timings: _Object = attrs.field(factory=dict, init=False)
    _ended: bool = attrs.field(default=False, init=False)

    def feed(self, data: bytes, now: float) -> bytes:
        """Return what can be told already: whole lines."""
        self._unread += data
        if len(self._unread) > ANSWER_MAX:
            self._unread.clear()
            self._fail(f"an event of more than {ANSWER_MAX} bytes")
        if not self.streams or self.failed is not None:
            return b""
        *lines, rest = self._unread.split(b"\n")
        self._unread = bytearray(rest)
        return b"".join(out for line in lines if (out := self._line(bytes(line), now)))

    def finish(self, now: float) -> bytes:
        """Return what is left to be told; `failed` says whether that is an error."""
        if self.streams:
            if self.failed is None and self._reason is None:
                self._fail("the answer ended too early")
            return self.complaint() if self.failed is not None else self._last(now)
        try:
            answer = json.loads(bytes(self._unread))
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            self._fail("the server's answer is no JSON")
            return self.complaint()
        if answer.get("error"):
            self._fail(message_of(answer["error"]))
            return self.complaint()
        self._take_figures(answer)
        if self.path.startswith(b"/api/embed"):
            return self._embeddings(answer, now)
        choice = _first(answer)
        self._reason = choice.get("finish_reason")
        message = choice.get("message") or {"content": choice.get("text")}
        self._take_calls(message)
        return self._told(message, now, last=True)

    def complaint(self) -> bytes:
        """Return the error, as a line."""
        return _line({"error": self.failed})

    def still(self, thought: str, now: float) -> bytes:
        """Return what is told while the model is waited for: a piece with no text in it."""
        return self._told({"reasoning_content": thought}, now)

    def loaded(self, now: float) -> bytes:
        """Return what is told when nothing was asked but to load the model."""
        self._reason = "load"
        return self._told({}, now, last=True)

    def _fail(self, why: str) -> None:
        self.failed = self.failed or why

    def _line(self, line: bytes, now: float) -> bytes:
        if not line.startswith(b"data:") or self._ended:
            return b""
        said = line[5:].strip()
        if said == b"[DONE]":
            self._ended = True
            return b""
        try:
            event = json.loads(said)
        except ValueError:
            event = None
        if not isinstance(event, dict):
            self._fail("the server's answer cannot be read")
            return b""
        if event.get("error"):
            self._fail(message_of(event["error"]))
            return b""
        self._take_figures(event)
        choice = _first(event)
        self._reason = choice.get("finish_reason") or self._reason
        delta = choice.get("delta") or {"content": choice.get("text")}
        self._take_calls(delta)
        if delta.get("content") or _thought(delta):
            return self._told(delta, now)
        return b""

    def _take_figures(self, event: _Object) -> None:
        if isinstance(event.get("usage"), dict):
            self._usage = event["usage"]
        if isinstance(event.get("timings"), dict):
            self._timings = event["timings"]

    def _take_calls(self, message: _Object) -> None:
        """Put the calls of tools together, whose arguments come in pieces."""
        for place, call in enumerate(message.get("tool_calls") or ()):
            function = call.get("function") or {}
            known = self._calls.setdefault(
                call.get("index", place), {"id": None, "name": "", "arguments": ""}
            )
            known["id"] = call.get("id") or known["id"]
            known["name"] += function.get("name") or ""
            known["arguments"] += function.get("arguments") or ""

    def _last(self, now: float) -> bytes:
        before = b""
        if self._calls:
            before = self._told({}, now, calls=True)
        return before + self._told({}, now, last=True)

    def _told(
        self, message: _Object, now: float, *, last: bool = False, calls: bool = False
    ) -> bytes:
        text, thought = message.get("content") or "", _thought(message)
        line: _Object = {"model": self.model, "created_at": _when(now)}
        if self.path == b"/api/chat":
            said: _Object = {"role": "assistant", "content": text}
            if thought:
                said["thinking"] = thought
            if self._calls and (calls or not self.streams):
                said["tool_calls"] = [*map(_call, self._calls.values())]
            line["message"] = said
        else:
            line["response"] = text
            if thought:
                line["thinking"] = thought
        line["done"] = last
        if last:
            line |= self._figures(now)
        return _line(line)

    def _figures(self, now: float) -> _Object:
        reason = {"length": "length", "load": "load"}.get(self._reason or "", "stop")
        figures: _Object = {
            "done_reason": reason,
            "total_duration": _nanoseconds(now - self.began_at),
            "load_duration": _nanoseconds(self.loaded_s),
        }
        usage, times = self._usage, self._timings
        for name, count, spent in (
            ("prompt_eval", usage.get("prompt_tokens", times.get("prompt_n")), "prompt_ms"),
            ("eval", usage.get("completion_tokens", times.get("predicted_n")), "predicted_ms"),
        ):
            if count is not None:
                figures[f"{name}_count"] = count
                figures[f"{name}_duration"] = _nanoseconds((times.get(spent) or 0.0) / 1e3)
        return figures

    def _embeddings(self, answer: _Object, now: float) -> bytes:
        found = [one.get("embedding") for one in _dicts(answer.get("data"))]
        if self.path == b"/api/embeddings":
            return _line({"embedding": found[0] if found else []})
        return _line(
            {
                "model": self.model,
                "embeddings": found,
                "total_duration": _nanoseconds(now - self.began_at),
                "load_duration": _nanoseconds(self.loaded_s),
                "prompt_eval_count": self._usage.get("prompt_tokens", 0),
            }
        )


def message_of(error: Any) -> str:
    """Return the words of an error, in whatever shape it has."""
    return str(error.get("message") or error) if isinstance(error, dict) else str(error)


def _first(event: _Object) -> _Object:
    return next(iter(_dicts(event.get("choices"))), {})


def _dicts(value: Any) -> list[_Object]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _thought(message: _Object) -> str:
    return str(message.get("reasoning_content") or message.get("reasoning") or "")


def _call(call: Mapping[str, Any]) -> _Object:
    try:
        arguments = json.loads(call["arguments"] or "{}")
    except ValueError:
        arguments = {}  # The model wrote what is no JSON; Ollama's clients read objects only.
    told = {"function": {"name": call["name"], "arguments": arguments}}
    return told if call["id"] is None else {"id": call["id"], **told}


def _when(now: float) -> str:
    return datetime.fromtimestamp(now, UTC).isoformat().replace("+00:00", "Z")


def _nanoseconds(seconds: float) -> int:
    return max(0, round(seconds * 1e9))


def _line(told: _Object) -> bytes:
    return json.dumps(told, ensure_ascii=False).encode("utf-8", "replace") + b"\n"
