"""A server that calls the tool which it is given first, in OpenAI's words and in Anthropic's.

`python -m tests.rig.backends.calling PORT`: small real models call none.
"""

import json
import sys
from typing import Any

from .serving import Answer, serve

ARGUMENTS = {"city": "Rome"}


def chat(asked: dict[str, Any]) -> Answer:
    (tool, *_) = asked["tools"]
    function = {"name": tool["function"]["name"], "arguments": json.dumps(ARGUMENTS)}
    call = {"id": "call_1", "type": "function", "function": function}
    whole = {"id": "c", "created": 1, "model": asked["model"]}
    said: dict[str, Any] = {"role": "assistant", "content": None, "tool_calls": [call]}
    choice: dict[str, Any] = {"index": 0, "finish_reason": "tool_calls"}
    if not asked.get("stream"):
        choices = [{**choice, "message": said}]
        return 200, {**whole, "object": "chat.completion", "choices": choices}
    choices = [{**choice, "delta": {**said, "tool_calls": [{"index": 0, **call}]}}]
    chunk = {**whole, "object": "chat.completion.chunk", "choices": choices}
    return 200, iter([f"data: {json.dumps(chunk)}\n\n", "data: [DONE]\n\n"])


def messages(asked: dict[str, Any]) -> Answer:
    (tool, *_) = asked["tools"]
    block = {"type": "tool_use", "id": "toolu_1", "name": tool["name"], "input": ARGUMENTS}
    return 200, {
        "id": "m",
        "type": "message",
        "role": "assistant",
        "model": asked["model"],
        "content": [block],
        "stop_reason": "tool_use",
        "stop_sequence": None,
        "usage": {"input_tokens": 3, "output_tokens": 3},
    }


if __name__ == "__main__":
    routes = {("POST", "/v1/chat/completions"): chat, ("POST", "/v1/messages"): messages}
    serve("127.0.0.1", int(sys.argv[1]), routes)
