"""The figures at the ends of an answer."""

import pytest

from proxyserver.wire import Tail, Usage

LAST = (
    b'data: {"choices":[{"finish_reason":"stop","delta":{}}],"model":"m"}\n\n'
    b'data: {"choices":[],"usage":{"prompt_tokens":12,"completion_tokens":34}}\n\n'
)
DONE = b"data: [DONE]\n\n"


def usage(*pieces: bytes, counted: int = 0) -> Usage:
    tail = Tail()
    for piece in pieces:
        tail.add(memoryview(piece))
    return tail.usage(counted)


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


@pytest.mark.parametrize(
    "framed", [LAST + DONE, chunk(LAST) + chunk(DONE), chunk(LAST[:90]) + chunk(LAST[90:])]
)
@pytest.mark.parametrize("size", [50, 100, 10_000])
def test_the_figures_are_found_however_they_come(framed: bytes, size: int) -> None:
    """After a long answer, within chunks or across them, in pieces of any size."""
    whole = b"data: {}\n\n" * 1000 + framed
    pieces = [whole[at : at + size] for at in range(0, len(whole), size)]
    assert usage(*pieces, counted=9) == Usage(12, 34, model="m", finish="stop")


@pytest.mark.parametrize(
    ("answer", "figures"),
    [
        (b'{"usage": {"prompt_tokens": 5, "total_tokens": 5}}', Usage(5)),
        (b'{"usage": {"input_tokens": 5, "output_tokens": 6}}', Usage(5, 6)),
        (
            (
                b'{"usage": {"prompt_tokens": 5, "completion_tokens": 6,'
                b' "prompt_tokens_details": {"cached_tokens": 3}}}'
            ),
            Usage(5, 6, 3),
        ),
        (
            b'{"stop_reason": "end_turn", "usage": {"output_tokens": 6}}',
            Usage(None, 6, finish="end_turn"),
        ),
        (b'{"usage": {"completion_tokens": 6}, "usage": null}', Usage(None, 6)),
        (b'{"usage": null}', Usage()),
        (b'{"usage": {"prompt_tokens": "many"}}', Usage()),
        (b'{"usage": {"prompt_tokens": -5}}', Usage()),
        (b'{"usage": {"prompt_tokens": true}}', Usage()),
        (b'{"usage": {"prompt_tokens": 5', Usage()),
        (b'{"usage": {"type": "duration", "seconds": 3}}', Usage()),
        (b"", Usage()),
    ],
)
def test_dialects_are_read_and_nothing_is_made_up(answer: bytes, figures: Usage) -> None:
    """OpenAI's names and Anthropic's; none, or broken ones, are none."""
    assert usage(answer) == figures


def test_what_a_model_writes_is_no_figure() -> None:
    """Within a text of JSON, quotes have backslashes."""
    said = rb'{"content": "\"usage\": {\"prompt_tokens\": 9}, \"model\": \"x\""}'
    assert usage(said) == Usage()


def test_timings_of_llama_cpp_stand_for_usage() -> None:
    """Without `stream_options`, a stream of llama-server has only them."""
    timings = (
        b'data: {"choices":[{"finish_reason":"length","index":0,"delta":{}}],"model":"q",'
        b'"timings":{"cache_n":10,"prompt_n":2,"prompt_ms":50.5,"predicted_n":7,"predicted_ms":500}}\n\n'
    )
    assert usage(b"data: {}\n\n" * 500, timings, DONE) == Usage(
        12, 7, 10, 0.0505, 0.5, "q", "length"
    )


def test_ollama_counts_under_names_of_its_own() -> None:
    """And in nanoseconds."""
    last = (
        b'{"model":"q","done":true,"done_reason":"stop","prompt_eval_count":26,'
        b'"prompt_eval_duration":342546000,"eval_count":282,"eval_duration":4535599000}\n'
    )
    assert usage(b'{"model":"q"}\n' * 500, last) == Usage(
        26, 282, None, 0.342546, 4.535599, "q", "stop"
    )


def test_anthropic_counts_the_prompt_at_the_beginning() -> None:
    """And the answer at its end."""
    start = (
        b'event: message_start\ndata: {"message":{"model":"c",'
        b'"usage":{"input_tokens":25,"output_tokens":1}}}\n\n'
    )
    delta = b'data: {"delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":15}}\n\n'
    assert usage(chunk(start), b"data: {}\n\n" * 500, chunk(delta)) == Usage(
        25, 15, model="c", finish="end_turn"
    )


def test_what_no_server_counts_is_counted_and_marked() -> None:
    """The last event is no token."""
    assert usage(b"data: {}\n\n" * 5 + DONE, counted=6) == Usage(output=5, counted=True)
    assert usage(LAST + DONE, counted=6).counted is False
