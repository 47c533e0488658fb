"""What a request costs stays what it is: no clock on a busy machine shows one function more."""

import sys
from collections import Counter
from pathlib import Path
from types import FrameType

import proxycore
import proxyserver

from .rig import answer, running
from .sockets import Wire

PACKAGES = tuple(str(Path(one.__file__).parent) for one in (proxycore, proxyserver) if one.__file__)
TIMES = 10
CALLS_MAX = 155
"""A little above what it is.  Ten more cost 3 us or so, where all of a request costs 30: who needs
them may raise it."""
BODY = b'{"model":"gpt-4o","messages":[{"role":"user","content":"hello"}]}'
QUESTION = (
    b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
    b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(BODY), BODY)
)
ANSWER = answer(
    b'{"choices":[{"finish_reason":"stop"}],"usage":{"prompt_tokens":9,"completion_tokens":4}}',
    "Content-Type: application/json",
)


async def test_a_request_calls_few_functions() -> None:
    """As few as it does; a small question, on connections that are kept."""

    async def script(wire: Wire) -> None:
        while wire.buffer or await wire.more():
            await wire.until(b'hello"}]}')
            await wire.send(ANSWER)

    calls: Counter[str] = Counter()

    def count(frame: FrameType, event: str, _: object) -> None:
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(PACKAGES):
            calls[f"{Path(code.co_filename).name} {code.co_qualname}"] += 1

    async with running(script) as rig:
        wire = await rig.connect()
        for number in range(2 + TIMES):
            if number == 2:  # By then all is there that is made once.
                sys.setprofile(count)
            await wire.send(QUESTION)
            await wire.until(b'"completion_tokens":4}}')
        sys.setprofile(None)
    told = "\n".join(f"{times / TIMES:6.1f} {name}" for name, times in calls.most_common())
    assert calls.total() / TIMES <= CALLS_MAX, told
