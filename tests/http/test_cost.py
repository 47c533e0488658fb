"""What a request costs stays what it is: no clock on a busy machine shows one function more."""

from tests.rig.calls import counted, told

from .rig import answer, running
from .sockets import Wire

TIMES = 10
CALLS_MAX = 155
"""A little above what it is.  Ten more cost 3 us or so, where all of a request costs 30: who needs
them may raise it."""
TOKEN_CALLS_MAX = 8
"""As many as it is: each is multiplied by the tokens of all streams."""
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

    async with running(script) as rig:
        wire = await rig.connect()

        async def ask() -> None:
            await wire.send(QUESTION)
            await wire.until(b'"completion_tokens":4}}')

        await ask()
        await ask()  # By now all is there that is made once.
        with counted() as calls:
            for _ in range(TIMES):
                await ask()
    assert calls.total() / TIMES <= CALLS_MAX, told(calls, TIMES)


async def test_a_token_calls_few_functions() -> None:
    """As few as it does, when each comes alone."""
    event = b'data: {"choices":[{"delta":{"content":"x"}}]}\n\n'
    token = b"%x\r\n%s\r\n" % (len(event), event)
    services: list[Wire] = []

    async def script(service: Wire) -> None:
        services.append(service)
        await service.until(b'hello"}]}')
        await service.send(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n" + token
        )
        await service.more()

    async with running(script) as rig:
        wire = await rig.connect()
        await wire.send(QUESTION)
        await wire.until(token)
        with counted() as calls:
            for _ in range(TIMES):
                await services[0].send(token)
                await wire.until(token)
        wire.close()
    assert calls.total() / TIMES <= TOKEN_CALLS_MAX, told(calls, TIMES)
